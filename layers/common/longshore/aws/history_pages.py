"""Pages of a container's history."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.attributes import deserialize_item, serialize
from longshore.aws.transactions import call
from longshore.domain.errors import UnreadableItemError
from longshore.domain.pages import Span
from longshore.domain.ranges import NO_ROWS, Counts, Edge, expanded

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]


class Counters(NamedTuple):
    """The counters of a container's history, its project and its retention, parsed on first use."""

    id: str
    project_id: str
    log_count: int
    item: Item

    @property
    def to_counts(self) -> dict[str, int]:
        return self._counts("to_counts")

    @property
    def from_counts(self) -> dict[str, int]:
        return self._counts("from_counts")

    @property
    def retention(self) -> int | None:
        """The shortest retention, in days, with which a row that is shown was written; None: they are all kept."""
        try:
            return int(self.item["history_retention"]["N"]) if "history_retention" in self.item else None
        except (KeyError, ValueError) as error:
            raise UnreadableItemError(self.id) from error

    @property
    def hidden(self) -> Counts:
        """The counters of the rows before the stored floor, which are never shown."""
        if "history_floor" not in self.item:
            return NO_ROWS
        try:
            floor = deserialize_item(self.item["history_floor"]["M"])
            return Counts(floor["log_count"], floor["to_counts"], floor["from_counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableItemError(self.id) from error

    def _counts(self, name: str) -> dict[str, int]:
        try:
            return {status: int(count["N"]) for status, count in self.item[name]["M"].items()}
        except (KeyError, ValueError) as error:
            raise UnreadableItemError(self.id) from error


class HistoryPages:
    """Reads pages of histories. Every read is consistent."""

    def __init__(self, dynamodb: "DynamoDBClient", *, containers: str, status_logs: str) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._status_logs = status_logs

    def counters(self, container_id: str) -> Counters | None:
        """Read the attributes of the container's item that its history pages need. One read.

        Raises:
            StoreError: DynamoDB failed.
            UnreadableItemError: The item is damaged, so it is not known which rows there are.
        """
        answer = call(
            lambda: self._dynamodb.get_item(
                TableName=self._containers,
                Key={"id": {"S": container_id}},
                ConsistentRead=True,
                ProjectionExpression="project_id, log_count, to_counts, from_counts, history_retention, history_floor",
            )
        )
        item = answer.get("Item")
        if item is None:
            return None
        try:
            return Counters(container_id, item["project_id"]["S"], int(item["log_count"]["N"]), item)
        except (KeyError, ValueError) as error:
            raise UnreadableItemError(container_id) from error

    def first_row(self, container_id: str, since: str) -> Edge | None:
        """Find the first row at or after a time. One read. Returns None if there is none.

        Raises:
            StoreError: DynamoDB failed.
            UnreadableItemError: The row is damaged.
        """
        return self._edge(container_id, ">=", since, ascending=True)

    def last_row(self, container_id: str, until: str) -> Edge | None:
        """Find the last row at or before a time. One read. Returns None if there is none.

        Raises:
            StoreError: DynamoDB failed.
            UnreadableItemError: The row is damaged.
        """
        return self._edge(container_id, "<=", until, ascending=False)

    def _edge(self, container_id: str, comparison: str, moment: str, *, ascending: bool) -> Edge | None:
        answer = call(
            lambda: self._dynamodb.query(
                TableName=self._status_logs,
                KeyConditionExpression=f"container_id = :container AND transition_time {comparison} :moment",
                ExpressionAttributeValues={":container": {"S": container_id}, ":moment": {"S": moment}},
                ScanIndexForward=ascending,
                Limit=1,
                ConsistentRead=True,
            )
        )
        return _edge_of(answer["Items"][0]) if answer["Items"] else None

    def page(self, container_id: str, where: Span, newest: int) -> "list[Item]":
        """Read the rows of a part of a page with one Query that reads exactly these rows.

        A page by status may contain rows that were added after the container was read; they are left out, so that the
        total and the rows agree.

        Args:
            container_id: The container.
            where: The position of the part.
            newest: The number of rows that the container had when its counters were read.

        Returns:
            The rows in order, as JSON values in the shape of `StatusLog`.

        Raises:
            StoreError: DynamoDB failed.
        """
        rows: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = call(
                partial(
                    self._dynamodb.query,
                    TableName=self._status_logs,
                    IndexName=where.index_name,
                    KeyConditionExpression="container_id = :container AND #attribute BETWEEN :low AND :high",
                    ExpressionAttributeNames={"#attribute": where.attribute},
                    ExpressionAttributeValues={
                        ":container": {"S": container_id},
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
                items = [item for item in items if int(item["seq"]["N"]) <= newest]
            rows += map(shown, items)
            # Only past 1 MB of rows.
            if "LastEvaluatedKey" not in answer:
                return rows
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def shown(item: Item) -> Item:
    """Return a row that `log_item` wrote as JSON values in the shape of `StatusLog`."""
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


def _edge_of(item: Item) -> Edge:
    try:
        row = deserialize_item({"to": item["to_n"], "from": item["from_n"]})
    except KeyError as error:
        raise UnreadableItemError(item["container_id"]["S"]) from error
    counts = Counts(int(item["seq"]["N"]), expanded(row["to"]), expanded(row["from"]))
    return Edge(counts, item["to_status"]["S"], item["from_status"]["S"] if "from_status" in item else None)
