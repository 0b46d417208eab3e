"""Pages of a container's history."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.attributes import deserialize_item, serialize
from longshore.aws.transactions import call
from longshore.domain.pages import Counted, Span

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]


class Counters(NamedTuple):
    """The counters of a container's history, and its project. The counters by status are parsed on first use."""

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

    def _counts(self, name: str) -> dict[str, int]:
        counts = self.item[name]["M"] if name in self.item else {}
        return {status: int(count["N"]) for status, count in counts.items()}


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
        """
        answer = call(
            lambda: self._dynamodb.get_item(
                TableName=self._containers,
                Key={"id": {"S": container_id}},
                ConsistentRead=True,
                ProjectionExpression="project_id, log_count, to_counts, from_counts",
            )
        )
        item = answer.get("Item")
        if item is None:
            return None
        total = int(item["log_count"]["N"]) if "log_count" in item else 0
        return Counters(container_id, item["project_id"]["S"], total, item)

    def page(self, container: Counted, where: Span) -> "list[Item]":
        """Read the rows of a page with one Query that reads exactly these rows.

        A page by status may contain rows that were added after the container was read; they are left out, so that the
        total and the rows agree.

        Args:
            container: The container as read.
            where: The position of the page.

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
