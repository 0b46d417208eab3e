"""Tests of repeated calls, and of the record of the task that a call has run."""

from collections.abc import Iterator
from typing import Any

import pytest
from longshore.aws.ecs import EcsError, PlacementError
from longshore.domain.ledger import KnownTask
from longshore.engine.attempt import Attempt
from longshore.engine.waits import ChangedError, LateError

from engine.aws import FAILED, HOST
from engine.stage import Stage

TOKEN = "a" * 24
NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a task and a pending operation; calls take no time."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.tick = 0
    with stage.open():
        yield container


def error(*, no_effect: bool, conflict: bool = False) -> EcsError:
    return EcsError("It failed", no_effect=no_effect, conflict=conflict)


class Answers:
    """A call that returns or raises each of the given answers in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


REFUSED, FAILURE, CONFLICT = (
    error(no_effect=True),
    error(no_effect=False),
    error(no_effect=False, conflict=True),
)


@pytest.mark.parametrize("effect", [True, False])
def test_a_call_that_succeeds(stage: Stage, container: str, effect: bool) -> None:
    calling = stage.looking(container)
    assert calling.retry(Answers("yes"), effect=effect) == "yes"
    assert calling.acted is effect


def test_a_call_that_finds_nothing(stage: Stage, container: str) -> None:
    calling = stage.looking(container)
    assert calling.retry(Answers(None)) is None
    assert not calling.acted


@pytest.mark.parametrize("effect", [True, False])
def test_a_call_that_fails_and_then_succeeds(stage: Stage, container: str, effect: bool) -> None:
    calling = stage.looking(container, wait=5)
    assert calling.retry(Answers(FAILURE, FAILURE, None), effect=effect) is None
    assert calling.acted is effect


def test_a_call_that_fails_until_the_timeout(stage: Stage, container: str) -> None:
    answers = Answers(*[FAILURE] * 20)
    with pytest.raises(EcsError) as raised:
        stage.looking(container, wait=5).retry(answers)
    assert raised.value is FAILURE
    assert len(answers.answers) == 20 - 8
    with pytest.raises(EcsError):
        stage.looking(container).retry(answers)
    assert len(answers.answers) == 20 - 9


def test_a_refusal_is_not_repeated(stage: Stage, container: str) -> None:
    calling = stage.looking(container, wait=5)
    answers = Answers(REFUSED, "no")
    with pytest.raises(EcsError) as raised:
        calling.retry(answers)
    assert raised.value is REFUSED
    assert (answers.answers, calling.acted) == (["no"], False)


def test_a_refusal_after_a_failure_of_a_call_with_an_effect(stage: Stage, container: str) -> None:
    calling = stage.looking(container, wait=5)
    with pytest.raises(EcsError) as raised:
        calling.retry(Answers(FAILURE, REFUSED))
    assert not raised.value.no_effect
    assert calling.acted


def test_a_refusal_after_a_failed_lookup(stage: Stage, container: str) -> None:
    calling = stage.looking(container, wait=5)
    with pytest.raises(EcsError) as raised:
        calling.retry(Answers(FAILURE, REFUSED), effect=False)
    assert raised.value.no_effect
    assert not calling.acted


def test_a_conflict_is_not_repeated_and_may_have_had_an_effect(stage: Stage, container: str) -> None:
    calling = stage.looking(container, wait=5)
    answers = Answers(CONFLICT, "no")
    with pytest.raises(EcsError):
        calling.retry(answers)
    assert (answers.answers, calling.acted) == (["no"], True)


def using(stage: Stage, container: str, **known: Any) -> Attempt:
    """Return an attempt for a ledger with one client token."""
    stage.edit(container, tasks={TOKEN: KnownTask(called_from=stage.clock.now(), **known)})
    return stage.looking(container, wait=5)


def test_a_placement_failure_has_no_effect(stage: Stage, container: str) -> None:
    stage.ecs.set_capacity(HOST, memory=0)
    running = using(stage, container)
    with pytest.raises(PlacementError):
        running.run(TOKEN)
    assert not running.acted
    running.acted = True
    with pytest.raises(PlacementError):
        running.run(TOKEN)
    assert running.acted


def test_a_placement_failure_after_a_lost_call_proves_nothing(stage: Stage, container: str) -> None:
    """ECS may still process the call that was not answered."""
    stage.ecs.set_capacity(HOST, memory=0)
    stage.fail("RunTask", FAILED)
    running = using(stage, container)
    with pytest.raises(EcsError) as raised:
        running.run(TOKEN)
    assert not isinstance(raised.value, PlacementError)
    assert (raised.value.no_effect, running.acted) == (False, True)


def test_run_records_the_task(stage: Stage, container: str) -> None:
    running = using(stage, container, absent_since=stage.clock.now())
    task = running.run(TOKEN)
    known = running.tasks[TOKEN]
    assert (known.arn, known.called_until, known.shown, known.absent_since) == (
        task.arn,
        stage.clock.now(),
        False,
        None,
    )
    stage.advance(3)
    assert running.run(TOKEN).arn == task.arn
    assert running.tasks[TOKEN] == known


def test_another_task_is_recorded_again(stage: Stage, container: str) -> None:
    running = using(stage, container, arn=NOTED, called_until=stage.clock.now())
    stage.advance(3)
    task = running.run(TOKEN)
    known = running.tasks[TOKEN]
    assert (known.arn, known.called_until) == (task.arn, stage.clock.now())


def test_run_task_is_called_only_beside_ended_tasks(stage: Stage, container: str) -> None:
    running = using(stage, container)
    running.tasks["other"] = KnownTask(arn=NOTED)
    with pytest.raises(AssertionError):
        running.run(TOKEN)
    assert stage.count("RunTask") == 0


def test_run_task_is_not_called_after_the_deadline(stage: Stage, container: str) -> None:
    running = using(stage, container)
    stage.clock.time = running.pending.deadline
    with pytest.raises(LateError):
        running.run(TOKEN)
    assert stage.count("RunTask") == 0


def test_run_task_is_repeated_only_by_the_owner(stage: Stage, container: str) -> None:
    """The operation is looked at before each call but the first of an attempt."""
    stage.fail("RunTask", FAILED)
    running = using(stage, container)
    looks: list[int] = []

    def has_changed() -> bool:
        looks.append(stage.count("RunTask"))
        return True

    running._has_changed = has_changed
    with pytest.raises(ChangedError):
        running.run(TOKEN)
    assert (looks, stage.count("RunTask")) == ([1], 1)
