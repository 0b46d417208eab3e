"""Tests of sightings: an event or a lookup shows a task that the operation's driver has not found."""

from datetime import timedelta

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import LastTask
from longshore.domain.task import Task

from engine.aws import CLUSTER, Call
from engine.stage import Stage, event
from local.emulator.ecs import SimulatedTask


def absent(stage: Stage, operation: str = "stop") -> tuple[str, SimulatedTask]:
    """Return a container whose pending operation did not find its task half a minute ago."""
    container = stage.add("running")
    stage.claim(container, operation)
    (task,) = stage.live(container)
    stage.edit_known(container, absent_since=stage.clock.now() - timedelta(seconds=30))
    return container, task


@pytest.mark.parametrize("reported", ["PROVISIONING", "PENDING", "RUNNING", "DEACTIVATING", "STOPPING"])
def test_an_event_of_a_task_that_has_not_stopped_is_a_sighting(stage: Stage, reported: str) -> None:
    container, task = absent(stage)
    generation = stage.container(container).generation
    assert stage.deliver(event(task, reported)) == "settled"
    assert stage.known(container).absent_since is None
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
    assert stage.drift_sweep() == {"settled": 1}
    assert stage.known(container).absent_since is None


def test_the_end_of_a_task_is_no_sighting(stage: Stage) -> None:
    """The end of a task is recorded only by the write that ends the operation."""
    container, task = absent(stage)
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "settled"
    assert (stage.count("UpdateItem"), stage.count("TransactWriteItems")) == (0, 1)
    assert stage.status(container) == "stopped"


def test_an_outdated_state_does_not_clear_the_absence(stage: Stage) -> None:
    container, task = absent(stage)
    stage.edit_known(container, version=task.version + 1)
    before = stage.container(container)
    assert stage.deliver(event(task)) == "stale"
    assert stage.container(container) == before


def test_another_task_is_no_sighting(stage: Stage) -> None:
    container, _ = absent(stage)
    before = stage.container(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    after = stage.container(container)
    assert stage.known(container, stray.id).stray
    tasks = {**before.tasks, stray.id: stage.known(container, stray.id)}
    assert after == before.model_copy(update={"tasks": tasks, "generation": before.generation + 1})


def test_an_event_of_the_recorded_task_of_a_start_is_a_sighting(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    now = stage.clock.now()
    stage.edit_known(container, stage.pending(container).token, absent_since=now)
    stage.edit_known(container, "x", arn="arn:x", shown=True, absent_since=now)
    assert stage.deliver(event(task)) == "settled"
    assert stage.known(container, stage.pending(container).token).absent_since is None
    assert stage.known(container, "x").absent_since == now


def test_a_sighting_of_a_running_task_completes_the_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.edit_known(container, absent_since=stage.clock.now())
    stage.ecs._running(task, stage.clock.now())
    task.version += 1
    assert stage.deliver(event(task)) == "settled"
    assert (stage.status(container), stage.container(container).operation) == ("running", None)


def test_a_sighting_that_conflicts_with_another_write(stage: Stage) -> None:
    """The event is applied to the container as the other write has left it."""
    container, task = absent(stage)
    stage.before("UpdateItem", lambda _: stage.edit(container, generation=8))
    assert stage.deliver(event(task)) == "settled"
    assert (stage.known(container).absent_since, stage.container(container).generation) == (None, 9)
    assert stage.count("UpdateItem") == 2


def test_a_sighting_that_conflicts_with_the_end_of_its_task(stage: Stage) -> None:
    container, task = absent(stage)
    stage.ecs.exit(task.arn, 0)
    stage.advance(1)
    running = event(task, "RUNNING")
    stage.before("UpdateItem", lambda _: stage.deliver_all())
    assert stage.deliver(running) == "stale"
    assert (stage.status(container), stage.container(container).tasks) == ("stopped", {})
    assert stage.count("StopTask") == 0


def test_a_driver_does_not_commit_a_missing_task_after_a_sighting(stage: Stage) -> None:
    """The event arrives between the driver's second lookup and its commit."""
    container, task = absent(stage)
    stage.hide_tasks()
    stage.clock.time = stage.pending(container).deadline
    stage.before("TransactWriteItems", lambda _: stage.deliver(event(task)))
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("accepted", "running")
    # Its second attempt has not found the task either, for the first time since the sighting.
    assert stage.known(container).absent_since is not None
    assert stage.container(container).task_arn == task.arn


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
    stage.edit(container, tasks={}, last_task=LastTask(id=task.id, version=task.version - newer, gone=True))
    if shown:
        assert stage.drift_sweep() == {effect: 1}
    else:
        assert stage.deliver(event(task)) == effect
    assert stage.status(container) == ("running" if effect == "recorded" else "failed")


@pytest.mark.parametrize("newer", [-1, 0, 1])
@pytest.mark.parametrize("shown", [True, False])
def test_an_end_is_recorded_whatever_its_version(stage: Stage, shown: bool, newer: int) -> None:
    """No state of a task follows STOPPED, and not every answer of ECS has a version."""
    container = stage.add("running")
    (task,) = stage.live(container)
    ended = Task.of(task.to_api() | {"lastStatus": "STOPPED", "version": task.version + newer})
    with stage.open():
        assert stage.wired.drift._events.look_at(ended, CLUSTER, shown=shown) == "recorded"
    after = stage.container(container)
    assert (after.status, after.tasks) == ("failed", {})
    assert after.last_task == LastTask(id=task.id, version=ended.version)


@pytest.mark.parametrize("newer", [-1, 0])
def test_a_known_end_is_not_recorded_again(stage: Stage, newer: int) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.advance(1)
    stage.deliver_all()
    before = stage.container(container)
    ended = Task.of(task.to_api() | {"version": task.version + newer})
    assert ended.is_stopped
    with stage.open():
        assert stage.wired.drift._events.look_at(ended, CLUSTER, shown=True) == "stale"
    assert stage.container(container) == before
