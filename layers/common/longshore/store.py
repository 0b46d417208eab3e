"""Containers, their history and the Idempotency-Keys in DynamoDB. The only place that commits a change of status.

Each write is one conditional request that puts a container's item from a snapshot to the next one. Its condition
proves that nothing has happened since the snapshot:

    claim      nothing pending (or just the operation that force-stop supersedes), generation and row count as read
    commit     this operation, at this step, in this generation; with it goes the row of history, in one transaction
    take over  the same, and the deadline as read; raises the generation, so that whoever drove it before cannot commit

A request may take effect and its reply be lost. botocore sends it again: a transaction then carries the same token and
succeeds; a claim finds its own operation's id in the item and knows that it has won. When the reply stays away,
`StoreError` says that the outcome is not known; the operation is then pending, or was never claimed.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from longshore.attributes import deserialize_item, serialize, serialize_item
from longshore.clock import Clock, to_text
from longshore.errors import ExternalServiceError, UnreadableItemError
from longshore.history import Counted, Entry, Span
from longshore.models import COMMANDS, Container, IdempotencyRecord, Outcome, PendingOperation, StatusLog

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    Item = dict[str, Any]

T = TypeVar("T")

PENDING_SHARDS = 8
"""Over how many keys the index of pending operations is spread."""

IDEMPOTENCY_WINDOW = timedelta(hours=24)
"""How long an Idempotency-Key is remembered."""

_OVERDUE_PAGE = 100  # containers

_CONFLICT_TRIES = 10
_CONFLICT_PAUSE = 0.025  # seconds, doubled at each try up to half a second

SCHEMA = 2
"""The form of items and rows. Version 0.1 wrote none."""

# What a write may change of a container's item; the rest belongs to whoever registered it.
_CHANGEABLE = (
    "status",
    "status_since",
    "task_arn",
    "task_version",
    "task_ended",
    "was_paused",
    "generation",
    "operation",
    "command_number",
    "requested_at",
    "absent_since",
    "history_full",
    "schema",
    "log_count",
    "to_counts",
    "from_counts",
    "last_transition_time",
    "last_created_at",
    "updated_at",
    # Keys of the sparse indexes, derived from the rest.
    "live_project_id",
    "pending_shard",
    "pending_deadline",
)


class StoreError(ExternalServiceError):
    """DynamoDB failed after retries. A write may have taken effect or not."""


class HistoryFullError(StoreError):
    """The history of one container has reached DynamoDB's limit of 10 GB for an item collection."""


class ConditionFailed(NamedTuple):
    """A write was refused: the item is no longer as the snapshot says. `current` is the item now; None: deleted."""

    current: Container | None


class Replayed(NamedTuple):
    """A claim was refused because its Idempotency-Key is in use."""

    record: IdempotencyRecord


class Counters(NamedTuple):
    """The counters of a container's history, and whose it is. Those by status wait in its item until they are used."""

    id: str
    project_id: str
    log_count: int
    item: "Item"

    @property
    def to_counts(self) -> dict[str, int]:
        return self._counts("to_counts")

    @property
    def from_counts(self) -> dict[str, int]:
        return self._counts("from_counts")

    def _counts(self, name: str) -> dict[str, int]:
        counts = self.item[name]["M"] if name in self.item else {}
        return {status: int(count["N"]) for status, count in counts.items()}


# What a row changes of a container's item, besides its status.
_OF_HISTORY = ("log_count", "to_counts", "from_counts", "last_transition_time", "last_created_at")


def container_item(container: Container) -> "Item":
    """The container as a DynamoDB item, with the keys of the sparse indexes."""
    item = container.model_dump(mode="json", exclude_none=True) | {"schema": SCHEMA}
    if container.is_live:
        item["live_project_id"] = container.project_id
    due = container.due_at
    if due is not None:
        item["pending_shard"] = str(int(container.id[-4:], 16) % PENDING_SHARDS)
        item["pending_deadline"] = to_text(due)
    return serialize_item(item)


