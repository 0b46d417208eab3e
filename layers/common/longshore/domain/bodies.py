"""JSON bodies of requests: the object in a body, and the faults of its values. Pure."""

import json
import re
import unicodedata
from typing import Any

MOST_LABELS = 16
LABEL_KEY = re.compile(r"[a-z0-9._-]{1,63}")
LONGEST_LABEL = 128

Faults = list[dict[str, str]]
"""The JSON pointer of each invalid value, and what is wrong with it."""

MOST_FAULTS = 100
"""A response with all faults of a body of several megabytes would exceed Lambda's limit."""

_LONGEST_POINTER = 200


def read_object(body: str | None) -> tuple[dict[str, Any], Faults]:
    """Return the object in the text of a body, which may be missing, or the fault that there is none."""
    try:
        given = json.loads(body or "", parse_constant=_refuse)
    # Deeply nested values exhaust the stack.
    except (ValueError, RecursionError):
        return {}, [fault("must be valid JSON")]
    return (given, []) if isinstance(given, dict) else ({}, [fault("must be object")])


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def labels_faults(labels: dict[Any, Any], *path: str) -> Faults:
    """Return the faults of labels at a path."""
    faults: Faults = []
    if len(labels) > MOST_LABELS:
        faults.append(fault(f"must have at most {MOST_LABELS} labels", *path))
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            faults.append(fault(f"must have a key that matches {LABEL_KEY.pattern}", *path, key))
        faults += text_faults(value, 0, LONGEST_LABEL, *path, key)
    return faults


def text_faults(value: Any, shortest: int, longest: int, *path: str) -> Faults:
    """Return the faults of a text at a path."""
    if not isinstance(value, str):
        return [fault("must be string", *path)]
    faults: Faults = []
    if not shortest <= len(value) <= longest:
        faults.append(fault(f"must be {shortest} to {longest} characters", *path))
    if any(_is_control(character) for character in value):
        faults.append(fault("must not contain control characters", *path))
    return faults


def _is_control(character: str) -> bool:
    """Check whether a character is a control character, or half of a surrogate pair, which UTF-8 cannot encode."""
    return unicodedata.category(character) in ("Cc", "Cs")


def fault(message: str, *path: str) -> dict[str, str]:
    """Return a fault of the value at the path. Without a path, it is a fault of the body."""
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    if len(pointer) > _LONGEST_POINTER:
        pointer = pointer[:_LONGEST_POINTER] + "..."
    readable = "".join("?" if _is_control(character) else character for character in pointer)
    return {"instancePath": readable, "message": message}
