"""Consistent reads of up to 100 containers with one request."""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from longshore.aws.attributes import deserialize_item
from longshore.aws.items import container_of
from longshore.aws.transactions import StoreError, call
from longshore.domain.clock import Clock
from longshore.domain.errors import UnreadableItemError
from longshore.domain.models import Container

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

BATCH = 100
"""The most items that BatchGetItem reads, and the most tasks that DescribeTasks describes."""

_TRIES = 8
_PAUSE = 0.05  # seconds; doubled after each try, up to a second


def read_containers(
    dynamodb: "DynamoDBClient", table: str, clock: Clock, ids: Collection[str]
) -> dict[str, Container | UnreadableItemError]:
    """Read up to 100 containers consistently.

    Args:
        dynamodb: The client.
        table: The name of the containers table.
        clock: Waits before keys that DynamoDB has not processed are requested again.
        ids: The containers' ids, without duplicates.

    Returns:
        The containers by id, without those that do not exist. For an item that cannot be read, the error.

    Raises:
        StoreError: DynamoDB failed after retries, or is busy.
    """
    found: dict[str, Container | UnreadableItemError] = {}
    keys: list[Any] = [{"id": {"S": identity}} for identity in ids]
    for attempt in range(_TRIES):
        if not keys:
            return found
        if attempt:
            clock.sleep(min(_PAUSE * 2 ** (attempt - 1), 1))
        request: Any = {table: {"Keys": keys, "ConsistentRead": True}}
        answer: Any = call(partial(dynamodb.batch_get_item, RequestItems=request))
        for item in answer["Responses"].get(table, []):
            identity = item["id"]["S"]
            try:
                found[identity] = container_of(deserialize_item(item))
            except UnreadableItemError as error:
                found[identity] = error
            except (TypeError, ValueError):
                found[identity] = UnreadableItemError(identity)
        keys = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    raise StoreError("The database is busy")


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Divide items into lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
