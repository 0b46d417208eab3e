"""The size of a history, which DynamoDB limits to 10 GB per container because of the local indexes.

DynamoDB returns an estimate with each commit. Near the limit, it is stored in the container's item, so that the next
claim is refused. It is the middle of the range that DynamoDB returns, which is usually 1 GB wide.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from longshore.aws.transactions import StoreError, call
from longshore.domain.models import Container

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_dynamodb import DynamoDBClient

WARNED_FROM = 8.0
"""Size in GB from which the metric is published."""

REFUSED_FROM = 9.5
"""Size in GB from which operations that add many rows are refused."""


class HistorySizes:
    """Reports and stores the sizes of histories.

    Args:
        dynamodb: The client.
        containers: The name of the containers table.
        on_large: Called with the container's id and the size in GB, if it is at least WARNED_FROM.
    """

    def __init__(
        self, dynamodb: "DynamoDBClient", containers: str, on_large: "Callable[[str, float], object] | None" = None
    ) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._on_large = on_large

    def committed(self, container: Container, answer: "Mapping[str, Any]") -> None:
        """Process the answer to a commit. Never raises, because the commit has taken effect.

        If the size cannot be stored, the next commit stores it.

        Args:
            container: The container as committed.
            answer: DynamoDB's answer. It has no size if the commit is the repetition of a request.
        """
        size = size_in(answer)
        if size is None:
            return
        if size >= WARNED_FROM and self._on_large:
            self._on_large(container.id, size)
        is_large = size >= REFUSED_FROM
        if is_large != container.history_large:
            with suppress(StoreError):
                self.store(container.id, is_large=is_large)

    def store(self, container_id: str, *, is_large: bool) -> None:
        """Store whether a history is near the limit. No other write changes this attribute.

        Raises:
            StoreError: DynamoDB failed, or the container no longer exists.
        """
        given: Any = {"ExpressionAttributeValues": {":large": {"BOOL": True}}} if is_large else {}
        call(
            lambda: self._dynamodb.update_item(
                TableName=self._containers,
                Key={"id": {"S": container_id}},
                UpdateExpression="SET history_large = :large" if is_large else "REMOVE history_large",
                ConditionExpression="attribute_exists(id)",
                **given,
            )
        )


def size_in(answer: "Mapping[str, Any]") -> float | None:
    """Return the size in GB of the item collection that a write has changed; None if the answer does not state it."""
    metrics = answer.get("ItemCollectionMetrics") or {}
    # A transaction returns lists by table, and a single write returns one collection.
    found = [metrics] if "SizeEstimateRangeGB" in metrics else [each for table in metrics.values() for each in table]
    return max((sum(each["SizeEstimateRangeGB"]) / 2 for each in found), default=None)
