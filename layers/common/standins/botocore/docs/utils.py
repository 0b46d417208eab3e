"""What changes documentation on its way: nothing, since there is none."""

from typing import Any


class Unwritten:
    """Takes every argument, has every method, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, _: str) -> "Unwritten":
        return self

    def __call__(self, *_: Any, **__: Any) -> None: ...


AppendParamDocumentation = AutoPopulatedParam = DocumentModifiedShape = HideParamFromOperations = Unwritten
