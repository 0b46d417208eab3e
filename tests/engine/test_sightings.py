"""A task that an event tells of, or that ECS shows, while its operation's driver has not found it."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.task import Task

from engine.aws import CLUSTER, Call
from engine.stage import Stage
from local.emulator.ecs import SimulatedTask


def event(task: SimulatedTask, status: str | None = None, **changes: Any) -> dict[str, Any]:
    """The event of a task as it is, or with another status and other members."""
    detail = task.to_api() | ({"lastStatus": status} if status else {}) | changes
    return {"source": "aws.ecs", "detail": detail}


def absent(stage: Stage, operation: str = "stop") -> tuple[str, SimulatedTask]:
    """A container whose pending operation has not found its task half a minute ago."""
    container = stage.add("running")
    stage.claim(container, operation)
    (task,) = stage.live(container)
    stage.edit_pending(container, absent={task.arn: stage.clock.now() - timedelta(seconds=30)})
    return container, task


@pytest.mark.parametrize("told", ["PROVISIONING", "PENDING", "RUNNING", "DEACTIVATING", "STOPPING"])
def test_each_status_of_a_task_that_has_not_stopped_is_a_sighting(stage: Stage, told: str) -> None:
    container, task = absent(stage)
    generation = stage.container(container).generation
    assert stage.deliver(event(task, told)) == "stale"
    assert stage.pending(container).absent == {}
    assert stage.container(container).generation == generation + 1


def test_after_a_sighting_it_has_to_be_absent_twice_again(stage: Stage) -> None:
    container, task = absent(stage)
    stage.deliver(event(task))
    stage.hide_tasks()
    stage.clock.time = stage.pending(container).deadline
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("accepted", "running")


def test_the_drift_sweep_sights_tasks_too(stage: Stage) -> None:
    container, _ = absent(stage)
    assert stage.drift_sweep() == {"stale": 1}
    assert stage.pending(container).absent == {}


def test_the_end_of_a_task_is_no_sighting(stage: Stage) -> None:
    """What is known of it is written with the end alone."""
    container, task = absent(stage)
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "settled"
    assert (stage.count("UpdateItem"), stage.count("TransactWriteItems")) == (0, 1)
    assert stage.status(container) == "stopped"


def test_an_old_end_does_not_forget_the_look(stage: Stage) -> None:
    container, task = absent(stage)
    before = stage.container(container)
    assert stage.deliver(event(task, "STOPPED", version=0)) == "stale"
    assert stage.container(container) == before


def test_another_task_is_no_sighting(stage: Stage) -> None:
    container, _ = absent(stage)
    before = stage.container(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    assert stage.container(container) == before


def test_the_noted_task_of_a_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    now = stage.clock.now()
    stage.edit_pending(container, absent={task.arn: now, "arn:x": now})
    assert stage.deliver(event(task)) == "settled"
    assert stage.pending(container).absent == {"arn:x": now}


def test_a_start_that_is_sighted_and_has_come_up(stage: Stage) -> None:
    """The sighting is noted, and then the container is read again before the start is committed."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.edit_pending(container, absent={task.arn: stage.clock.now()})
    stage.ecs._running(task, stage.clock.now())
    task.version += 1
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.container(container).operation) == ("running", None)


def test_a_sighting_that_meets_another_write(stage: Stage) -> None:
    """It is lost to the other write, which knows the container as it is now."""
    container, task = absent(stage)
    stage.before("UpdateItem", lambda _: stage.edit(container, generation=8))
    assert stage.deliver(event(task)) == "stale"
    assert (len(stage.pending(container).absent), stage.container(container).generation) == (1, 8)


def test_a_driver_that_does_not_know_of_a_sighting_does_not_call_the_task_gone(stage: Stage) -> None:
    """The event comes between the driver's second look and its commit."""
    container, task = absent(stage)
    stage.hide_tasks()
    stage.clock.time = stage.pending(container).deadline
    stage.before("TransactWriteItems", lambda _: stage.deliver(event(task)))
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("accepted", "running")
    assert list(stage.pending(container).absent) == [task.arn]


