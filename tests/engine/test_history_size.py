"""Tests of a history that comes near DynamoDB's limit of 10 GB: the warning, the refusal, and its end."""

import pytest

from engine.aws import NO_ANSWER
from engine.stage import Stage
from local.emulator.errors import AwsError

LARGE = "The container's history is nearly full: only stop and force-stop are possible"


def sized(stage: Stage, size: float, *statuses: str) -> str:
    """Add a container whose history has a size in GB after the next row."""
    container = stage.add(*(statuses or ("stopped",)))
    stage.dynamodb.sizes[container] = size - stage.dynamodb.row_size
    return container


@pytest.mark.parametrize(
    ("size", "warned", "refused"), [(7.9, 0, False), (8.1, 1, False), (9.4, 1, False), (9.6, 1, True)]
)
def test_the_size_after_a_commit(stage: Stage, size: float, warned: int, refused: bool) -> None:
    container = sized(stage, size)
    assert stage.ask(container, "start").kind == "completed"
    assert [(found, round(gigabytes, 2)) for found, gigabytes in stage.large] == [(container, size)] * warned
    assert stage.container(container).history_large is refused
    # Only a change of the attribute takes a request. The others are the claim and the task of the start.
    assert stage.count("UpdateItem") == (3 if refused else 2)
    stored = [call for call in stage.parameters("UpdateItem") if "history_large" in call["UpdateExpression"]]
    assert len(stored) == refused
    assert len(stage.rows(container)) == 2


@pytest.mark.parametrize("operation", ["restart", "pause"])
def test_operations_are_refused_near_the_limit(stage: Stage, operation: str) -> None:
    container = sized(stage, 9.6)
    stage.ask(container, "start")
    before = stage.container(container)
    assert stage.refused(container, operation) == LARGE
    assert stage.container(container) == before


@pytest.mark.parametrize("operation", ["stop", "force-stop"])
def test_a_container_can_always_be_stopped(stage: Stage, operation: str) -> None:
    container = sized(stage, 9.6)
    stage.ask(container, "start")
    outcome = stage.ask(container, operation)
    assert (outcome.kind, outcome.status) == ("completed", "stopped")
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running", "stopped"]
    assert stage.refused(container, "start") == LARGE


def test_a_started_restart_is_completed(stage: Stage) -> None:
    container = sized(stage, 9.6, "running")
    stage.with_events()
    outcome = stage.ask(container, "restart")
    assert (outcome.kind, outcome.status) == ("completed", "running")
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped", "running"]


def test_a_commit_of_a_smaller_history_permits_operations_again(stage: Stage) -> None:
    container = sized(stage, 9.6)
    stage.ask(container, "start")
    stage.dynamodb.sizes[container] = 5.0
    stage.ask(container, "stop")
    assert not stage.container(container).history_large
    assert "history_large" not in stage.dynamodb.tables["containers"].items[(container,)]
    assert stage.ask(container, "start").kind == "completed"


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("error", [AwsError("InternalServerError", "failed"), NO_ANSWER])
def test_a_failure_to_store_the_size_does_not_affect_the_commit(stage: Stage, error: Exception, lost: bool) -> None:
    container = sized(stage, 9.6)
    stage.before("TransactWriteItems", lambda _: stage.fail("UpdateItem", error, lost=lost))
    assert stage.ask(container, "start").kind == "completed"
    assert stage.container(container).history_large is lost
    # The next commit stores it.
    assert stage.ask(container, "stop").kind == "completed"
    assert stage.container(container).history_large


def test_other_writes_keep_the_attribute(stage: Stage) -> None:
    """A driver whose snapshot is older than the attribute does not remove it."""
    container = sized(stage, 9.6)
    stage.ask(container, "start")
    seen: list[bool] = []
    stage.before("TransactWriteItems", lambda _: seen.append(stage.container(container).history_large))
    stage.ask(container, "stop")
    assert seen == [True]
