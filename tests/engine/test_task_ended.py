"""Tests of tasks whose end ECS has shown. They leave the ledger, and nothing looks for them any more."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import OperationFailedError
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.models import Container

from engine.aws import CLUSTER, DENIED, FAILED, Call
from engine.stage import Stage, event

HOURS = 2 * 3600
OLDER = "arn:aws:ecs:x:y:task/z/1"


def failed_by_exit(stage: Stage, start: str = "") -> str:
    """Return a container that failed because its task ended. `start` labels the tasks that it runs later."""
    container = stage.add("running", labels={"simulate.start": start})
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "failed"
    return container


def has_ended(container: Container, arn: str) -> bool:
    """Check whether the container's item states that ECS has shown the end of this task."""
    last = container.last_task
    named = last is not None and last.id == arn.rsplit("/", 1)[-1]
    assert not (named and arn in [known.arn for known in container.tasks.values()])
    return named and last is not None and not last.gone


# --- use of a known end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["restart", "force-stop"])
def test_an_operation_on_a_container_with_an_old_end_is_not_delayed(stage: Stage, operation: str) -> None:
    container = failed_by_exit(stage)
    stage.advance(HOURS)
    stage.calls.clear()
    assert stage.ask(container, operation).kind == "completed"
    assert stage.count("StopTask") == 0


@pytest.mark.parametrize("operation", ["restart", "force-stop"])
def test_the_end_of_the_task_is_unknown(stage: Stage, operation: str) -> None:
    """ECS no longer returns the task but never reported its end, so it may only be temporarily missing."""
    stage.with_events()
    container = failed_by_exit(stage)
    last = stage.container(container).last_task
    assert last is not None
    arn = f"arn:aws:ecs:us-east-1:123456789012:task/{CLUSTER}/{last.id}"
    stage.edit(container, last_task=None, tasks={last.id: KnownTask(arn=arn, shown=True)})
    stage.advance(HOURS)
    assert stage.ask(container, operation).kind == "accepted"
    stage.advance(31)
    stage.sweep()
    stage.advance(1)
    assert stage.rows(container)[-1]["metadata"]["command"] == operation
    assert stage.container(container).operation is None


@pytest.mark.parametrize("newer", [-1, 0, 1])
@pytest.mark.parametrize("operation", [None, "restart"])
def test_a_late_event_of_a_task_whose_end_is_known_changes_nothing(
    stage: Stage, operation: str | None, newer: int
) -> None:
    """ECS may show an older state for a while, and events may arrive late, also while an operation is pending."""
    container = stage.add("running")
    (task,) = stage.live(container)
    running = task.to_api()
    stage.ecs.exit(task.arn, 3)
    stage.advance(1)
    stage.deliver_all()
    if operation is not None:
        stage.claim(container, operation)
    stage.calls.clear()
    before = stage.container(container)
    for status in ("PENDING", "RUNNING", "STOPPING"):
        assert stage.deliver(event(task, status, version=task.version + newer)) == "stale"
    if operation is None:
        stage.change("ListTasks", lambda *_: {"taskArns": [task.arn]})
        stage.change("DescribeTasks", lambda *_: {"tasks": [running | {"version": task.version + newer}]})
        assert stage.drift_sweep() == {"stale": 1}
    assert stage.container(container) == before
    assert (stage.count("StopTask"), stage.count("RunTask")) == (0, 0)


# --- records of an end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "ended", "entries"),
    [("stop", True, 0), ("force-stop", True, 0), ("restart", True, 1), ("pause", False, 1)],
)
def test_an_operation_records_the_end_that_it_saw(stage: Stage, operation: str, ended: bool, entries: int) -> None:
    stage.with_events()
    container = stage.add("running")
    arn = stage.container(container).task_arn
    assert arn is not None
    assert not has_ended(stage.container(container), arn)
    stage.ask(container, operation)
    after = stage.container(container)
    assert (has_ended(after, arn), len(after.tasks)) == (ended, entries)
    assert (after.task_arn == arn) is (operation == "pause")


