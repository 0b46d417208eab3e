"""Tests of attempts that use a lookup of several tasks, which a sweep has made for them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from longshore.aws.ecs import Ecs, EcsError
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.known import Known, Lookup
from simulation.aws import clients

from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a task and a pending operation; calls take no time."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.tick = 0
    with stage.open():
        yield container


def with_lookup(stage: Stage, container: str, lookup: Lookup) -> Attempt:
    pending = stage.pending(container)
    until = stage.clock.now()
    return Attempt(Ecs(clients().ecs), stage.clock, stage.container(container), pending, until, Known(lookup=lookup))


def test_a_lookup_of_several_tasks_replaces_the_first_lookup_of_each(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    stage.edit_known(container, "noted", arn=NOTED, shown=True)
    own = stage.container(container).own_token
    assert own is not None
    seen = Task.of(task.to_api())._replace(version=7)
    looking = with_lookup(stage, container, Lookup(stage.clock.now(), frozenset({task.arn}), {task.arn: seen}))
    assert looking.look(own) == seen
    assert (stage.count("DescribeTasks"), looking.tasks[own].version) == (0, 7)
    assert looking.look(own) == Task.of(task.to_api())
    assert looking.look("noted") is None
    assert stage.count("DescribeTasks") == 2


@pytest.mark.parametrize(("since", "gone"), [(LOOKS - MILLISECOND, False), (LOOKS, True)])
def test_the_time_of_a_lookup_of_several_tasks_is_that_of_its_request(
    stage: Stage, container: str, since: timedelta, gone: bool
) -> None:
    asked_at = stage.clock.now()
    stage.edit_known(container, "noted", arn=NOTED, shown=True, absent_since=asked_at - since)
    stage.advance(5)
    looking = with_lookup(stage, container, Lookup(asked_at, frozenset({NOTED}), {}))
    assert looking.look("noted") is None
    assert ("noted" in looking.ended) is gone
    assert ("noted" in looking.tasks) is not gone


def test_a_lookup_of_several_tasks_that_has_failed_proves_nothing(stage: Stage, container: str) -> None:
    stage.edit_known(container, "noted", arn=NOTED, shown=True, absent_since=stage.clock.now() - LOOKS)
    failure = EcsError("It failed", no_effect=False)
    looking = with_lookup(stage, container, Lookup(stage.clock.now(), frozenset({NOTED}), {}, failure))
    with pytest.raises(EcsError):
        looking.look("noted")
    assert looking.ended == {}
    assert looking.look("noted") is None
    assert looking.ended == {"noted": None}
