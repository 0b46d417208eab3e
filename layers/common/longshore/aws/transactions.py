"""Requests to DynamoDB: conditional writes of one or more items, which are repeated after conflicts, and reads."""

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from longshore.aws.attributes import deserialize_item
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    Item = dict[str, Any]

T = TypeVar("T")

_CONFLICT_TRIES = 10
_CONFLICT_PAUSE = 0.025  # seconds; doubled after each try, up to half a second


class StoreError(ExternalServiceError):
    """DynamoDB failed after retries. A write may have taken effect or not."""


class HistoryFullError(StoreError):
    """The history of one container has reached DynamoDB's limit of 10 GB for an item collection."""


class Transactions:
    """Writes items. A write takes effect as a whole or not at all."""

    def __init__(self, dynamodb: "DynamoDBClient", clock: Clock) -> None:
        self._dynamodb = dynamodb
        self._clock = clock

    def write(
        self,
        items: "list[TransactWriteItemTypeDef]",
        *,
        transaction: bool = False,
        on_answer: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> "list[Item | None] | None":
        """Write all items or none.

        A write that conflicts with another write to the same item is repeated, because a conflict says nothing about
        the condition.

        Args:
            items: The writes, in the form that TransactWriteItems takes.
            transaction: Whether to use a transaction for a single item, too.
            on_answer: Called with the answer to a transaction, which then contains the sizes of item collections.

        Returns:
            None when the items were written. Otherwise, for each position in `items`, the current item if its condition
            failed and the item exists, else None.

        Raises:
            HistoryFullError: The history has reached its size limit. Nothing was written.
            StoreError: DynamoDB failed after retries. The items may have been written.
        """
        for attempt in range(_CONFLICT_TRIES):
            try:
                if len(items) == 1 and not transaction:
                    self._write_one(items[0])
                else:
                    self._transact(items, on_answer)
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

    def _transact(
        self, items: "list[TransactWriteItemTypeDef]", on_answer: Callable[[Mapping[str, Any]], object] | None
    ) -> None:
        if on_answer is None:
            self._dynamodb.transact_write_items(TransactItems=items)
        else:
            on_answer(self._dynamodb.transact_write_items(TransactItems=items, ReturnItemCollectionMetrics="SIZE"))

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


def call(request: Callable[[], T]) -> T:
    """Send a request to DynamoDB.

    Raises:
        StoreError: DynamoDB failed after retries.
    """
    try:
        return request()
    except ClientError as error:
        raise _store_error(error) from error
    except BotoCoreError as error:
        raise StoreError("The database did not answer") from error


def _store_error(error: ClientError) -> Exception:
    # A request that DynamoDB rejects as invalid is a bug of this library, not a failure of the service.
    return error if error.response["Error"]["Code"] == "ValidationException" else StoreError("The database failed")


def _old_item(reason: Any) -> "Item | None":
    item = reason.get("Item")
    return deserialize_item(item) if item else None
