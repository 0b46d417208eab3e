"""Changes of a container that callers request: the JSON bodies of PATCH and of operations, and their faults. Pure."""

import json
import re
import unicodedata
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.roles import Role
from longshore.domain.times import Moment
from longshore.domain.unchanged import UNCHANGED, Unchanged

LONGEST_NAME = 128
MOST_LABELS = 16
LABEL_KEY = re.compile(r"[a-z0-9._-]{1,63}")
LONGEST_LABEL = 128
SHORTEST_IDLE_TIMEOUT = 300  # seconds
LONGEST_IDLE_TIMEOUT = 604_800  # seconds
LONGEST_REASON = 256

Faults = list[dict[str, str]]

# A response with all faults of a body of several megabytes would exceed Lambda's limit.
_MOST_FAULTS = 100
_LONGEST_POINTER = 200


class ContainerChange(NamedTuple):
    """A requested change of a container.

    Attributes:
        name: The new name; None if it is unchanged.
        labels: The new labels, which replace all others; None if they are unchanged.
        stop_at: When the container is to be stopped; None: not at all.
        hold_until: Until when schedules skip the container; None: they do not skip it.
        idle_timeout: The seconds after which the running container is to be stopped; None: never.
        protection: The reason for which the container is protected; None: it is not protected.
    """

    name: str | None = None
    labels: dict[str, str] | None = None
    stop_at: datetime | Unchanged | None = UNCHANGED
    hold_until: datetime | Unchanged | None = UNCHANGED
    idle_timeout: int | Unchanged | None = UNCHANGED
    protection: str | Unchanged | None = UNCHANGED

    @property
    def needs(self) -> Role:
        """The role that the change needs."""
        return Role.OPERATOR if self.name is None and self.protection is UNCHANGED else Role.OWNER

    @property
    def protects(self) -> bool:
        """Whether the change sets a protection."""
        return isinstance(self.protection, str)

    def values(self, now: datetime) -> dict[str, Any]:
        """Return the new values of the container's attributes, by name. None removes an attribute."""
        values = {name: value for name, value in self._asdict().items() if value is not UNCHANGED}
        values = {name: value for name, value in values.items() if name not in ("name", "labels") or value is not None}
        if "stop_at" in values:
            values["stop_at_by"] = None
        if "idle_timeout" in values:
            values["idle_timeout_at"] = None if self.idle_timeout is None else now
        return values

    @classmethod
    def parse(cls, body: str | None, now: datetime) -> "tuple[ContainerChange, Faults]":
        """Read the change from the body of a request.

        Args:
            body: The text of the body; None if there is none.
            now: The current time (UTC), after which all given times must be.

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
                case "stop_at" | "hold_until":
                    faults += _time_faults(value, key) or past_faults(_time(value), now, key)
                case "idle_timeout":
                    faults += _idle_timeout_faults(value)
                case "protection":
                    faults += _protection_faults(value)
                case _:
                    faults.append(_fault(f"is unknown; the keys are: {', '.join(cls._fields)}", key))
        if faults:
            return cls(), faults[:_MOST_FAULTS]
        change = cls(
            name=given.get("name"),
            labels=(given["labels"] or {}) if "labels" in given else None,
            stop_at=_time(given["stop_at"]) if "stop_at" in given else UNCHANGED,
            hold_until=_time(given["hold_until"]) if "hold_until" in given else UNCHANGED,
            idle_timeout=given.get("idle_timeout", UNCHANGED),
            protection=(given["protection"] or {}).get("reason") if "protection" in given else UNCHANGED,
        )
        return change, []


def stop_at_of(body: str | None) -> tuple[datetime | Unchanged | None, Faults]:
    """Read `stop_at` from the body of an operation. Any other content is ignored.

    Args:
        body: The text of the body; None if there is none.

    Returns:
        When the container is to be stopped (None: not at all), UNCHANGED if the body does not say it, and the faults.
        The time may be in the past, because the answer that is stored for an Idempotency-Key is returned later too.
    """
    try:
        given = json.loads(body or "")
    except (ValueError, RecursionError):
        return UNCHANGED, []
    if not isinstance(given, dict) or "stop_at" not in given:
        return UNCHANGED, []
    faults = _time_faults(given["stop_at"], "stop_at")
    return (UNCHANGED, faults) if faults else (_time(given["stop_at"]), [])


def past_faults(at: datetime | Unchanged | None, now: datetime, key: str) -> Faults:
    """Return the fault of a time that is not in the future."""
    return [_fault("must be in the future", key)] if isinstance(at, datetime) and at <= now else []


def _time_faults(value: Any, key: str) -> Faults:
    if value is None or (isinstance(value, str) and Moment.parse(value) is not None):
        return []
    return [_fault("must be an RFC 3339 time with an offset, or null", key)]


def _time(value: Any) -> datetime | None:
    """Return a valid time, rounded down to the millisecond."""
    moment = None if value is None else Moment.parse(value)
    return None if moment is None else datetime.fromisoformat(moment.floor())


def _idle_timeout_faults(value: Any) -> Faults:
    if value is None:
        return []
    # Booleans are integers in Python.
    if isinstance(value, bool) or not isinstance(value, int):
        return [_fault("must be integer or null", "idle_timeout")]
    if not SHORTEST_IDLE_TIMEOUT <= value <= LONGEST_IDLE_TIMEOUT:
        return [_fault(f"must be {SHORTEST_IDLE_TIMEOUT} to {LONGEST_IDLE_TIMEOUT} seconds", "idle_timeout")]
    return []


def _protection_faults(value: Any) -> Faults:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [_fault("must be object or null", "protection")]
    faults = [_fault("is unknown; the only key is: reason", "protection", key) for key in value if key != "reason"]
    if "reason" not in value:
        return [*faults, _fault("must have: reason", "protection")]
    return faults + _text_faults(value["reason"], 1, LONGEST_REASON, "protection", "reason")


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
