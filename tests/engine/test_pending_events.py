"""Tests of task events while an operation is pending."""

from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import KnownTask, LastTask

from engine.aws import CLUSTER, DENIED, FAILED, Call
from engine.stage import Stage, event, with_acting_event
from local.emulator.ecs import SimulatedTask


def writes(stage: Stage) -> int:
    return stage.count("UpdateItem") + stage.count("TransactWriteItems") + stage.count("PutItem")


# --- events of the container's own task -------------------------------------------------------------------------------

OPERATIONS = [("running", "stop"), ("running", "force-stop"), ("running", "restart"), ("running", "pause")]


@pytest.mark.parametrize(("status", "operation"), [*OPERATIONS, ("paused", "resume"), ("paused", "stop")])
def test_the_end_of_the_task_is_applied_without_a_call(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    pending = stage.claim(container, operation)
    (task,) = stage.live(container)
    stage.advance(1)
    stage.ecs.exit(task.arn, 3)
    reported = event(task)
    stage.hide_tasks()
    if operation == "restart":
        stage.fail("RunTask", FAILED, times=-1)
        with pytest.raises(ExternalServiceError):
            stage.deliver(reported)
    else:
        assert stage.deliver(reported) == "settled"
    assert stage.pending_ids == [pending.id]
    row = stage.rows(container)[1]
    # An essential container exited: the task ended on its own, unless a force-stop may have killed it.
    assert row["to_status"] == ("stopped" if operation == "force-stop" else "failed")
    assert row["triggered_by"] == ("user" if operation == "force-stop" else "system")
    assert row["metadata"]["exit_code"] == 3
    assert (stage.count("DescribeTasks"), stage.count("StopTask"), stage.count("SendCommand")) == (0, 0, 0)
    after = stage.container(container)
    assert (after.last_task, task.id in after.tasks) == (LastTask(id=task.id, version=task.version), False)


@pytest.mark.parametrize(("status", "operation"), [*OPERATIONS, ("paused", "resume")])
@pytest.mark.parametrize("reported", ["PENDING", "RUNNING", "DEACTIVATING", "STOPPING"])
def test_the_event_of_a_task_that_has_not_stopped_changes_nothing(
    stage: Stage, status: str, operation: str, reported: str
) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    (task,) = stage.live(container)
    assert stage.deliver(event(task, reported, version=99)) == "stale"
    assert (writes(stage), stage.count("StopTask"), stage.count("SendCommand")) == (0, 0, 0)


def test_the_event_of_a_task_that_was_absent_is_a_sighting(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    now = stage.clock.now()
    stage.edit_known(container, absent_since=now)
    stage.edit_known(container, "other", arn="arn:x", absent_since=now)
    before = stage.container(container)
    assert stage.deliver(event(task, version=task.version - 1)) == "stale"
    assert stage.deliver(event(task)) == "settled"
    after = stage.container(container)
    assert after.tasks == before.tasks | {task.id: KnownTask(arn=task.arn, shown=True, version=task.version)}
    assert (after.operation, after.generation) == (before.operation, before.generation + 1)
    assert stage.deliver(event(task)) == "stale"
    assert writes(stage) == 1


def test_a_container_that_changes_while_an_event_is_applied_is_read_again(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.before("TransactWriteItems", lambda _: stage.edit(container, generation=5))
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.count("TransactWriteItems")) == ("failed", 2)


@pytest.mark.parametrize("newer", [-1, 0, 1])
def test_an_end_is_applied_regardless_of_its_version(stage: Stage, newer: int) -> None:
    """A task that has stopped stays stopped."""
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    reported = event(task, "STOPPED", version=task.version + newer, stopCode="UserInitiated")
    assert stage.deliver(reported) == "settled"
    assert (stage.status(container), stage.container(container).tasks) == ("stopped", {})


def test_the_end_of_the_task_completes_a_stop(stage: Stage) -> None:
    container = stage.add("running")
    stage.crash(container, "stop", "StopTask")
    pending = stage.pending(container)
    stage.advance(1)
    (task,) = stage.ecs.tasks()
    assert stage.deliver(event(task)) == "settled"
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["triggered_by"], row["metadata"]["operation_id"]) == ("stopped", "user", pending.id)
    assert row["duration_ms"] > 900


def test_the_end_of_the_previous_task_during_a_start(stage: Stage) -> None:
    """The end is known already: the container has stopped."""
    container = stage.add("running")
    stage.ask(container, "stop")
    (task,) = stage.ecs.tasks()
    stage.claim(container, "start")
    assert stage.deliver(event(task, version=99)) == "stale"
    assert (writes(stage), stage.count("RunTask")) == (0, 0)


@pytest.mark.parametrize("newer", [-1, 0, 1])
def test_the_end_of_a_leftover_task_continues_the_start(stage: Stage, newer: int) -> None:
    container = stage.add("failed")
    leftover = stage.give_task(container, stop_timeout=40)
    assert stage.ask(container, "restart").kind == "accepted"
    stage.edit_known(container, leftover.id, version=50)
    stage.ecs.exit(leftover.arn, 137)
    stage.calls.clear()
    stage.change("RunTask", lambda _, answer: answer)
    assert stage.deliver(event(leftover, version=50 + newer)) == "settled"
    assert stage.count("RunTask") == 1
    (task,) = stage.live(container)
    assert (list(stage.container(container).tasks), arn_of_start(stage, container)) == (
        [stage.pending(container).token],
        task.arn,
    )
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "running"


def test_a_leftover_task_that_has_not_stopped(stage: Stage) -> None:
    container = stage.add("failed")
    leftover = stage.give_task(container, stop_timeout=40)
    stage.ask(container, "restart")
    runs = stage.count("RunTask")
    assert stage.deliver(event(leftover, "DEACTIVATING", version=99)) == "stale"
    assert stage.count("RunTask") == runs == 0


# --- events of another task during a start ----------------------------------------------------------------------------


def started(stage: Stage, **labels: str) -> tuple[str, SimulatedTask]:
    """Return a container whose pending start has run a task and recorded it."""
    container = stage.add("stopped", labels={"simulate.start": "never"} | labels)
    assert stage.ask(container, "start").kind == "accepted"
    (task,) = stage.live(container)
    stage.calls.clear()
    return container, task


def arn_of_start(stage: Stage, container: str) -> str | None:
    """Return the ARN of the task that the pending start has run."""
    return stage.known(container, stage.pending(container).token).arn


def come_up(stage: Stage, task: SimulatedTask) -> None:
    stage.ecs._running(task, stage.clock.now())
    task.version += 1


def test_the_start_of_the_recorded_task_is_applied_without_a_call(stage: Stage) -> None:
    container, task = started(stage)
    pending = stage.pending(container)
    come_up(stage, task)
    stage.advance(1)
    assert stage.deliver(event(task)) == "settled"
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["metadata"]["task_id"]) == ("running", task.id)
    assert (row["metadata"]["operation_id"], row["triggered_by"]) == (pending.id, "user")
    assert {call.service for call in stage.calls} == {"dynamodb"}
    after = stage.container(container)
    assert after.tasks == {pending.token: KnownTask(arn=task.arn, shown=True, version=task.version)}
    assert after.operation is None
    # Again.
    assert stage.deliver(event(task)) == "stale"


