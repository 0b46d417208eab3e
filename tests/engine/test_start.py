"""Tests of the step `start`: its calls and its results."""

from datetime import timedelta
from typing import Any

from longshore.domain.clock import to_text
from longshore.domain.facts import Observed
from longshore.domain.ledger import KnownTask, LastTask
from longshore.engine.observations import NeverRan, Reached, Unobserved

from engine.stage import Stage, event
from local.emulator.errors import AwsError

MILLISECOND = timedelta(milliseconds=1)
CONFLICT = AwsError("ConflictException", "The token is in use with other parameters")


def only(**changes: Any) -> Any:
    """Replace these fields of the task in an answer of RunTask."""
    return lambda _, answer: {"tasks": [answer["tasks"][0] | changes], "failures": []}


# --- with a task ---------------------------------------------------------------------------------------------------


def test_a_task_that_reaches_running(stage: Stage) -> None:
    container = stage.add("stopped")
    pending = stage.claim(container, "start")
    seen, findings = stage.attempt(container)
    (task,) = stage.live(container)
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert (seen.at, seen.facts, seen.task.arn, seen.task.version) == (
        stage.clock.now(),
        Observed(task_id=task.id),
        task.arn,
        2,
    )
    assert stage.parameters("RunTask")[0]["clientToken"] == pending.id
    assert (findings.acted, findings.on_its_way) == (True, False)
    assert findings.tasks == {pending.token: KnownTask(arn=task.arn, shown=True, version=2)}


