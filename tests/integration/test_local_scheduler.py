"""Tests of the emulation of EventBridge Scheduler, on a clock of the test."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local import template
from local.scheduler import Scheduler

STACK = template.load()
NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
FUNCTION = STACK.functions["ScheduledStopFunction"]
ROLE = f"arn:aws:iam::{template.ACCOUNT_ID}:role/{STACK.physical_name('ScheduleRole')}"


class World:
    """A scheduler with one schedule, whose clock advances with `run_until`."""

    def __init__(self, expression: str, **changes: Any) -> None:
        self.now = NOW
        self.sent: list[tuple[str, Any]] = []
        self.deleted: list[tuple[str, str]] = []
        self.schedules: list[dict[str, Any]] = [
            {
                "Arn": "arn:aws:scheduler:us-east-1:123456789012:schedule/g/n",
                "Name": "n",
                "GroupName": "g",
                "ScheduleExpression": expression,
                "ScheduleExpressionTimezone": "Europe/Berlin",
                "State": "ENABLED",
                "CreationDate": NOW.timestamp(),
                "ActionAfterCompletion": "NONE",
                "Target": {
                    "Arn": FUNCTION.arn,
                    "RoleArn": ROLE,
                    "Input": '{"time": "<aws.scheduler.scheduled-time>", "by": "<aws.scheduler.schedule-arn>"}',
                },
            }
            | changes
        ]
        self.scheduler = Scheduler(
            STACK,
            lambda: json.loads(json.dumps(self.schedules)),
            lambda group, name: self.deleted.append((group, name)),
            lambda function, event: self.sent.append((function, event)),
            lambda: self.now,
        )
        self.scheduler.tick()

    def run_until(self, end: datetime) -> list[str]:
        """Advance the clock by ten minutes at a time. Returns the scheduled times of the events."""
        while self.now < end:
            self.now += timedelta(minutes=10)
            self.scheduler.tick()
        return [event["time"] for _, event in self.sent]


@pytest.mark.parametrize(
    ("expression", "hours", "expected"),
    [
        ("cron(30 2 * * ? *)", 48, ["2026-03-30T00:30:00Z"]),
        ("at(2026-03-29T12:00:00)", 48, ["2026-03-29T10:00:00Z"]),
        ("rate(12 hours)", 30, ["2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"]),
    ],
)
def test_schedules_fire_in_their_time_zone(expression: str, hours: int, expected: list[str]) -> None:
    world = World(expression)
    assert world.run_until(NOW + timedelta(hours=hours)) == expected
    assert {function for function, _ in world.sent} == {"ScheduledStopFunction"}
    assert world.sent[0][1]["by"] == world.schedules[0]["Arn"]
    assert world.deleted == []


def test_a_schedule_is_deleted_after_its_completion() -> None:
    world = World("at(2026-03-29T12:00:00)", ActionAfterCompletion="DELETE")
    assert len(world.run_until(NOW + timedelta(hours=48))) == 1
    assert world.deleted[0] == ("g", "n")


def test_a_start_date() -> None:
    world = World("rate(1 hour)", StartDate=(NOW + timedelta(hours=5)).timestamp())
    assert world.run_until(NOW + timedelta(hours=6))[0] == "2026-03-28T17:00:00Z"


@pytest.mark.parametrize(
    "changes",
    [
        {"State": "DISABLED"},
        {"ScheduleExpression": "every day"},
        {"ScheduleExpressionTimezone": "Europe/Atlantis"},
        {"Target": {"Arn": FUNCTION.arn, "RoleArn": f"{ROLE}-of-another"}},
        {"Target": {"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "RoleArn": ROLE}},
    ],
)
def test_schedules_that_do_not_fire(changes: dict[str, Any]) -> None:
    assert World("rate(1 hour)", **changes).run_until(NOW + timedelta(hours=3)) == []


def test_a_changed_schedule() -> None:
    world = World("rate(1 hour)")
    world.schedules[0]["ScheduleExpression"] = "cron(0 15 * * ? *)"
    assert world.run_until(NOW + timedelta(hours=3)) == ["2026-03-28T14:00:00Z"]


def test_times_that_passed_while_the_machine_slept_are_skipped() -> None:
    world = World("rate(1 hour)")
    world.now += timedelta(hours=9, minutes=30)
    world.scheduler.tick()
    assert world.run_until(world.now + timedelta(minutes=30)) == ["2026-03-28T13:00:00Z", "2026-03-28T22:00:00Z"]
