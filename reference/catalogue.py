"""The catalogue of error codes, with status, message, description and resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from longshore.domain import errors
from longshore.domain.errors import ErrorCode
from longshore.edge import http

from reference.texts import read


@dataclass(frozen=True)
class Entry:
    """An error code. `message` is the default message; `description` and `resolution` are sentences in Markdown."""

    code: ErrorCode
    status: int
    phrase: str
    message: str
    title: str
    description: str
    resolution: str


def _catalogue() -> dict[ErrorCode, Entry]:
    texts: dict[str, dict[str, Any]] = read("errors.yaml")
    messages: dict[ErrorCode, str] = {}
    kinds = [errors.LongshoreError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if "code" in vars(kind):
            messages[kind.code] = kind.default_message
    found = {}
    for code in ErrorCode:
        status = http.STATUS_CODES[code]
        found[code] = Entry(code, status.value, status.phrase, messages[code], **texts.pop(code.value))
    if texts:
        raise ValueError(f"errors.yaml has codes that do not exist: {', '.join(texts)}")
    return found


CATALOGUE: Final = _catalogue()
"""The error codes, in the order of their checks. The import fails with KeyError if a code has no text."""