def test_a_new_task_has_not_ended(stage: Stage) -> None:
    container = failed_by_exit(stage)
    before = stage.container(container)
    assert (before.tasks, before.last_task is not None and not before.last_task.gone) == ({}, True)
    assert stage.ask(container, "restart").kind == "completed"
    after = stage.container(container)
    (task,) = stage.live(container)
    assert (after.task_arn, after.last_task) == (task.arn, before.last_task)
    assert not has_ended(after, task.arn)


def test_a_start_whose_task_fails(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    with pytest.raises(OperationFailedError):
        stage.ask(container, "start")
    (task,) = stage.ecs.tasks()
    after = stage.container(container)
    assert (has_ended(after, task.arn), after.tasks) == (True, {})


def test_a_start_whose_task_has_run_and_ended(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.05", "simulate.exit-code": "3"})
    assert stage.ask(container, "start").kind == "completed"
    (task,) = stage.ecs.tasks()
    after = stage.container(container)
    assert (after.status, has_ended(after, task.arn), after.tasks) == ("failed", True, {})


@pytest.mark.parametrize("reported", [True, False])
def test_an_end_reported_by_an_event_or_found_by_a_sweep(stage: Stage, reported: bool) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.advance(1)
    if reported:
        stage.deliver_all()
    else:
        stage.drift_sweep()
    after = stage.container(container)
    assert (after.status, after.tasks) == ("failed", {})
    assert after.last_task == LastTask(id=task.id, version=task.version)


def test_a_task_that_is_gone_has_not_been_seen_to_end(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    stage.drift_sweep()
    stage.advance(31)
    stage.sweep()
    after = stage.container(container)
    assert (after.status, after.tasks, has_ended(after, task.arn)) == ("failed", {}, False)
    assert after.last_task == LastTask(id=task.id, version=task.version, gone=True)


def test_the_end_of_the_task_of_a_failed_container(stage: Stage) -> None:
    container = stage.add("stopped", "failed")
    task = stage.give_task(container)
    stage.ecs.exit(task.arn, 1)
    stage.advance(1)
    (reported,) = stage.events
    before = stage.container(container)
    assert before.due_at is not None
    assert stage.deliver(reported) == "recorded"
    after = stage.container(container)
    changes: dict[str, Any] = {"tasks": {}, "pending_deadline": None, "generation": before.generation + 1}
    assert after == before.model_copy(update=changes)
    assert after.due_at is None
    # Late events of it find nothing to change.
    assert stage.deliver(event(task, "RUNNING")) == "stale"
    assert stage.deliver(reported) == "stale"
    assert stage.container(container) == after


def test_a_task_that_runs_after_all_has_not_ended(stage: Stage) -> None:
    """It only counted as gone."""
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, tasks={}, last_task=LastTask(id=task.id, version=task.version - 1, gone=True))
    assert stage.drift_sweep() == {"recorded": 1}
    after = stage.container(container)
    assert (after.status, after.task_arn, after.last_task) == ("running", task.arn, None)


@pytest.mark.parametrize("shown", [True, False])
def test_a_start_that_is_given_up(stage: Stage, shown: bool) -> None:
    """Its task may still start. The previous task, whose end was seen, is another task."""
    container = failed_by_exit(stage, "never")
    last = stage.container(container).last_task
    assert last is not None
    assert stage.ask(container, "restart").kind == "accepted"
    (task,) = stage.live(container)
    assert stage.container(container).last_task == last
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    if not shown:
        stage.hide_tasks()
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.operation, after.last_task, has_ended(after, task.arn)) == (None, last, False)
    assert [known.arn for known in after.tasks.values()] == [task.arn]
    assert after.due_at == after.status_since
    assert [call["task"] for call in stage.parameters("StopTask")] == [task.arn]


@pytest.mark.parametrize("operation", ["stop", "pause"])
def test_an_operation_that_is_given_up_has_seen_no_end(stage: Stage, operation: str) -> None:
    container = stage.add("running")
    arn = stage.container(container).task_arn
    stage.claim(container, operation)
    stage.fail("StopTask", FAILED, times=-1)
    stage.ssm._delay = timedelta(hours=1)
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.status, after.last_task, after.due_at) == ("failed", None, after.status_since)
    assert [known.arn for known in after.tasks.values()] == [arn]


