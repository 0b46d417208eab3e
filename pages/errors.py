"""The error of the build."""


class BuildError(Exception):
    """The files cannot be built. The message states the reason."""
