"""Tests of the store: the condition of each write, conflicts, lost replies and errors."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from longshore.aws.store import ConditionFailed, Store
from longshore.aws.transactions import StoreError
from longshore.domain.errors import UnreadableItemError
from longshore.domain.history import append
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Change, Container, IdempotencyRecord, Outcome, OutcomeKind
from longshore.domain.pending import HostCommand, Trigger

from engine.aws import NO_ANSWER
from engine.stage import Stage
from local.emulator.errors import AwsError

CONFLICT = AwsError("TransactionConflictException", "Transaction is ongoing for the item")
CANCELLED = "TransactionCanceledException"


def cancelled(*codes: str) -> AwsError:
    return AwsError(CANCELLED, "Transaction cancelled", CancellationReasons=[{"Code": code} for code in codes])


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    container = stage.add("running")
    with stage.open():
        yield container


def exit_of(stage: Stage, before: Container) -> Any:
    change = Change(Status.STOPPED, stage.clock.now(), Trigger.SYSTEM)
    return append(before, change, "0" * 24, stage.clock.now())


Write = Callable[[Stage, Store, Container], Any]


def commit(stage: Stage, store: Store, before: Container) -> Any:
    after, entry = exit_of(stage, before)
    return store.commit(before, after.model_copy(update={"operation": None}), entry, None)


def commit_observed(stage: Stage, store: Store, before: Container) -> Any:
    return store.commit_observed(before, *exit_of(stage, before))


def note_idle(stage: Stage, store: Store, before: Container) -> Any:
    return store.note_idle(before, before.model_copy(update={"tasks_due_at": stage.clock.now()}))


def commit_expiry(stage: Stage, store: Store, before: Container) -> Any:
    return store.commit_expiry(before, *exit_of(stage, before))


def note(stage: Stage, store: Store, before: Container) -> Any:
    assert before.operation is not None
    return store.note(before, before.operation.model_copy(update={"attempts": 7}), None)


def abandon(stage: Stage, store: Store, before: Container) -> Any:
    return store.abandon(before)


def take_over(stage: Stage, store: Store, before: Container) -> Any:
    assert before.operation is not None
    return store.take_over(before, before.operation.model_copy(update={"attempts": 7}))


PENDING: list[Write] = [commit, note, abandon, take_over]
IDLE: list[Write] = [commit_observed, note_idle]
ANY: list[Write] = [commit_expiry]


def later(stage: Stage, container: str, change: str) -> None:
    """Apply a change of another worker between read and write."""
    match change:
        case "generation":
            stage.edit(container, generation=5)
        case "row":
            stage.edit(container, log_count=5)
        case "operation":
            stage.edit(container, operation=stage.pending(container).model_copy(update={"id": "d" * 24}))
        case "ended":
            stage.edit(container, operation=None)
        case "claimed":
            generation = stage.container(container).generation
            stage.claim(container, "pause")
            stage.edit(container, generation=generation)
        case "deadline":
            stage.edit_pending(container, deadline=stage.clock.now() + timedelta(seconds=5))
        case "deleted":
            stage.dynamodb.tables["containers"].items.clear()


@pytest.mark.parametrize("change", ["generation", "row", "operation", "ended", "deadline", "deleted", "nothing"])
@pytest.mark.parametrize("write", PENDING)
def test_writes_of_a_pending_operation(stage: Stage, container: str, write: Write, change: str) -> None:
    stage.claim(container, "stop")
    check(stage, container, write, change, refused=change != "nothing" and (change != "deadline" or write is take_over))


@pytest.mark.parametrize("change", ["generation", "row", "claimed", "deleted", "nothing"])
@pytest.mark.parametrize("write", IDLE)
def test_writes_of_an_idle_container(stage: Stage, container: str, write: Write, change: str) -> None:
    check(stage, container, write, change, refused=change != "nothing")


@pytest.mark.parametrize("change", ["generation", "row", "claimed", "deleted", "nothing"])
@pytest.mark.parametrize("write", ANY)
def test_an_expiry(stage: Stage, container: str, write: Write, change: str) -> None:
    check(stage, container, write, change, refused=change in ("generation", "row", "deleted"))


def check(stage: Stage, container: str, write: Write, change: str, *, refused: bool) -> None:
    before = stage.container(container)
    later(stage, container, change)
    items = stage.dynamodb.tables["containers"].items
    now = stage.container(container) if items else None
    stage.calls.clear()
    result = write(stage, stage.wired.store, before)
    if refused:
        # The change of the other worker remains, and the refusal itself returns it.
        assert result == ConditionFailed(now)
        assert stage.count("GetItem") == (0 if items else 1)
        assert (stage.container(container) if items else None) == now
        assert len(stage.rows(container)) == 1
    else:
        assert isinstance(result, Container)
        assert stage.container(container) == result


@pytest.mark.parametrize(("write", "raised"), [(take_over, 1), (commit_expiry, 1), (note, 1), (commit, 0)])
def test_writes_that_raise_the_generation(stage: Stage, container: str, write: Write, raised: int) -> None:
    stage.claim(container, "stop")
    stage.edit(container, generation=3)
    write(stage, stage.wired.store, stage.container(container))
    assert stage.container(container).generation == 3 + raised


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("change", ["project", "generation", "row", "deleted", "nothing"])
def test_the_condition_of_a_claim(stage: Stage, container: str, change: str, supersedes: bool) -> None:
    """Permissions belong to a project. A refused claim writes nothing and returns the current container."""
    pending = stage.claim(container, "stop")
    if not supersedes:
        stage.edit(container, operation=None)
    before = stage.container(container)
    if change == "project":
        stage.edit(container, project_id="a" * 24)
    else:
        later(stage, container, change)
    items = stage.dynamodb.tables["containers"].items
    now = stage.container(container) if items else None
    mine = pending.model_copy(update={"id": "e" * 24})
    requested_at = stage.clock.now()
    result = stage.wired.store.claim(before, mine, supersedes=supersedes, requested_at=requested_at)
    if change == "nothing":
        assert isinstance(result, Container)
        assert stage.container(container) == result
        assert (result.operation, result.generation) == (mine, before.generation + supersedes)
        assert result.project_id == before.project_id
    else:
        assert result == ConditionFailed(now)
        assert (stage.container(container) if items else None) == now


def test_a_row_is_never_overwritten(stage: Stage, container: str) -> None:
    before = stage.container(container)
    after, entry = exit_of(stage, before)
    assert entry.log.transition_time is not None
    stage.wired.store.commit_observed(before, after, entry)
    stage.put(before)
    result = stage.wired.store.commit_observed(before, after, entry)
    assert isinstance(result, ConditionFailed)
    assert stage.status(container) == "running"


def test_the_command_number_never_falls(stage: Stage, container: str) -> None:
    stage.claim(container, "pause")
    stage.edit(container, command_number=9)
    before = stage.container(container)
    assert before.operation is not None
    stage.wired.store.note(before, before.operation.model_copy(update={"command": HostCommand(number=4)}), None)
    assert stage.container(container).command_number == 9
    before = stage.container(container)
    stage.wired.store.note(
        before, stage.pending(container).model_copy(update={"command": HostCommand(number=12)}), None
    )
    assert stage.container(container).command_number == 13


def test_concurrent_changes_of_an_operation_do_not_overwrite_each_other(stage: Stage, container: str) -> None:
    """Two workers have read the same item: the second write is refused, and so is an end that misses either change."""
    stage.claim(container, "stop")
    before = stage.container(container)
    first = note(stage, stage.wired.store, before)
    assert isinstance(first, Container)
    assert first.generation == before.generation + 1
    for write in (note, abandon, commit, take_over):
        assert write(stage, stage.wired.store, before) == ConditionFailed(first)
    assert stage.container(container) == first
    assert isinstance(note(stage, stage.wired.store, first), Container)


def test_registered_attributes_are_never_changed(stage: Stage, container: str) -> None:
    """An administrator's change between read and write remains, and so do unknown attributes."""
    before = stage.container(container)
    item = stage.dynamodb.tables["containers"].items[(container,)]
    item |= {"name": {"S": "renamed"}, "protection": {"S": "of a later version"}}
    stage.wired.store.note_idle(before, before.model_copy(update={"tasks_due_at": stage.clock.now(), "name": "old"}))
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert (item["name"], item["protection"]) == ({"S": "renamed"}, {"S": "of a later version"})


