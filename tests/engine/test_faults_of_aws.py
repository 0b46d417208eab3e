"""Tests of behaviours that the documentation of AWS allows."""

from engine.aws import NOT_FOUND
from engine.stage import Stage


def test_a_task_that_stop_task_does_not_find_yet_is_not_gone(stage: Stage) -> None:
    """Force-stop supersedes a start whose task ECS does not find yet; the task is still stopped."""
    stage.with_events()
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.fail("StopTask", NOT_FOUND, times=-1)
    stage.hide_tasks()
    assert stage.ask(container, "start").kind == "accepted"
    assert stage.ask(container, "force-stop").kind == "accepted"
    stage.pass_deadline()
    assert stage.container(container).pending == "force-stop"
    stage.heal()
    stage.pass_deadline()
    assert (stage.status(container), stage.live(container)) == ("stopped", [])
