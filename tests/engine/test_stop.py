"""Tests of the step `stop`: its calls and its results."""

from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import LastTask
from longshore.domain.lifecycle import Status
from longshore.engine.observations import Ended, NoEffect, Reached, Uncertain, Unobserved

from engine.aws import DENIED, FAILED, HOST, THROTTLED
from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
GONE = timedelta(seconds=30)


def test_a_running_task_is_stopped(stage: Stage) -> None:
    container = stage.add("running")
    pending = stage.claim(container, "stop")
    (task,) = stage.live(container)
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert (seen.at, seen.task.arn, seen.facts) == (stage.clock.now(), task.arn, seen.task.facts)
    assert seen.facts.exit_code == 0
    assert (findings.acted, findings.on_its_way, findings.absent) == (True, True, {})
    assert [call.operation for call in stage.calls[:2]] == ["StopTask", "DescribeTasks"]
    assert stage.parameters("StopTask")[0]["reason"] == f"Longshore operation {pending.id}"


def test_a_sweep_looks_up_the_task_before_stop_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.crash(container, "stop", "StopTask")
    stage.advance(1)
    stage.calls.clear()
    seen, findings = stage.attempt(container, look_first=True)
    assert isinstance(seen, Reached)
    assert (stage.count("StopTask"), stage.count("DescribeTasks")) == (0, 1)
    assert (findings.acted, findings.on_its_way) == (False, False)


def test_a_sweep_stops_a_task_that_was_not_asked_to_stop(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    seen, _ = stage.attempt(container, look_first=True)
    assert isinstance(seen, Reached)
    assert [call.operation for call in stage.calls[:2]] == ["DescribeTasks", "StopTask"]


def test_a_task_that_stops_slowly(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.claim(container, "stop")
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The task has not stopped")
    assert (findings.acted, findings.on_its_way) == (True, True)
    assert stage.count("StopTask") == 1


def test_a_container_without_a_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.edit(container, tasks={})
    stage.claim(container, "stop")
    assert stage.attempt(container).observation == Ended(stage.clock.now(), None)


@pytest.mark.parametrize("look_first", [False, True])
def test_a_task_that_ended_by_itself_before(stage: Stage, look_first: bool) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 5)
    stage.advance(1)
    stage.claim(container, "stop")
    seen, findings = stage.attempt(container, look_first=look_first)
    assert isinstance(seen, Ended)
    assert seen.task is not None
    assert (seen.at, seen.task.exit_code) == (task.stopped_at, 5)
    # StopTask returned the task, so it was not refused.
    assert findings.acted is not look_first


@pytest.mark.parametrize(("code", "ended"), [("UserInitiated", False), (None, False), ("SpotInterruption", True)])
def test_the_stop_code_distinguishes_a_stop_from_an_interruption(stage: Stage, code: str | None, ended: bool) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    stage.advance(1)
    stage.ecs.exit(task.arn, 0)
    task.stop_code = code
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended if ended else Reached)


@pytest.mark.parametrize(("status", "operation"), [("running", "stop"), ("running", "pause"), ("paused", "stop")])
def test_a_task_that_ended_at_an_unknown_time(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.advance(1)
    task.stopped_at = None
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended)
    assert (seen.at, seen.task is not None) == (stage.clock.now(), True)


@pytest.mark.parametrize(("before", "ended"), [(MILLISECOND, True), (timedelta(), False), (-MILLISECOND, False)])
def test_a_task_that_was_stopped_before_the_request(stage: Stage, before: timedelta, ended: bool) -> None:
    """The superseded operation may have stopped the task: the start of the first operation counts."""
    container = stage.add("running")
    pending = stage.claim(container, "stop")
    stage.edit_pending(container, started_at=pending.started_at + timedelta(seconds=9))
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    task.stop_code, task.stopped_at = "UserInitiated", pending.since - before
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended if ended else Reached)


@pytest.mark.parametrize(
    ("exit_code", "status", "operation", "answer"),
    [
        (0, "stopped", "stop", "Container is already stopped"),
        (5, "failed", "stop", "Container has failed"),
        (0, "stopped", "restart", "completed"),
        (5, "failed", "restart", "completed"),
        (0, "stopped", "force-stop", "Container is already stopped"),
        (5, "failed", "force-stop", "completed"),
        (0, "stopped", "pause", "Container is not running"),
        (5, "failed", "pause", "Container is not running"),
    ],
)
def test_an_operation_whose_task_ended_by_itself(
    stage: Stage, exit_code: int, status: str, operation: str, answer: str
) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, exit_code)
    stage.advance(1)
    if answer == "completed":
        assert stage.ask(container, operation).kind == "completed"
    else:
        assert stage.refused(container, operation, key="k") == answer
        record = stage.record()
        assert record is not None
        assert (record["answer"]["message"], record["answer"]["status"]) == (answer, status)
    row = stage.rows(container)[1]
    assert task.stopped_at is not None
    assert (row["to_status"], row["triggered_by"], row["transition_time"]) == (
        status,
        "system",
        to_text(task.stopped_at),
    )
    assert row["metadata"] == {
        "task_id": task.id,
        "reason": "Essential container in task exited",
        "stop_code": "EssentialContainerExited",
        "exit_code": exit_code,
    }
    assert "duration_ms" not in row
    assert stage.container(container).operation is None


