"""Tests of the step `start` with failing calls, and with a previous task that may still live."""

from datetime import timedelta

import pytest
from longshore.domain.errors import OperationFailedError
from longshore.engine.observations import NoEffect, Reached, Uncertain, Unobserved

from engine.aws import DENIED, FAILED, HOST, NO_ANSWER, NOT_FOUND, THROTTLED
from engine.stage import Stage
from local.emulator.errors import AwsError

MILLISECOND = timedelta(milliseconds=1)
CONFLICT = AwsError("ConflictException", "The token is in use with other parameters")


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "calls", "expected"),
    [
        (DENIED, 1, NoEffect("Longshore is not permitted to do this on the cluster")),
        (FAILED, 8, Uncertain("ECS returned an error")),
        (NO_ANSWER, 8, Uncertain("ECS did not answer")),
        (THROTTLED, 1, Uncertain("ECS is receiving too many requests", throttled=True)),
    ],
    ids=["denied", "failed", "no answer", "throttled"],
)
def test_failures_of_run_task(stage: Stage, error: Exception, calls: int, expected: object) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", error, times=-1)
    seen, findings = stage.attempt(container)
    assert seen == expected
    assert stage.count("RunTask") == calls
    assert findings.acted is (error is not DENIED)
    assert ([known.arn for known in (findings.tasks or {}).values()], findings.on_its_way) == ([None], False)


def test_a_placement_failure(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.ecs.set_capacity(HOST, memory=0)
    seen, findings = stage.attempt(container)
    assert seen == NoEffect("No instance of the cluster has enough memory left", final=True)
    assert not findings.acted


def test_a_failed_call_is_repeated(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.fail("RunTask", FAILED, times=2)
    assert stage.ask(container, "start").kind == "completed"
    assert len({call["clientToken"] for call in stage.parameters("RunTask")}) == 1
    assert stage.count("RunTask") == 3


def test_a_refusal_after_a_failed_call_proves_nothing(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", FAILED)
    stage.fail("RunTask", DENIED)
    seen, findings = stage.attempt(container)
    assert seen == Uncertain("Longshore is not permitted to do this on the cluster")
    assert findings.acted


def test_failed_lookups_do_not_end_the_wait(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.fail("DescribeTasks", FAILED, times=2)
    assert stage.ask(container, "start").kind == "completed"


# --- a previous task --------------------------------------------------------------------------------------------------


def test_the_previous_task_of_a_failed_container_is_stopped_first(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("failed")
    leftover = stage.give_task(container)
    stage.ask(container, "restart")
    pending_id = stage.rows(container)[-1]["metadata"]["operation_id"]
    # The event of its end is seen after the next read of the item, and ends the wait.
    assert {(call["task"], call["reason"]) for call in stage.parameters("StopTask")} == {
        (leftover.arn, f"Longshore operation {pending_id}")
    }
    names = [call.operation for call in stage.calls if call.operation in ("StopTask", "RunTask")]
    assert (names[0], names[-1], names.count("RunTask")) == ("StopTask", "RunTask", 1)
    (task,) = stage.live(container)
    assert task.arn != leftover.arn
    assert stage.count("SendCommand") == 0


def test_the_previous_task_has_not_stopped(stage: Stage) -> None:
    container = stage.add("failed")
    stage.give_task(container, stop_timeout=40)
    stage.claim(container, "restart")
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The previous task has not stopped")
    assert (findings.acted, findings.on_its_way, len(findings.tasks or {})) == (True, True, 2)
    assert stage.count("RunTask") == 0


def test_the_previous_task_has_stopped_and_the_new_task_is_refused(stage: Stage) -> None:
    container = stage.add("failed")
    stage.give_task(container)
    stage.claim(container, "restart")
    stage.fail("RunTask", DENIED)
    seen, findings = stage.attempt(container, wait=15)
    assert seen == Uncertain("Longshore is not permitted to do this on the cluster")
    assert (findings.acted, findings.on_its_way) == (True, False)


def test_stop_task_does_not_find_the_previous_task(stage: Stage) -> None:
    container = stage.add("failed")
    leftover = stage.give_task(container)
    stage.claim(container, "restart")
    stage.fail("StopTask", NOT_FOUND, times=-1)
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The previous task has not stopped")
    absent = [known.arn for known in (findings.tasks or {}).values() if known.absent_since is not None]
    assert (absent, findings.acted) == ([leftover.arn], False)
    assert stage.count("RunTask") == 0
    stage.edit_known(container, leftover.id, absent_since=stage.clock.now() - timedelta(seconds=30))
    # StopTask does not find it, but DescribeTasks returns it: it lives.
    assert isinstance(stage.attempt(container).observation, Unobserved)
    stage.edit_known(container, leftover.id, absent_since=stage.clock.now() - timedelta(seconds=30))
    stage.hide_tasks(times=1)
    assert isinstance(stage.attempt(container).observation, Reached)


def test_the_previous_task_of_a_stopped_container_is_not_stopped(stage: Stage) -> None:
    container = stage.add("running")
    stage.ask(container, "stop")
    stage.calls.clear()
    stage.ask(container, "start")
    assert stage.count("StopTask") == 0


def test_no_row_for_an_operation_that_ends_without_an_effect(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.set_capacity(HOST, memory=0)
    with pytest.raises(OperationFailedError):
        stage.ask(container, "start")
    assert len(stage.rows(container)) == 1