def test_the_failure_of_the_recorded_task_is_applied_without_a_call(stage: Stage) -> None:
    container, task = started(stage)
    reported = event(task, "STOPPED", version=9, stoppedReason="Out of disk", stoppedAt=stage.clock.now())
    assert stage.deliver(reported) == "settled"
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", "Out of disk")
    assert {call.service for call in stage.calls} == {"dynamodb"}
    after = stage.container(container)
    assert (after.tasks, after.last_task) == ({}, LastTask(id=task.id, version=9))


def test_the_end_of_the_recorded_task_after_it_ran(stage: Stage) -> None:
    container, task = started(stage)
    come_up(stage, task)
    stage.advance(5)
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "settled"
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running", "stopped"]
    assert task.started_at is not None
    assert stage.rows(container)[1]["transition_time"] == to_text(task.started_at)


def test_the_end_of_the_recorded_task_when_a_pause_is_claimed_between_its_two_rows(stage: Stage) -> None:
    """The event is applied again, because no other event reports the end."""
    container, task = started(stage)
    come_up(stage, task)
    stage.advance(5)
    stage.ecs.exit(task.arn, 0)
    stage.before("TransactWriteItems", lambda _: stage.crash(container, "pause", "UpdateItem"), skip=1)
    assert stage.deliver(event(task)) == "settled"
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running", "stopped"]
    assert stage.container(container).operation is None


@pytest.mark.parametrize("reported", ["PROVISIONING", "PENDING", "ACTIVATING", "DEACTIVATING"])
def test_a_recorded_task_that_is_starting_changes_nothing(stage: Stage, reported: str) -> None:
    container, task = started(stage)
    before = stage.container(container)
    assert stage.deliver(event(task, reported)) == "settled"
    assert stage.container(container) == before
    assert (writes(stage), stage.count("RunTask"), stage.count("StopTask")) == (0, 0, 0)