def test_a_task_that_does_not_reach_running_in_time(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start")
    seen, findings = stage.attempt(container)
    (task,) = stage.live(container)
    assert isinstance(seen, Unobserved)
    assert seen.task is not None
    assert (seen.reason, seen.task.arn) == ("The task is PENDING", task.arn)
    assert (findings.acted, findings.on_its_way) == (True, True)
    assert [known.arn for known in (findings.tasks or {}).values()] == [task.arn]


def test_a_task_that_is_stopping_before_it_reaches_running(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.change("RunTask", only(lastStatus="DEPROVISIONING", stoppedReason="Out of disk"))
    seen, findings = stage.attempt(container, wait=0)
    assert isinstance(seen, Unobserved)
    assert (seen.reason, findings.on_its_way) == ("Out of disk", True)


def test_a_task_that_fails_to_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.claim(container, "start")
    seen, findings = stage.attempt(container)
    assert isinstance(seen, NeverRan)
    assert seen.task is not None
    assert seen.at == stage.clock.now()
    assert seen.reason.startswith("CannotPullContainerError")
    assert findings.tasks == {}


def test_the_row_of_a_task_that_fails_to_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    reason = stage.refused(container, "start", key="k")
    (task,) = stage.ecs.tasks()
    (row,) = stage.rows(container)[1:]
    assert row["to_status"] == "failed"
    assert {name: row["metadata"].get(name) for name in ("command", "task_id", "reason", "stop_code", "exit_code")} == {
        "command": "start",
        "task_id": task.id,
        "reason": reason,
        "stop_code": "TaskFailedToStart",
        "exit_code": None,
    }
    after = stage.container(container)
    assert (after.tasks, after.last_task, after.operation) == ({}, LastTask(id=task.id, version=task.version), None)
    assert stage.record() is None


def test_a_task_that_has_run_and_ended_before_the_first_lookup(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.05", "simulate.exit-code": "3"})
    assert stage.ask(container, "start").kind == "completed"
    (task,) = stage.ecs.tasks()
    running, ended = stage.rows(container)[1:]
    assert task.started_at is not None
    assert task.stopped_at is not None
    assert (running["to_status"], running["transition_time"]) == ("running", to_text(task.started_at))
    assert running["metadata"]["task_id"] == task.id
    assert (ended["to_status"], ended["transition_time"]) == ("failed", to_text(task.stopped_at))
    assert (ended["triggered_by"], ended["metadata"]["exit_code"]) == ("system", 3)
    assert "command" not in ended["metadata"]
    after = stage.container(container)
    assert (after.status, after.tasks, after.last_task) == ("failed", {}, LastTask(id=task.id, version=task.version))


def test_the_event_of_the_end_is_applied_if_the_driver_crashes_before_its_row(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.05"})
    stage.crash(container, "start", "TransactWriteItems")
    (task,) = stage.ecs.tasks()
    stage.advance(1)
    assert stage.deliver(event(task)) == "recorded"
    assert stage.status(container) == "stopped"


# --- a recorded task -------------------------------------------------------------------------------------------------


def noted(stage: Stage, container: str) -> str:
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    stage.edit_known(container, arn=task.arn, called_until=stage.clock.now())
    stage.calls.clear()
    return task.arn


def test_a_recorded_task_is_looked_up(stage: Stage) -> None:
    container = stage.add("stopped")
    arn = noted(stage, container)
    stage.advance(1)
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert [call["tasks"] for call in stage.parameters("DescribeTasks")] == [[arn]]
    assert (stage.count("RunTask"), findings.acted) == (0, False)


def test_a_recorded_task_that_ecs_does_not_return(stage: Stage) -> None:
    container = stage.add("stopped")
    arn = noted(stage, container)
    stage.hide_tasks()
    start = stage.clock.now()
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("ECS does not show the task")
    assert findings.on_its_way
    (known,) = (findings.tasks or {}).values()
    assert (known.arn, known.absent_since) == (arn, start + MILLISECOND)
    assert stage.count("RunTask") == 0


def test_a_recorded_task_that_is_gone(stage: Stage) -> None:
    container = stage.add("stopped")
    arn = noted(stage, container)
    stage.ecs.forget(arn)
    stage.pass_deadline()
    assert stage.status(container) == "stopped"
    stage.advance(300)
    with stage.open():
        seen, _ = stage.attempt(container)
    assert isinstance(seen, NeverRan)
    assert (seen.reason, seen.task) == ("The task is no longer known to ECS", None)
    stage.sweep()
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", "The task is no longer known to ECS")
    after = stage.container(container)
    assert (after.tasks, after.last_task) == ({}, None)


# --- repeated tokens whose task has stopped ---------------------------------------------------------------------------


def repeat_of_a_stopped_task(stage: Stage, container: str) -> str:
    """Run a task that stops after its driver has crashed. ECS answers its token without details. Returns its ARN."""
    stage.crash(container, "start", "RunTask")
    stage.advance(2)
    (task,) = stage.ecs.tasks()
    assert not task.live
    return task.arn


def test_a_repeated_token_whose_task_has_run_and_stopped(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.5"})
    arn = repeat_of_a_stopped_task(stage, container)
    seen, findings = stage.attempt(container)
    started_at = stage.ecs.task(arn).started_at
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert (seen.at, seen.task.is_stopped, findings.on_its_way) == (started_at, True, False)


def test_a_repeated_token_whose_task_never_ran(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    repeat_of_a_stopped_task(stage, container)
    seen, _ = stage.attempt(container)
    assert isinstance(seen, NeverRan)
    assert seen.reason.startswith("CannotPull")


def test_a_repeated_token_whose_task_ecs_does_not_return(stage: Stage) -> None:
    """RunTask's answer is not a lookup of the task."""
    container = stage.add("stopped", labels={"simulate.exit-after": "0.5"})
    arn = repeat_of_a_stopped_task(stage, container)
    stage.hide_tasks()
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Unobserved)
    assert seen.reason == "ECS does not show the task"
    (known,) = (findings.tasks or {}).values()
    assert (known.arn, known.absent_since is None, known.shown) == (arn, False, False)


def test_a_repeated_token_whose_task_is_gone(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.5"})
    arn = repeat_of_a_stopped_task(stage, container)
    past = stage.clock.now() - timedelta(minutes=6)
    stage.hide_tasks()
    stage.edit_known(container, absent_since=past)
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Unobserved)  # as far as this attempt knows, its RunTask was just now
    stage.edit_known(container, arn=arn, called_until=past, absent_since=past)
    seen, _ = stage.attempt(container)
    assert isinstance(seen, NeverRan)
