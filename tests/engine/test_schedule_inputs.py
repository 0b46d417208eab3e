"""Tests of a schedule's input, of the meaning of conflicts for a run, and of its continuation in another invocation."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.aws.functions import Function
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Operation, Platform, Status, allowed_operations
from longshore.engine.schedules import Continuation, RunResult, ScheduleInput, _effect_of_conflict
from pydantic import ValidationError

from engine.aws import NO_ANSWER
from engine.stage import PROJECT, Stage

A, B = "a" * 24, "b" * 24
NOW = datetime(2025, 1, 15, 20, 0, 7, tzinfo=UTC)
SCHEDULED = datetime(2025, 1, 15, 20, tzinfo=UTC)
TEXT = "2025-01-15T20:00:00Z"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"all": True}, ScheduleInput(all=True, time=NOW)),
        ({"all": True, "time": TEXT}, ScheduleInput(all=True, time=SCHEDULED)),
        ({"project_id": A, "rule": "r"}, ScheduleInput(project_id=A, rule="r", time=NOW)),
        ({"time": TEXT, "input": {"container_ids": [A]}}, ScheduleInput(container_ids=[A], time=SCHEDULED)),
        (
            {"time": "2025-01-15T21:00:00.123456+01:00", "input": {"all": True}},
            ScheduleInput(all=True, time=SCHEDULED + timedelta(milliseconds=123)),
        ),
        ({"project_id": A, "container_ids": [B]}, ScheduleInput(project_id=A, container_ids=[B], time=NOW)),
    ],
)
def test_valid_events(event: dict[str, Any], expected: ScheduleInput) -> None:
    assert ScheduleInput.of(event, NOW) == expected


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"all": False},
        {"all": True, "project_id": A},
        {"all": True, "container_ids": [A]},
        {"container_ids": []},
        {"container_ids": ["A" * 24]},
        {"project_id": "a" * 23},
        {"all": True, "time": "2025-01-15T20:00:00"},
        {"all": True, "rule": "r" * 65},
        {"all": True, "more": 1},
        {"input": {"all": True}},
        {"time": TEXT, "input": {"all": True}, "more": 1},
    ],
)
def test_invalid_events(event: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScheduleInput.of(event, NOW)


@pytest.mark.parametrize(
    ("status", "pending", "effect"),
    [
        ("running", None, "failed"),
        ("paused", None, "failed"),
        ("stopped", None, "skipped"),
        ("failed", None, "skipped"),
        ("running", "stop", "skipped"),
        ("running", "force-stop", "skipped"),
        ("running", "restart", "failed"),
        ("stopped", "start", "failed"),
    ],
)
def test_conflicts(status: str, pending: str | None, effect: str) -> None:
    allowed = allowed_operations(Status(status), Operation(pending) if pending else None, Platform.HOST)
    data = {"allowed_operations": allowed, "pending_operation": {"operation": pending} if pending else None}
    assert _effect_of_conflict(Operation.STOP, data) == effect


def test_the_counts_of_a_result() -> None:
    result = RunResult(begun=1, skipped=2, failed=[A], left=[A, B], late=1, unauthorized=1)
    others = {"skipped": 2, "failed": 1, "continued": 2, "late": 1, "unauthorized": 1}
    assert result.counts == others | {"stopped": 1}
    assert result.model_copy(update={"operation": Operation.RESUME}).counts == others | {"resumed": 1}


class Functions:
    """A Lambda client that records its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self._error = error

    def invoke(self, **parameters: Any) -> None:
        self.calls.append(parameters)
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (5000, [5000]), (5001, [5000, 1])])
def test_the_remaining_containers_are_passed_on(count: int, sizes: list[int]) -> None:
    functions = Functions()
    ids = [f"{number:024x}" for number in range(count)]
    Continuation(Function(functions, "arn:f")).hand_on(ids, ScheduleInput(all=True, rule="r", time=SCHEDULED))  # type: ignore[arg-type]
    events = [json.loads(call["Payload"]) for call in functions.calls]
    assert [len(event["container_ids"]) for event in events] == sizes
    assert [each for event in events for each in event["container_ids"]] == ids
    for call, event in zip(functions.calls, events, strict=True):
        assert (call["FunctionName"], call["InvocationType"]) == ("arn:f", "Event")
        assert ScheduleInput.of(event, NOW).time == SCHEDULED
        assert event.keys() == {"container_ids", "rule", "time"}


def test_the_project_is_passed_on() -> None:
    functions = Functions()
    Continuation(Function(functions, "arn:f")).hand_on([B], ScheduleInput(project_id=A, time=SCHEDULED))  # type: ignore[arg-type]
    assert json.loads(functions.calls[0]["Payload"])["project_id"] == A


def test_passing_on_the_remaining_containers_fails() -> None:
    with pytest.raises(ExternalServiceError):
        Continuation(Function(Functions(NO_ANSWER), "arn:f")).hand_on([A], ScheduleInput(all=True))  # type: ignore[arg-type]


# --- the containers of a run ------------------------------------------------------------------------------------------


def run(stage: Stage, **wanted: Any) -> dict[str, int]:
    with stage.open():
        now = stage.clock.now()
        return stage.wired.schedules.run(ScheduleInput(**wanted, time=now), "run-1", lambda: True, now=now).counts


def only(**counts: int) -> dict[str, int]:
    return {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0, "unauthorized": 0} | counts


def test_a_container_that_does_not_exist(stage: Stage) -> None:
    assert run(stage, container_ids=[A]) == only(skipped=1)


def test_a_container_that_has_left_the_project(stage: Stage) -> None:
    container = stage.add("running")
    assert run(stage, container_ids=[container], project_id=A) == only(skipped=1)
    assert run(stage, container_ids=[container], project_id=PROJECT) == only(stopped=1)


@pytest.mark.parametrize("wanted", [{"all": True}, {"project_id": PROJECT}])
def test_a_container_with_a_pending_start_is_retried(stage: Stage, wanted: dict[str, Any]) -> None:
    """The container is not live yet, but will be."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(1)
    assert run(stage, **wanted) == only(failed=1)


def test_a_pending_start_in_another_project_is_skipped(stage: Stage) -> None:
    stage.claim(stage.add("stopped"), "start")
    stage.advance(1)
    assert run(stage, project_id=A) == only(skipped=1)


def test_a_claim_of_a_version_that_stored_no_time(stage: Stage) -> None:
    container = stage.add("stopped")
    pending = stage.claim(container, "start")
    stage.edit(container, requested_at=None)
    stage.tick = 0
    for seconds, effect in ((0, "skipped"), (0.001, "failed")):
        stage.clock.time = pending.started_at + timedelta(seconds=seconds)
        assert run(stage, container_ids=[container]) == only(**{effect: 1})


def test_an_unreadable_container_does_not_stop_the_others(stage: Stage) -> None:
    containers = [stage.add("running", number=number) for number in (1, 2)]
    stage.damage(containers[0])
    assert run(stage, container_ids=containers) == only(skipped=1, stopped=1)


def test_the_container_has_expired_in_the_meantime(stage: Stage) -> None:
    container = stage.add("running", server="i-1")
    stage.before("UpdateItem", lambda _: stage.terminate("i-1"))
    assert run(stage, container_ids=[container]) == only(skipped=1)


def test_the_containers_cannot_be_listed(stage: Stage) -> None:
    stage.fail("Scan", NO_ANSWER)
    with pytest.raises(ExternalServiceError):
        run(stage, all=True)
