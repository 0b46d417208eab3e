"""Tests of terminated servers: their containers expire, including those with a pending operation."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ContainerExpiredError, ExternalServiceError
from longshore.domain.lifecycle import Operation, Status

from engine.aws import HOST, NO_ANSWER, Call
from engine.stage import Stage


@pytest.mark.parametrize("status", ["stopped", "running", "paused", "failed"])
def test_a_container_expires(stage: Stage, status: str) -> None:
    container = stage.add("stopped", status, server=HOST)
    before = stage.container(container)
    at = stage.clock.now()
    stage.advance(3)
    with stage.open():
        assert stage.wired.servers.terminated(HOST, at) == 1
    row = stage.rows(container)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (status, "expired", "system")
    assert row["transition_time"] == to_text(at)
    assert row["metadata"] == {"reason": "The server was terminated", "server_instance_id": HOST}
    after = stage.container(container)
    assert (after.status, after.generation, after.operation) == ("expired", before.generation + 1, None)
    assert (after.log_count, after.to_counts["expired"]) == (3, 1)
    assert "live_project_id" not in stage.dynamodb.tables["containers"].items[(container,)]
    # Again.
    assert stage.terminate(HOST) == 0
    assert len(stage.rows(container)) == 3


def test_only_containers_of_the_server_expire(stage: Stage) -> None:
    mine = [stage.add("stopped", number=number, server=HOST) for number in (1, 2)]
    others = [stage.add("stopped", number=3, server="i-other"), stage.add("stopped", number=4)]
    assert stage.terminate(HOST) == 2
    assert [stage.status(container) for container in mine + others] == ["expired"] * 2 + ["stopped"] * 2


def test_a_pending_operation_can_no_longer_commit(stage: Stage) -> None:
    container = stage.add("running", server=HOST)
    stage.before("TransactWriteItems", lambda _: stage.terminate(HOST))
    with pytest.raises(ContainerExpiredError):
        stage.ask(container, "stop")
    rows = stage.rows(container)
    assert [row["to_status"] for row in rows] == ["running", "expired"]
    assert rows[-1]["metadata"]["superseded"] == Operation.STOP
    assert stage.container(container).operation is None


def test_a_container_that_moves_to_another_server_during_the_expiry(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    stage.after("Query", lambda _: stage.edit(container, server_instance_id="i-other"))
    assert stage.terminate(HOST) == 0
    assert stage.status(container) == "stopped"


def test_a_container_that_is_deleted_during_the_expiry(stage: Stage) -> None:
    stage.add("stopped", server=HOST)
    stage.after("Query", lambda _: stage.dynamodb.tables["containers"].items.clear())
    assert stage.terminate(HOST) == 0


@pytest.mark.parametrize("changes", [{"generation": 1}, {"log_count": 2}])
def test_a_container_that_changes_during_the_expiry(stage: Stage, changes: dict[str, Any]) -> None:
    container = stage.add("stopped", server=HOST)
    stage.before("TransactWriteItems", lambda _: stage.edit(container, **changes))
    assert stage.terminate(HOST) == 1
    assert stage.count("TransactWriteItems") == 2
    assert stage.status(container) == Status.EXPIRED


def test_a_container_that_changes_before_every_write(stage: Stage) -> None:
    container, other = (stage.add("stopped", number=number, server=HOST) for number in (1, 2))
    tries: list[Call] = []

    def change(call: Call) -> None:
        tries.append(call)
        stage.edit(container, generation=len(tries))
        if len(tries) < 5:
            stage.before("TransactWriteItems", change)

    stage.before("TransactWriteItems", change)
    with pytest.raises(ExternalServiceError) as raised:
        stage.terminate(HOST)
    assert raised.value.reason == "1 of 2 containers of the server could not be expired"
    assert stage.failures == [container]
    assert [stage.status(each) for each in (container, other)] == ["stopped", "expired"]


@pytest.mark.parametrize("fault", ["unreadable", "no answer"])
def test_a_failed_expiry_does_not_affect_other_containers(stage: Stage, fault: str) -> None:
    containers = [stage.add("stopped", number=number, server=HOST) for number in (1, 2, 3)]
    if fault == "unreadable":
        stage.damage(containers[1], "created_at")
    else:
        stage.fail("GetItem", NO_ANSWER)
    bad = containers[1 if fault == "unreadable" else 0]
    with pytest.raises(ExternalServiceError) as raised:
        stage.terminate(HOST)
    assert raised.value.reason == "1 of 3 containers of the server could not be expired"
    assert stage.failures == [bad]
    assert [stage.status(container) for container in containers if container != bad] == ["expired", "expired"]


def test_botocore_repeats_an_expiry_after_a_lost_reply(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    stage.repeat("TransactWriteItems")
    assert stage.terminate(HOST) == 1
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "expired"]


def test_a_termination_before_the_last_row(stage: Stage) -> None:
    """The event contains the time of the termination, which may precede the container's last change."""
    container = stage.add("stopped", server=HOST)
    last = stage.container(container).last_transition_time
    assert last is not None
    with stage.open():
        stage.wired.servers.terminated(HOST, last - timedelta(seconds=5))
    row = stage.rows(container)[-1]
    assert row["transition_time"] == to_text(last + timedelta(milliseconds=1))
    assert row["metadata"]["observed_at"] == to_text(last - timedelta(seconds=5))
