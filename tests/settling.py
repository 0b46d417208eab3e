"""What tests do to operations that are under way: wait for their end, or let their deadline pass."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from local.stack import LocalStack

T = TypeVar("T")

PATIENCE = 30.0  # seconds: far more than anything takes
LONG_AGO = "2020-01-01T00:00:00.000Z"


def eventually(look: Callable[[], T], until: Callable[[T], object] = bool, patience: float = PATIENCE) -> T:
    """Look again and again, until what is seen is as it should be. Returns that."""
    end = time.monotonic() + patience
    while not until(seen := look()):
        assert time.monotonic() < end, f"it did not happen; last seen: {seen}"
        time.sleep(0.03)
    return seen


def pending(stack: LocalStack) -> list[dict[str, Any]]:
    """The items (in DynamoDB's form) of all containers with a pending operation."""
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.table_name("ContainersTable"), IndexName="pending-by-deadline")
    )
    return [item for page in pages for item in page["Items"]]


def make_overdue(stack: LocalStack, container_id: str, attempts: int | None = None) -> bool:
    """Set the deadline of the container's pending operation back, as if it had passed; False when there is none.

    `attempts` sets how often it was taken over before.
    """
    dynamodb = stack.client("dynamodb")
    also = "" if attempts is None else ", #operation.attempts = :attempts"
    values = {":past": {"S": LONG_AGO}} | ({} if attempts is None else {":attempts": {"N": str(attempts)}})
    try:
        dynamodb.update_item(
            TableName=stack.table_name("ContainersTable"),
            Key={"id": {"S": container_id}},
            UpdateExpression=f"SET #operation.deadline = :past, pending_deadline = :past{also}",
            ConditionExpression="attribute_exists(#operation)",
            ExpressionAttributeNames={"#operation": "operation"},
            ExpressionAttributeValues=values,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def recover_all(stack: LocalStack, patience: float = PATIENCE) -> int:
    """Let every deadline pass and sweep, until nothing is pending. Returns the number of sweeps."""
    sweeps = 0
    end = time.monotonic() + patience
    while waiting := pending(stack):
        assert time.monotonic() < end, f"still pending: {waiting}"
        for item in waiting:
            make_overdue(stack, item["id"]["S"])
        stack.invoke("RecoverFunction", {"sweep": "operations"})
        sweeps += 1
    return sweeps