def test_a_start_whose_task_is_gone(stage: Stage) -> None:
    """The task has left the ledger, and its end was not seen."""
    stage.with_events()
    container = failed_by_exit(stage, "never")
    last = stage.container(container).last_task
    stage.ask(container, "restart")
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    stage.clock.time = stage.pending(container).deadline
    absent_since = stage.clock.now() - timedelta(seconds=30)
    stage.edit_known(container, stage.pending(container).token, absent_since=absent_since, shown=True)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.status, after.tasks, after.last_task) == ("failed", {}, last)
    assert not has_ended(after, task.arn)
    # If ECS shows it again, it is stopped like every task that its container does not have.
    assert stage.deliver(event(task, "RUNNING")) == "stray-stopped"
    assert [call["task"] for call in stage.parameters("StopTask")] == [task.arn]
    assert stage.known(container).stray


def test_a_restart_whose_task_is_gone_continues_immediately(stage: Stage) -> None:
    """The start step needs no further proof after the two lookups of the stop step."""
    stage.with_events()
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    assert stage.ask(container, "restart").kind == "accepted"
    stage.clock.time = stage.pending(container).deadline
    assert stage.sweep() == {"accepted": 1}
    stage.advance(1)
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "failed", "running"]


def test_the_end_of_an_earlier_task_does_not_count_for_the_task(stage: Stage) -> None:
    """Version 0.1 has started another task since, and changed neither attribute."""
    container = stage.add("stopped", "running")
    arn = stage.container(container).task_arn
    item = stage.dynamodb.tables["containers"].items[(container,)]
    item |= {"schema": {"N": "2"}, "ended_task_arn": {"S": OLDER}, "paused_task_arn": {"S": OLDER}}
    del item["tasks"]
    read = stage.container(container)
    assert (read.task_arn, read.last_task) == (arn, None)
    stage.hide_tasks()
    assert stage.ask(container, "pause").kind == "accepted"
    assert (stage.status(container), stage.container(container).task_arn) == ("running", arn)


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("operation", ["stop", "restart", "force-stop"])
def test_an_end_that_an_operation_saw_is_kept_until_all_tasks_have_ended(
    stage: Stage, operation: str, reported: bool
) -> None:
    """The container's own task ends within a second, and a stray only after 50."""
    if reported:
        stage.with_events()
    container = stage.add("running", fargate=True)
    (own,) = stage.live(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container, None, "FARGATE")
    for process in stray.containers:
        process.ignores_sigterm, process.stop_timeout = True, timedelta(seconds=50)
    stage.edit_known(container, stray.id, arn=stray.arn, shown=True, stray=True)
    assert stage.ask(container, operation).kind == "accepted"
    assert (own.live, stray.live, stage.status(container)) == (False, True, "running")
    for _ in range(3):
        stage.pass_deadline()
    after = stage.container(container)
    rows = stage.rows(container)[1:]
    assert [row["to_status"] for row in rows] == ["stopped", "running"][: 2 if operation == "restart" else 1]
    assert {row["metadata"]["command"] for row in rows} == {operation}
    assert (after.operation, has_ended(after, own.arn)) == (None, True)
    assert len(stage.live(container)) == len(after.tasks) == len(rows) - 1


@pytest.mark.parametrize("operation", ["stop", "force-stop"])
def test_an_end_that_an_operation_saw_is_kept_if_a_later_call_fails(stage: Stage, operation: str) -> None:
    """The container's own task has ended, and StopTask is refused for a stray."""
    container = stage.add("running", fargate=True)
    (own,) = stage.live(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container, None, "FARGATE")
    stage.edit_known(container, stray.id, arn=stray.arn, shown=True, stray=True)
    stage.claim(container, operation)

    def refuse(call: Call) -> None:
        stage.before("StopTask", refuse)
        if call.parameters["task"] == stray.arn:
            raise DENIED

    stage.before("StopTask", refuse)
    stage.advance(61)
    assert stage.sweep() == {"failed": 1}
    stage.advance(1)
    assert stage.sweep() == {"failed": 1}
    assert (own.live, stray.live, stage.status(container)) == (False, True, "running")
    stage._hooks.clear()
    stage.advance(61)
    stage.sweep()
    stage.advance(61)
    stage.sweep()
    after = stage.container(container)
    assert (after.status, after.tasks, after.operation, has_ended(after, own.arn)) == ("stopped", {}, None, True)
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped"]
