"""What the methods of clients have for docstrings: none."""

from typing import Any


def no_docstring(*_: Any, **__: Any) -> str:
    return ""


ClientMethodDocstring = PaginatorDocstring = WaiterDocstring = no_docstring
