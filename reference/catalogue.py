"""Every error code with its status and message, and what a caller is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from longshore.domain import errors
from longshore.domain.errors import ErrorCode
from longshore.edge import http

from reference.texts import read

# The template's gateway responses have these words; a test compares them.
_MESSAGES_OF_THE_GATEWAY: Final = {
    ErrorCode.ROUTE_NOT_FOUND: "Route not found",
    ErrorCode.RATE_LIMITED: "Too many requests",
}


@dataclass(frozen=True)
class Entry:
    """One error code. `message` is its usual one; `description` and `resolution` are Markdown, of whole sentences."""

    code: ErrorCode
    status: int
    phrase: str
    message: str
    title: str
    description: str
    resolution: str


def _catalogue() -> dict[ErrorCode, Entry]:
    texts: dict[str, dict[str, Any]] = read("errors.yaml")
    messages = dict(_MESSAGES_OF_THE_GATEWAY)
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
"""In the order in which their causes are checked. KeyError on import for a code without a text."""