def log_item(entry: Entry) -> "Item":
    """A row of history as a DynamoDB item, with its place in each order."""
    row = entry.log.model_dump(mode="json", exclude_none=True)
    row |= {"seq": entry.seq, "to_rank": entry.to_rank, "from_rank": entry.from_rank, "schema": SCHEMA}
    return serialize_item(row)


def record_of(container: Container, answer: Outcome | None) -> IdempotencyRecord:
    """What is kept for the Idempotency-Key of the pending operation, which has one."""
    pending = container.operation
    assert pending is not None
    assert pending.idempotency_id is not None
    assert pending.idempotency_expires_at is not None
    return IdempotencyRecord(
        id=pending.idempotency_id,
        container_id=container.id,
        operation=pending.operation,
        operation_id=pending.id,
        expires_at=pending.idempotency_expires_at,
        answer=answer,
    )


class Store:
    """The three tables that hold state. Every read is consistent."""

    def __init__(
        self, dynamodb: "DynamoDBClient", *, containers: str, status_logs: str, idempotency: str, clock: Clock
    ) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._status_logs = status_logs
        self._idempotency = idempotency
        self._clock = clock

    # --- reading ---------------------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container | None:
        """Read the container as it is now. One read.

        Raises:
            UnreadableItemError: The item was damaged, or written by a later version.
            StoreError: DynamoDB failed.
        """
        item = self._get(self._containers, container_id)
        return _container(deserialize_item(item)) if item else None

    def counters(self, container_id: str) -> Counters | None:
        """What the pages of the container's history need of its item. One read."""
        item = self._get(self._containers, container_id, "project_id, log_count, to_counts, from_counts")
        if item is None:
            return None
        total = int(item["log_count"]["N"]) if "log_count" in item else 0
        return Counters(container_id, item["project_id"]["S"], total, item)

    def record(self, record_id: str) -> IdempotencyRecord | None:
        """What is known of an Idempotency-Key within its 24 hours. One read."""
        item = self._get(self._idempotency, record_id)
        return self._live_record(deserialize_item(item)) if item else None

    def page(self, container: Counted, where: Span) -> "list[Item]":
        """The rows of a page, in order, as JSON values that `StatusLog` describes. One Query that reads just them.

        The page belongs to the container as it was read. When rows were added since, a page by status may read some of
        them too; they are left out, so that `total` and the rows agree.
        """
        rows: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = self._call(
                partial(
                    self._dynamodb.query,
                    TableName=self._status_logs,
                    IndexName=where.index_name,
                    KeyConditionExpression="container_id = :container AND #attribute BETWEEN :low AND :high",
                    ExpressionAttributeNames={"#attribute": where.attribute},
                    ExpressionAttributeValues={
                        ":container": {"S": container.id},
                        ":low": serialize(where.low),
                        ":high": serialize(where.high),
                    },
                    ScanIndexForward=where.ascending,
                    ConsistentRead=True,
                    **start,
                )
            )
            items = answer["Items"]
            if where.attribute != "seq":
                items = [item for item in items if int(item["seq"]["N"]) <= container.log_count]
            rows += map(_shown, items)
            # Only past 1 MB of rows.
            if "LastEvaluatedKey" not in answer:
                return rows
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def rows_since(self, container_id: str, seq: int) -> list[StatusLog]:
        """The rows after number `seq`, oldest first (the first 1 MB of them)."""
        answer = self._call(
            lambda: self._dynamodb.query(
                TableName=self._status_logs,
                IndexName="by-seq",
                KeyConditionExpression="container_id = :container AND seq > :seq",
                ExpressionAttributeValues={":container": {"S": container_id}, ":seq": serialize(seq)},
                ConsistentRead=True,
            )
        )
        return [_log(deserialize_item(item)) for item in answer["Items"]]

    # The indexes of containers are eventually consistent: what they name has to be read again before anything is done.

    def overdue(self, shard: int, now: datetime) -> Iterator[str]:
        """The ids of containers that the recovery sweep has to look at, those that are due longest first."""
        return self._ids_of(
            self._dynamodb.query,
            IndexName="pending-by-deadline",
            KeyConditionExpression="pending_shard = :shard AND pending_deadline <= :now",
            ExpressionAttributeValues={":shard": {"S": str(shard)}, ":now": {"S": to_text(now)}},
            Limit=_OVERDUE_PAGE,
        )

    def live_in_project(self, project_id: str) -> Iterator[str]:
        """The ids of the project's containers that are running or paused, read page by page."""
        return self._ids_of(
            self._dynamodb.query,
            IndexName="live-by-project",
            KeyConditionExpression="live_project_id = :project",
            ExpressionAttributeValues={":project": {"S": project_id}},
        )

    def live(self) -> Iterator[str]:
        """The ids of all containers that are running or paused, read page by page."""
        return self._ids_of(self._dynamodb.scan, IndexName="live-by-project")

    def pending(self) -> Iterator[str]:
        """The ids of all containers with a pending operation, read shard by shard."""
        for shard in range(PENDING_SHARDS):
            yield from self._ids_of(
                self._dynamodb.query,
                IndexName="pending-by-deadline",
                KeyConditionExpression="pending_shard = :shard",
                ExpressionAttributeValues={":shard": {"S": str(shard)}},
            )

    def bound_to(self, server_instance_id: str) -> Iterator[str]:
        """The ids of the containers that are bound to the server, read page by page."""
        return self._ids_of(
            self._dynamodb.query,
            IndexName="by-server",
            KeyConditionExpression="server_instance_id = :server",
            ExpressionAttributeValues={":server": {"S": server_instance_id}},
        )

    def _ids_of(self, read: Callable[..., Any], **request: Any) -> "Iterator[str]":
        while True:
            answer = self._call(lambda: read(TableName=self._containers, **request))
            for item in answer["Items"]:
                yield item["id"]["S"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # --- writing ---------------------------------------------------------------------------------------------------

    def claim(
        self, container: Container, pending: PendingOperation, *, supersedes: bool, requested_at: datetime
    ) -> Container | ConditionFailed | Replayed:
        """Begin an operation: nobody else can until it has ended.

            caller A   read ----------- claim ----- act ----- commit
            caller B        read ------------ claim: refused, and told of A's operation

        With an Idempotency-Key its record is written in the same transaction, so that there is never one without the
        other. Returns the container with the operation pending.
        """
        generation = container.generation + 1 if supersedes else container.generation
        claimed = container.model_copy(
            update={
                "operation": pending,
                "generation": generation,
                "command_number": pending.command_number + COMMANDS - 1,
                "requested_at": requested_at,
                "absent_since": None,
                "updated_at": pending.started_at,
            }
        )
        superseded = container.operation if supersedes else None
        condition, values = _as_read(container, superseded)
        # Permissions, and the containers of a schedule, are those of the project.
        same_project = "#project_id = :was_project"
        update = self._update(
            claimed, f"{condition} AND {same_project}", values | {":was_project": serialize(container.project_id)}
        )
        update["ExpressionAttributeNames"]["#project_id"] = "project_id"
        items: list[TransactWriteItemTypeDef] = [{"Update": update}]
        if pending.idempotency_id is not None:
            items.append(self._put_record(record_of(claimed, None), only_if_new=True))
        refused = self._write(items)
        if refused is None:
            return claimed
        if len(refused) > 1 and refused[1] is not None:
            record = self._live_record(refused[1])
            if record is not None and record.operation_id != pending.id:
                return Replayed(record)
        current = _container(refused[0]) if refused[0] else None
        if current is not None and current.operation is not None and current.operation.id == pending.id:
            return current  # Our own claim, whose reply was lost.
        return ConditionFailed(current if refused[0] is not None else self.container(container.id))

    def commit(
        self, before: Container, after: Container, entry: Entry, answer: Outcome | None, *, forget: bool = False
    ) -> Container | ConditionFailed:
        """Put the change of status, its row, the counters and the operation's step or end into effect: all, or nothing.

        `before` holds the operation that commits. `after.operation` is None when it ends; then `answer` is kept for its
        Idempotency-Key, or with `forget` the key is free again.
        """
        items: list[TransactWriteItemTypeDef] = []
        pending = before.operation
        if pending is not None and pending.idempotency_id is not None and not pending.answered:
            if forget:
                items.append(self._delete_record(pending.idempotency_id))
            elif answer is not None:
                items.append(self._put_record(record_of(before, answer)))
        return self._commit_with_row(self._update_of_operation(before, after), before, after, entry, items)

    def commit_observed(self, before: Container, after: Container, entry: Entry) -> Container | ConditionFailed:
        """Record a change that no operation has caused, on a container with nothing pending, just as it was read."""
        return self._commit_with_row(self._update(after, *_as_read(before, None)), before, after, entry)

    def note_idle(self, before: Container, after: Container) -> Container | ConditionFailed:
        """Change what is known of a container with nothing pending, without a row."""
        return self._commit([{"Update": self._update(after, *_as_read(before, None))}], after)

    def commit_expiry(self, before: Container, after: Container, entry: Entry) -> Container | ConditionFailed:
        """Expire a container, whatever is pending on it: the new generation keeps that from ever committing."""
        after = after.model_copy(update={"generation": before.generation + 1, "operation": None})
        return self._commit_with_row(self._update(after, *_unchanged(before)), before, after, entry)

    def note(self, before: Container, pending: PendingOperation, answer: Outcome | None) -> Container | ConditionFailed:
        """Change what is known of the pending operation. `answer` (a 202) is kept for its Idempotency-Key.

        The new generation keeps a driver that does not know of it from writing over it, or from ending the operation
        with another answer.
        """
        after = _with_operation(before, pending, before.generation + 1)
        items: list[TransactWriteItemTypeDef] = [{"Update": self._update_of_operation(before, after)}]
        if answer is not None and pending.idempotency_id is not None:
            items.append(self._put_record(record_of(before, answer)))
        return self._commit(items, after)

    def abandon(self, before: Container) -> Container | ConditionFailed:
        """End the pending operation without a row: it has had no effect. Its Idempotency-Key is free again.

        Always a transaction, whose token lets botocore repeat it after a lost reply.
        """
        # An operation without an effect must not keep a schedule from repeating it.
        requested_before = before.operation.requested_before if before.operation else before.requested_at
        after = before.model_copy(
            update={"operation": None, "requested_at": requested_before, "updated_at": self._clock.now()}
        )
        items: list[TransactWriteItemTypeDef] = [{"Update": self._update_of_operation(before, after)}]
        if before.operation is not None and before.operation.idempotency_id is not None:
            items.append(self._delete_record(before.operation.idempotency_id))
        return self._commit(items, after, transaction=True)

    def take_over(self, before: Container, pending: PendingOperation) -> Container | ConditionFailed:
        """Become the operation's driver. The previous driver can no longer commit."""
        assert before.operation is not None
        after = _with_operation(before, pending, before.generation + 1)
        update = self._update_of_operation(before, after)
        update["ConditionExpression"] += " AND #operation.deadline = :was_deadline"
        update["ExpressionAttributeValues"][":was_deadline"] = {"S": to_text(before.operation.deadline)}
        return self._commit([{"Update": update}], after)

    def keep_answer(self, record: IdempotencyRecord) -> IdempotencyRecord:
        """Keep the answer for an Idempotency-Key, unless it has one. Returns what is kept."""
        put = self._put_record(record)
        put["Put"] |= {
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now OR "
            "(operation_id = :operation AND attribute_not_exists(answer))",
            "ExpressionAttributeValues": {
                ":now": serialize(self._now_seconds()),
                ":operation": serialize(record.operation_id),
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        refused = self._write([put])
        if refused is None:
            return record
        return self._live_record(refused[0]) or record

    # --- parts of writes -------------------------------------------------------------------------------------------

    def _update_of_operation(self, before: Container, after: Container) -> Any:
        assert before.operation is not None
        return self._update(after, *_as_read(before, before.operation))

    def _update(self, after: Container, condition: str, values: "Item") -> Any:
        """An update of the container's item. `values` of the condition are as DynamoDB takes them."""
        item = container_item(after)
        there = [name for name in _CHANGEABLE if name in item]
        gone = [name for name in _CHANGEABLE if name not in item]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in there)
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone) if gone else ""
        return {
            "TableName": self._containers,
            "Key": {"id": {"S": after.id}},
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {f"#{name}": name for name in _CHANGEABLE},
            "ExpressionAttributeValues": {
                **{f":{name}": item[name] for name in there},
                **values,
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _put_log(self, entry: Entry) -> Any:
        # Rows are immutable. The container's condition already keeps two rows from the same place.
        never_overwritten = "attribute_not_exists(container_id)"
        return {
            "Put": {
                "TableName": self._status_logs,
                "Item": log_item(entry),
                "ConditionExpression": never_overwritten,
            }
        }

    def _put_record(self, record: IdempotencyRecord, *, only_if_new: bool = False) -> Any:
        item = record.model_dump(mode="json", exclude_none=True)
        put: dict[str, Any] = {
            "TableName": self._idempotency,
            "Item": serialize_item(item),
        }
        if only_if_new:
            # DynamoDB deletes expired items when it comes to it, which may be days later.
            put["ConditionExpression"] = "attribute_not_exists(id) OR expires_at <= :now"
            put["ExpressionAttributeValues"] = {":now": serialize(self._now_seconds())}
            put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return {"Put": put}

    def _delete_record(self, record_id: str) -> Any:
        return {"Delete": {"TableName": self._idempotency, "Key": {"id": {"S": record_id}}}}

    def _live_record(self, item: "Item | None") -> IdempotencyRecord | None:
        if item is None:
            return None
        record = IdempotencyRecord.model_validate(item)
        return record if record.expires_at > self._now_seconds() else None

    def _now_seconds(self) -> int:
        return int(self._clock.now().timestamp())

    # --- requests --------------------------------------------------------------------------------------------------

    def _get(self, table: str, key: str, attributes: str | None = None) -> "Item | None":
        only: Any = {"ProjectionExpression": attributes} if attributes else {}
        answer = self._call(
            lambda: self._dynamodb.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=True, **only)
        )
        return answer.get("Item")

    def _commit_with_row(
        self,
        update: Any,
        before: Container,
        after: Container,
        entry: Entry,
        more: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> Container | ConditionFailed:
        """Write the container together with its row.

        A history that has reached DynamoDB's limit takes no row. Then the change of status, which has happened, is
        written without one, and the container refuses further operations but stop and force-stop.
        """
        try:
            return self._commit([{"Update": update}, self._put_log(entry), *more], after)
        except HistoryFullError:
            unchanged = {name: getattr(before, name) for name in _OF_HISTORY}
            # Without a row the generation alone tells that this step is done.
            full = {"history_full": True, "generation": after.generation + 1}
            after = after.model_copy(update=unchanged | full)
            given = update["ExpressionAttributeValues"]
            values = {name: value for name, value in given.items() if name.startswith(":was_")}
            update = self._update(after, update["ConditionExpression"], values)
            return self._commit([{"Update": update}, *more], after)

    def _commit(
        self, items: "list[TransactWriteItemTypeDef]", after: Container, *, transaction: bool = False
    ) -> Container | ConditionFailed:
        refused = self._write(items, transaction=transaction)
        if refused is None:
            return after
        return ConditionFailed(_container(refused[0]) if refused[0] else self.container(after.id))

    def _write(
        self, items: "list[TransactWriteItemTypeDef]", *, transaction: bool = False
    ) -> "list[Item | None] | None":
        """Write all the items, or none. A single item is written without a transaction unless one is asked for.

        A write that conflicts with another one on the same item is tried again: that says nothing of its condition.

        Returns:
            None when written; else, by the position in `items`, each item whose condition failed.

        Raises:
            HistoryFullError: The history takes no more rows; nothing was written.
            StoreError: DynamoDB failed; the items may have been written.
        """
        for attempt in range(_CONFLICT_TRIES):
            try:
                if len(items) == 1 and not transaction:
                    self._write_one(items[0])
                else:
                    self._dynamodb.transact_write_items(TransactItems=items)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return [_old_item(error.response)]
                if code == "TransactionCanceledException":
                    reasons: list[Any] = error.response.get("CancellationReasons", [])
                    if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                        return [_old_item(reason) for reason in reasons]
                    if any(reason.get("Code") == "ItemCollectionSizeLimitExceeded" for reason in reasons):
                        raise HistoryFullError("The container's history is full") from error
                    if any(reason.get("Code") == "ValidationError" for reason in reasons):
                        raise
                elif code not in ("TransactionConflictException", "TransactionInProgressException"):
                    raise _store_error(error) from error
            except BotoCoreError as error:
                raise StoreError("The database did not answer") from error
            else:
                return None
            pause = min(_CONFLICT_PAUSE * 2**attempt, 0.5)
            self._clock.sleep(pause * random.uniform(0.5, 1))
        raise StoreError("The database is busy with other requests for the same container")

    def _write_one(self, item: "TransactWriteItemTypeDef") -> None:
        ((kind, request),) = item.items()
        parameters: Any = request
        match kind:
            case "Update":
                self._dynamodb.update_item(**parameters)
            case "Put":
                self._dynamodb.put_item(**parameters)
            case _:
                raise AssertionError(f"no write of one {kind}")

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            raise _store_error(error) from error
        except BotoCoreError as error:
            raise StoreError("The database did not answer") from error


def _unchanged(container: Container) -> "tuple[str, Item]":
    """The condition that neither a row nor a change of the operation's driver has come since the read."""
    values = {":was_generation": serialize(container.generation), ":was_count": serialize(container.log_count)}
    return "#generation = :was_generation AND #log_count = :was_count", values


def _as_read(container: Container, pending: PendingOperation | None) -> "tuple[str, Item]":
    """The same, and that the given operation, or none, is pending."""
    unchanged, values = _unchanged(container)
    if pending is None:
        return f"attribute_not_exists(#operation) AND {unchanged}", values
    return f"#operation.id = :was_operation AND {unchanged}", values | {":was_operation": serialize(pending.id)}


def _with_operation(before: Container, pending: PendingOperation, generation: int) -> Container:
    number = max(before.command_number, pending.command_number + COMMANDS - 1)
    return before.model_copy(update={"operation": pending, "generation": generation, "command_number": number})


def _container(item: "Item") -> Container:
    try:
        return Container.model_validate(item)
    except ValidationError as error:
        raise UnreadableItemError(str(item.get("id"))) from error


def _store_error(error: ClientError) -> Exception:
    # A request that DynamoDB does not understand is our fault, not the service's.
    return error if error.response["Error"]["Code"] == "ValidationException" else StoreError("The database failed")


def _old_item(reason: Any) -> "Item | None":
    item = reason.get("Item")
    return deserialize_item(item) if item else None


def _log(row: "Item") -> StatusLog:
    row.setdefault("from_status", None)
    return StatusLog.model_validate(row)


def _shown(item: "Item") -> "Item":
    """A row that `log_item` wrote, as `StatusLog` is in JSON. Each by its name, which is quickest."""
    return {
        "id": item["id"]["S"],
        "container_id": item["container_id"]["S"],
        "from_status": item["from_status"]["S"] if "from_status" in item else None,
        "to_status": item["to_status"]["S"],
        "transition_time": item["transition_time"]["S"],
        "created_at": item["created_at"]["S"],
        "duration_ms": int(item["duration_ms"]["N"]) if "duration_ms" in item else None,
        "triggered_by": item["triggered_by"]["S"],
        "metadata": deserialize_item(item["metadata"]["M"]) if "metadata" in item else None,
    }
