"""Application of the stack's retention to the rows that were written with another one.

A row that is shown expires no earlier than a day after the floor passes it. This is true at every moment, also if the
command stops halfway:

    a shorter retention   the item gets it first, which hides the rows; then their time to live is set
    a longer one, or 0    the time to live of all shown rows is set first; then the item gets the retention, together
                          with the floor at that moment, because rows before it may be deleted

The item is written on the condition that it is as it was read. Its new generation makes writers fail that have read the
previous retention; they read the item again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from longshore.aws.attributes import serialize_item
from longshore.aws.history_size import REFUSED_FROM, HistorySizes, size_in
from longshore.aws.transactions import StoreError
from longshore.domain.clock import Clock, SystemClock
from longshore.domain.retention import expiry
from longshore.domain.times import EARLIEST

from admin.floors import Floors
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_TRIES = 10
_WORKERS = 8
_WAITING = 100  # writes that have begun or wait for a worker
_READ = "container_id, transition_time, seq, expires_at"

Item = dict[str, Any]


@dataclass
class Applied:
    """The result for a container.

    Attributes:
        rows: The number of its rows.
        changed: The number of rows whose time to live was changed now.
        problem: Why the retention was not applied; None if it was.
    """

    rows: int = 0
    changed: int = 0
    problem: str | None = None


class RetentionChange:
    """Applies the retention of a stack. Methods raise botocore's errors if DynamoDB fails; repeat the call."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        floors: Floors,
        *,
        containers: str,
        status_logs: str,
        clock: Clock | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._floors = floors
        self._containers = containers
        self._status_logs = status_logs
        self._clock = clock or SystemClock()
        self._sizes = HistorySizes(dynamodb, containers)

    @classmethod
    def of(cls, target: Target) -> RetentionChange:
        """Create the change for a stack."""
        return cls(target.dynamodb(), target.floors, containers=target.containers, status_logs=target.status_logs)

    def apply(self, container_id: str, step: Callable[[], object] = lambda: None) -> Applied:
        """Apply the retention to a container and its rows.

        Args:
            container_id: The container.
            step: Called for each row that is read.
        """
        done = Applied()
        for _ in range(_TRIES):
            item = self._item(container_id)
            if item is None:
                return Applied(problem="the container does not exist")
            own, retention = item.get("history_retention"), self._floors.retention
            if retention and (own is None or own > retention):
                self._write_item(item, {"history_retention": retention})
                continue
            if own is None:
                # Rows have a time to live only if the item has a retention.
                return done
            done.rows = 0
            size = self._rewrite(item, done, step)
            if own != retention and not self._lengthen(item):
                continue
            self._store_size(item, size)
            return done
        done.problem = "the container kept changing"
        return done

    def _lengthen(self, item: Item) -> bool:
        """Store the longer retention, or none, with the present floor. Return whether the item was as it was read."""
        floor = self._floors.floor(item)
        before = self._floors.before(item, floor)
        counts = {"log_count": before.log_count, "to_counts": before.to_counts, "from_counts": before.from_counts}
        values: Item = {"history_floor": {"at": floor, **counts}}
        if self._floors.retention:
            values["history_retention"] = self._floors.retention
        return self._write_item(item, values, removed="" if self._floors.retention else "history_retention")

    def _rewrite(self, item: Item, done: Applied, step: Callable[[], object]) -> float | None:
        """Set the time to live of all rows. Return the size of the history in GB, if it is known."""
        floor, own = self._floors.floor(item), item["history_retention"]
        now = self._clock.now()
        sizes: list[float | None] = []
        waiting: deque[Future[float | None]] = deque()

        def finish(most: int) -> None:
            while len(waiting) > most:
                sizes.append(waiting.popleft().result())

        last: Item | None = None
        with ThreadPoolExecutor(_WORKERS) as executor:
            for row in self._rows(item["id"]):
                last = row
                wanted = self._expiry(row, floor, own, now)
                if wanted != row.get("expires_at"):
                    done.changed += 1
                    waiting.append(executor.submit(self._write_row, row, wanted))
                    finish(_WAITING)
                done.rows += 1
                step()
            finish(0)
        if not sizes and last is not None and item.get("history_large"):
            # A write that changes nothing returns the size, too.
            sizes.append(self._write_row(last, last.get("expires_at")))
        return sizes[-1] if sizes else None

    def _expiry(self, row: Item, floor: str, own: int, now: datetime) -> int | None:
        """Return when a row may be deleted; None: never."""
        at, retention = datetime.fromisoformat(row["transition_time"]), self._floors.retention
        if row["transition_time"] >= floor:
            return expiry(at, retention) if retention else None
        if "expires_at" in row:
            return int(row["expires_at"])
        # A hidden row without a time to live. DynamoDB ignores times of more than five years ago.
        return max(expiry(at, own), int(now.timestamp()))

    def _store_size(self, item: Item, size: float | None) -> None:
        """Store whether the history is still near DynamoDB's limit."""
        if size is None or (size >= REFUSED_FROM) == bool(item.get("history_large")):
            return
        with suppress(StoreError):
            self._sizes.store(item["id"], is_large=size >= REFUSED_FROM)

    def _item(self, container_id: str) -> Item | None:
        answer = self._dynamodb.get_item(
            TableName=self._containers, Key={"id": {"S": container_id}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def _rows(self, container_id: str) -> Iterator[Item]:
        return self._floors.rows(container_id, EARLIEST, _READ)

    def _write_item(self, item: Item, values: Item, removed: str = "") -> bool:
        """Write attributes of a container's item if it is as it was read. Return whether it was written."""
        generation = int(item.get("generation", 0))
        values = values | {"generation": generation + 1}
        given = values | {"was_generation": generation, "was_count": int(item["log_count"])}
        names = {f"#{name}": name for name in (*values, "log_count", *([removed] if removed else []))}
        update = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        try:
            self._dynamodb.update_item(
                TableName=self._containers,
                Key={"id": {"S": item["id"]}},
                UpdateExpression=update + (f" REMOVE #{removed}" if removed else ""),
                ConditionExpression="#generation = :was_generation AND #log_count = :was_count",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=serialize_item({f":{name}": value for name, value in given.items()}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _write_row(self, row: Item, expires_at: int | None) -> float | None:
        """Set the time to live of a row, unless DynamoDB has deleted it. Return the size of the history in GB."""
        values = {":seq": row["seq"]} | ({} if expires_at is None else {":expires_at": expires_at})
        try:
            answer = self._dynamodb.update_item(
                TableName=self._status_logs,
                Key=serialize_item({name: row[name] for name in ("container_id", "transition_time")}),
                UpdateExpression="REMOVE expires_at" if expires_at is None else "SET expires_at = :expires_at",
                ConditionExpression="seq = :seq",
                ExpressionAttributeValues=serialize_item(values),
                ReturnItemCollectionMetrics="SIZE",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return None
        return size_in(answer)
