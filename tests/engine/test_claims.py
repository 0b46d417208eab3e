"""Tests of claims: the stored attributes, and the behaviour when the container has changed since the read."""

from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ContainerExpiredError, ContainerNotFoundError, InvalidInputError, LaterRequestError
from longshore.domain.ledger import KnownTask
from longshore.domain.lifecycle import Operation, Status, Step
from longshore.domain.models import OperationRequest
from longshore.domain.pending import Trigger

from engine.aws import HOST, NO_ANSWER, Call
from engine.stage import HIGH, USER, Stage

MINUTE = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("status", "operation", "step"),
    [
        ("stopped", "start", Step.START),
        ("running", "stop", Step.STOP),
        ("running", "restart", Step.STOP),
        ("failed", "restart", Step.START),
        ("running", "force-stop", Step.KILL),
        ("running", "pause", Step.PAUSE),
        ("paused", "resume", Step.UNPAUSE),
    ],
)
def test_attributes_that_a_claim_stores(stage: Stage, status: str, operation: str, step: Step) -> None:
    container = stage.add(status)
    stage.edit(container, command_number=HIGH + 7, generation=3, tasks_due_at=stage.clock.now())
    before = stage.container(container)
    claimed_at = stage.clock.now() + timedelta(milliseconds=2)
    pending = stage.claim(container, operation)
    assert len(pending.id) == 24
    assert pending.model_dump(exclude_defaults=True) == {
        "id": pending.id,
        "operation": operation,
        "step": step,
        "started_at": to_text(claimed_at),
        "since": to_text(claimed_at),
        "deadline": to_text(claimed_at + MINUTE),
        "triggered_by": "user",
        "actor": USER,
        "request_id": "r-1",
        "command": {"number": HIGH + 8, "expires_at": to_text(claimed_at + MINUTE)},
    } | ({"launch": {}} if step is Step.START else {})
    changes = {
        "operation": pending,
        "command_number": HIGH + 9,  # two numbers per driver
        "requested_at": claimed_at,
        "tasks_due_at": None,
        "pending_deadline": claimed_at + MINUTE,
    }
    if step is Step.START:
        # The client token is in the ledger before RunTask is called.
        changes["tasks"] = {pending.token: KnownTask(called_from=claimed_at)}
    assert stage.container(container) == before.model_copy(update=changes)
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert item["pending_shard"] == {"S": "1"}
    assert item["pending_deadline"] == {"S": to_text(claimed_at + MINUTE)}


def test_the_shard_of_a_pending_operation_comes_from_the_containers_id(stage: Stage) -> None:
    for number in (1, 2, 8, 17):
        container = stage.add("stopped", number=number)
        stage.claim(container, "start")
        shard = int(container[-4:], 16) % 8
        assert stage.dynamodb.tables["containers"].items[(container,)]["pending_shard"] == {"S": str(shard)}


def test_attributes_that_a_claim_with_a_key_stores(stage: Stage) -> None:
    container = stage.add("stopped")
    claimed_at = stage.clock.now() + timedelta(milliseconds=3)  # the record is read too
    pending = stage.claim(container, "start", key="k")
    expires_at = int((claimed_at + timedelta(hours=24)).timestamp())
    assert pending.idempotency is not None
    assert pending.idempotency.expires_at == expires_at
    assert stage.record() == {
        "id": pending.idempotency_id,
        "container_id": container,
        "operation": "start",
        "operation_id": pending.id,
        "expires_at": expires_at,
    }


@pytest.mark.parametrize("operation", ["stop", "pause", "restart"])
def test_a_force_stop_supersedes_a_pending_operation(stage: Stage, operation: str) -> None:
    container = stage.add("running")
    superseded = stage.claim(container, operation)
    stage.advance(7)
    before = stage.container(container)
    pending = stage.claim(container, "force-stop")
    assert (pending.superseded, pending.since) == (operation, superseded.started_at)
    assert pending.started_at > superseded.started_at
    assert stage.container(container).tasks == before.tasks
    assert pending.command.number == superseded.command.number + 7
    assert stage.container(container).command_number == pending.command.number + 1
    assert stage.container(container).generation == before.generation + 1
    assert pending.requested_before == superseded.started_at


