"""Tests of the version of a task in the ledger: the newest that was seen, so that older events are ignored."""

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


@pytest.mark.parametrize(("seen", "expected"), [([], 5), ([3], 5), ([5], 5), ([7], 7), ([7, 9], 9), ([9, 7], 9)])
def test_the_ledger_has_the_newest_version_that_the_attempt_saw(stage: Stage, seen: list[int], expected: int) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    own = stage.container(container).own_token
    assert own is not None
    stage.edit_known(container, own, version=5)
    other = stage.ecs.adopt_running("default", "web-1", container)
    other.version = 40
    stage.edit_known(container, "other", arn=other.arn, shown=True)
    looking = stage.looking(container)
    with stage.open():
        versions(stage, *seen)
        for _ in seen:
            looking.look(own)
        looking.look("other")
        stage.hide_tasks()
        looking.look(own)
    assert (looking.tasks[own].version, looking.tasks["other"].version) == (expected, 40)


def test_the_ledger_has_the_version_of_the_event(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    (task,) = stage.live(container)
    reported = Task.of(task.to_api() | {"version": 12})
    _, findings = stage.attempt(container, wait=0, event_task=reported)
    assert findings.tasks is not None
    assert [known.version for known in findings.tasks.values()] == [12]


@pytest.mark.parametrize(("known", "seen", "expected"), [(3, 7, 7), (7, 7, 7), (9, 7, 9)])
def test_a_stop_that_is_given_up(stage: Stage, known: int, seen: int, expected: int) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    stage.edit_known(container, version=known)
    stage.fail("StopTask", FAILED, times=-1)
    task.version = seen
    give_up(stage, container)
    assert (stage.status(container), stage.known(container).version) == ("failed", expected)
    stage.heal()
    stops = stage.count("StopTask")
    # An event older than what the attempt has seen changes nothing. A newer one shows a task that has to end.
    detail = task.to_api() | {"version": expected}
    assert stage.deliver({"source": "aws.ecs", "detail": detail}) == "stale"
    assert stage.count("StopTask") == stops
    assert stage.deliver({"source": "aws.ecs", "detail": detail | {"version": expected + 1}}) == "stray-stopped"
    assert stage.count("StopTask") == stops + 1
    assert stage.status(container) == "failed"
    stage.advance(1)
    stage.deliver_all()
    assert (stage.live(container), stage.container(container).tasks) == ([], {})


def test_a_stop_that_is_given_up_without_seeing_its_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.edit_known(container, version=5)
    stage.hide_tasks()
    give_up(stage, container)
    assert (stage.status(container), stage.known(container).version) == ("failed", 5)


def test_a_kill_that_is_given_up(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    (task,) = stage.live(container)
    stage.fail("StopTask", FAILED, times=-1)
    stage.ssm.disconnect(HOST)
    task.version = 8
    give_up(stage, container)
    known = stage.known(container)
    assert (stage.status(container), known.arn, known.version) == ("failed", task.arn, 8)


@pytest.mark.parametrize("final", [True, False], ids=["refused permanently", "given up"])
def test_a_start_that_saw_its_previous_task_end(stage: Stage, final: bool) -> None:
    """The ledger no longer has that task, and an event that reports it running is older."""
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
    assert after.status == "failed"
    assert [known.arn for known in after.tasks.values()] == [None]  # of the client token of the start
    assert leftover.version > running["version"]
    assert stage.deliver({"source": "aws.ecs", "detail": running}) == "stale"
    assert stage.container(container) == after


def test_a_start_has_the_version_of_its_own_task(stage: Stage) -> None:
    container = stage.add("failed", labels={"simulate.start": "never"})
    stage.give_task(container, stop_timeout=0.1)
    stage.edit_known(container, version=40)
    assert stage.ask(container, "restart").kind == "accepted"
    (task,) = stage.live(container)
    give_up(stage, container)
    known = stage.known(container)
    assert (known.arn, known.version, len(stage.container(container).tasks)) == (task.arn, 1, 1)


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
    known = stage.known(container)
    assert (known.arn, known.version, known.shown) == (task.arn, 0 if hidden else 1, not hidden)
