"""Tests of claims that botocore repeats because the reply to them was lost."""

import pytest

from engine.aws import Call
from engine.stage import Stage


def test_botocore_repeats_a_claim_after_a_lost_reply(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.repeat("UpdateItem")
    assert stage.ask(container, "start").kind == "completed"
    assert (stage.count("UpdateItem"), stage.count("RunTask")) == (2, 1)  # the claim, and the task


def test_botocore_repeats_a_claim_with_a_key_after_a_lost_reply(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.repeat("TransactWriteItems")
    assert stage.ask(container, "start", key="k").kind == "completed"


@pytest.mark.parametrize("full", [False, True])
def test_botocore_repeats_a_claim_whose_operation_an_event_has_ended(stage: Stage, full: bool) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.history_is_full = full

    def end(_: Call) -> None:
        stage.ecs.handle("StopTask", {"cluster": "default", "task": task.arn})
        stage.advance(1)
        stage.deliver_all()

    stage.after("UpdateItem", end)
    stage.repeat("UpdateItem")
    outcome = stage.ask(container, "stop")
    assert (outcome.kind, outcome.message) == ("completed", "Container stopped successfully")
    assert (stage.status(container), stage.container(container).operation) == ("stopped", None)
    assert len(stage.rows(container)) == (1 if full else 2)


def test_botocore_repeats_a_claim_whose_operation_was_superseded(stage: Stage) -> None:
    container = stage.add("running")
    stage.after("UpdateItem", lambda _: stage.ask(container, "force-stop"))
    stage.repeat("UpdateItem")
    assert stage.refused(container, "stop") == "Container is already stopped"
    assert [row["metadata"].get("command") for row in stage.rows(container)[1:]] == ["force-stop"]
