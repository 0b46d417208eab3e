"""Tests of the waits of an attempt: for a task to run or to stop, and until another worker changes the operation."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from longshore.aws.ecs import Ecs
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.waits import ChangedError
from simulation.aws import clients

from engine.aws import DENIED
from engine.stage import Stage

NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a task and a pending operation; calls take no time."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.tick = 0
    with stage.open():
        yield container


def own_token(stage: Stage, container: str) -> str:
    """Return the key of the container's own task in the ledger."""
    token = stage.container(container).own_token
    assert token is not None
    return token


def just_seen(stage: Stage, container: str) -> Task:
    """Return the container's task as it was just before it was running."""
    (task,) = stage.live(container)
    return Task.of(task.to_api())._replace(last_status="PENDING")


def test_watch_does_not_look_up_a_task_that_was_just_seen(stage: Stage, container: str) -> None:
    own, seen = own_token(stage, container), just_seen(stage, container)
    assert stage.looking(container).watch(own, seen) == seen
    assert stage.count("DescribeTasks") == 0
    assert stage.looking(container, wait=0.1).watch(own, seen) == seen._replace(last_status="RUNNING")
    assert stage.count("DescribeTasks") == 1


@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
def test_watch_ends_when_the_task_is_running_or_stopped(stage: Stage, container: str, status: str) -> None:
    own, seen, start = own_token(stage, container), just_seen(stage, container), stage.clock.now()
    reached = seen._replace(last_status=status)
    assert stage.looking(container, wait=5).watch(own, reached) == reached
    assert (stage.count("DescribeTasks"), stage.clock.now()) == (0, start)


def test_watch_uses_the_task_of_the_event(stage: Stage, container: str) -> None:
    own, seen = own_token(stage, container), just_seen(stage, container)
    reported = seen._replace(last_status="STOPPED")
    watching = stage.looking(container, reported=reported)
    assert watching.watch(own, seen) == reported
    assert watching.ended == {own: reported}
    other = reported._replace(arn=NOTED)
    assert stage.looking(container, reported=other).watch(own, seen) == seen


def test_watch_keeps_the_last_seen_task_when_ecs_does_not_return_it(stage: Stage, container: str) -> None:
    own, seen = own_token(stage, container), just_seen(stage, container)
    stage.hide_tasks()
    watching = stage.looking(container, wait=1)
    assert watching.watch(own, seen) == seen
    assert watching.tasks[own].absent_since == stage.clock.now()


def test_watch_continues_after_a_refused_lookup(stage: Stage, container: str) -> None:
    own, seen = own_token(stage, container), just_seen(stage, container)
    stage.fail("DescribeTasks", DENIED)
    watching = stage.looking(container, wait=5)
    assert watching.watch(own, seen) == seen
    assert (stage.count("DescribeTasks"), watching.tasks[own].absent_since) == (1, None)


@pytest.mark.parametrize("method", ["find", "watch", "end"])
def test_a_wait_ends_when_another_worker_changes_the_operation(stage: Stage, container: str, method: str) -> None:
    stage.edit_known(container, "noted", arn=NOTED, shown=True)
    own, seen = own_token(stage, container), just_seen(stage, container)
    reads: list[int] = []

    def has_changed() -> bool:
        reads.append(1)
        return len(reads) == 3

    until = stage.clock.now() + timedelta(seconds=20)
    pending = stage.pending(container)
    attempt = Attempt(
        Ecs(clients().ecs), stage.clock, stage.container(container), pending, until, has_changed=has_changed
    )
    calls: dict[str, Callable[[], object]] = {
        "find": lambda: attempt.find("noted"),
        "watch": lambda: attempt.watch(own, seen),
        "end": lambda: attempt.end([own], "because"),
    }
    with pytest.raises(ChangedError):
        calls[method]()
    assert timedelta(seconds=0.8) <= until - stage.clock.now() - timedelta(seconds=18) <= timedelta(seconds=1.1)
    assert stage.count("DescribeTasks") == (1 if method == "find" else 0)
