"""Tests of sightings: an event or a lookup shows a task that the operation's driver has not found."""

from datetime import timedelta

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.task import Task

from engine.aws import CLUSTER, Call
from engine.stage import Stage, event
from local.emulator.ecs import SimulatedTask


def absent(stage: Stage, operation: str = "stop") -> tuple[str, SimulatedTask]:
    """Return a container whose pending operation did not find its task half a minute ago."""
    container = stage.add("running")
    stage.claim(container, operation)
    (task,) = stage.live(container)
    stage.edit_pending(container, absent={task.arn: stage.clock.now() - timedelta(seconds=30)})
    return container, task


@pytest.mark.parametrize("reported", ["PROVISIONING", "PENDING", "RUNNING", "DEACTIVATING", "STOPPING"])
def test_an_event_of_a_task_that_has_not_stopped_is_a_sighting(stage: Stage, reported: str) -> None:
    container, task = absent(stage)
    generation = stage.container(container).generation
    assert stage.deliver(event(task, reported)) == "stale"
    assert stage.pending(container).absent == {}
    assert stage.container(container).generation == generation + 1


def test_after_a_sighting_two_new_lookups_are_needed(stage: Stage) -> None:
    container, task = absent(stage)
    stage.deliver(event(task))
    stage.hide_tasks()
    stage.clock.time = stage.pending(container).deadline
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("accepted", "running")


def test_a_task_found_by_the_drift_sweep_is_a_sighting(stage: Stage) -> None:
    container, _ = absent(stage)
    assert stage.drift_sweep() == {"stale": 1}
    assert stage.pending(container).absent == {}


def test_the_end_of_a_task_is_no_sighting(stage: Stage) -> None:
    """The end of a task is recorded only by the write that ends the operation."""
    container, task = absent(stage)
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "settled"
    assert (stage.count("UpdateItem"), stage.count("TransactWriteItems")) == (0, 1)
    assert stage.status(container) == "stopped"


def test_an_outdated_end_does_not_clear_the_absence(stage: Stage) -> None:
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


def test_an_event_of_the_recorded_task_of_a_start_is_a_sighting(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    now = stage.clock.now()
    stage.edit_pending(container, absent={task.arn: now, "arn:x": now})
    assert stage.deliver(event(task)) == "settled"
    assert stage.pending(container).absent == {"arn:x": now}


def test_a_sighting_of_a_running_task_completes_the_start(stage: Stage) -> None:
    """The sighting is recorded, and the container is read again before the start is committed."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.edit_pending(container, absent={task.arn: stage.clock.now()})
    stage.ecs._running(task, stage.clock.now())
    task.version += 1
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.container(container).operation) == ("running", None)


def test_a_sighting_that_conflicts_with_another_write(stage: Stage) -> None:
    """The sighting is dropped, because the other write is newer."""
    container, task = absent(stage)
    stage.before("UpdateItem", lambda _: stage.edit(container, generation=8))
    assert stage.deliver(event(task)) == "stale"
    assert (len(stage.pending(container).absent), stage.container(container).generation) == (1, 8)


def test_a_driver_does_not_commit_a_missing_task_after_a_sighting(stage: Stage) -> None:
    """The event arrives between the driver's second lookup and its commit."""
    container, task = absent(stage)
    stage.hide_tasks()
    stage.clock.time = stage.pending(container).deadline
    stage.before("TransactWriteItems", lambda _: stage.deliver(event(task)))
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("accepted", "running")
    assert list(stage.pending(container).absent) == [task.arn]


# --- events and concurrent changes ------------------------------------------------------------------------------------


def test_settle_returns_false_after_a_concurrent_change(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    with stage.open():
        read = stage.container(container)
        stage.edit(container, generation=3)
        assert not stage.wired.driver.settle(read, host_is_done=True)
        assert stage.status(container) == "running"
        assert stage.wired.driver.settle(stage.container(container), host_is_done=True)
        assert stage.status(container) == "paused"


def test_settle_returns_true_if_the_operation_ends_with_a_failure(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.edit_pending(container, giving_up="It failed", giving_up_since=stage.clock.now())
    with stage.open():
        assert stage.wired.driver.settle(stage.container(container), host_is_done=True)
    assert stage.status(container) == "failed"


@pytest.mark.parametrize("times", [1, 4, 5])
@pytest.mark.parametrize("command", [True, False], ids=["of a command", "of a task"])
def test_an_event_is_retried_up_to_five_times(stage: Stage, command: bool, times: int) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    if command:
        stage.attempt(container)
        stage.advance(1)
    else:
        stage.ecs.exit(stage.live(container)[0].arn, 3)
        stage.advance(1)
    (reported,) = stage.events
    changes: list[int] = []

    def change(_: Call) -> None:
        changes.append(1)
        stage.edit(container, generation=len(changes))
        if len(changes) < times:
            stage.before("TransactWriteItems", change)

    stage.before("TransactWriteItems", change)
    if times < 5:
        assert stage.deliver(reported) == "settled"
        assert stage.status(container) == ("paused" if command else "failed")
    else:
        with pytest.raises(ExternalServiceError) as raised:
            stage.deliver(reported)
        assert raised.value.reason == "The container is receiving too many requests"
        assert stage.status(container) == "running"
    assert len(changes) == times
    assert stage.count("TransactWriteItems") == min(times + 1, 5)


@pytest.mark.parametrize("by", ["force-stop", "end"])
def test_an_event_of_an_operation_that_has_ended_in_the_meantime(stage: Stage, by: str) -> None:
    """The event's handler reads the container again and finds nothing left to do."""
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.attempt(container)
    stage.advance(1)
    (reported,) = stage.events

    def end(_: Call) -> None:
        if by == "force-stop":
            stage.ask(container, "force-stop")
        else:
            stage.clock.time = stage.pending(container).deadline
            stage.take_over(container)

    stage.before("TransactWriteItems", end)
    assert stage.deliver(reported) == "stale"
    assert len(stage.rows(container)) == 2
    assert stage.status(container) == ("stopped" if by == "force-stop" else "paused")


def test_the_event_of_a_start_is_applied_after_a_concurrent_change(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.ecs._running(task, stage.clock.now())
    task.version += 1
    stage.before("TransactWriteItems", lambda _: stage.edit(container, generation=9))
    assert stage.deliver(event(task)) == "settled"
    assert stage.status(container) == "running"
    assert stage.count("StopTask") == 0


# --- tasks that the drift sweep finds ---------------------------------------------------------------------------------


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
def test_a_running_task_older_than_a_known_end_is_ignored(stage: Stage, newer: int, shown: bool, effect: str) -> None:
    """The answer of ECS may be older than an end that is already known."""
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, task_version=task.version - newer)
    if shown:
        assert stage.drift_sweep() == {effect: 1}
    else:
        assert stage.deliver(event(task)) == effect
    assert stage.status(container) == ("running" if effect == "recorded" else "failed")


@pytest.mark.parametrize("newer", [-1, 0])
def test_an_older_or_known_end_is_not_recorded(stage: Stage, newer: int) -> None:
    """`shown` applies only to running tasks."""
    container = stage.add("running")
    (task,) = stage.live(container)
    ended = Task.of(task.to_api() | {"lastStatus": "STOPPED", "version": task.version + newer})
    with stage.open():
        assert stage.wired.drift._events.look_at(ended, CLUSTER, shown=True) == "stale"
    assert stage.status(container) == "running"
