"""Tests of repeated calls, and of the record of the task that a call has run."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from longshore.aws.ecs import EcsError, PlacementError

from engine.aws import FAILED, HOST
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


def test_a_placement_failure_cancels_earlier_failures(stage: Stage, container: str) -> None:
    """A placement failure answers the token, so no task of the token exists."""
    stage.ecs.set_capacity(HOST, memory=0)
    stage.fail("RunTask", FAILED)
    running = stage.looking(container, wait=5)
    with pytest.raises(PlacementError):
        running.run("a" * 24)
    assert not running.acted
    running.acted = True
    with pytest.raises(PlacementError):
        running.run("b" * 24)
    assert running.acted


def test_run_records_the_task(stage: Stage, container: str) -> None:
    running = stage.looking(container)
    task = running.run("a" * 24)
    assert (running.task_arn, running.task_run_at, running.task_shown) == (task.arn, stage.clock.now(), False)
    assert running.absent == {}
    stage.advance(3)
    again = running.run("a" * 24)
    assert (again.arn, running.task_run_at) == (task.arn, stage.clock.now() - timedelta(seconds=3))


def test_another_task_is_recorded_again(stage: Stage, container: str) -> None:
    stage.edit_pending(container, task_arn=NOTED, task_shown=True, task_run_at=stage.clock.now())
    running = stage.looking(container)
    stage.advance(3)
    task = running.run("a" * 24)
    assert (running.task_arn, running.task_run_at, running.task_shown) == (task.arn, stage.clock.now(), False)