# --- an event that is overtaken --------------------------------------------------------------------------------------


def test_settling_tells_that_it_was_overtaken(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    with stage.open():
        read = stage.container(container)
        stage.edit(container, generation=3)
        assert not stage.wired.driver.settle(read, host_is_done=True)
        assert stage.status(container) == "running"
        assert stage.wired.driver.settle(stage.container(container), host_is_done=True)
        assert stage.status(container) == "paused"


def test_settling_tells_that_an_operation_has_ended_with_a_failure(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.edit_pending(container, giving_up="It failed", giving_up_since=stage.clock.now())
    with stage.open():
        assert stage.wired.driver.settle(stage.container(container), host_is_done=True)
    assert stage.status(container) == "failed"


@pytest.mark.parametrize("times", [1, 4, 5])
@pytest.mark.parametrize("command", [True, False], ids=["of a command", "of a task"])
def test_how_often_an_event_looks_again(stage: Stage, command: bool, times: int) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    if command:
        stage.attempt(container)
        stage.advance(1)
    else:
        stage.ecs.exit(stage.live(container)[0].arn, 3)
        stage.advance(1)
    (told,) = stage.events
    changes: list[int] = []

    def change(_: Call) -> None:
        changes.append(1)
        stage.edit(container, generation=len(changes))
        if len(changes) < times:
            stage.before("TransactWriteItems", change)

    stage.before("TransactWriteItems", change)
    if times < 5:
        assert stage.deliver(told) == "settled"
        assert stage.status(container) == ("paused" if command else "failed")
    else:
        with pytest.raises(ExternalServiceError) as raised:
            stage.deliver(told)
        assert raised.value.reason == "The container is receiving too many requests"
        assert stage.status(container) == "running"
    assert len(changes) == times
    assert stage.count("TransactWriteItems") == min(times + 1, 5)


@pytest.mark.parametrize("by", ["force-stop", "end"])
def test_an_event_of_an_operation_that_something_else_has_ended(stage: Stage, by: str) -> None:
    """It looks again, and finds nothing left to do."""
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.attempt(container)
    stage.advance(1)
    (told,) = stage.events

    def end(_: Call) -> None:
        if by == "force-stop":
            stage.ask(container, "force-stop")
        else:
            stage.clock.time = stage.pending(container).deadline
            stage.take_over(container)

    stage.before("TransactWriteItems", end)
    assert stage.deliver(told) == "stale"
    assert len(stage.rows(container)) == 2
    assert stage.status(container) == ("stopped" if by == "force-stop" else "paused")


def test_a_start_whose_event_is_overtaken(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.ecs._running(task, stage.clock.now())
    task.version += 1
    stage.before("TransactWriteItems", lambda _: stage.edit(container, generation=9))
    assert stage.deliver(event(task)) == "settled"
    assert stage.status(container) == "running"
    assert stage.count("StopTask") == 0


# --- what ECS shows to the drift sweep -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newer", "shown", "effect"),
    [
        (-1, True, "stale"),
        (0, True, "recorded"),
        (1, True, "recorded"),
        (-1, False, "stale"),
        (0, False, "stale"),
        (1, False, "recorded"),
    ],
)
def test_which_version_of_a_running_task_is_believed(stage: Stage, newer: int, shown: bool, effect: str) -> None:
    """What ECS shows may be older than an end that is known already."""
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, task_version=task.version - newer)
    if shown:
        assert stage.drift_sweep() == {effect: 1}
    else:
        assert stage.deliver(event(task)) == effect
    assert stage.status(container) == ("running" if effect == "recorded" else "failed")


@pytest.mark.parametrize("newer", [-1, 0])
def test_an_end_that_is_no_news_is_not_recorded_although_ecs_shows_it(stage: Stage, newer: int) -> None:
    """`shown` is for a task that runs."""
    container = stage.add("running")
    (task,) = stage.live(container)
    ended = Task.of(task.to_api() | {"lastStatus": "STOPPED", "version": task.version + newer})
    with stage.open():
        assert stage.wired.task_events.look_at(ended, CLUSTER, shown=True) == "stale"
    assert stage.status(container) == "running"