def test_unknown_attributes_of_an_operation_are_kept(stage: Stage, container: str) -> None:
    stage.claim(container, "stop")
    item = stage.dynamodb.tables["containers"].items[(container,)]
    item["operation"]["M"]["priority"] = {"N": "3"}
    before = stage.container(container)
    assert before.operation is not None
    stage.wired.store.note(before, before.operation.model_copy(update={"attempts": 2}), None)
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert item["operation"]["M"]["priority"] == {"N": "3"}


# --- conflicts, lost replies, errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [CONFLICT, AwsError("TransactionInProgressException", ""), cancelled("TransactionConflict"), cancelled("None")],
    ids=["conflict", "in progress", "cancelled", "no reason"],
)
@pytest.mark.parametrize("write", [note, commit, commit_expiry])
def test_a_conflict_is_retried(stage: Stage, container: str, write: Write, error: AwsError) -> None:
    stage.claim(container, "stop")
    operation = "UpdateItem" if write is note else "TransactWriteItems"
    stage.fail(operation, error, times=9)
    start = stage.clock.now()
    assert isinstance(write(stage, stage.wired.store, stage.container(container)), Container)
    assert stage.count(operation) == 10
    # 25 ms, doubled each time up to half a second, times a random factor of at least one half.
    assert timedelta(seconds=1.2) < stage.clock.now() - start < timedelta(seconds=2.9)


def test_a_conflict_that_does_not_end(stage: Stage, container: str) -> None:
    stage.claim(container, "stop")
    stage.fail("UpdateItem", CONFLICT, times=-1)
    with pytest.raises(StoreError) as raised:
        note(stage, stage.wired.store, stage.container(container))
    assert raised.value.reason == "The database is busy with other requests for the same container"
    assert stage.count("UpdateItem") == 10


