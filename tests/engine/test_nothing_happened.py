"""Tests that an operation ends without a row only if it cannot have had an effect."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError, OperationFailedError
from longshore.domain.lifecycle import Operation
from longshore.engine.decisions import DriverRole

from engine.aws import DENIED, FAILED, HOST, Call
from engine.stage import NUMBER, Stage

NO_MEMORY = "No instance of the cluster has enough memory left"
DENIED_REASON = "Longshore is not permitted to do this on the cluster"


def drive(stage: Stage, container: str, role: DriverRole = DriverRole.CLAIMER) -> ExternalServiceError:
    with stage.open(), pytest.raises(ExternalServiceError) as raised:
        stage.wired.driver.drive(stage.container(container), role, stage.clock.now())
    return raised.value


CLAUSES: list[tuple[str, dict[str, Any], bool]] = [
    ("nothing", {}, True),
    ("not alone", {}, True),
    ("attempts", {"attempts": 1}, True),
    ("answered", {"answered": True}, True),
    ("has row", {"has_row": True}, True),
    ("superseded", {"superseded": Operation.STOP}, True),
]


@pytest.mark.parametrize(("clause", "changes"), [clause[:2] for clause in CLAUSES], ids=[c[0] for c in CLAUSES])
@pytest.mark.parametrize("final", [False, True])
def test_an_operation_ends_without_a_row_if_nothing_happened(
    stage: Stage, clause: str, changes: dict[str, Any], final: bool
) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.edit_pending(container, **changes)
    if final:
        stage.ecs.set_capacity(HOST, memory=0)
    else:
        stage.fail("RunTask", DENIED)
    error = drive(stage, container, DriverRole.CALLER if clause == "not alone" else DriverRole.CLAIMER)
    assert error.reason == (NO_MEMORY if final else DENIED_REASON)
    rows, operation = stage.rows(container)[1:], stage.container(container).operation
    if clause == "nothing":
        assert isinstance(error, OperationFailedError)
        assert (rows, operation, stage.record()) == ([], None, None)
    elif final:
        assert isinstance(error, OperationFailedError)
        assert [(row["to_status"], row["metadata"]["reason"]) for row in rows] == [("failed", NO_MEMORY)]
        assert operation is None
        # A 202 remains the answer.
        assert (stage.record() is not None) is (clause == "answered")
    else:
        assert not isinstance(error, OperationFailedError)
        assert rows == []
        assert operation is not None
        assert operation.deadline == stage.clock.now() - timedelta(milliseconds=1)
        assert stage.record() is not None


def test_a_failed_call_may_have_had_an_effect(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", FAILED)
    error = drive(stage, container)
    assert not isinstance(error, OperationFailedError)
    assert stage.container(container).pending == "start"


def test_an_effect_before_a_placement_failure(stage: Stage) -> None:
    container = stage.add("failed")
    leftover = stage.give_task(container, stop_timeout=0.1)
    stage.ecs.set_capacity(HOST, memory=0)
    assert stage.refused(container, "restart") == NO_MEMORY
    assert not leftover.live
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["from_status"], row["metadata"]["command"]) == ("failed", "failed", "restart")
    after = stage.container(container)
    # Another driver might still run a task with the client token.
    (known,) = after.tasks.values()
    assert (known.arn, after.operation) == (None, None)


def test_an_event_does_not_release_the_operation_of_its_driver(stage: Stage) -> None:
    container = stage.add("stopped")
    pending = stage.claim(container, "start")
    stage.fail("RunTask", DENIED)
    drive(stage, container, DriverRole.EVENT)
    assert stage.pending(container) == pending


def test_abandoning_leaves_the_container_as_it_was(stage: Stage) -> None:
    container = stage.add("stopped")
    requested_at = stage.clock.now() - timedelta(minutes=9)
    stage.edit(container, requested_at=requested_at)
    before = stage.container(container)
    stage.ecs.set_capacity(HOST, memory=0)
    stage.refused(container, "start")
    expected = before.model_copy(update={"command_number": NUMBER + 1})
    assert stage.container(container) == expected
    assert stage.container(container).requested_at == requested_at
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert not {"pending_shard", "pending_deadline", "operation"} & item.keys()
    assert item["updated_at"] == {"S": to_text(before.updated_at)}


def test_abandoning_is_always_a_transaction(stage: Stage) -> None:
    """A transaction has a token, so that botocore can repeat it."""
    container = stage.add("stopped")
    stage.ecs.set_capacity(HOST, memory=0)
    stage.refused(container, "start")
    (call,) = stage.parameters("TransactWriteItems")
    assert [list(item) for item in call["TransactItems"]] == [["Update"]]
    assert call["ClientRequestToken"]


def test_abandoning_frees_the_key(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.set_capacity(HOST, memory=0)
    stage.refused(container, "start", key="k")
    assert stage.record() is None
    stage.ecs.set_capacity(HOST)
    assert stage.ask(container, "start", key="k").kind == "completed"


@pytest.mark.parametrize("other", ["taken over", "superseded"])
def test_abandoning_fails_after_a_takeover(stage: Stage, other: str) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.fail("RunTask", DENIED)

    def before(_: Call) -> None:
        if other == "superseded":
            stage.ask(container, "force-stop")
        else:
            stage.advance(61)
            stage.sweep()

    stage.with_events()
    stage.before("TransactWriteItems", before)
    if other == "superseded":
        assert stage.refused(container, "start") == "Container start was superseded"
        assert stage.status(container) == "stopped"
    else:
        assert stage.ask(container, "start").kind == "accepted"
        stage.advance(1)
        assert stage.status(container) == "running"
    assert len(stage.rows(container)) == 2


def test_a_driver_does_not_abandon_an_operation_answered_202(stage: Stage) -> None:
    """A retry was answered 202 in the meantime, and the refusal of the first driver must not undo that."""
    stage.with_events()
    container = stage.add("stopped")

    def answered(_: Call) -> None:
        with stage.open():
            assert stage.wired.driver.accept(stage.container(container)) is not None

    stage.before("RunTask", answered)
    stage.fail("RunTask", DENIED, times=2)
    assert stage.refused(container, "start", key="k") == DENIED_REASON
    assert stage.container(container).pending == "start"
    assert stage.pending(container).answered
    assert stage.ask(container, "start", key="k").kind == "accepted"
    stage.pass_deadline()
    assert stage.status(container) == "running"


@pytest.mark.parametrize("operation", ["start", "stop", "force-stop", "restart", "pause", "resume"])
def test_each_operation_is_abandoned_if_its_first_call_is_refused(stage: Stage, operation: str) -> None:
    statuses = {"start": "stopped", "resume": "paused"}
    container = stage.add(statuses.get(operation, "running"))
    before = stage.container(container)
    for call in ("RunTask", "StopTask", "SendCommand"):
        stage.fail(call, DENIED, times=-1)
    stage.refused(container, operation)
    after = stage.container(container)
    assert after == before.model_copy(update={"command_number": NUMBER + 1})
    assert [row["to_status"] for row in stage.rows(container)] == [before.status]


def test_the_restart_of_a_container_that_was_stopped_has_a_row(stage: Stage) -> None:
    container = stage.add("running")
    stage.before("RunTask", lambda _: stage.ecs.set_capacity(HOST, memory=0))
    assert stage.refused(container, "restart", key="k") == NO_MEMORY
    rows = stage.rows(container)[1:]
    assert [row["to_status"] for row in rows] == ["stopped", "failed"]
    assert rows[1]["metadata"]["operation_id"] == rows[0]["metadata"]["operation_id"]
    assert stage.container(container).operation is None
    assert stage.record() is None


# --- concurrent changes -----------------------------------------------------------------------------------------------


def test_a_driver_does_not_abandon_an_operation_whose_task_an_event_ran(stage: Stage) -> None:
    """The event of a stray task makes the start run its task; then the driver's own RunTask is refused."""
    container = stage.add("stopped")
    strays: list[str] = []

    def deliver(_: Call) -> None:
        stray = stage.ecs.adopt_running("default", "web-1", container)
        strays.append(stray.arn)
        assert stage.deliver({"source": "aws.ecs", "detail": stray.to_api()}) == "stray-stopped"
        stage.fail("RunTask", DENIED)

    stage.before("RunTask", deliver)
    assert stage.ask(container, "start").kind == "completed"
    stage.advance(1)
    (task,) = stage.live(container)
    assert stage.container(container).task_arn == task.arn not in strays
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running"]
    assert stage.count("RunTask") == 2


def test_a_driver_does_not_abandon_an_operation_that_another_worker_changed(stage: Stage) -> None:
    """Another worker changed the operation, so the refusal of the repeated attempt does not prove that nothing
    happened.
    """
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", DENIED, times=-1)

    def note(_: Call) -> None:
        pending = stage.pending(container)
        stage.wired.store.note(stage.container(container), pending.model_copy(update={"task_shown": True}), None)

    stage.before("TransactWriteItems", note)
    error = drive(stage, container)
    assert not isinstance(error, OperationFailedError)
    assert (stage.container(container).pending, stage.count("RunTask")) == ("start", 2)
    assert len(stage.rows(container)) == 1
