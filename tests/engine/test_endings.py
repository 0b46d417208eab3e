"""Tests of sweeps that end the tasks which a container with nothing pending must not have."""

from datetime import timedelta

import pytest
from longshore.aws.ecs import EcsError
from longshore.domain.ledger import BETWEEN_LOOKS, UNSHOWN, KnownTask
from longshore.domain.lifecycle import Status
from longshore.domain.models import Container

from engine.aws import CLUSTER, DENIED, FAILED, HOST, NOT_FOUND, THROTTLED
from engine.stage import Stage, event
from local.emulator.ecs import SimulatedTask

MILLISECOND = timedelta(milliseconds=1)
REASON = "Longshore: not a task that its container may have"


def due_later(stage: Stage, container: str) -> Container:
    """Check that a sweep looks at the container again in 30 seconds, and not before. Returns it."""
    found = stage.container(container)
    assert found.tasks_due_at is not None
    assert timedelta(seconds=29) < found.tasks_due_at - stage.clock.now() <= BETWEEN_LOOKS
    assert found.due_at == found.pending_deadline == found.tasks_due_at
    assert stage.sweep() == {}
    return found


def finished(stage: Stage, container: str, status: str, rows: int) -> None:
    """Check that the ledger is empty, that the sweep looks no more, and that no row was written."""
    found = stage.container(container)
    assert (found.status, found.tasks, found.due_at, found.pending_deadline) == (status, {}, None, None)
    assert (stage.live(container), len(stage.rows(container))) == ([], rows)
    assert stage.sweep() == {}


def with_two_tasks(stage: Stage) -> tuple[str, SimulatedTask, SimulatedTask]:
    """Return a failed container whose ledger has two tasks, of which the first stops sooner."""
    container = stage.add("failed")
    first = stage.give_task(container, stop_timeout=10)
    ledger = stage.container(container).tasks
    second = stage.give_task(container, stop_timeout=40)
    stage.edit(container, tasks={**ledger, **stage.container(container).tasks})
    return container, first, second


