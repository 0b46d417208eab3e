"""Tests of the body of PUT /projects/{project_id}/schedules/{name}, and of a schedule's next runs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.domain.lifecycle import Operation
from longshore.domain.schedules import Schedule, ScheduleSettings, Targets

NOW = datetime(2025, 1, 15, 10, 30, 7, 123_000, tzinfo=UTC)
A, B = "a" * 24, "b" * 24
BODY = {"operation": "start", "expression": "cron(0 8 ? * MON-FRI *)", "targets": {"all": True}}
EXPRESSION = "must be a valid at(...), cron(...) or rate(...) of EventBridge Scheduler"
ZONE = "must be the IANA name of a time zone, such as Europe/Berlin"
FUTURE = "must have a time in the future"
OPERATION = "must be one of: start, stop, force-stop, restart, pause, resume"
ONE_OF = "must have exactly one of: all, labels, container_ids"
IDS = "must be array of 1 to 100 ids"


def parse(**changes: Any) -> tuple[ScheduleSettings, list[tuple[str, str]]]:
    settings, faults = ScheduleSettings.parse(json.dumps(BODY | changes), NOW)
    return settings, [(fault["instancePath"], fault["message"]) for fault in faults]


def schedule(expression: str, **changes: Any) -> Schedule:
    settings, faults = parse(expression=expression, **changes)
    assert faults == []
    return Schedule(A, "hours", settings, "ann", NOW)


def test_defaults() -> None:
    expected = ScheduleSettings(Operation.START, "cron(0 8 ? * MON-FRI *)", "UTC", Targets(), enabled=True)
    assert parse() == (expected, [])


@pytest.mark.parametrize("operation", Operation)
def test_every_operation(operation: Operation) -> None:
    assert parse(operation=operation.value)[0].operation is operation


@pytest.mark.parametrize(
    "targets",
    [
        {"all": True},
        {"labels": {"env": "dev", "team.a_b-9": ""}},
        {"container_ids": [A]},
        {"container_ids": [f"{number:024x}" for number in range(100)]},
    ],
)
def test_targets(targets: dict[str, Any]) -> None:
    settings, faults = parse(targets=targets)
    assert faults == []
    assert settings.targets.as_json() == targets


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"operation": None}, [("/operation", OPERATION)]),
        ({"operation": "START"}, [("/operation", OPERATION)]),
        ({"operation": ["start"]}, [("/operation", OPERATION)]),
        ({"expression": None}, [("/expression", "must be string")]),
        ({"expression": 5}, [("/expression", "must be string")]),
        ({"expression": "cron(0 8 * * *)"}, [("/expression", EXPRESSION)]),
        ({"expression": "rate(5 weeks)"}, [("/expression", EXPRESSION)]),
        ({"expression": "at(tomorrow)"}, [("/expression", EXPRESSION)]),
        ({"expression": "at(2025-01-15T10:30:07)"}, [("/expression", FUTURE)]),
        ({"expression": "at(2025-01-15T11:30:07)", "timezone": "Europe/Berlin"}, [("/expression", FUTURE)]),
        ({"expression": "at(2026-03-29T02:30:00)", "timezone": "Europe/Berlin"}, [("/expression", EXPRESSION)]),
        ({"expression": "cron(0 8 30 2 ? *)"}, [("/expression", FUTURE)]),
        ({"expression": "cron(0 8 * * ? 2024)"}, [("/expression", FUTURE)]),
        ({"expression": "cron(30 2 29 3 ? 2026)", "timezone": "Europe/Berlin"}, [("/expression", FUTURE)]),
        # A disabled schedule must be valid, too.
        ({"expression": "at(2025-01-15T10:30:07)", "enabled": False}, [("/expression", FUTURE)]),
        ({"timezone": None}, [("/timezone", ZONE)]),
        ({"timezone": "Berlin"}, [("/timezone", ZONE)]),
        ({"timezone": 1}, [("/timezone", ZONE)]),
        ({"enabled": None}, [("/enabled", "must be boolean")]),
        ({"enabled": "true"}, [("/enabled", "must be boolean")]),
        ({"enabled": 1}, [("/enabled", "must be boolean")]),
        ({"targets": None}, [("/targets", "must be object")]),
        ({"targets": "all"}, [("/targets", "must be object")]),
        ({"targets": {}}, [("/targets", ONE_OF)]),
        ({"targets": {"all": True, "labels": {"a": "b"}}}, [("/targets", ONE_OF)]),
        ({"targets": {"projects": [A]}}, [("/targets", ONE_OF)]),
        ({"targets": {"all": False}}, [("/targets/all", "must be true")]),
        ({"targets": {"all": 1}}, [("/targets/all", "must be true")]),
        ({"targets": {"labels": {}}}, [("/targets/labels", "must be object with at least one label")]),
        ({"targets": {"labels": ["env"]}}, [("/targets/labels", "must be object with at least one label")]),
        ({"targets": {"labels": {"env": 1}}}, [("/targets/labels/env", "must be string")]),
        ({"targets": {"labels": {"env": "x" * 129}}}, [("/targets/labels/env", "must be 0 to 128 characters")]),
        (
            {"targets": {"labels": {"E": "x"}}},
            [("/targets/labels/E", "must have a key that matches [a-z0-9._-]{1,63}")],
        ),
        (
            {"targets": {"labels": {str(number): "" for number in range(17)}}},
            [("/targets/labels", "must have at most 16 labels")],
        ),
        ({"targets": {"container_ids": []}}, [("/targets/container_ids", IDS)]),
        ({"targets": {"container_ids": A}}, [("/targets/container_ids", IDS)]),
        ({"targets": {"container_ids": [A] * 101}}, [("/targets/container_ids", IDS)]),
        (
            {"targets": {"container_ids": [A, "A" * 24, 5]}},
            [
                ("/targets/container_ids/1", "must be 24 characters of 0-9a-f"),
                ("/targets/container_ids/2", "must be 24 characters of 0-9a-f"),
            ],
        ),
        ({"name": "x"}, [("/name", "is unknown; the keys are: operation, expression, timezone, targets, enabled")]),
        (
            {"operation": 1, "expression": 1, "targets": 1, "enabled": 1},
            [
                ("/operation", OPERATION),
                ("/expression", "must be string"),
                ("/targets", "must be object"),
                ("/enabled", "must be boolean"),
            ],
        ),
    ],
)
def test_faults(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert parse(**changes)[1] == expected


@pytest.mark.parametrize("key", ["operation", "expression", "targets"])
def test_a_missing_key(key: str) -> None:
    body = {name: value for name, value in BODY.items() if name != key}
    _, faults = ScheduleSettings.parse(json.dumps(body), NOW)
    assert [fault["instancePath"] for fault in faults] == [f"/{key}"]


@pytest.mark.parametrize("body", [None, "", "{", "[]", "null", '{"operation": NaN}'])
def test_a_body_that_is_not_an_object(body: str | None) -> None:
    _, faults = ScheduleSettings.parse(body, NOW)
    assert [fault["instancePath"] for fault in faults] == [""]


def test_containers_outside_the_project() -> None:
    targets = Targets(container_ids=(A, B))
    assert targets.faults_outside({A: "web", B: "db"}) == []
    assert targets.faults_outside({B: "db"}) == [
        {"instancePath": "/targets/container_ids/0", "message": "must be a container of the project"}
    ]
    assert Targets().faults_outside({}) == []


# --- runs -------------------------------------------------------------------------------------------------------------


def test_the_next_three_runs() -> None:
    view = schedule("cron(0 8 ? * MON-FRI *)", timezone="Europe/Berlin").view(NOW)
    assert view["next_runs"] == ["2025-01-16T07:00:00.000Z", "2025-01-17T07:00:00.000Z", "2025-01-20T07:00:00.000Z"]
    assert view["updated_at"] == "2025-01-15T10:30:07.123Z"


def test_a_disabled_schedule_has_no_runs() -> None:
    assert schedule("rate(1 hour)", enabled=False).starting(None).view(NOW)["next_runs"] == []


def test_a_schedule_that_is_over_has_no_runs() -> None:
    once = schedule("at(2025-01-15T10:31:00)")
    assert len(once.next_runs(NOW)) == 1
    assert once.next_runs(NOW + timedelta(minutes=1)) == []


def test_a_rate_starts_one_interval_after_it_is_saved() -> None:
    saved = schedule("rate(2 hours)").starting(None)
    assert saved.start_at == datetime(2025, 1, 15, 12, 30, 7, tzinfo=UTC)
    assert saved.next_runs(NOW)[0] == saved.start_at


def test_saving_the_same_rate_again_does_not_delay_it() -> None:
    first = schedule("rate(2 hours)").starting(None)
    again = first._replace(saved_at=NOW + timedelta(hours=5), start_at=None).starting(first)
    assert again.start_at == datetime(2025, 1, 15, 16, 30, 7, tzinfo=UTC)
    other = schedule("rate(3 hours)")._replace(saved_at=NOW + timedelta(hours=5)).starting(first)
    assert other.start_at == datetime(2025, 1, 15, 18, 30, 7, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["cron(0 8 * * ? *)", "at(2025-01-16T00:00:00)"])
def test_other_schedules_have_no_start(expression: str) -> None:
    assert schedule(expression).starting(schedule("rate(1 hour)").starting(None)).start_at is None
