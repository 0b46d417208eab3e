"""Tests of requests with an Idempotency-Key and of their retries."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError, InvalidInputError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest, Outcome

from engine.aws import DENIED, FAILED, HOST, NO_ANSWER, Call
from engine.stage import USER, Stage

DAY = timedelta(hours=24)


def answer(stage: Stage) -> Any:
    record = stage.record()
    assert record is not None
    return record.get("answer")


def test_a_retry_after_completion_gets_the_same_answer(stage: Stage) -> None:
    container = stage.add("stopped")
    first = stage.ask(container, "start", key="k")
    assert first.kind == "completed"
    stage.ask(container, "stop")
    stage.calls.clear()
    assert stage.ask(container, "start", key="k") == first
    assert Outcome.model_validate(answer(stage)) == first
    assert {call.operation for call in stage.calls} == {"GetItem", "Query"}
    assert stage.status(container) == "stopped"


def test_the_key_of_another_user_is_another_key(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ask(container, "start", key="k")
    record = stage.record()
    assert record is not None
    mine, other = (
        OperationRequest(container, Operation.START, user, None, idempotency_key="k").idempotency_id
        for user in (USER, "bob")
    )
    assert record["id"] == mine != other


def test_a_conflict_is_stored(stage: Stage) -> None:
    container = stage.add("running")
    assert stage.refused(container, "start", key="k") == "Container is already running"
    stage.ask(container, "stop")
    assert stage.refused(container, "start", key="k") == "Container is already running"
    record = stage.record()
    assert record is not None
    assert (record["answer"]["kind"], record.get("operation_id"), record["operation"]) == ("conflict", None, "start")
    assert record["expires_at"] == int((stage.clock.time.replace(second=0, microsecond=0) + DAY).timestamp())


def test_a_202_is_stored_and_the_operation_ends_later(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    before = stage.container(container)
    first = stage.ask(container, "start", key="k")
    assert (first.kind, first.message, first.status) == ("accepted", "Container is starting", "stopped")
    assert first.pending_operation is not None
    assert first.pending_operation["operation"] == "start"
    pending = stage.pending(container)
    assert pending.answered
    # Storing the task or an answer raises the generation, so that a driver without them cannot commit.
    assert stage.container(container).generation == before.generation + 2
    (task,) = stage.live(container)
    stage.ecs._running(task, stage.clock.now())
    stage.ecs._changed(task, stage.clock.now())
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "running"
    assert stage.ask(container, "start", key="k") == first
    assert Outcome.model_validate(answer(stage)) == first


def test_without_a_key_no_answer_is_stored(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    assert not stage.pending(container).answered
    assert stage.container(container).generation == 1  # for the recorded task
    assert stage.record() is None


def test_a_sweep_stores_no_202(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start", key="k")
    stage.pass_deadline()
    assert answer(stage) is None
    assert not stage.pending(container).answered


def test_a_sweep_stores_the_final_answer(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.pass_deadline()
    assert answer(stage)["kind"] == "completed"
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert stage.count("RunTask") == 1


def test_an_error_with_a_row_is_not_stored(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.refused(container, "start", key="k")
    assert stage.record() is None


# --- while the operation is pending ---------------------------------------------------------------------------------


def test_a_retry_waits_for_the_first_request(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    start = stage.clock.now()
    outcome = stage.ask(container, "start", key="k")
    assert (outcome.kind, outcome.message) == ("accepted", "Container is starting")
    waited = stage.clock.now() - start
    assert timedelta(seconds=20) <= waited < timedelta(seconds=21)
    assert stage.count("RunTask") == 0
    assert answer(stage)["kind"] == "accepted"
    assert stage.pending(container).answered
    # It polls every 0.2 seconds.
    assert 90 <= stage.count("GetItem") / 2 <= 102


def test_a_retry_gets_the_answer_of_the_first_request(stage: Stage) -> None:
    container = stage.add("stopped")
    pending = stage.claim(container, "start", key="k")
    stage.edit_pending(container, deadline=stage.clock.now() + timedelta(seconds=3))

    def complete(_: Call) -> None:
        if stage.clock.now() >= pending.started_at + timedelta(seconds=3):
            stage.take_over(container)
        else:
            stage.before("GetItem", complete)

    stage.before("GetItem", complete)
    outcome = stage.ask(container, "start", key="k")
    assert outcome.kind == "completed"
    assert stage.count("RunTask") == 1


def test_a_retry_takes_over_after_the_deadline(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.advance(61)
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert stage.container(container).generation == 2  # taken over, and its task is stored
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running"]


def test_a_retry_after_an_error_continues_the_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.fail("RunTask", FAILED, times=-1)
    stage.refused(container, "start", key="k")
    pending = stage.pending(container)
    stage.heal()
    assert stage.ask(container, "start", key="k", request_id="r-2").kind == "completed"
    (row,) = stage.rows(container)[1:]
    assert (row["metadata"]["operation_id"], row["metadata"]["request_id"]) == (pending.id, "r-1")


def test_a_retry_after_a_claim_without_a_reply(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.fail("TransactWriteItems", NO_ANSWER, lost=True)
    assert stage.refused(container, "start", key="k") == "The database did not answer"
    stage.advance(61)
    assert stage.ask(container, "start", key="k").kind == "completed"


def test_a_retry_after_a_commit_without_a_reply(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.before("RunTask", lambda _: stage.fail("TransactWriteItems", NO_ANSWER, lost=True))
    assert stage.refused(container, "start", key="k") == "The database did not answer"
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert stage.count("RunTask") == 1


def test_a_retrys_202_does_not_replace_the_final_answer(stage: Stage) -> None:
    """The operation completes just before the retry's 202 is stored."""
    container = stage.add("stopped")
    pending = stage.claim(container, "start", key="k")

    def complete(_: Call) -> None:
        stage.edit_pending(container, deadline=stage.clock.now())
        stage.take_over(container)

    stage.before("TransactWriteItems", complete)
    outcome = stage.ask(container, "start", key="k")
    assert (outcome.kind, answer(stage)["kind"]) == ("completed", "completed")
    assert stage.rows(container)[-1]["metadata"]["operation_id"] == pending.id