def with_token(stage: Stage, *, crash_at: str) -> tuple[str, str]:
    """Return a failed container whose ledger has a client token without a task, and the token."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.crash(container, "start", crash_at)
    token, now = stage.pending(container).token, stage.clock.now()
    stage.edit(
        container, operation=None, status=Status.FAILED, tasks={token: KnownTask(called_from=now, called_until=now)}
    )
    stage.calls.clear()
    return container, token


# --- known tasks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_event", [True, False])
@pytest.mark.parametrize("status", ["failed", "expired", "stopped"])
def test_the_task_of_a_container_that_is_not_live(stage: Stage, status: str, by_event: bool) -> None:
    """A sweep stops the task at once. An event, or else a later sweep, finds that it has ended."""
    container = stage.add("stopped", status)
    task = stage.give_task(container)
    before = stage.container(container)
    assert before.due_at == before.status_since
    assert stage.sweep() == {"ending": 1}
    assert [(call["task"], call["reason"]) for call in stage.parameters("StopTask")] == [(task.arn, REASON)]
    assert due_later(stage, container).tasks.keys() == {task.id}
    stage.advance(31)
    assert not task.live
    if by_event:
        assert stage.deliver(event(task)) == "recorded"
    else:
        assert stage.sweep() == {"ended": 1}
    finished(stage, container, status, rows=2)
    assert (stage.count("RunTask"), stage.count("SendCommand")) == (0, 0)


def test_a_task_that_has_stopped_already(stage: Stage) -> None:
    container = stage.add("failed")
    task = stage.give_task(container)
    stage.ecs.exit(task.arn, 0)
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "failed", rows=1)


def test_a_task_that_ecs_does_not_know(stage: Stage) -> None:
    """It is gone after two sweeps, at least 30 seconds apart."""
    container = stage.add("failed")
    task = stage.give_task(container)
    stage.ecs.forget(task.arn)
    assert stage.sweep() == {"ending": 1}
    assert due_later(stage, container).tasks[task.id].absent_since is not None
    stage.clock.time = stage.container(container).tasks_due_at or stage.clock.now()
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "failed", rows=1)


def test_a_task_that_stop_task_does_not_know_and_that_ecs_shows(stage: Stage) -> None:
    container = stage.add("failed")
    task = stage.give_task(container)
    stage.fail("StopTask", NOT_FOUND, times=2)
    for _ in range(2):
        assert stage.sweep() == {"ending": 1}
        stage.advance(31)
    assert stage.container(container).tasks.keys() == {task.id}
    assert stage.sweep() == {"ending": 1}
    stage.advance(31)
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "failed", rows=1)


def test_two_tasks_end_one_after_the_other(stage: Stage) -> None:
    container, first, second = with_two_tasks(stage)
    assert stage.sweep() == {"ending": 1}
    assert [call["task"] for call in stage.parameters("StopTask")] == [first.arn, second.arn]
    stage.advance(31)
    assert stage.sweep() == {"ending": 1}
    assert due_later(stage, container).tasks.keys() == {second.id}
    stage.advance(31)
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "failed", rows=1)


def test_a_stray_of_a_live_container(stage: Stage) -> None:
    """Its own task is left alone, and the container keeps its status."""
    container = stage.add("running")
    (own,) = stage.live(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    for process in stray.containers:
        process.ignores_sigterm, process.stop_timeout = True, timedelta(seconds=40)
    assert stage.deliver(event(stray)) == "stray-stopped"
    due_later(stage, container)
    stage.advance(31)
    assert stage.sweep() == {"ending": 1}
    assert due_later(stage, container).tasks[stray.id].stray
    stage.advance(31)
    assert stage.sweep() == {"ended": 1}
    found = stage.container(container)
    assert (found.status, found.task_arn, list(found.tasks), found.due_at) == ("running", own.arn, [own.id], None)
    assert (stage.live(container), len(stage.rows(container))) == ([own], 1)
    assert {call["task"] for call in stage.parameters("StopTask")} == {stray.arn}


def test_the_task_of_a_container_whose_server_was_terminated(stage: Stage) -> None:
    container = stage.add("running", server=HOST)
    (task,) = stage.live(container)
    assert stage.terminate(HOST) == 1
    assert (stage.status(container), stage.known(container).arn) == ("expired", task.arn)
    assert stage.sweep() == {"ending": 1}
    stage.advance(31)
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "expired", rows=2)


# --- client tokens without a task -------------------------------------------------------------------------------------


def test_the_task_of_a_client_token_is_found_and_stopped(stage: Stage) -> None:
    """The sweep searches for it. It does not call RunTask, because nothing is pending."""
    container, token = with_token(stage, crash_at="RunTask")
    (task,) = stage.live(container)
    assert stage.sweep() == {"ending": 1}
    assert due_later(stage, container).tasks[token].arn == task.arn
    assert [call["task"] for call in stage.parameters("StopTask")] == [task.arn]
    stage.advance(31)
    assert stage.sweep() == {"ended": 1}
    finished(stage, container, "failed", rows=1)
    assert stage.count("RunTask") == 0


@pytest.mark.parametrize(("early", "effect"), [(MILLISECOND, "ending"), (timedelta(), "ended")])
def test_a_client_token_is_unused_after_two_late_searches(stage: Stage, early: timedelta, effect: str) -> None:
    container, token = with_token(stage, crash_at="UpdateItem")
    stage.tick = 0
    called_until = stage.known(container).called_until
    assert called_until is not None
    assert stage.sweep() == {"ending": 1}
    first = due_later(stage, container).tasks[token].absent_since
    assert first == stage.clock.now()
    stage.edit_known(container, absent_since=called_until + UNSHOWN - BETWEEN_LOOKS)
    stage.clock.time = called_until + UNSHOWN - early
    assert stage.sweep() == {effect: 1}
    # Each search lists tasks by both desired statuses.
    assert (stage.count("ListTasks"), stage.count("RunTask"), stage.count("StopTask")) == (2 * 2, 0, 0)
    if effect == "ended":
        finished(stage, container, "failed", rows=1)
    else:
        due_later(stage, container)


def test_a_task_and_a_client_token(stage: Stage) -> None:
    """The task that is known ends first. The search waits for it."""
    container = stage.add("failed")
    task = stage.give_task(container)
    past = stage.clock.now() - timedelta(minutes=20)
    stage.edit_known(container, "token", called_from=past, called_until=past)
    assert stage.sweep() == {"ending": 1}
    assert (stage.count("StopTask"), stage.count("ListTasks")) == (1, 0)
    for effect in ("ending", "ended"):
        stage.advance(31)
        assert stage.sweep() == {effect: 1}
    assert not task.live
    finished(stage, container, "failed", rows=1)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DENIED, FAILED, THROTTLED], ids=["denied", "failed", "throttled"])
def test_an_error_of_ecs_stores_what_was_found(stage: Stage, error: Exception) -> None:
    """The next sweep tries again, but not before 30 seconds have passed."""
    container, first, second = with_two_tasks(stage)
    stage.ecs.exit(first.arn, 0)
    stage.before("StopTask", lambda _: stage.fail("StopTask", error, times=-1), skip=1)
    assert stage.sweep() == {"failed": 1}
    assert stage.failures == [container]
    stage.heal()
    assert due_later(stage, container).tasks.keys() == {second.id}
    assert second.live
    for effect in ("ending", "ended"):
        stage.advance(60)
        assert stage.sweep() == {effect: 1}
    finished(stage, container, "failed", rows=1)


def test_an_error_of_dynamodb(stage: Stage) -> None:
    container = stage.add("failed")
    task = stage.give_task(container)
    before = stage.container(container)
    stage.fail("UpdateItem", FAILED, times=-1)
    assert stage.sweep() == {"failed": 1}
    assert (stage.container(container), stage.count("StopTask")) == (before, 1)
    stage.heal()
    stage.advance(31)
    assert not task.live
    assert stage.sweep() == {"ended": 1}


def test_a_container_that_changes_meanwhile(stage: Stage) -> None:
    container = stage.add("failed")
    task = stage.give_task(container)
    stage.before("UpdateItem", lambda _: stage.edit(container, generation=9))
    assert stage.sweep() == {"changed": 1}
    found = stage.container(container)
    assert (found.generation, list(found.tasks), found.tasks_due_at) == (9, [task.id], None)


def test_an_operation_that_begins_meanwhile_ends_the_task(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("failed")
    leftover = stage.give_task(container, stop_timeout=1)
    stage.before("StopTask", lambda _: stage.claim(container, "restart"))
    assert stage.sweep() == {"changed": 1}
    stage.pass_deadline()
    stage.pass_deadline()
    (task,) = stage.live(container)
    assert (stage.status(container), stage.container(container).task_arn) == ("running", task.arn)
    assert not leftover.live


@pytest.mark.parametrize(("operation", "status"), [("pause", "running"), ("resume", "paused")])
def test_a_stray_that_is_found_during_a_pause_or_resume_and_is_not_stopped_then(
    stage: Stage, operation: str, status: str
) -> None:
    """The operation does not wait for its end, so a sweep ends it after the operation."""
    container = stage.add(status)
    stage.claim(container, operation)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.fail("StopTask", DENIED)
    with pytest.raises(EcsError):
        stage.deliver(event(stray))
    while stage.container(container).operation is not None:
        stage.advance(61)
        stage.sweep()
    assert stage.status(container) == ("paused" if operation == "pause" else "running")
    for _ in range(2):
        stage.advance(61)
        stage.sweep()
    assert not stray.live
    assert list(stage.container(container).tasks) == [stage.container(container).own_token]
