"""Containers, their history and Idempotency-Keys in DynamoDB: the only module that commits changes of status.

Each write is one conditional request that replaces a snapshot of a container's item by the next one. The condition
proves that nothing has happened since the snapshot was read:

    claim      nothing is pending (or only the operation that force-stop supersedes); generation and row count as read
    commit     this operation and generation; the history row is written in the same transaction
    take over  the same, and the deadline as read; raises the generation, so that the previous driver cannot commit

Users change other attributes of the item at any time (`details.py`). A write after which nothing is pending derives the
key of the index `pending-by-deadline` from some of them (`LIFETIME`), and therefore requires that they are as read. If
only they have changed, the write is repeated with their current values.

A request may take effect although its reply is lost. botocore then repeats it: a transaction has the same token and
succeeds; a claim finds its own operation's id in the item, or in a row if the operation has ended since, and has
therefore won. If no reply arrives at all, the result is `StoreError`: the write may have taken effect or not.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.attributes import deserialize_item, serialize
from longshore.aws.batches import read_containers
from longshore.aws.history_size import HistorySizes
from longshore.aws.index import ContainerIndex
from longshore.aws.items import CHANGEABLE, STOP_AT, Item, container_of, log_of, record_of
from longshore.aws.transactions import HistoryFullError, Transactions, call
from longshore.aws.updates import ConditionFailed, Updates
from longshore.aws.writes import Condition, Writes, as_read, as_stored, same, same_key, unchanged
from longshore.domain.clock import Clock, to_text
from longshore.domain.errors import UnreadableItemError
from longshore.domain.history import Entry
from longshore.domain.ledger import without
from longshore.domain.lifecycle import PROTECTED_FROM, Step
from longshore.domain.models import COMMANDS, Container, IdempotencyRecord, Outcome, StatusLog
from longshore.domain.pending import Launch, PendingOperation
from longshore.domain.retention import shorter
from longshore.domain.unchanged import UNCHANGED, Unchanged

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

__all__ = ["ConditionFailed", "Replayed", "Store"]

# Attributes of a container's item that describe its history. Each row changes them.
_OF_HISTORY = ("log_count", "to_counts", "from_counts", "last_transition_time", "last_created_at")


class Replayed(NamedTuple):
    """A claim was refused because its Idempotency-Key is in use."""

    record: IdempotencyRecord  # of the request that used the key first


class Store:
    """The tables of containers, history rows and Idempotency-Keys. Reads are strongly consistent.

    Writes of a container return the container after the write, or why the write was refused.

    Args:
        retention: The retention of new history rows in days; 0 keeps them.
        on_large: Called with the id of a container and the size of its history in GB when it is near its limit.

    Attributes:
        index: Finds the ids of containers. Its reads are eventually consistent.

    Raises:
        StoreError: Every method: DynamoDB failed after retries. A write may have taken effect or not.
    """

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        *,
        containers: str,
        status_logs: str,
        idempotency: str,
        clock: Clock,
        retention: int = 0,
        on_large: Callable[[str, float], object] | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._status_logs = status_logs
        self._idempotency = idempotency
        self._clock = clock
        self._retention = retention
        self._sizes = HistorySizes(dynamodb, containers, on_large)
        self._writes = Writes(containers=containers, status_logs=status_logs, idempotency=idempotency)
        self._transactions = Transactions(dynamodb, clock)
        self._updates = Updates(self._writes, self._transactions, self.container)
        self.index = ContainerIndex(dynamodb, containers)

    # --- reading ---------------------------------------------------------------------------------------------------

    def container(self, container_id: str, *, consistent: bool = True) -> Container | None:
        """Read the container. One read, or half of one if the container may be as it was shortly before.

        Returns:
            The container. None if it does not exist.

        Raises:
            UnreadableItemError: The item is damaged, or was written by a later version.
        """
        item = self._get(self._containers, container_id, consistent=consistent)
        return container_of(deserialize_item(item)) if item else None

    def containers(self, ids: Collection[str]) -> dict[str, Container | UnreadableItemError]:
        """Read up to 100 containers, or the error of an item that cannot be read. See `read_containers`."""
        return read_containers(self._dynamodb, self._containers, self._clock, ids)

    def record(self, record_id: str) -> IdempotencyRecord | None:
        """Read the record of an Idempotency-Key. One read. Returns None if there is none or it has expired."""
        item = self._get(self._idempotency, record_id)
        return self._live_record(deserialize_item(item)) if item else None

    def rows_since(self, container_id: str, seq: int) -> list[StatusLog]:
        """Read the history rows after number `seq`, oldest first. Returns at most 1 MB of rows."""
        answer = call(
            lambda: self._dynamodb.query(
                TableName=self._status_logs,
                IndexName="by-seq",
                KeyConditionExpression="container_id = :container AND seq > :seq",
                ExpressionAttributeValues={":container": {"S": container_id}, ":seq": serialize(seq)},
                ConsistentRead=True,
            )
        )
        return [log_of(deserialize_item(item)) for item in answer["Items"]]

    # --- writing ---------------------------------------------------------------------------------------------------

    def claim(
        self,
        container: Container,
        pending: PendingOperation,
        *,
        supersedes: bool,
        requested_at: datetime,
        stop_at: datetime | Unchanged | None = UNCHANGED,
        while_same: Sequence[str] = (),
    ) -> Container | ConditionFailed | Replayed:
        """Begin an operation. Until it ends, no other operation can begin, except a force-stop.

            caller A   read ----------- claim ----- act ----- commit
            caller B        read ------------ claim: refused, with A's operation

        The record of an Idempotency-Key is written in the same transaction, so that neither exists without the other.

        Args:
            container: The container as read.
            pending: The operation.
            supersedes: Whether the operation supersedes the operation that is pending.
            requested_at: When the operation was requested. For a schedule, the scheduled time.
            stop_at: The container's new `stop_at`. The previous one is restored if the operation ends without a row.
            while_same: Names of further attributes that must be as read.

        Returns:
            The container with the operation pending, or why the claim was refused.
        """
        generation = container.generation + 1 if supersedes else container.generation
        names: tuple[str, ...] = CHANGEABLE
        stops: dict[str, Any] = {}
        if not isinstance(stop_at, Unchanged):
            pending = pending.model_copy(update={"stop_at_before": container.stop_at})
            stops = {"stop_at": stop_at, "stop_at_by": pending.id}
            names, while_same = (*names, *STOP_AT), (*while_same, *STOP_AT)
        claimed = container.model_copy(
            update={
                "operation": pending,
                "generation": generation,
                "command_number": pending.command.number + COMMANDS - 1,
                "requested_at": requested_at,
                "absent_since": None,
                "tasks_due_at": None,
            }
            | stops
        )
        superseded = container.operation if supersedes else None
        # Permissions and schedules are checked for the project that the container belonged to when it was read.
        condition = as_read(container, superseded).also("#project_id = :was_project", was_project=container.project_id)
        if pending.operation in PROTECTED_FROM:
            condition = condition.also("attribute_not_exists(#protection)")
        if while_same:
            condition = condition.and_also(same(container, tuple(dict.fromkeys(while_same))))
        writes = [self._writes.update(claimed, condition, names)]
        if pending.idempotency is not None:
            writes.append(self._writes.put_new_record(record_of(claimed, None), self._now_seconds()))
        claimed = as_stored(claimed)
        refused = self._transactions.write(writes)
        if refused is None:
            return claimed
        if len(refused) > 1 and refused[1] is not None:
            record = self._live_record(refused[1])
            if record is not None and record.operation_id != pending.id:
                return Replayed(record)
        current = container_of(refused[0]) if refused[0] is not None else self.container(container.id)
        if current is None:
            return ConditionFailed(None)
        # An earlier try of this claim may have succeeded, and its reply was lost.
        if current.operation is not None and current.operation.id == pending.id:
            return current
        if self._has_changed(container, current, pending):
            return claimed  # The handler of an event has ended the operation, as it can end that of a slow driver.
        return ConditionFailed(current)

    def commit(
        self, before: Container, after: Container, entry: Entry, answer: Outcome | None, *, forget: bool = False
    ) -> Container | ConditionFailed:
        """Write a change of status with its row, the counters and the operation's next step or end, in one transaction.

        Args:
            before: The container as read, with the operation.
            after: The container after the change. Its `operation` is None when the operation ends.
            entry: The history row.
            answer: The answer to store for the operation's Idempotency-Key.
            forget: Whether the Idempotency-Key becomes free again.
        """
        more: list[Any] = []
        pending = before.operation
        if pending is not None and pending.idempotency is not None and not pending.answered:
            if forget:
                more.append(self._writes.delete_record(pending.idempotency.id))
            elif answer is not None:
                more.append(self._writes.put_record(record_of(before, answer)))
        return self._commit_with_row(self._still_pending(before), before, after, entry, more)

    def commit_observed(self, before: Container, after: Container, entry: Entry) -> Container | ConditionFailed:
        """Write a change that no operation has caused. The container must be as read, with nothing pending.

        Two lookups that do not find a task or a service prove that it is gone. If another worker has found it since the
        container was read, it has changed the ledger or cleared `absent_since`, and the write is refused.
        """
        condition = as_read(before, None)
        if before.absent_since is not None:
            condition = condition.also("#absent_since = :was_absent", was_absent=to_text(before.absent_since))
        return self._commit_with_row(condition, before, after, entry)

    def note_idle(self, before: Container, after: Container) -> Container | ConditionFailed:
        """Write attributes of a container with nothing pending, without a row."""
        return self._updates.apply(as_read(before, None), after)

    def note_ledger(self, before: Container, after: Container) -> Container | ConditionFailed:
        """Write the ledger of a container with nothing pending, without a row.

        Raises the generation, so that no claim or row is written with the ledger of before.
        """
        return self.note_idle(before, after.model_copy(update={"generation": before.generation + 1}))

    def defer(self, container: Container, until: datetime) -> Container | ConditionFailed:
        """Move the key of the index of a protected container, so that the recovery sweep finds it later.

        Writes nothing else. Removing the protection moves the key back.
        """
        condition = as_read(container, None).also("attribute_exists(#protection)")
        condition = condition.and_also(same_key(container))
        return self._updates.move_key(condition, container, until)

    def commit_expiry(self, before: Container, after: Container, entry: Entry) -> Container | ConditionFailed:
        """Expire a container, also if an operation is pending. The new generation makes the operation's commit fail."""
        after = after.model_copy(update={"generation": before.generation + 1, "operation": None})
        return self._commit_with_row(unchanged(before), before, after, entry)

    def note(self, before: Container, pending: PendingOperation, answer: Outcome | None) -> Container | ConditionFailed:
        """Write attributes of the pending operation, without a row.

        Raises the generation. A driver that has not read the new attributes can then neither overwrite them nor end the
        operation with another answer.

        Args:
            before: The container as read.
            pending: The operation with its new attributes.
            answer: The 202 to store for the operation's Idempotency-Key. None: nothing is stored.
        """
        after = _with_operation(before, pending, before.generation + 1)
        more = []
        if answer is not None and pending.idempotency is not None:
            more.append(self._writes.put_record(record_of(before, answer)))
        return self._updates.apply(self._still_pending(before), after, more)

    def note_event_acts(self, before: Container, pending: PendingOperation) -> Container | ConditionFailed:
        """Store that the handler of an event may act for the pending operation, which then cannot be abandoned.

        Does not raise the generation, so that the operation's driver can still commit.
        """
        launch = Launch(client_token=pending.launch and pending.launch.client_token, event_acted=True)
        acted = pending.model_copy(update={"launch": launch})
        return self._updates.apply(self._still_pending(before), before.model_copy(update={"operation": acted}))

    def abandon(self, before: Container) -> Container | ConditionFailed:
        """End the pending operation without a row, because it had no effect. Its Idempotency-Key becomes free again.

        Refused if the handler of an event may have acted for the operation. Always uses a transaction, whose token lets
        botocore repeat the request after a lost reply.
        """
        pending = before.operation
        assert pending is not None
        # Otherwise an operation without an effect would prevent a schedule from acting on the container.
        changes: dict[str, Any] = {"operation": None, "requested_at": pending.requested_before}
        if pending.step is Step.START:
            changes["tasks"] = without(before.tasks, pending.token)
        # Nothing has changed the service, so a later operation stores its count and its scaling anew.
        changes |= dict.fromkeys((*(pending.service.stored if pending.service else ()), "calls_end_at"))
        condition = self._still_pending(before).also("NOT #operation.event_acted = :event_acted", event_acted=True)
        more = []
        if pending.idempotency is not None:
            more.append(self._writes.delete_record(pending.idempotency.id))

        def restored(latest: Container) -> Container:
            # A user who has changed `stop_at` since the claim has removed `stop_at_by`.
            own = latest.stop_at_by == pending.id
            return latest.model_copy(update={"stop_at": pending.stop_at_before, "stop_at_by": None} if own else {})

        after = before.model_copy(update=changes)
        names = (*CHANGEABLE, *STOP_AT)
        return self._updates.apply(condition, after, more, names=names, restored=restored, transaction=True)

    def take_over(self, before: Container, pending: PendingOperation) -> Container | ConditionFailed:
        """Take over the pending operation, with its new deadline. The previous driver can no longer commit."""
        assert before.operation is not None
        after = _with_operation(before, pending, before.generation + 1)
        condition = self._still_pending(before).also(
            "#operation.deadline = :was_deadline", was_deadline=to_text(before.operation.deadline)
        )
        return self._updates.apply(condition, after)

    def keep_answer(self, record: IdempotencyRecord) -> IdempotencyRecord:
        """Store the answer for an Idempotency-Key unless it has one. Returns the stored record."""
        refused = self._transactions.write([self._writes.put_first_answer(record, self._now_seconds())])
        if refused is None:
            return record
        return self._live_record(refused[0]) or record

    # --- parts of reads and writes ---------------------------------------------------------------------------------

    def _has_changed(self, before: Container, current: Container, pending: PendingOperation) -> bool:
        """Check whether the operation has changed the container's status since the container was read."""
        if pending.id in (current.reached_without_row or {}):
            return True
        if current.log_count == before.log_count:
            return False
        rows = self.rows_since(before.id, before.log_count)
        return any((row.metadata or {}).get("operation_id") == pending.id for row in rows)

    @staticmethod
    def _still_pending(before: Container) -> Condition:
        assert before.operation is not None
        return as_read(before, before.operation)

    def _commit_with_row(
        self, condition: Condition, before: Container, after: Container, entry: Entry, more: Sequence[Any] = ()
    ) -> Container | ConditionFailed:
        """Write the container together with its row. If it is neither live nor pending now, remove its `stop_at`.

        If the history has reached DynamoDB's size limit, the change, which has already happened, is written without a
        row; the container's item then has the status that the operation reached. From then on the container refuses
        all operations except stop and force-stop.
        """
        # While the item has the shorter retention, no reader shows a row that DynamoDB may delete.
        after = after.model_copy(update={"history_retention": shorter(before.history_retention, self._retention)})
        names: tuple[str, ...] = CHANGEABLE
        if after.operation is None and not after.is_live:
            after = after.model_copy(update=dict.fromkeys(STOP_AT))
            names = (*names, *STOP_AT)
        row = self._writes.put_log(entry, self._retention)
        on_answer = partial(self._sizes.committed, after)
        try:
            return self._updates.apply(condition, after, [row, *more], names=names, on_answer=on_answer)
        except HistoryFullError:
            history = {name: getattr(before, name) for name in _OF_HISTORY}
            # Without a row, only the generation proves that this step is complete.
            full: dict[str, Any] = {"history_full": True, "generation": after.generation + 1}
            operation_id = (entry.log.metadata or {}).get("operation_id")
            if operation_id is not None:
                full["reached_without_row"] = (before.reached_without_row or {}) | {operation_id: after.status}
            after = after.model_copy(update=history | full)
            return self._updates.apply(condition, after, more, names=names)

    def _get(self, table: str, key: str, *, consistent: bool = True) -> Item | None:
        answer = call(
            lambda: self._dynamodb.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=consistent)
        )
        return answer.get("Item")

    def _live_record(self, item: Item | None) -> IdempotencyRecord | None:
        if item is None:
            return None
        record = IdempotencyRecord.model_validate(item)
        return record if record.expires_at > self._now_seconds() else None

    def _now_seconds(self) -> int:
        return int(self._clock.now().timestamp())


def _with_operation(before: Container, pending: PendingOperation, generation: int) -> Container:
    number = max(before.command_number, pending.command.number + COMMANDS - 1)
    return before.model_copy(update={"operation": pending, "generation": generation, "command_number": number})
