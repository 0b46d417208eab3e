"""Indexes of the containers table, which find the containers that are overdue, live, pending or bound to a server.

The indexes are eventually consistent. Read a container's item before acting on an entry of an index.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longshore.aws.batches import BATCH
from longshore.aws.items import PENDING_SHARDS
from longshore.aws.transactions import call
from longshore.domain.clock import to_text

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Key = dict[str, Any]
"""The key of an item, in the form that DynamoDB returns."""

_OVERDUE_PAGE = 100  # containers


class ContainerIndex:
    """Finds the ids of containers. The iterators read one page of the index at a time.

    Raises:
        StoreError: Every iterator: DynamoDB failed after retries.
    """

    def __init__(self, dynamodb: "DynamoDBClient", containers: str) -> None:
        self._dynamodb = dynamodb
        self._containers = containers

    def overdue(self, shard: int, now: datetime) -> Iterator[tuple[str, str]]:
        """Find the containers of a shard that are due for the recovery sweep, longest overdue first.

        Args:
            shard: From 0 to PENDING_SHARDS - 1.
            now: The current time (UTC).

        Returns:
            The time at which each container was due, as text, and its id.
        """
        items = self._items_of(
            self._dynamodb.query,
            IndexName="pending-by-deadline",
            KeyConditionExpression="pending_shard = :shard AND pending_deadline <= :now",
            ExpressionAttributeValues={":shard": {"S": str(shard)}, ":now": {"S": to_text(now)}},
            Limit=_OVERDUE_PAGE,
        )
        return ((item["pending_deadline"]["S"], item["id"]["S"]) for item in items)

    def live_in_project(self, project_id: str) -> Iterator[str]:
        """Find the project's containers that are running or paused."""
        return self._ids_of(
            self._dynamodb.query,
            IndexName="live-by-project",
            KeyConditionExpression="live_project_id = :project",
            ExpressionAttributeValues={":project": {"S": project_id}},
        )

    def live(self) -> Iterator[str]:
        """Find all containers that are running or paused."""
        return self._ids_of(self._dynamodb.scan, IndexName="live-by-project")

    def live_page(self, after: Key | None) -> tuple[list[str], Key | None]:
        """Find up to 100 containers that are running or paused.

        Args:
            after: The position that the previous page has returned; None to begin.

        Returns:
            The ids, and the position of the next page; None after the last page.

        Raises:
            StoreError: DynamoDB failed after retries.
        """
        request: Any = {"TableName": self._containers, "IndexName": "live-by-project", "Limit": BATCH}
        if after is not None:
            request["ExclusiveStartKey"] = after
        answer = call(lambda: self._dynamodb.scan(**request))
        return [item["id"]["S"] for item in answer["Items"]], answer.get("LastEvaluatedKey")

    def pending(self) -> Iterator[str]:
        """Find all containers with a pending operation."""
        for shard in range(PENDING_SHARDS):
            yield from self._ids_of(
                self._dynamodb.query,
                IndexName="pending-by-deadline",
                KeyConditionExpression="pending_shard = :shard",
                ExpressionAttributeValues={":shard": {"S": str(shard)}},
            )

    def bound_to(self, server_instance_id: str) -> Iterator[str]:
        """Find the containers that are bound to the server with this instance id."""
        return self._ids_of(
            self._dynamodb.query,
            IndexName="by-server",
            KeyConditionExpression="server_instance_id = :server",
            ExpressionAttributeValues={":server": {"S": server_instance_id}},
        )

    def _ids_of(self, read: Callable[..., Any], **request: Any) -> Iterator[str]:
        return (item["id"]["S"] for item in self._items_of(read, **request))

    def _items_of(self, read: Callable[..., Any], **request: Any) -> Iterator[Any]:
        while True:
            answer = call(lambda: read(TableName=self._containers, **request))
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
