"""Changes of a container that callers request: the JSON bodies of PATCH and of operations, and their faults. Pure."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.bodies import MOST_FAULTS, Faults, fault, labels_faults, read_object, text_faults
from longshore.domain.roles import Role
from longshore.domain.times import Moment
from longshore.domain.unchanged import UNCHANGED, Unchanged

LONGEST_NAME = 128
SHORTEST_IDLE_TIMEOUT = 300  # seconds
LONGEST_IDLE_TIMEOUT = 604_800  # seconds
LONGEST_REASON = 256
LARGEST_COUNT = 5000  # tasks of a service, the default quota of ECS


class ContainerChange(NamedTuple):
    """A requested change of a container.

    Attributes:
        name: The new name; None if it is unchanged.
        labels: The new labels, which replace all others; None if they are unchanged.
        stop_at: When the container is to be stopped; None: not at all.
        hold_until: Until when schedules skip the container; None: they do not skip it.
        idle_timeout: The seconds after which the running container is to be stopped; None: never.
        protection: The reason for which the container is protected; None: it is not protected.
        desired_count: The number of tasks that a start of the service restores. The other attributes are unchanged.
    """

    name: str | None = None
    labels: dict[str, str] | None = None
    stop_at: datetime | Unchanged | None = UNCHANGED
    hold_until: datetime | Unchanged | None = UNCHANGED
    idle_timeout: int | Unchanged | None = UNCHANGED
    protection: str | Unchanged | None = UNCHANGED
    desired_count: int | Unchanged = UNCHANGED

    @property
    def needs(self) -> Role:
        """The role that the change needs."""
        by_owner = (self.name, self.protection, self.desired_count) != (None, UNCHANGED, UNCHANGED)
        return Role.OWNER if by_owner else Role.OPERATOR

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
        given, faults = read_object(body)
        if faults:
            return cls(), faults
        if not given:
            return cls(), [fault(f"must have at least one of: {', '.join(cls._fields)}")]
        for key, value in given.items():
            match key:
                case "name":
                    faults += text_faults(value, 1, LONGEST_NAME, key)
                case "labels":
                    faults += _labels_faults(value)
                case "stop_at" | "hold_until":
                    faults += _time_faults(value, key) or past_faults(_time(value), now, key)
                case "idle_timeout":
                    faults += _idle_timeout_faults(value)
                case "protection":
                    faults += _protection_faults(value)
                case "desired_count":
                    faults += _count_faults(value)
                case _:
                    faults.append(fault(f"is unknown; the keys are: {', '.join(cls._fields)}", key))
        if faults:
            return cls(), faults[:MOST_FAULTS]
        change = cls(
            name=given.get("name"),
            labels=(given["labels"] or {}) if "labels" in given else None,
            stop_at=_time(given["stop_at"]) if "stop_at" in given else UNCHANGED,
            hold_until=_time(given["hold_until"]) if "hold_until" in given else UNCHANGED,
            idle_timeout=given.get("idle_timeout", UNCHANGED),
            protection=(given["protection"] or {}).get("reason") if "protection" in given else UNCHANGED,
            desired_count=given.get("desired_count", UNCHANGED),
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
    return [fault("must be in the future", key)] if isinstance(at, datetime) and at <= now else []


def _time_faults(value: Any, key: str) -> Faults:
    if value is None or (isinstance(value, str) and Moment.parse(value) is not None):
        return []
    return [fault("must be an RFC 3339 time with an offset, or null", key)]


def _time(value: Any) -> datetime | None:
    """Return a valid time, rounded down to the millisecond."""
    moment = None if value is None else Moment.parse(value)
    return None if moment is None else datetime.fromisoformat(moment.floor())


def _idle_timeout_faults(value: Any) -> Faults:
    if value is None:
        return []
    # Booleans are integers in Python.
    if isinstance(value, bool) or not isinstance(value, int):
        return [fault("must be integer or null", "idle_timeout")]
    if not SHORTEST_IDLE_TIMEOUT <= value <= LONGEST_IDLE_TIMEOUT:
        return [fault(f"must be {SHORTEST_IDLE_TIMEOUT} to {LONGEST_IDLE_TIMEOUT} seconds", "idle_timeout")]
    return []


def _count_faults(value: Any) -> Faults:
    # Booleans are integers in Python.
    if isinstance(value, bool) or not isinstance(value, int):
        return [fault("must be integer", "desired_count")]
    if not 1 <= value <= LARGEST_COUNT:
        return [fault(f"must be 1 to {LARGEST_COUNT}", "desired_count")]
    return []


def _protection_faults(value: Any) -> Faults:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [fault("must be object or null", "protection")]
    faults = [fault("is unknown; the only key is: reason", "protection", key) for key in value if key != "reason"]
    if "reason" not in value:
        return [*faults, fault("must have: reason", "protection")]
    return faults + text_faults(value["reason"], 1, LONGEST_REASON, "protection", "reason")


def _labels_faults(labels: object) -> Faults:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [fault("must be object or null", "labels")]
    return labels_faults(labels, "labels")
