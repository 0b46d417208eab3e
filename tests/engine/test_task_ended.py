"""Tests of tasks whose end ECS has reported, so that a single later lookup proves that they are gone."""

from datetime import timedelta

import pytest
from longshore.domain.errors import OperationFailedError

from engine.aws import FAILED
from engine.stage import Stage

HOURS = 2 * 3600
NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


def failed_by_exit(stage: Stage, start: str = "") -> str:
    """Return a container that failed because its task ended. `start` labels the tasks that it runs later."""
    container = stage.add("running", labels={"simulate.start": start})
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "failed"
    return container


# --- use of a known end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["restart", "force-stop"])
def test_an_operation_on_a_container_with_an_old_end_is_not_delayed(stage: Stage, operation: str) -> None:
    container = failed_by_exit(stage)
    stage.advance(HOURS)
    assert stage.ask(container, operation).kind == "completed"


@pytest.mark.parametrize("operation", ["restart", "force-stop"])
def test_the_end_of_the_task_is_unknown(stage: Stage, operation: str) -> None:
    """ECS no longer returns the task but never reported its end, so it may only be temporarily missing."""
    stage.with_events()
    container = failed_by_exit(stage)
    stage.edit(container, ended_task_arn=None)
    stage.advance(HOURS)
    assert stage.ask(container, operation).kind == "accepted"
    stage.advance(31)
    stage.sweep()
    stage.advance(1)
    assert stage.rows(container)[-1]["metadata"]["command"] == operation
    assert stage.container(container).operation is None


def test_a_task_that_ecs_returns_is_not_gone_even_after_its_end(stage: Stage) -> None:
    """ECS may return an older state for a while."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.edit(container, ended_task_arn=stage.container(container).task_arn)
    arn = stage.container(container).task_arn
    assert arn is not None
    looking = stage.looking(container)
    with stage.open():
        assert not looking.is_gone(arn)  # this attempt has not looked yet
        assert looking.look(arn) is not None
        assert not looking.is_gone(arn)
        stage.hide_tasks()
        assert looking.look(arn) is None
        assert looking.is_gone(arn)
        assert looking.look(NOTED) is None
        assert not looking.is_gone(NOTED)  # another task, whose end is unknown
        stage.heal()
        assert looking.look(arn) is not None
        assert not looking.is_gone(arn)


# --- records of an end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "ended"), [("stop", True), ("force-stop", True), ("restart", False), ("pause", False)]
)
def test_an_operation_records_the_end_that_it_saw(stage: Stage, operation: str, ended: bool) -> None:
    stage.with_events()
    container = stage.add("running")
    assert not stage.container(container).task_ended
    stage.ask(container, operation)
    assert stage.container(container).task_ended is ended


def test_a_new_task_has_not_ended(stage: Stage) -> None:
    container = failed_by_exit(stage)
    assert stage.container(container).task_ended
    assert stage.ask(container, "restart").kind == "completed"
    assert not stage.container(container).task_ended


def test_a_start_whose_task_fails(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    with pytest.raises(OperationFailedError):
        stage.ask(container, "start")
    assert stage.container(container).task_ended


def test_a_start_whose_task_has_run_and_ended(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.05", "simulate.exit-code": "3"})
    assert stage.ask(container, "start").kind == "completed"
    after = stage.container(container)
    assert (after.status, after.task_ended) == ("failed", True)


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
    assert (stage.status(container), stage.container(container).task_ended) == ("failed", True)


def test_a_task_that_is_gone_has_not_been_seen_to_end(stage: Stage) -> None:
    container = stage.add("running")
    stage.ecs.forget(stage.live(container)[0].arn)
    stage.drift_sweep()
    stage.advance(31)
    stage.sweep()
    assert (stage.status(container), stage.container(container).task_ended) == ("failed", False)


def test_the_end_of_the_task_of_a_failed_container(stage: Stage) -> None:
    container = stage.add("stopped", "failed")
    task = stage.give_task(container)
    stage.ecs.exit(task.arn, 1)
    stage.advance(1)
    (event,) = stage.events
    before = stage.container(container)
    assert stage.deliver(event) == "recorded"
    assert stage.container(container) == before.model_copy(
        update={"ended_task_arn": task.arn, "task_version": task.version}
    )


def test_a_task_that_runs_after_all_has_not_ended(stage: Stage) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, ended_task_arn=task.arn, task_version=task.version - 1)
    assert stage.drift_sweep() == {"recorded": 1}
    assert (stage.status(container), stage.container(container).task_ended) == ("running", False)


@pytest.mark.parametrize("shown", [True, False])
def test_a_start_that_is_given_up(stage: Stage, shown: bool) -> None:
    """Its task may still start. The previous task, whose end was seen, is another task."""
    container = failed_by_exit(stage, "never")
    assert stage.ask(container, "restart").kind == "accepted"
    (task,) = stage.live(container)
    assert stage.container(container).task_ended
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    if not shown:
        stage.hide_tasks()
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.operation, after.task_arn, after.task_ended) == (None, task.arn, False)


@pytest.mark.parametrize("operation", ["stop", "pause"])
def test_an_operation_that_is_given_up_has_seen_no_end(stage: Stage, operation: str) -> None:
    container = stage.add("running")
    stage.claim(container, operation)
    stage.fail("StopTask", FAILED, times=-1)
    stage.ssm._delay = timedelta(hours=1)
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    assert (stage.status(container), stage.container(container).task_ended) == ("failed", False)


def test_a_start_whose_task_is_gone(stage: Stage) -> None:
    """The container has that task from then on, and its end was not seen."""
    stage.with_events()
    container = failed_by_exit(stage, "never")
    stage.ask(container, "restart")
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    stage.clock.time = stage.pending(container).deadline
    absent = {task.arn: stage.clock.now() - timedelta(seconds=30)}
    stage.edit_pending(container, absent=absent, task_shown=True)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.task_arn, after.task_version, after.task_ended) == (task.arn, 0, False)


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
    before = {"ended_task_arn": "arn:aws:ecs:x:y:task/z/1", "paused_task_arn": "arn:aws:ecs:x:y:task/z/1"}
    stage.edit(container, **before)
    assert (stage.container(container).task_ended, stage.container(container).was_paused) == (False, False)
    stage.hide_tasks()
    assert stage.ask(container, "pause").kind == "accepted"
    assert stage.status(container) == "running"
