"""The error that stops a build."""


class BuildError(Exception):
    """The layer cannot be built. The message states the cause and what to change."""