def test_a_failed_condition_among_conflicts_counts(stage: Stage, container: str) -> None:
    stage.fail("TransactWriteItems", cancelled("ConditionalCheckFailed", "TransactionConflict"))
    before = stage.container(container)
    result = commit_observed(stage, stage.wired.store, before)
    assert result == ConditionFailed(before)
    assert stage.count("TransactWriteItems") == 1


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (AwsError("ValidationException", "reserved"), ClientError),
        (cancelled("ValidationError", "None"), ClientError),
        (AwsError("InternalServerError", "", 500), StoreError),
        (AwsError("ProvisionedThroughputExceededException", ""), StoreError),
        (NO_ANSWER, StoreError),
    ],
)
def test_errors_of_writes(stage: Stage, container: str, error: Exception, raised: type[Exception]) -> None:
    stage.fail("TransactWriteItems", error)
    with pytest.raises(raised):
        commit_observed(stage, stage.wired.store, stage.container(container))
    assert stage.count("TransactWriteItems") == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [(AwsError("InternalServerError", "", 500), "The database failed"), (NO_ANSWER, "The database did not answer")],
)
def test_errors_of_reads(stage: Stage, container: str, error: Exception, reason: str) -> None:
    stage.fail("GetItem", error)
    with pytest.raises(StoreError) as raised:
        stage.wired.store.container(container)
    assert raised.value.reason == reason
    stage.fail("Query", error)
    with pytest.raises(StoreError):
        list(stage.wired.store.rows_since(container, 0))


def test_an_unreadable_item(stage: Stage, container: str) -> None:
    stage.damage(container)
    with pytest.raises(UnreadableItemError) as raised:
        stage.wired.store.container(container)
    assert raised.value.item_id == container
    assert raised.value.reason == "The item cannot be read"


@pytest.mark.parametrize("write", [commit, commit_expiry, abandon])
def test_a_transaction_that_botocore_repeats(stage: Stage, container: str, write: Write) -> None:
    stage.claim(container, "stop")
    stage.repeat("TransactWriteItems")
    result = write(stage, stage.wired.store, stage.container(container))
    assert stage.container(container) == result


# --- answers -------------------------------------------------------------------------------------------------------


def record(message: str | None, operation_id: str | None, expires_at: datetime) -> IdempotencyRecord:
    answer = None
    if message is not None:
        answer = Outcome(
            kind=OutcomeKind.CONFLICT,
            operation=Operation.STOP,
            container_id="c",
            project_id="p",
            message=message,
            status=Status.STOPPED,
        )
    return IdempotencyRecord(
        id="k",
        container_id="c",
        operation=Operation.STOP,
        operation_id=operation_id,
        expires_at=int(expires_at.timestamp()),
        answer=answer,
    )


@pytest.mark.parametrize(
    ("there", "operation_id", "seconds", "kept"),
    [
        (None, None, 0, "new"),
        ("old", "a", 60, "old"),
        ("old", "a", 0, "new"),  # expired, and not yet deleted
        ("old", "a", -60, "new"),
        ("", "a", 60, "new"),  # this operation's own record, still without an answer
        ("", "b", 60, ""),  # the record of another operation
    ],
)
def test_the_answer_that_is_stored(stage: Stage, there: str | None, operation_id: str, seconds: int, kept: str) -> None:
    stage.tick = 0
    now = stage.clock.now()
    with stage.open():
        store = stage.wired.store
        if there is not None:
            old = record(there or None, operation_id, now + timedelta(seconds=seconds))
            stage._put("idempotency", old.model_dump(mode="json", exclude_none=True))
        new = record("new", "a", now + timedelta(hours=24))
        result = store.keep_answer(new)
        stored = store.record("k")
    assert (result.answer.message if result.answer else "") == kept
    assert stored == result


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("forget", [None, False, True])
def test_the_record_of_a_key_when_its_operation_ends(
    stage: Stage, container: str, forget: bool | None, answered: bool
) -> None:
    """A 202 remains the answer, however the operation ends."""
    stage.claim(container, "stop", key="k")
    stage.edit_pending(container, answered=answered)
    before = stage.container(container)
    after, entry = exit_of(stage, before)
    answer = record("new", None, stage.clock.now()).answer
    options = {} if forget is None else {"forget": forget}
    stage.wired.store.commit(before, after.model_copy(update={"operation": None}), entry, answer, **options)
    kept = stage.record()
    if forget and not answered:
        assert kept is None
    else:
        assert kept is not None
        assert ("answer" in kept) is not answered


@pytest.mark.parametrize(("seconds", "known"), [(1, True), (0, False), (-1, False)])
def test_an_expired_record_is_not_returned(stage: Stage, seconds: int, known: bool) -> None:
    stage.tick = 0
    old = record("old", "a", stage.clock.now() + timedelta(seconds=seconds))
    stage._put("idempotency", old.model_dump(mode="json", exclude_none=True))
    with stage.open():
        assert (stage.wired.store.record("k") is not None) is known
