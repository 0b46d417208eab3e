"""Tests of scheduled stops: the effect of a run on each container, and its retries."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.engine.schedules import LATEST, RunResult, ScheduleInput

from engine.aws import FAILED, NO_ANSWER
from engine.stage import PROJECT, Stage

NOTHING = {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0, "unauthorized": 0}
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_container_is_stopped_without_a_wait(stage: Stage, status: str) -> None:
    stage.with_events()
    container = stage.add(status)
    scheduled = stage.clock.now() - timedelta(seconds=30)
    start = stage.clock.now()
    assert stage.schedule(scheduled, container) == NOTHING | {"stopped": 1}
    assert stage.clock.now() - start < timedelta(seconds=0.1)
    # A paused container has to be unpaused before StopTask.
    assert (stage.count("StopTask"), stage.count("SendCommand")) == ((1, 0) if status == "running" else (0, 1))
    if stage.container(container).operation is not None:
        pending = stage.pending(container)
        assert (pending.triggered_by, pending.rule, pending.actor) == ("schedule", "nightly", None)
        assert pending.request_id == "run-1"
    assert stage.container(container).requested_at == scheduled
    stage.advance(1)
    stage.advance(1)
    row = stage.rows(container)[-1]
    assert (row["to_status"], row["triggered_by"]) == ("stopped", "schedule")
    assert (row["metadata"]["rule"], row["metadata"]["request_id"]) == ("nightly", "run-1")


@pytest.mark.parametrize("status", ["stopped", "failed", "expired"])
def test_a_container_that_is_not_live_is_skipped(stage: Stage, status: str) -> None:
    container = stage.add(status)
    assert stage.schedule(stage.clock.now(), container) == NOTHING | {"skipped": 1}
    assert stage.count("UpdateItem") == 0


@pytest.mark.parametrize(("before", "effect"), [(MILLISECOND, "stopped"), (timedelta(), "skipped")])
def test_a_container_with_a_later_request_is_skipped(stage: Stage, before: timedelta, effect: str) -> None:
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.edit(container, requested_at=scheduled - before)
    assert stage.schedule(scheduled, container) == NOTHING | {effect: 1}


def test_a_container_with_a_request_between_read_and_claim_is_skipped(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.before("UpdateItem", lambda _: stage.ask(container, "restart"))
    assert stage.schedule(scheduled, container) == NOTHING | {"skipped": 1}
    assert stage.status(container) == "running"


@pytest.mark.parametrize(
    ("status", "operation", "effect"),
    [
        ("running", "stop", "skipped"),
        ("running", "force-stop", "skipped"),
        ("running", "restart", "failed"),
        ("running", "pause", "failed"),
        ("stopped", "start", "failed"),
    ],
)
def test_a_container_with_an_earlier_pending_operation(stage: Stage, status: str, operation: str, effect: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    assert stage.schedule(stage.clock.now() + MILLISECOND, container) == NOTHING | {effect: 1}
    assert stage.pending(container).operation == operation


@pytest.mark.parametrize(
    ("late", "effect"), [(LATEST, "stopped"), (LATEST + MILLISECOND, "late"), (timedelta(days=1), "late")]
)
def test_a_run_more_than_an_hour_late_stops_nothing(stage: Stage, late: timedelta, effect: str) -> None:
    container = stage.add("running")
    assert stage.schedule(stage.clock.now() - late, container) == NOTHING | {effect: 1}


def test_a_conflict_that_leaves_the_container_running_is_retried(stage: Stage) -> None:
    container = stage.add("running")
    stage.before("UpdateItem", lambda _: stage.claim(container, "pause"))
    stage.before("UpdateItem", lambda _: stage.edit(container, requested_at=None))
    assert stage.schedule(stage.clock.now() + timedelta(seconds=9), container) == NOTHING | {"failed": 1}


@pytest.mark.parametrize("call", ["GetItem", "UpdateItem"])
def test_an_error_is_retried_and_does_not_affect_other_containers(stage: Stage, call: str) -> None:
    containers = [stage.add("running", number=number) for number in (1, 2)]
    stage.fail(call, NO_ANSWER)
    assert stage.schedule(stage.clock.now(), *containers) == NOTHING | {"failed": 1, "stopped": 1}


def test_a_stop_that_fails_is_pending_and_then_skipped(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.fail("StopTask", FAILED)
    assert stage.schedule(scheduled, container) == NOTHING | {"failed": 1}
    assert stage.schedule(scheduled, container) == NOTHING | {"skipped": 1}
    stage.pass_deadline()
    assert stage.status(container) == "stopped"


def test_a_refused_stop_does_not_count_as_a_request(stage: Stage) -> None:
    container = stage.add("paused")
    scheduled = stage.clock.now()
    stage.ssm.disconnect("i-0a1b2c3d4e5f60718")
    assert stage.schedule(scheduled, container) == NOTHING | {"failed": 1}
    assert (stage.container(container).operation, stage.container(container).requested_at) == (None, None)
    stage.ssm.connect("i-0a1b2c3d4e5f60718")
    assert stage.schedule(scheduled, container) == NOTHING | {"stopped": 1}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"all": True}, [1, 2]),
        ({"project_id": PROJECT}, [1, 2]),
        ({"project_id": "a" * 24}, []),
        ({"container_ids": ["507f1f77bcf86cd799439001"] * 2}, [1]),
    ],
)
def test_containers_in_scope_are_stopped(stage: Stage, wanted: dict[str, Any], expected: list[int]) -> None:
    for number in (1, 2):
        stage.add("running", number=number)
    stage.add("stopped", number=3)
    with stage.open():
        now = stage.clock.now()
        result = stage.wired.schedules.run(ScheduleInput(**wanted, time=now), "run-1", lambda: True, now=now)
    assert result == RunResult(begun=len(expected))
    stopped = [number for number in (1, 2, 3) if stage.container(f"507f1f77bcf86cd7994390{number:02d}").operation]
    assert stopped == expected


def test_the_run_ends_at_its_timeout(stage: Stage) -> None:
    containers = [stage.add("running", number=number) for number in (1, 2, 3)]
    answers = [True, False, False]
    with stage.open():
        now = stage.clock.now()
        wanted = ScheduleInput(container_ids=containers, time=now)
        result = stage.wired.schedules.run(wanted, "run-1", lambda: answers.pop(0), now=now)
    assert (result.begun, result.left) == (1, containers[1:])


def test_a_run_without_a_scheduled_time_uses_the_current_time(stage: Stage) -> None:
    container = stage.add("running")
    now = stage.clock.now()
    with stage.open():
        stage.wired.schedules.run(ScheduleInput(container_ids=[container]), "run-1", lambda: True, now=now)
    assert to_text(stage.container(container).requested_at or now + LATEST) == to_text(now)


def test_an_unreadable_item_is_reported_and_does_not_affect_other_containers(stage: Stage) -> None:
    """The item is not retried: a retry could not read it either."""
    containers = [stage.add("running", number=number) for number in (1, 2, 3)]
    stage.damage(containers[1])
    assert stage.schedule(stage.clock.now(), *containers) == NOTHING | {"stopped": 2, "skipped": 1}
    assert stage.failures == [containers[1]]


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_container_that_leaves_the_project_before_the_claim_is_retried(stage: Stage, status: str) -> None:
    container = stage.add(status)
    scheduled = stage.clock.now()
    stage.before("UpdateItem", lambda _: stage.edit(container, project_id="a" * 24))
    with stage.open():
        wanted = ScheduleInput(project_id=PROJECT, container_ids=[container], time=scheduled)
        run = stage.wired.schedules.run
        assert run(wanted, "run-1", lambda: True, now=stage.clock.now()) == RunResult(failed=[container])
        assert run(wanted, "run-1", lambda: True, now=stage.clock.now()) == RunResult(skipped=1)
    assert stage.container(container).operation is None
    assert stage.failures == [f"{container} in the cluster default"]