def test_a_task_that_is_gone(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    assert stage.ask(container, "stop").kind == "accepted"
    known, absent = stage.container(container).tasks, stage.known(container).absent_since
    assert absent is not None
    seen, findings = stage.attempt(container, wait=0)
    assert seen == Unobserved("The task has not stopped")
    assert (findings.acted, findings.on_its_way, findings.tasks) == (False, False, known)
    stage.clock.time = absent + GONE
    stage.tick = 0
    assert stage.attempt(container, wait=0).observation == Ended(stage.clock.now(), None)
    assert stage.attempt(container, wait=0, look_first=True).observation == Ended(stage.clock.now(), None)


@pytest.mark.parametrize("status", ["running", "paused"])
def test_the_row_of_a_task_that_is_gone(stage: Stage, status: str) -> None:
    """If the task comes back, its event is applied, unless a command may have paused or unpaused it."""
    container = stage.add(status)
    (task,) = stage.live(container)
    version = stage.known(container).version
    stage.ecs.forget(task.arn)
    stage.ask(container, "stop")
    stage.advance(31)
    stage.sweep()
    after = stage.container(container)
    assert (after.status, after.operation, after.tasks) == ("failed", None, {})
    paused = status == "paused"
    assert after.last_task == LastTask(id=task.id, version=version, gone=True, paused=paused, unclear=paused)


def test_a_sweep_that_does_not_find_the_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.hide_tasks()
    seen, findings = stage.attempt(container, look_first=True)
    assert seen == Unobserved("ECS does not show the task")
    assert (stage.count("StopTask"), findings.acted, findings.on_its_way) == (0, False, False)


def test_a_stopped_task_that_ecs_no_longer_returns(stage: Stage) -> None:
    """StopTask returned the task, and ECS then no longer returns it: its end and exit code are unknown."""
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.claim(container, "stop")
    stage.hide_tasks()
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The task has not stopped")
    assert (findings.acted, findings.on_its_way) == (True, True)
    # Another lookup proves it.
    stage.edit(container, tasks=dict(findings.tasks or {}))
    stage.advance(30)
    assert stage.attempt(container, look_first=True).observation == Ended(stage.clock.now(), None)


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DENIED, NoEffect("Longshore is not permitted to do this on the cluster")),
        (FAILED, Uncertain("ECS returned an error")),
        (THROTTLED, Uncertain("ECS is receiving too many requests", throttled=True)),
    ],
    ids=["denied", "failed", "throttled"],
)
def test_failures_of_stop_task(stage: Stage, error: Exception, expected: object) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.fail("StopTask", error, times=-1)
    assert stage.attempt(container).observation == expected


def test_a_refused_lookup_has_no_effect(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.fail("DescribeTasks", DENIED, times=-1)
    seen, findings = stage.attempt(container, look_first=True)
    assert seen == NoEffect("Longshore is not permitted to do this on the cluster")
    assert not findings.acted


def test_a_lookup_that_fails_and_is_then_refused_has_no_effect(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.fail("DescribeTasks", FAILED)
    stage.fail("DescribeTasks", DENIED)
    seen, findings = stage.attempt(container, look_first=True)
    assert isinstance(seen, NoEffect)
    assert not findings.acted


def test_failed_lookups_after_stop_task_do_not_end_the_wait(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("running")
    stage.fail("DescribeTasks", FAILED, times=2)
    assert stage.ask(container, "stop").kind == "completed"


def test_a_stop_that_is_refused_is_abandoned(stage: Stage) -> None:
    container = stage.add("running")
    stage.fail("StopTask", DENIED)
    assert stage.refused(container, "stop") == "Longshore is not permitted to do this on the cluster"
    assert stage.container(container).operation is None
    assert len(stage.rows(container)) == 1


# --- paused tasks -----------------------------------------------------------------------------------------------------


def test_a_paused_task_is_unpaused_first(stage: Stage) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert findings.acted
    names = [call.operation for call in stage.calls if call.operation in ("SendCommand", "StopTask")]
    assert names == ["SendCommand", "StopTask"]
    assert stage.commands()[0]["action"] == ["unpause"]


def test_a_paused_task_that_is_already_unpaused_on_its_host(stage: Stage) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    task.containers[0].paused = False
    seen, _ = stage.attempt(container, host_is_done=True)
    assert isinstance(seen, Reached)
    assert (stage.count("SendCommand"), stage.count("StopTask")) == (0, 1)


@pytest.mark.parametrize("host_is_done", [False, True])
def test_a_refused_stop_after_an_unpause_has_had_an_effect(stage: Stage, host_is_done: bool) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    stage.fail("StopTask", DENIED)
    seen, findings = stage.attempt(container, host_is_done=host_is_done)
    assert isinstance(seen, Uncertain)
    assert findings.acted


def test_a_paused_task_that_cannot_be_unpaused(stage: Stage) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    stage.ssm.disconnect(HOST)
    seen, findings = stage.attempt(container)
    assert seen == NoEffect("The instance is not reachable through Systems Manager")
    assert (findings.acted, stage.count("StopTask")) == (False, 0)


def test_a_paused_task_whose_unpause_takes_long(stage: Stage) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    stage.ssm._delay = timedelta(seconds=60)
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The instance has not run the command yet")
    assert (findings.acted, findings.on_its_way, stage.count("StopTask")) == (True, False, 0)


def test_a_paused_task_that_has_stopped_already(stage: Stage) -> None:
    container = stage.add("paused")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.claim(container, "stop")
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended)
    assert (stage.count("SendCommand"), stage.count("StopTask")) == (0, 0)


def test_an_unpause_is_not_sent_again_for_a_running_container(stage: Stage) -> None:
    container = stage.add("paused")
    stage.claim(container, "stop")
    stage.edit(container, status=Status.RUNNING)
    stage.attempt(container, look_first=True)
    assert stage.count("SendCommand") == 0
