"""The places of requests that wait for a container: they limit how many requests wait at the same time.

A waiting request occupies an execution of its function, so waiting requests without a limit use up the concurrency of
the account, and all other requests fail. Executions share no memory. An item of the table of Idempotency-Keys holds a
set of leases, one for each waiting request: its expiry time and a random number. DynamoDB checks the size of the set in
the write that adds a lease, so there are never more leases than places:

    request   ADD lease if size < limit ---- wait ---- DELETE lease
    crash     ADD lease if size < limit ---- x                    (expires; deleted by a request that finds no place)
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError, RateLimitedError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ITEM = "#waiting"
"""The id of the item. The ids of Idempotency-Keys have no `#`."""

# Seconds from the end of the wait until a lease expires. The function's timeout is four seconds after the longest wait.
_MARGIN = 4


class WaitingPlaces:
    """The places of waiting requests.

    Args:
        dynamodb: The client.
        table: The name of the table of Idempotency-Keys.
        limit: The number of places.
        clock: The clock.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str, limit: int, clock: Clock) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._limit = limit
        self._clock = clock

    @contextmanager
    def held(self, until: datetime) -> Iterator[None]:
        """Hold a place while the context is open, which must end by `until`.

        Raises:
            RateLimitedError: All places are taken.
            ExternalServiceError: DynamoDB failed.
        """
        lease = f"{int(until.timestamp()) + _MARGIN} {secrets.token_hex(6)}"
        try:
            self._take(lease)
        except (ClientError, BotoCoreError) as error:
            raise ExternalServiceError("The database failed") from error
        try:
            yield
        finally:
            self._leave(lease)

    def _take(self, lease: str) -> None:
        held = self._added(lease)
        if held is None:
            return
        now = self._clock.now().timestamp()
        expired = [each for each in held if int(each.partition(" ")[0]) < now]
        if not expired:
            raise RateLimitedError
        self._delete(expired)
        if self._added(lease) is not None:
            raise RateLimitedError

    def _added(self, lease: str) -> list[str] | None:
        """Add a lease if there is a place. Returns None, or the leases that occupy all places."""
        # botocore repeats a call whose reply was lost: then the set contains the lease.
        condition = "attribute_not_exists(leases) OR size(leases) < :limit OR contains(leases, :lease)"
        try:
            self._update(
                "ADD leases :leases",
                [lease],
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                values={":limit": {"N": str(self._limit)}, ":lease": {"S": lease}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            response: Any = error.response
            return list(response.get("Item", {}).get("leases", {}).get("SS", []))
        return None

    def _leave(self, lease: str) -> None:
        try:
            self._delete([lease])
        except (ClientError, BotoCoreError):
            # The answer is ready, and the lease expires.
            return

    def _delete(self, leases: list[str]) -> None:
        self._update("DELETE leases :leases", leases)

    def _update(self, expression: str, leases: list[str], values: dict[str, Any] | None = None, **options: Any) -> None:
        self._dynamodb.update_item(
            TableName=self._table,
            Key={"id": {"S": ITEM}},
            UpdateExpression=expression,
            ExpressionAttributeValues={":leases": {"SS": leases}, **(values or {})},
            **options,
        )
