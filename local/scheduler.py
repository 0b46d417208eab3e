"""An emulation of EventBridge Scheduler's deliveries: the schedules themselves are in moto.

Schedules with `at`, `rate` and `cron` run on the clock of this machine in their time zone. A schedule that is over is
deleted if its ActionAfterCompletion is DELETE. Unlike on AWS, an event is delivered to its function at most once;
Lambda then retries it.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.domain.timetable import Timetable, next_runs, timetable, zone_of

from local.template import Stack

LOG = logging.getLogger("local.scheduler")

_TICK = 0.2  # seconds between two looks at the clock
_PRINCIPAL = "scheduler.amazonaws.com"

Described = Mapping[str, Any]
"""A schedule as GetSchedule returns it, with times in seconds since 1970."""


class Scheduler:
    """Delivers the events of schedules to the functions of a stack.

    Args:
        stack: The translated template.
        schedules: Returns all current schedules.
        delete: Deletes a schedule. Takes the names of its group and of the schedule.
        send: Invokes a function asynchronously. Takes its logical id and the event.
        now: The clock, in UTC.
    """

    def __init__(
        self,
        stack: Stack,
        schedules: Callable[[], Iterable[Described]],
        delete: Callable[[str, str], object],
        send: Callable[[str, Any], object],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._functions = {function.arn: function.logical_id for function in stack.functions.values()}
        self._roles = {
            stack.physical_name(logical_id)
            for logical_id, role in stack.of_type("AWS::IAM::Role").items()
            if any(
                statement.get("Principal") == {"Service": _PRINCIPAL}
                for statement in role["AssumeRolePolicyDocument"]["Statement"]
            )
        }
        self._schedules = schedules
        self._delete = delete
        self._send = send
        self._now = now
        # By ARN: the schedule, and its next time.
        self._waiting: dict[str, tuple[Described, datetime | None]] = {}
        self._stopping = threading.Event()
        self._clock: threading.Thread | None = None

    def start(self) -> None:
        """Start to deliver events."""
        self._stopping.clear()
        self._clock = threading.Thread(target=self._run, name="local-scheduler", daemon=True)
        self._clock.start()

    def stop(self) -> None:
        """Stop to deliver events. A second call does nothing."""
        self._stopping.set()
        if self._clock is not None:
            self._clock.join()
            self._clock = None

    def fire(self, name: str, at: datetime | None = None) -> int:
        """Run a schedule, if it is enabled.

        Args:
            name: The name of the schedule, without its group.
            at: The scheduled time (UTC). None is the next whole second, so that all earlier requests precede it.

        Returns:
            The number of deliveries.

        Raises:
            KeyError: There is no such schedule.
        """
        found = next((each for each in self._schedules() if each["Name"] == name), None)
        if found is None:
            raise KeyError(name)
        scheduled_at = self._now() + timedelta(microseconds=999_999) if at is None else at
        return self._deliver(found, scheduled_at) if found["State"] == "ENABLED" else 0

    def tick(self) -> None:
        """Run the schedules whose time has come. Times that passed while the machine slept are skipped."""
        now = self._now()
        waiting: dict[str, tuple[Described, datetime | None]] = {}
        for found in self._schedules():
            if found["State"] != "ENABLED":
                continue
            known, at = self._waiting.get(found["Arn"], ({}, None))
            same = known == found
            if same and at is not None and at <= now:
                self._deliver(found, at)
                at = _next(found, now)
                if at is None and found.get("ActionAfterCompletion") == "DELETE":
                    self._delete(found["GroupName"], found["Name"])
                    continue
            waiting[found["Arn"]] = (found, at if same else _next(found, now))
        self._waiting = waiting

    def _run(self) -> None:
        while True:
            self.tick()
            if self._stopping.wait(_TICK):
                return

    def _deliver(self, schedule: Described, at: datetime) -> int:
        target = schedule["Target"]
        function = self._functions.get(target["Arn"])
        if function is None or target["RoleArn"].partition(":role/")[2] not in self._roles:
            LOG.warning("Schedule %s has no function and role of this stack", schedule["Name"])
            return 0
        values = {
            "schedule-arn": schedule["Arn"],
            "scheduled-time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "execution-id": uuid.uuid4().hex[:16],
            "attempt-number": "1",
        }
        text = target.get("Input") or "{}"
        for keyword, value in values.items():
            text = text.replace(f"<aws.scheduler.{keyword}>", value)
        self._send(function, json.loads(text))
        return 1


def _next(schedule: Described, now: datetime) -> datetime | None:
    found = _timetable(schedule)
    if found is None:
        return None
    # A schedule with equal intervals and without a start begins when it is created.
    start = datetime.fromtimestamp(schedule.get("StartDate") or schedule["CreationDate"], UTC)
    return next(iter(next_runs(found, now, 1, start)), None)


def _timetable(schedule: Described) -> Timetable | None:
    zone = zone_of(schedule.get("ScheduleExpressionTimezone") or "UTC")
    try:
        return None if zone is None else timetable(schedule["ScheduleExpression"], zone)
    except ValueError:
        LOG.warning("Schedule %s has an invalid expression", schedule["Name"])
        return None