def test_the_first_of_two_answers_is_stored(stage: Stage) -> None:
    """A retry's 202 was stored while the first driver completed the operation: both requests get the first answer."""
    container = stage.add("stopped")

    def accepted(_: Call) -> None:
        with stage.open():
            assert stage.wired.driver.accept(stage.container(container)) is not None

    stage.before("RunTask", accepted)
    outcome = stage.ask(container, "start", key="k")
    assert (outcome.kind, answer(stage)["kind"]) == ("accepted", "accepted")
    assert stage.status(container) == "running"
    assert len(stage.rows(container)) == 2


def test_a_conflict_by_an_exit_does_not_replace_a_202(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    (task,) = stage.live(container)
    task.containers[0].stop_timeout = timedelta(seconds=50)
    assert stage.ask(container, "stop", key="k").kind == "accepted"
    stage.ecs.exit(task.arn, 3)
    task.stop_code = "EssentialContainerExited"
    stage.clock.time = stage.pending(container).deadline
    outcome = stage.take_over(container, for_caller=True)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert stage.status(container) == "failed"


def test_a_retrys_202_after_the_operation_was_superseded(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.before("TransactWriteItems", lambda _: stage.ask(container, "force-stop"))
    assert stage.refused(container, "start", key="k") == "Container start was superseded"
    assert answer(stage)["message"] == "Container start was superseded"


# --- when the operation is over ---------------------------------------------------------------------------------------


def test_a_retry_of_a_superseded_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.ask(container, "force-stop")
    assert answer(stage) is None
    assert stage.refused(container, "start", key="k") == "Container start was superseded"
    record = stage.record()
    assert record is not None
    assert (record["answer"]["kind"], record["answer"]["status"]) == ("conflict", "stopped")
    assert record["operation_id"] is not None
    assert stage.refused(container, "start", key="k") == "Container start was superseded"


def test_a_retry_of_an_operation_superseded_by_a_pending_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.claim(container, "force-stop")
    assert stage.refused(container, "start", key="k") == "Container is force-stopping"


def test_a_retry_of_an_operation_whose_container_has_expired(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    stage.claim(container, "start", key="k")
    stage.terminate(HOST)
    with pytest.raises(Exception, match="expired"):
        stage.ask(container, "start", key="k")
    assert answer(stage) is None


def test_a_retry_of_an_abandoned_operation_is_a_new_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.fail("RunTask", DENIED)
    stage.refused(container, "start", key="k")
    assert stage.ask(container, "start", key="k", request_id="r-2").kind == "completed"
    assert stage.rows(container)[-1]["metadata"]["request_id"] == "r-2"


def test_a_key_is_released_while_a_retry_waits(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")

    def abandon(_: Call) -> None:
        stage.wired.store.abandon(stage.container(container))

    stage.before("GetItem", abandon, skip=6)
    assert stage.ask(container, "start", key="k").kind == "completed"


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(-1, False), (0, True), (1, True)], ids=["in the window", "at its end", "after"]
)
def test_a_key_is_remembered_for_24_hours(stage: Stage, seconds: int, fresh: bool) -> None:
    container = stage.add("running")
    assert stage.refused(container, "start", key="k") == "Container is already running"
    stage.ask(container, "stop")
    record = stage.record()
    assert record is not None
    stage.tick = 0
    stage.clock.time = stage.clock.time.fromtimestamp(record["expires_at"] + seconds, stage.clock.time.tzinfo)
    if fresh:
        assert stage.ask(container, "start", key="k").kind == "completed"
    else:
        assert stage.refused(container, "start", key="k") == "Container is already running"


# --- the key is used for something else -------------------------------------------------------------------------------


@pytest.mark.parametrize("pending", [True, False])
def test_a_key_used_for_another_operation_is_refused(stage: Stage, pending: bool) -> None:
    container = stage.add("running")
    if pending:
        stage.claim(container, "stop", key="k")
    else:
        stage.ask(container, "stop", key="k")
    with pytest.raises(InvalidInputError) as raised:
        stage.ask(container, "restart", key="k")
    assert raised.value.data == [
        {
            "instancePath": "/Idempotency-Key",
            "message": "was used for another container or operation in the last 24 hours",
        }
    ]
    assert stage.count("RunTask") == 0


def test_a_key_used_for_another_container_is_refused(stage: Stage) -> None:
    container, other = stage.add("running"), stage.add("running", number=2)
    stage.ask(container, "stop", key="k")
    with pytest.raises(InvalidInputError):
        stage.ask(other, "stop", key="k")
    assert stage.status(other) == "running"


# --- concurrent requests with the same key ----------------------------------------------------------------------------


def test_two_requests_both_read_before_either_claims(stage: Stage) -> None:
    container = stage.add("stopped")
    answers: list[Outcome] = []
    stage.before("TransactWriteItems", lambda _: answers.append(stage.ask(container, "start", key="k")))
    answers.append(stage.ask(container, "start", key="k"))
    assert answers[0] == answers[1]
    assert answers[0].kind == "completed"
    assert stage.count("RunTask") == 1
    assert len(stage.rows(container)) == 2


def test_a_concurrent_retry_of_a_conflict(stage: Stage) -> None:
    container = stage.add("running")
    messages: list[str] = []
    stage.before("PutItem", lambda _: messages.append(stage.refused(container, "start", key="k")))
    messages.append(stage.refused(container, "start", key="k"))
    assert messages == ["Container is already running"] * 2


def test_a_conflict_waits_for_the_claim_of_a_concurrent_retry(stage: Stage) -> None:
    """A retry that read the stopped container has claimed the operation: both requests get its answer."""
    stage.with_events()
    container = stage.add("running")

    def twin(_: Call) -> None:
        stage.ask(container, "stop")
        stage.claim(container, "start", key="k")
        stage.edit_pending(container, deadline=stage.clock.now())

    stage.before("PutItem", twin)
    assert stage.ask(container, "start", key="k").kind == "completed"


def test_the_claim_of_a_concurrent_retry_is_read_before_its_record(stage: Stage) -> None:
    container = stage.add("stopped")
    claims: list[Call] = []

    def twin(call: Call) -> None:
        claims.append(call)
        stage.claim(container, "start", key="k")
        stage.edit_pending(container, deadline=stage.clock.now())

    # The record is read before the container here, as with two threads.
    stage.before("GetItem", twin)
    stage.change("GetItem", lambda call, true: {} if call.parameters["TableName"] == "idempotency" else true, times=2)
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert len(claims) == 1
    assert stage.count("RunTask") == 1


def test_a_retry_that_cannot_read_the_container_is_an_error(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.fail("GetItem", FAILED, times=-1)
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "start", key="k")
