"""Tests of the task version in a row: the newest that the attempt saw, so that older events are ignored afterwards."""

from datetime import timedelta

import pytest
from longshore.domain.errors import OperationFailedError
from longshore.domain.task import Task

from engine.aws import DENIED, FAILED, HOST, Answer, Call
from engine.stage import Stage


def give_up(stage: Stage, container: str) -> None:
    """Take over the pending operation for its last attempt."""
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)


def versions(stage: Stage, *seen: int) -> None:
    """Make the next answers of DescribeTasks have these versions of the task."""
    left = list(seen)

    def change(_: Call, answer: Answer) -> Answer:
        version = left.pop(0)
        return {"tasks": [task | {"version": version} for task in answer["tasks"]]}

    if seen:
        stage.change("DescribeTasks", change, times=len(seen))


@pytest.mark.parametrize(("seen", "expected"), [([], None), ([7], 7), ([7, 9], 9), ([9, 7], 9)])
def test_the_row_has_the_newest_version_that_the_attempt_saw(
    stage: Stage, seen: list[int], expected: int | None
) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    arn = stage.container(container).task_arn
    assert arn is not None
    other = stage.ecs.adopt_running("default", "web-1", container)
    looking = stage.looking(container)
    with stage.open():
        versions(stage, *seen)
        for _ in seen:
            looking.look(arn)
        looking.look(other.arn)
        stage.hide_tasks()
        looking.look(arn)
    assert looking.own_version == expected


def test_the_row_has_the_version_of_the_event(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    (task,) = stage.live(container)
    reported = Task.of(task.to_api() | {"version": 12})
    _, findings = stage.attempt(container, wait=0, event_task=reported)
    assert findings.own_version == 12


@pytest.mark.parametrize(("known", "seen", "expected"), [(3, 7, 7), (7, 7, 7), (9, 7, 9)])
def test_a_stop_that_is_given_up(stage: Stage, known: int, seen: int, expected: int) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    stage.edit(container, task_version=known)
    stage.fail("StopTask", FAILED, times=-1)
    task.version = seen
    give_up(stage, container)
    assert (stage.status(container), stage.container(container).task_version) == ("failed", expected)
    # An event older than the row does not change the container.
    detail = task.to_api() | {"version": expected}
    assert stage.deliver({"source": "aws.ecs", "detail": detail}) == "stale"
    assert stage.deliver({"source": "aws.ecs", "detail": detail | {"version": expected + 1}}) == "recorded"
    assert stage.status(container) == "running"


def test_a_stop_that_is_given_up_without_seeing_its_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.edit(container, task_version=5)
    stage.hide_tasks()
    give_up(stage, container)
    assert stage.container(container).task_version == 5


def test_a_kill_that_is_given_up(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    (task,) = stage.live(container)
    stage.fail("StopTask", FAILED, times=-1)
    stage.ssm.disconnect(HOST)
    task.version = 8
    give_up(stage, container)
    after = stage.container(container)
    assert (after.status, after.task_arn, after.task_version, after.task_ended) == ("failed", task.arn, 8, False)


@pytest.mark.parametrize("final", [True, False], ids=["refused permanently", "given up"])
def test_a_start_that_saw_its_previous_task_end(stage: Stage, final: bool) -> None:
    """The container keeps that task, and an event that reports it running is older."""
    container = stage.add("failed")
    leftover = stage.give_task(container, stop_timeout=0.1)
    running = leftover.to_api() | {"version": leftover.version + 1}
    stage.claim(container, "restart")
    if final:
        stage.ecs.set_capacity(HOST, memory=0)
    else:
        stage.fail("RunTask", DENIED, times=-1)
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=3))
    with pytest.raises(OperationFailedError):
        stage.take_over(container)
    assert not leftover.live
    after = stage.container(container)
    assert (after.status, after.task_arn, after.task_version) == ("failed", leftover.arn, leftover.version)
    assert leftover.version > running["version"]
    assert stage.deliver({"source": "aws.ecs", "detail": running}) == "stale"
    assert stage.status(container) == "failed"


def test_a_start_has_the_version_of_its_own_task(stage: Stage) -> None:
    container = stage.add("failed", labels={"simulate.start": "never"})
    stage.give_task(container, stop_timeout=0.1)
    stage.edit(container, task_version=40)
    assert stage.ask(container, "restart").kind == "accepted"
    (task,) = stage.live(container)
    give_up(stage, container)
    after = stage.container(container)
    assert (after.task_arn, after.task_version) == (task.arn, 1)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_start_that_is_given_up_with_a_task_that_ecs_does_not_return(stage: Stage, hidden: bool) -> None:
    """The version seen is that of the previous task, not of the new task."""
    container = stage.add("failed", labels={"simulate.start": "never"})
    leftover = stage.give_task(container, stop_timeout=0.1)
    leftover.version = 40
    assert stage.ask(container, "restart").kind == "accepted"
    (task,) = stage.live(container)

    def hide(_: Call, answer: Answer) -> Answer:
        return {"tasks": [each for each in answer["tasks"] if each["taskArn"] != task.arn]}

    if hidden:
        stage.change("DescribeTasks", hide)
    give_up(stage, container)
    after = stage.container(container)
    assert (after.task_arn, after.task_version) == (task.arn, 0 if hidden else 1)
