"""Stands in for the search for plugins of pydantic: the layer has none, and all its packages would be asked."""


def get_plugins() -> tuple[()]:
    return ()