def test_a_force_stop_keeps_the_data_of_the_superseded_start(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    known = KnownTask(arn="arn:aws:ecs:x:y:task/z/1", called_until=stage.clock.now(), shown=True)
    stage.edit(container, tasks={"a" * 24: known})
    stage.edit_pending(container, client_token="a" * 24)
    pending = stage.claim(container, "force-stop")
    assert (pending.superseded, pending.launch) == ("start", None)
    assert stage.container(container).tasks == {"a" * 24: known}


def test_a_force_stop_of_a_force_stop_is_refused(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    assert stage.refused(container, "force-stop") == "Container is force-stopping"


def test_a_claim_without_a_reply_is_continued_by_the_sweep(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.fail("UpdateItem", NO_ANSWER, lost=True)
    assert stage.refused(container, "start") == "The database did not answer"
    stage.pass_deadline()
    assert stage.status(container) == "running"


# --- the container changes between read and claim --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "other", "operation", "message"),
    [
        ("stopped", "start", "start", "Container is starting"),
        ("running", "stop", "stop", "Container is stopping"),
        ("running", "pause", "stop", "Container is pausing"),
        ("running", "force-stop", "stop", "Container is force-stopping"),
    ],
)
def test_another_claim_wins(stage: Stage, status: str, other: str, operation: str, message: str) -> None:
    container = stage.add(status)
    stage.before("UpdateItem", lambda _: stage.claim(container, other))
    assert stage.refused(container, operation) == message
    assert stage.pending(container).operation == other
    assert stage.count("RunTask") + stage.count("StopTask") == 0


@pytest.mark.parametrize(
    ("status", "other", "operation", "message"),
    [
        ("stopped", "start", "start", "Container is already running"),
        ("running", "stop", "pause", "Container is not running"),
        ("running", "force-stop", "stop", "Container is already stopped"),
    ],
)
def test_another_operation_completes_before_the_claim(
    stage: Stage, status: str, other: str, operation: str, message: str
) -> None:
    container = stage.add(status)
    stage.before("UpdateItem", lambda _: stage.ask(container, other))
    assert stage.refused(container, operation) == message
    assert stage.container(container).operation is None
    assert len(stage.rows(container)) == 2


def test_a_claim_is_repeated_if_the_status_is_equal_but_the_task_differs(stage: Stage) -> None:
    """A row was written between read and claim, so the claim is repeated with the current container."""
    stage.with_events()
    container = stage.add("running")
    stage.before("UpdateItem", lambda _: stage.ask(container, "restart"))
    assert stage.ask(container, "stop").kind == "completed"
    assert stage.live(container) == []
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped", "running", "stopped"]


def test_an_abandoned_operation_between_read_and_claim_changes_nothing(stage: Stage) -> None:
    container = stage.add("stopped")

    def other(_: Call) -> None:
        stage.ecs.set_capacity(HOST, memory=0)
        stage.refused(container, "start")
        stage.ecs.set_capacity(HOST)

    stage.before("UpdateItem", other)
    assert stage.ask(container, "start").kind == "completed"
    assert stage.count("UpdateItem") == 3  # the other claim, this claim, and its task


def test_the_server_is_terminated_before_the_claim(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    stage.before("UpdateItem", lambda _: stage.terminate(HOST))
    with pytest.raises(ContainerExpiredError):
        stage.ask(container, "start")
    assert stage.count("RunTask") == 0


def test_the_container_is_deleted_before_the_claim(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.before("UpdateItem", lambda _: stage.dynamodb.tables["containers"].items.clear())
    with pytest.raises(ContainerNotFoundError):
        stage.ask(container, "start")


@pytest.mark.parametrize("key", [None, "k"])
def test_the_container_is_moved_to_another_project_before_the_claim(stage: Stage, key: str | None) -> None:
    """The caller's permission was for the old project."""
    container = stage.add("running")

    def move(_: Call) -> None:
        stage.edit(container, project_id="a" * 24)

    stage.before("TransactWriteItems" if key else "UpdateItem", move)
    assert stage.refused(container, "stop", key=key) == "The container was moved to another project meanwhile"
    assert stage.container(container).operation is None
    assert (stage.count("StopTask"), stage.record()) == (0, None)


def test_a_force_stop_is_claimed_before_another_force_stop(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start")
    stage.before("UpdateItem", lambda _: stage.claim(container, "force-stop"))
    assert stage.refused(container, "force-stop") == "Container is force-stopping"
    assert stage.container(container).generation == 1


def test_the_operation_that_a_force_stop_would_supersede_completes_first(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_pending(container, deadline=stage.clock.now())
    stage.before("UpdateItem", lambda _: stage.take_over(container))
    assert stage.ask(container, "force-stop").kind == "completed"
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running", "stopped"]
    assert "superseded" not in stage.rows(container)[-1]["metadata"]
    assert stage.live(container) == []


def test_the_operation_that_a_force_stop_would_supersede_is_taken_over_first(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")

    def taken_over(_: Call) -> None:
        stage.edit(container, generation=stage.container(container).generation + 1)

    stage.before("UpdateItem", taken_over)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert stage.rows(container)[-1]["metadata"]["superseded"] == "stop"
    assert stage.container(container).generation == 2


def test_a_claim_that_always_conflicts_fails_after_its_wait(stage: Stage) -> None:
    container = stage.add("running")
    claims: list[int] = []

    def other(_: Call) -> None:
        claims.append(1)
        stage.edit(container, generation=stage.container(container).generation + 1)
        stage.advance(5)
        stage.before("UpdateItem", other)

    stage.before("UpdateItem", other)
    assert stage.refused(container, "stop") == "The container is receiving too many requests"
    assert len(claims) == 5
    assert stage.container(container).operation is None


def test_a_claim_without_a_wait_is_tried_five_times(stage: Stage) -> None:
    container = stage.add("running")
    changes: list[int] = []

    def other(_: Call) -> None:
        changes.append(1)
        stage.edit(container, generation=stage.container(container).generation + 1)
        if len(changes) < 4:
            stage.before("UpdateItem", other)

    stage.before("UpdateItem", other)
    assert stage.schedule(stage.clock.now(), container)["stopped"] == 1


# --- refusals ------------------------------------------------------------------------------------------------------


def test_pause_on_fargate_is_refused(stage: Stage) -> None:
    container = stage.add("running", fargate=True)
    with pytest.raises(InvalidInputError) as raised:
        stage.ask(container, "pause")
    assert raised.value.data[0]["instancePath"] == "/operation"


def test_an_operation_on_an_expired_container_is_refused(stage: Stage) -> None:
    container = stage.add("expired")
    with pytest.raises(ContainerExpiredError):
        stage.ask(container, "start")


def test_a_conflict_contains_the_containers_state(stage: Stage) -> None:
    container = stage.add("running")
    pending = stage.claim(container, "stop")
    with pytest.raises(Exception, match="Container is stopping") as raised:
        stage.ask(container, "start")
    assert raised.value.data == {  # type: ignore[attr-defined]
        "error": True,
        "operation": "start",
        "container_id": container,
        "project_id": stage.container(container).project_id,
        "message": "Container is stopping",
        "status": "running",
        "allowed_operations": ["force-stop"],
        "pending_operation": {
            "operation": "stop",
            "started_at": to_text(pending.started_at),
            "triggered_by": "user",
        },
    }


@pytest.mark.parametrize(("seconds", "refused"), [(-0.001, False), (0, True), (0.001, True)])
def test_a_scheduled_operation_is_not_claimed_after_a_later_request(
    stage: Stage, seconds: float, refused: bool
) -> None:
    """Check that a scheduled operation is not claimed if the last request came after the scheduled time."""
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.edit(container, requested_at=scheduled + timedelta(seconds=seconds))
    request = OperationRequest(
        container, Operation.STOP, None, "run-1", Trigger.SCHEDULE, rule="nightly", requested_at=scheduled
    )
    with stage.open():
        if refused:
            with pytest.raises(LaterRequestError):
                stage.wired.operations.run(stage.container(container), request)
            assert stage.container(container).operation is None
            return
        stage.wired.operations.run(stage.container(container), request)
    assert stage.container(container).requested_at == scheduled
    (row,) = stage.rows(container)[1:]
    assert row["triggered_by"] == "schedule"
    assert row["metadata"]["rule"] == "nightly"
    assert "actor" not in row["metadata"]


def test_a_scheduled_operation_on_a_container_without_requests(stage: Stage) -> None:
    container = stage.add("running")
    assert stage.container(container).requested_at is None
    assert stage.schedule(stage.clock.now(), container)["stopped"] == 1


def test_a_users_operation_is_never_late(stage: Stage) -> None:
    container = stage.add("running")
    stage.edit(container, requested_at=stage.clock.now() + timedelta(hours=1))
    assert stage.ask(container, "stop").kind == "completed"


@pytest.mark.parametrize(
    ("status", "operation", "possible"),
    [
        ("running", "stop", True),
        ("running", "force-stop", True),
        ("running", "restart", False),
        ("running", "pause", False),
        ("paused", "resume", False),
        ("stopped", "start", False),
    ],
)
def test_operations_allowed_with_a_full_history(stage: Stage, status: str, operation: str, possible: bool) -> None:
    container = stage.add(status)
    stage.edit(container, history_full=True)
    if possible:
        assert stage.ask(container, operation).kind == "completed"
    else:
        expected = "The container's history is full: only stop and force-stop are possible"
        assert stage.refused(container, operation) == expected
        assert stage.container(container).operation is None
    assert stage.container(container).status in (status, Status.STOPPED)
