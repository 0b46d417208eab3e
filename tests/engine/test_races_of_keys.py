"""Tests of races between requests with the same Idempotency-Key, and of expired answers."""

import pytest
from longshore.domain.errors import ExternalServiceError, InvalidInputError
from longshore.domain.models import Outcome

from engine.aws import FAILED, Call
from engine.stage import Stage


def abandon(stage: Stage, container: str) -> None:
    stage.wired.store.abandon(stage.container(container))


def test_a_conflict_whose_key_was_used_and_released(stage: Stage) -> None:
    """The conflict is no longer true, so the container is read again."""
    stage.with_events()
    container = stage.add("running")

    def twin(_: Call) -> None:
        stage.ask(container, "stop")
        stage.claim(container, "start", key="k")
        stage.before("GetItem", lambda _: abandon(stage, container))

    stage.before("PutItem", twin)
    assert stage.ask(container, "start", key="k").kind == "completed"
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "completed"


def test_two_retries_store_a_single_202(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    answers: list[Outcome] = []

    def other(_: Call) -> None:
        with stage.open():
            kept = stage.wired.driver.accept(stage.container(container))
            assert kept is not None
            answers.append(kept)

    stage.before("TransactWriteItems", other)
    assert stage.ask(container, "start", key="k") == answers[0]
    assert stage.container(container).generation == 1
    assert stage.count("RunTask") == 0


def test_the_key_is_used_again_while_a_retry_waits(stage: Stage) -> None:
    """The first operation was abandoned, and another request with the key has claimed a new operation."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")

    def anew(_: Call) -> None:
        abandon(stage, container)
        stage.claim(container, "start", key="k")
        stage.edit_pending(container, deadline=stage.clock.now())

    stage.before("GetItem", anew, skip=4)
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert stage.count("RunTask") == 1


def test_a_202_whose_record_has_expired(stage: Stage) -> None:
    """The record of the key has expired: the outcome itself is the answer."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.edit_pending(container, answered=True, deadline=stage.clock.now())
    stage.dynamodb.tables["idempotency"].items.clear()
    outcome = stage.take_over(container, for_caller=True)
    assert outcome is not None
    assert outcome.kind == "completed"
    assert stage.record() is None


def test_a_sweep_does_not_read_the_answer(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ask(container, "start")
    stage.ask(container, "stop")
    stage.claim(container, "start", key="k")
    stage.edit_pending(container, answered=True, deadline=stage.clock.now())
    outcome = stage.take_over(container)
    assert outcome is not None
    assert outcome.kind == "completed"
    reads = [call for call in stage.parameters("GetItem") if call["TableName"] == "idempotency"]
    assert reads == []


def test_a_failed_start_does_not_replace_a_stored_202(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.hide_tasks()
    first = stage.ask(container, "start", key="k")
    assert first.kind == "accepted"
    stage.heal()
    stage.deliver_all()
    assert stage.status(container) == "failed"
    assert stage.ask(container, "start", key="k") == first


@pytest.mark.parametrize("pending", [True, False])
def test_the_key_is_used_for_another_container_just_before_the_claim(stage: Stage, pending: bool) -> None:
    container, other = stage.add("stopped"), stage.add("stopped", number=2)

    def twin(_: Call) -> None:
        if pending:
            stage.claim(other, "start", key="k")
        else:
            stage.ask(other, "start", key="k")

    stage.before("TransactWriteItems", twin)
    with pytest.raises(InvalidInputError):
        stage.ask(container, "start", key="k")
    assert stage.container(container).operation is None
    assert stage.live(container) == []
    record = stage.record()
    assert record is not None
    assert record["container_id"] == other


@pytest.mark.parametrize("operation", ["stop", "restart"])
def test_the_stored_answer_to_another_request_is_not_returned(stage: Stage, operation: str) -> None:
    """A conflict loses its key to a request for another container or operation that completes first."""
    stage.with_events()
    container, other = stage.add("running"), stage.add("running", number=2)
    mine = "start" if operation == "stop" else "resume"
    stage.before("PutItem", lambda _: stage.ask(other if operation == "stop" else container, operation, key="k"))
    with pytest.raises(InvalidInputError):
        stage.ask(container, mine, key="k")
    record = stage.record()
    assert record is not None
    assert (record["operation"], record["answer"]["kind"]) == (operation, "completed")


def test_the_stored_conflict_of_a_concurrent_retry_is_the_answer(stage: Stage) -> None:
    container = stage.add("running")
    twins: list[str] = []
    stage.before("PutItem", lambda _: twins.append(stage.refused(container, "start", key="k")))
    assert stage.refused(container, "start", key="k") == "Container is already running"
    assert twins == ["Container is already running"]
    assert stage.count("PutItem") == 2


def test_a_conflict_waits_for_the_operation_of_its_key(stage: Stage) -> None:
    """Another request has claimed the operation since the conflict was found, so its answer is awaited."""
    stage.with_events()
    container = stage.add("running")

    def twin(_: Call) -> None:
        stage.ask(container, "stop")
        stage.claim(container, "start", key="k")
        stage.edit_pending(container, deadline=stage.clock.now())

    stage.before("PutItem", twin)
    outcome = stage.ask(container, "start", key="k")
    assert (outcome.kind, stage.count("RunTask")) == ("completed", 1)


def test_a_record_that_has_expired_does_not_refuse_a_claim(stage: Stage) -> None:
    container = stage.add("running")
    stage.refused(container, "start", key="k")
    stage.ask(container, "stop")
    stage.advance(24 * 3600 + 1)
    assert stage.ask(container, "start", key="k").kind == "completed"
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "completed"


def test_the_container_is_moved_while_a_request_waits_for_its_key(stage: Stage) -> None:
    """The first operation was abandoned, so the key is free, but the caller's permission was for the old project."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")

    def move(_: Call) -> None:
        abandon(stage, container)
        stage.edit(container, project_id="a" * 24)

    stage.before("GetItem", move, skip=4)
    assert stage.refused(container, "start", key="k") == "The container was moved to another project meanwhile"
    assert (stage.container(container).operation, stage.record(), stage.count("RunTask")) == (None, None, 0)


def test_a_moved_container_does_not_reveal_its_state(stage: Stage) -> None:
    """Not even whether the operation would be refused."""
    container = stage.add("running")

    def move(_: Call) -> None:
        stage.ask(container, "stop")
        stage.edit(container, project_id="a" * 24)

    stage.before("UpdateItem", move)
    assert stage.refused(container, "stop") == "The container was moved to another project meanwhile"
    assert len(stage.rows(container)) == 2


def test_a_retry_takes_over_the_operation_from_a_sweep(stage: Stage) -> None:
    """The sweep continues with the answer that the retry stored, and the operation ends once."""
    container = stage.add("running")
    stage.claim(container, "pause", key="k")
    stage.clock.time = stage.pending(container).deadline

    def repeat(_: Call) -> None:
        stage.edit_pending(container, deadline=stage.clock.now())
        stage.fail("SendCommand", FAILED)
        with pytest.raises(ExternalServiceError):
            stage.take_over(container, for_caller=True)

    stage.before("TransactWriteItems", repeat)
    outcome = stage.take_over(container)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("completed", "paused")
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "paused"]
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "completed"


@pytest.mark.parametrize("change", ["noted", "superseded", "failed"])
def test_a_retrys_202_is_not_returned_after_a_concurrent_change(stage: Stage, change: str) -> None:
    """The retry reads the container and its key again."""
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.claim(container, "start", key="k")
    before = stage.container(container)
    with stage.open():
        match change:
            case "noted":
                stage.wired.store.note(before, stage.pending(container).model_copy(update={"attempts": 1}), None)
            case "superseded":
                stage.claim(container, "force-stop")
            case "failed":
                stage.edit_pending(container, deadline=stage.clock.now())
                with pytest.raises(ExternalServiceError):
                    stage.take_over(container)
        now = stage.container(container)
        assert stage.wired.driver.accept(before) is None
    assert stage.container(container) == now
    record = stage.record()
    assert record is None if change == "failed" else record is not None and "answer" not in record
