"""Tests of operations whose caller prefers to wait less than the usual time."""

from datetime import timedelta

import pytest
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest, Outcome

from engine.stage import USER, Stage


def ask(stage: Stage, container: str, wait: float | None, operation: str = "start", key: str | None = None) -> Outcome:
    preferred = None if wait is None else timedelta(seconds=wait)
    request = OperationRequest(container, Operation(operation), USER, "r-1", idempotency_key=key, wait=preferred)
    with stage.open():
        return stage.wired.operations.perform(request)


def test_no_wait(stage: Stage) -> None:
    """The task was run, and its event completes the operation."""
    container = stage.add("stopped")
    began = stage.clock.now()
    assert ask(stage, container, 0).kind == "accepted"
    assert stage.clock.now() - began < timedelta(seconds=0.1)
    assert [call.operation for call in stage.calls if call.service == "ecs"] == ["RunTask"]
    assert stage.status(container) == "stopped"
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "running"


@pytest.mark.parametrize(("wait", "waited"), [(3.0, 3), (20.0, 20), (60.0, 20), (None, 20)])
def test_a_wait_never_exceeds_that_of_the_stack(stage: Stage, wait: float | None, waited: float) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    began = stage.clock.now()
    assert ask(stage, container, wait).kind == "accepted"
    assert timedelta(seconds=waited - 0.5) <= stage.clock.now() - began <= timedelta(seconds=waited + 0.5)


def test_an_effect_within_the_wait(stage: Stage) -> None:
    assert ask(stage, stage.add("stopped"), 3).kind == "completed"


def test_a_conflict_does_not_wait(stage: Stage) -> None:
    assert stage.wired.operations.wait == timedelta(seconds=20)
    container = stage.add("running")
    assert stage.refused(container, "start") == "Container is already running"


def test_a_key_keeps_the_first_answer(stage: Stage) -> None:
    """A 202 that the caller preferred is what a repeat gets, however long the repeat would wait."""
    container = stage.add("stopped")
    first = ask(stage, container, 0, key="k")
    stage.advance(1)
    stage.deliver_all()
    assert first.kind == "accepted"
    assert ask(stage, container, None, key="k") == ask(stage, container, 0, key="k") == first
    assert [call.operation for call in stage.calls if call.service == "ecs"] == ["RunTask"]


def test_a_restart_without_events_leaves_time_for_the_start(stage: Stage) -> None:
    container = stage.add("running")
    assert ask(stage, container, 8, "restart").kind == "completed"
    calls = [call.operation for call in stage.calls if call.service == "ecs"]
    assert calls == ["StopTask", "DescribeTasks", "RunTask", "DescribeTasks"]


def test_a_restart_whose_stop_takes_long_without_events(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    assert ask(stage, container, 8, "restart").kind == "accepted"
    assert [call.operation for call in stage.calls if call.service == "ecs"] == ["StopTask", *["DescribeTasks"] * 2]
