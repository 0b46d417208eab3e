"""Schedules that callers save: the JSON body of PUT and its faults, and a schedule as the API returns it. Pure."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.bodies import MOST_FAULTS, Faults, fault, labels_faults, read_object
from longshore.domain.clock import to_text
from longshore.domain.lifecycle import Operation
from longshore.domain.timetable import Interval, Timetable, next_runs, timetable, zone_of

MOST_SCHEDULES = 100
"""The largest number of schedules of a project."""
MOST_CONTAINERS = 100
"""The largest number of container ids of a schedule."""
RUNS_SHOWN = 3

_KEYS = ("operation", "expression", "timezone", "targets", "enabled")
_TARGETS = ("all", "labels", "container_ids")
_ID_FORMAT = re.compile(r"[0-9a-f]{24}")


class Targets(NamedTuple):
    """The containers of a project on which a schedule operates. With neither attribute: all of them.

    Attributes:
        labels: The labels that a container must have; None if the schedule does not select by label.
        container_ids: The ids of the containers; None if the schedule does not name them.
    """

    labels: Mapping[str, str] | None = None
    container_ids: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, given: Any) -> "tuple[Targets, Faults]":
        """Read the targets of a JSON body, and their faults."""
        if not isinstance(given, dict):
            return cls(), [fault("must be object", "targets")]
        if len(given) != 1 or next(iter(given)) not in _TARGETS:
            return cls(), [fault(f"must have exactly one of: {', '.join(_TARGETS)}", "targets")]
        ((key, value),) = given.items()
        match key:
            case "all":
                return cls(), [] if value is True else [fault("must be true", "targets", key)]
            case "labels":
                if not isinstance(value, dict) or not value:
                    return cls(), [fault("must be object with at least one label", "targets", key)]
                return cls(labels=value), labels_faults(value, "targets", key)
            case _:
                if not isinstance(value, list) or not 1 <= len(value) <= MOST_CONTAINERS:
                    return cls(), [fault(f"must be array of 1 to {MOST_CONTAINERS} ids", "targets", key)]
                return cls(container_ids=tuple(value)), [
                    fault("must be 24 characters of 0-9a-f", "targets", key, str(position))
                    for position, identity in enumerate(value)
                    if not (isinstance(identity, str) and _ID_FORMAT.fullmatch(identity))
                ]

    def as_json(self) -> dict[str, Any]:
        """Return the targets as in the body."""
        if self.labels is not None:
            return {"labels": dict(self.labels)}
        return {"all": True} if self.container_ids is None else {"container_ids": list(self.container_ids)}

    def faults_outside(self, members: Collection[str]) -> Faults:
        """Return the faults of the container ids that are not among the members of the project."""
        return [
            fault("must be a container of the project", "targets", "container_ids", str(position))
            for position, identity in enumerate(self.container_ids or ())
            if identity not in members
        ]


class ScheduleSettings(NamedTuple):
    """What a schedule does, and when.

    Attributes:
        operation: The operation.
        expression: When it runs, as EventBridge Scheduler defines it (see `timetable`).
        timezone: The IANA name of the time zone of the expression.
        targets: The containers.
        enabled: Whether the schedule runs.
    """

    operation: Operation
    expression: str
    timezone: str = "UTC"
    targets: Targets = Targets()
    enabled: bool = True

    @classmethod
    def parse(cls, body: str | None, now: datetime) -> "tuple[ScheduleSettings, Faults]":
        """Read the settings from the body of a request.

        Args:
            body: The text of the body; None if there is none.
            now: The current time (UTC). An expression must have a later time.

        Returns:
            The settings, and the faults: the JSON pointer of each invalid value, and what is wrong with it. The
            settings must not be used if there are faults.
        """
        given, faults = read_object(body)
        faults += [fault(f"is unknown; the keys are: {', '.join(_KEYS)}", key) for key in given if key not in _KEYS]
        if faults:
            return _UNUSED, faults[:MOST_FAULTS]
        operation: Any = given.get("operation")
        expression = given.get("expression")
        zone, enabled = given.get("timezone", "UTC"), given.get("enabled", True)
        if operation not in list(Operation):
            faults.append(fault(f"must be one of: {', '.join(Operation)}", "operation"))
        faults += _times_faults(expression, zone, now)
        targets, wrong = Targets.parse(given.get("targets"))
        faults += wrong
        if not isinstance(enabled, bool):
            faults.append(fault("must be boolean", "enabled"))
        if faults:
            return _UNUSED, faults[:MOST_FAULTS]
        return cls(Operation(operation), str(expression), zone, targets, enabled), []

    @property
    def timetable(self) -> Timetable:
        """The times at which the schedule runs.

        Raises:
            ValueError: The time zone or the expression is not valid.
        """
        zone = zone_of(self.timezone)
        if zone is None:
            raise ValueError(f"{self.timezone} is not a time zone")
        return timetable(self.expression, zone)


_UNUSED = ScheduleSettings(Operation.STOP, "")


class Schedule(NamedTuple):
    """A saved schedule.

    Attributes:
        project_id: The project whose containers it operates on.
        name: The name, unique in the project.
        settings: What it does, and when.
        created_by: The user who saved it last, with whose role it runs.
        saved_at: When it was saved last (UTC).
        start_at: When a schedule with equal intervals runs first (UTC); None for other schedules.
    """

    project_id: str
    name: str
    settings: ScheduleSettings
    created_by: str
    saved_at: datetime
    start_at: datetime | None = None

    def starting(self, existing: "Schedule | None") -> "Schedule":
        """Return the schedule with the first time of a schedule with equal intervals.

        It is one interval after the schedule was saved. If the existing schedule has the same expression, it is the
        next time of the existing schedule, so that saving a schedule again does not delay it.
        """
        found = self.settings.timetable
        if not isinstance(found, Interval):
            return self
        same = existing is not None and existing.settings.expression == self.settings.expression
        start_at = existing.start_at if existing is not None and same else None
        (first,) = next_runs(found, self.saved_at.replace(microsecond=0), 1, start_at)
        return self._replace(start_at=first)

    def next_runs(self, now: datetime) -> list[datetime]:
        """Return the next three times (UTC) at which the schedule runs; none if it is disabled, or over."""
        if not self.settings.enabled:
            return []
        return next_runs(self.settings.timetable, now, RUNS_SHOWN, self.start_at)

    def view(self, now: datetime) -> dict[str, Any]:
        """Return the schedule as the API returns it: JSON values in the shape of `ScheduleView`."""
        return {
            "name": self.name,
            "operation": self.settings.operation.value,
            "expression": self.settings.expression,
            "timezone": self.settings.timezone,
            "targets": self.settings.targets.as_json(),
            "enabled": self.settings.enabled,
            "created_by": self.created_by,
            "updated_at": to_text(self.saved_at),
            "next_runs": [to_text(run) for run in self.next_runs(now)],
        }


def _times_faults(expression: Any, zone_name: Any, now: datetime) -> Faults:
    zone = zone_of(zone_name) if isinstance(zone_name, str) else None
    if zone is None:
        return [fault("must be the IANA name of a time zone, such as Europe/Berlin", "timezone")]
    if not isinstance(expression, str):
        return [fault("must be string", "expression")]
    try:
        found = timetable(expression, zone)
    except ValueError:
        return [fault("must be a valid at(...), cron(...) or rate(...) of EventBridge Scheduler", "expression")]
    return [] if next_runs(found, now, 1) else [fault("must have a time in the future", "expression")]