@pytest.mark.parametrize("reported", ["PENDING", "RUNNING"])
def test_another_task_than_the_recorded_task_is_stopped(stage: Stage, reported: str) -> None:
    container, task = started(stage)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray, reported)) == "stray-stopped"
    assert [call["task"] for call in stage.parameters("StopTask")] == [stray.arn]
    assert arn_of_start(stage, container) == task.arn
    assert stage.known(container, stray.id).stray


def test_the_end_of_another_task_than_the_recorded_task(stage: Stage) -> None:
    container, _ = started(stage)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.ecs.exit(stray.arn, 0)
    assert stage.deliver(event(stray)) == "stale"
    assert stage.count("StopTask") == 0


def test_a_task_that_is_not_recorded_is_found_with_the_token(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    stage.calls.clear()
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.count("RunTask")) == ("running", 1)
    assert stage.container(container).task_arn == task.arn


def test_a_starting_task_that_is_not_recorded(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    before = stage.container(container)
    stage.calls.clear()
    assert stage.deliver(event(task, "PENDING")) == "settled"
    assert (writes(stage), stage.count("RunTask"), stage.count("StopTask")) == (0, 0, 0)
    assert stage.container(container) == before


def test_a_stray_task_before_the_start_has_run_its_task(stage: Stage) -> None:
    """The event makes the start run its own task, records that task, and stops the stray task."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start")
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    assert arn_of_start(stage, container) not in (None, stray.arn)
    assert stage.known(container, stray.id).stray
    assert [call["task"] for call in stage.parameters("StopTask")] == [stray.arn]


def test_a_stray_task_whose_event_completes_the_start(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    stage.advance(1)
    (own,) = stage.live(container)
    assert stage.container(container).task_arn == own.arn != stray.arn


def test_a_container_that_is_deleted_in_the_meantime(stage: Stage) -> None:
    _, task = started(stage)
    stage.before("GetItem", lambda _: stage.dynamodb.tables["containers"].items.clear(), skip=1)
    assert stage.deliver(event(task, "PENDING")) == "settled"
    assert stage.count("StopTask") == 0


def test_the_event_of_a_start_that_fails_is_delivered_again(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    stage.fail("RunTask", FAILED)
    with pytest.raises(ExternalServiceError):
        stage.deliver(event(task))
    assert stage.pending(container).attempts == 0
    assert stage.deliver(event(task)) == "settled"
    assert stage.status(container) == "running"


# --- the operation afterwards -----------------------------------------------------------------------------------------


def test_an_event_that_ends_an_operation_with_an_error_is_not_an_error(stage: Stage) -> None:
    container, task = started(stage)
    reported = event(task, "STOPPED", version=9, stoppedAt=stage.clock.now())
    assert stage.deliver(reported) == "settled"
    assert stage.rows(container)[-1]["metadata"]["reason"] == "The task stopped before it ran"


def test_an_event_does_not_wait(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.claim(container, "restart")
    (task,) = stage.live(container)
    start = stage.clock.now()
    assert stage.deliver(event(task, "STOPPED", version=9, stopCode="UserInitiated")) == "settled"
    assert stage.clock.now() - start < timedelta(seconds=0.1)
    assert stage.pending(container).step == "start"


def test_a_repeated_end_while_the_driver_commits_it(stage: Stage) -> None:
    container = stage.add("running")

    def deliver(_: Call) -> None:
        (task,) = stage.ecs.tasks()
        assert stage.deliver(event(task)) == "settled"

    stage.before("TransactWriteItems", deliver)
    assert stage.ask(container, "stop").kind == "completed"
    assert len(stage.rows(container)) == 2


def test_an_event_while_the_operation_is_given_up(stage: Stage) -> None:
    """The task ended, so the opposite command is not needed."""
    container = stage.add("running")
    stage.claim(container, "pause")
    now = stage.clock.now()
    stage.edit_pending(container, giving_up="Gave up", giving_up_since=now)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "settled"
    assert stage.count("SendCommand") == 0
    assert (stage.status(container), stage.container(container).operation) == ("failed", None)


def test_an_event_with_a_refused_lookup_does_not_change_the_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    before = stage.container(container)
    stage.fail("RunTask", DENIED)
    with pytest.raises(ExternalServiceError):
        stage.deliver(event(task))
    assert stage.container(container) == with_acting_event(before)


@pytest.mark.parametrize(("operation", "status"), [("start", "running"), ("force-stop", "stopped")])
def test_an_event_after_the_deadline_takes_the_operation_over(stage: Stage, operation: str, status: str) -> None:
    """Only a driver may find out with RunTask which task a client token has run."""
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    if operation == "force-stop":
        stage.crash(container, "force-stop", "RunTask")
        stage.ecs.exit(task.arn, 1)
    stage.advance(61)
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.container(container).operation) == (status, None)
    assert len(stage.rows(container)) == 2
