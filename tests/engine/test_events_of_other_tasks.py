"""Tests of events of tasks that are not the container's own, while an operation other than a start is pending."""

import pytest

from engine.aws import CLUSTER
from engine.stage import Stage, event
from engine.test_pending_events import OPERATIONS


@pytest.mark.parametrize(("status", "operation"), OPERATIONS)
def test_a_running_stray_task_is_stopped(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    assert [call["task"] for call in stage.parameters("StopTask")] == [stray.arn]
    assert stage.known(container, stray.id).stray
    assert stage.pending(container).operation == operation
    assert stage.deliver(event(stray, "STOPPED")) == "settled"
    assert stray.id not in stage.container(container).tasks


def test_the_end_of_the_task_of_a_superseded_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.claim(container, "force-stop")
    stage.ecs._begin_stop(task, "UserInitiated", "asked", stage.clock.now())
    stage.advance(1)
    assert not task.live
    stage.calls.clear()
    assert stage.deliver(event(task)) == "settled"
    assert stage.rows(container)[-1]["metadata"]["superseded"] == "start"
    assert (stage.status(container), stage.container(container).operation) == ("stopped", None)
    assert (stage.count("RunTask"), stage.count("DescribeTasks")) == (0, 0)


def test_the_end_of_an_unknown_task_while_a_superseded_start_may_have_run_one(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.ecs.tasks()
    stage.claim(container, "force-stop")
    assert stage.deliver(event(task)) == "settled"
    assert stage.count("RunTask") == 1
    assert (stage.status(container), stage.container(container).operation) == ("stopped", None)


def test_a_running_task_of_a_superseded_start_is_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    stage.claim(container, "force-stop")
    assert stage.deliver(event(task)) == "stray-stopped"
    assert stage.container(container).pending == "force-stop"
