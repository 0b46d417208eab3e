"""The rows of a container that readers still show: the earliest time, and the counters before the first such row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from longshore.domain.clock import Clock, SystemClock
from longshore.domain.ranges import NO_ROWS, NO_STATUS, Counts, Edge, expanded
from longshore.domain.retention import floor_of
from longshore.domain.times import EARLIEST

from admin.items import plain

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]


class Floors:
    """Reads histories from their floor on. Methods raise botocore's errors if DynamoDB fails.

    Attributes:
        retention: The retention of the stack in days; 0 keeps everything.
    """

    def __init__(
        self, dynamodb: DynamoDBClient, *, status_logs: str, retention: int, clock: Clock | None = None
    ) -> None:
        self._dynamodb = dynamodb
        self._status_logs = status_logs
        self._clock = clock or SystemClock()
        self.retention = retention

    def floor(self, item: Item) -> str:
        """Return the earliest time of the rows that are shown now.

        Args:
            item: The container's item as plain values; an empty item for a container that does not exist.
        """
        return floor_of(item, self._clock.now(), self.retention)

    def rows(self, container_id: str, floor: str, attributes: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows from a time on, oldest first, as plain values.

        Args:
            container_id: The container.
            floor: The time.
            attributes: The attributes to read, separated by commas; None: all.
        """
        pages = self._dynamodb.get_paginator("query").paginate(
            **self._request(container_id, floor) | ({"ProjectionExpression": attributes} if attributes else {})
        )
        for page in pages:
            yield from map(plain, page["Items"])

    def before(self, item: Item, floor: str) -> Counts:
        """Return the counters before the first row that is shown.

        They are those of the first row. If they are missing or contradict its ranks, the rows from it on
        are counted and subtracted from the counters of the item. If these contradict each other, the ranks of the rows
        determine the result. A single wrong value is therefore found, and does not make other values look wrong.

        Args:
            item: The container's item as plain values.
            floor: The time from which on rows are shown.
        """
        if floor == EARLIEST:
            return NO_ROWS
        found = self._dynamodb.query(**self._request(item["id"], floor), Limit=1)["Items"]
        first = plain(found[0]) if found else None
        if first is not None and first.get("seq") == 1:
            return NO_ROWS
        counts = _counts_before(first) if first is not None else None
        return counts or self._counted(item, floor)

    def _counted(self, item: Item, floor: str) -> Counts:
        left = Counter(item.get("to_counts") or {}), Counter(item.get("from_counts") or {})
        by_rank: tuple[dict[str, int], dict[str, int]] = {}, {}
        count, first = int(item.get("log_count", 0)), None
        for row in self.rows(item["id"], floor, "transition_time, seq, to_status, from_status, to_rank, from_rank"):
            if row["transition_time"] > str(item.get("last_transition_time")):
                break
            first = row if first is None else first
            count -= 1
            own = (row["to_status"], row.get("from_status") or NO_STATUS)
            for counts, ranks, status, rank in zip(left, by_rank, own, _ranks(row), strict=True):
                counts[status] -= 1
                ranks.setdefault(status, max(rank - 1, 0))
        agree = {sum(counts.values()) for counts in left} == {count} and min(
            0, *left[0].values(), *left[1].values()
        ) == 0
        if agree or first is None:
            return Counts(count, dict(+left[0]), dict(+left[1]))
        # Statuses that no row has keep the counters of the item.
        to_counts, from_counts = (
            dict(+Counter({**counts, **ranks})) for counts, ranks in zip(left, by_rank, strict=True)
        )
        return Counts(first["seq"] - 1, to_counts, from_counts)

    def _request(self, container_id: str, floor: str) -> Any:
        return {
            "TableName": self._status_logs,
            "KeyConditionExpression": "container_id = :id AND transition_time >= :floor",
            "ExpressionAttributeValues": {":id": {"S": container_id}, ":floor": {"S": floor}},
            "ConsistentRead": True,
        }


def _counts_before(row: Item) -> Counts | None:
    """Return the counters before a row, or None if it has none or they contradict its number or its ranks."""
    if "to_n" not in row or "from_n" not in row:
        return None
    after = Counts(row["seq"], expanded(row["to_n"]), expanded(row["from_n"]))
    own = (row["to_status"], row.get("from_status") or NO_STATUS)
    both = (after.to_counts, after.from_counts)
    counted = tuple(counts.get(status, 0) for counts, status in zip(both, own, strict=True))
    if {sum(counts.values()) for counts in both} != {row["seq"]} or counted != _ranks(row):
        return None
    before = Edge(after, row["to_status"], row.get("from_status")).before
    return Counts(before.log_count, dict(+Counter(before.to_counts)), dict(+Counter(before.from_counts)))


def _ranks(row: Item) -> tuple[int, int]:
    """Return the ranks of a row; 0 if a rank is malformed."""
    to_rank, from_rank = (str(row.get(name, "")).rpartition("#")[2] for name in ("to_rank", "from_rank"))
    return int(to_rank) if to_rank.isdecimal() else 0, int(from_rank) if from_rank.isdecimal() else 0
