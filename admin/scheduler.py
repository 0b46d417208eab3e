"""The schedules of the API: listing, pausing and removing them.

They are in the stack's group of EventBridge Scheduler, under the name `<project_id>.<name>`. Members of the project
save them through the API, with their own roles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.aws.scheduler import ScheduleGroup
from longshore.domain.clock import SystemClock
from longshore.domain.timetable import next_runs, timetable, zone_of

from admin.errors import AdminError
from admin.target import Target

_OUTPUT = "ScheduleGroupName"
_NAME = re.compile(r"[0-9a-f]{24}\.[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class ApiSchedule:
    """A schedule that was saved through the API.

    Attributes:
        name: The id of the project, a dot, and the name of the schedule.
        input: The function's input, or None if it cannot be read.
        next_at: The next run time (UTC). None for a schedule that is disabled or over.
    """

    name: str
    expression: str
    timezone: str
    enabled: bool
    input: dict[str, Any] | None
    next_at: datetime | None

    @property
    def container_ids(self) -> list[str]:
        """The ids of the containers that the schedule names."""
        return list(map(str, (self.input or {}).get("container_ids") or []))

    def as_json(self) -> dict[str, Any]:
        """Return the schedule as printed by `schedule list --json`."""
        return {
            "name": self.name,
            "schedule": self.name,
            "expression": self.expression,
            "timezone": self.timezone,
            "enabled": self.enabled,
            "input": self.input,
            "next": self.next_at.isoformat().replace("+00:00", "Z") if self.next_at else None,
            "removable": True,
        }


def is_of_the_api(name: str) -> bool:
    """Return whether a name is that of a schedule of the API: the id of a project, a dot, and a name."""
    return _NAME.fullmatch(name) is not None


class ApiSchedules:
    """Manages the schedules that were saved through the API. Methods raise ExternalServiceError if AWS fails."""

    def __init__(self, group: ScheduleGroup) -> None:
        self._group = group

    @classmethod
    def of(cls, target: Target) -> ApiSchedules:
        """Create the schedules of a stack.

        Raises:
            AdminError: The stack is of a version without them.
        """
        return cls(ScheduleGroup(target.scheduler(), target.output(_OUTPUT), SystemClock()))

    def all(self) -> list[ApiSchedule]:
        """Return all schedules, sorted by name. A schedule that is deleted meanwhile is left out."""
        described = ((name, self._group.described(name)) for name in self._group.all_names())
        return [_schedule(name, answer) for name, answer in described if answer is not None]

    def set_enabled(self, name: str, *, enabled: bool) -> None:
        """Enable or disable a schedule.

        Raises:
            AdminError: The schedule does not exist.
        """
        if not self._group.set_enabled(name, enabled=enabled):
            raise AdminError(f"The schedule {name} does not exist.")

    def remove(self, name: str) -> None:
        """Remove a schedule.

        Raises:
            AdminError: The schedule does not exist.
        """
        if self._group.described(name) is None:
            raise AdminError(f"The schedule {name} does not exist.")
        self._group.delete_named(name)


def api_schedules(target: Target) -> list[ApiSchedule]:
    """Return the schedules of the API; none if the stack is of a version without them."""
    return ApiSchedules.of(target).all() if _OUTPUT in target.outputs else []


def _schedule(name: str, answer: Mapping[str, Any]) -> ApiSchedule:
    expression, zone = str(answer["ScheduleExpression"]), answer.get("ScheduleExpressionTimezone") or "UTC"
    enabled = answer.get("State") != "DISABLED"
    return ApiSchedule(
        name=name,
        expression=expression,
        timezone=zone,
        enabled=enabled,
        input=_input(answer),
        next_at=_next(expression, zone, answer.get("StartDate")) if enabled else None,
    )


def _input(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(answer["Target"]["Input"])["input"]
    except (KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _next(expression: str, zone_name: str, start: datetime | None) -> datetime | None:
    zone = zone_of(zone_name)
    try:
        found = None if zone is None else timetable(expression, zone)
    except ValueError:
        return None
    start_at = None if start is None else start.astimezone(UTC)
    return None if found is None else next(iter(next_runs(found, datetime.now(UTC), 1, start_at)), None)
