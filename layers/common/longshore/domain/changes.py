"""Changes of a container's name and labels that callers request: the JSON body of PATCH and its faults. Pure."""

import json
import re
import unicodedata
from typing import Any, NamedTuple

from longshore.domain.roles import Role

LONGEST_NAME = 128
MOST_LABELS = 16
LABEL_KEY = re.compile(r"[a-z0-9._-]{1,63}")
LONGEST_LABEL = 128

Faults = list[dict[str, str]]

# A response with all faults of a body of several megabytes would exceed Lambda's limit.
_MOST_FAULTS = 100
_LONGEST_POINTER = 200


class ContainerChange(NamedTuple):
    """A requested change of a container.

    Attributes:
        name: The new name; None if it is unchanged.
        labels: The new labels, which replace all others; None if they are unchanged.
    """

    name: str | None = None
    labels: dict[str, str] | None = None

    @property
    def needs(self) -> Role:
        """The role that the change needs."""
        return Role.OPERATOR if self.name is None else Role.OWNER

    @classmethod
    def parse(cls, body: str | None) -> "tuple[ContainerChange, Faults]":
        """Read the change from the body of a request.

        Args:
            body: The text of the body; None if there is none.

        Returns:
            The change, and the faults: the JSON pointer of each invalid value, and what is wrong with it. The change
            must not be used if there are faults.
        """
        try:
            given = json.loads(body or "", parse_constant=_refuse)
        # Deeply nested values exhaust the stack.
        except (ValueError, RecursionError):
            return cls(), [_fault("must be valid JSON")]
        if not isinstance(given, dict):
            return cls(), [_fault("must be object")]
        if not given:
            return cls(), [_fault(f"must have at least one of: {', '.join(cls._fields)}")]
        faults: Faults = []
        for key, value in given.items():
            match key:
                case "name":
                    faults += _text_faults(value, 1, LONGEST_NAME, key)
                case "labels":
                    faults += _labels_faults(value)
                case _:
                    faults.append(_fault(f"is unknown; the keys are: {', '.join(cls._fields)}", key))
        if faults:
            return cls(), faults[:_MOST_FAULTS]
        return cls(given.get("name"), (given["labels"] or {}) if "labels" in given else None), []


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _labels_faults(labels: Any) -> Faults:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [_fault("must be object or null", "labels")]
    faults: Faults = []
    if len(labels) > MOST_LABELS:
        faults.append(_fault(f"must have at most {MOST_LABELS} labels", "labels"))
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            faults.append(_fault(f"must have a key that matches {LABEL_KEY.pattern}", "labels", key))
        faults += _text_faults(value, 0, LONGEST_LABEL, "labels", key)
    return faults


def _text_faults(value: Any, shortest: int, longest: int, *path: str) -> Faults:
    if not isinstance(value, str):
        return [_fault("must be string", *path)]
    faults: Faults = []
    if not shortest <= len(value) <= longest:
        faults.append(_fault(f"must be {shortest} to {longest} characters", *path))
    if any(_is_control(character) for character in value):
        faults.append(_fault("must not contain control characters", *path))
    return faults


def _is_control(character: str) -> bool:
    """Check whether a character is a control character, or half of a surrogate pair, which UTF-8 cannot encode."""
    return unicodedata.category(character) in ("Cc", "Cs")


def _fault(message: str, *path: str) -> dict[str, str]:
    """Return a fault of the value at the path. Without a path, it is a fault of the body."""
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    if len(pointer) > _LONGEST_POINTER:
        pointer = pointer[:_LONGEST_POINTER] + "..."
    readable = "".join("?" if _is_control(character) else character for character in pointer)
    return {"instancePath": readable, "message": message}
