"""Helpers for pending operations: wait for a state, or set stored times back as if time had passed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from longshore.domain.clock import to_text

from local.stack import LocalStack

T = TypeVar("T")

PATIENCE = 30.0  # seconds, far longer than any operation takes
LONG_AGO = "2020-01-01T00:00:00.000Z"


def eventually(look: Callable[[], T], until: Callable[[T], object] = bool, patience: float = PATIENCE) -> T:
    """Call `look` repeatedly until its result satisfies `until`, and return the result."""
    end = time.monotonic() + patience
    while not until(seen := look()):
        assert time.monotonic() < end, f"timed out; last result: {seen}"
        time.sleep(0.03)
    return seen


def pending(stack: LocalStack) -> list[dict[str, Any]]:
    """Return the items, in DynamoDB's format, of all containers with a pending operation or a task to look at.

    The index of due containers also contains those that are to be stopped later.
    """
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.table_name("ContainersTable"),
            FilterExpression="attribute_exists(#operation) OR attribute_exists(absent_since) OR "
            "attribute_exists(tasks_due_at) OR (attribute_exists(tasks) AND #status IN (:failed, :expired))",
            ExpressionAttributeNames={"#operation": "operation", "#status": "status"},
            ExpressionAttributeValues={":failed": {"S": "failed"}, ":expired": {"S": "expired"}},
            ConsistentRead=True,
        )
    )
    return [item for page in pages for item in page["Items"]]


def make_overdue(stack: LocalStack, container_id: str, attempts: int | None = None) -> bool:
    """Set the deadline of the container's pending operation back, as if it had expired.

    Args:
        stack: The stack whose tables are changed.
        container_id: The container.
        attempts: The number of attempts of its step. If given, the start of the step is set back as well, because a
            step fails only after a number of attempts and a time.

    Returns:
        False if no operation is pending.
    """
    changes, values = "SET #operation.deadline = :past, pending_deadline = :past", {":past": {"S": LONG_AGO}}
    if attempts is not None:
        changes += ", #operation.attempts = :attempts, #operation.step_since = :past"
        values[":attempts"] = {"N": str(attempts)}
    return _change_operation(stack, container_id, changes, values)


def set_looks_back(stack: LocalStack, container_id: str) -> bool:
    """Set the unsuccessful lookups of a task of the container back by two minutes, and its RunTask by years.

    If the next look does not find the task either, it counts as gone, even if ECS has never shown it.

    Returns:
        False if there was no unsuccessful look.
    """
    table, key = stack.table_name("ContainersTable"), {"id": {"S": container_id}}
    item = stack.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    past: dict[str, Any] = {":past": {"S": LONG_AGO}}
    moment = datetime.now(UTC) - timedelta(minutes=2)
    looked = {"S": to_text(moment)}
    if "absent_since" in item:
        is_service = "service" in item["runtime"]["M"]
        stack.client("dynamodb").update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET absent_since = :looked, pending_deadline = :due"
            + ("" if is_service else ", tasks_due_at = :due"),
            ExpressionAttributeValues={":looked": looked, ":due": {"S": to_text(moment + timedelta(seconds=30))}},
        )
        return True
    tasks = item.get("tasks", {"M": {}})["M"]
    for known in tasks.values():
        known["M"] |= {"absent_since": looked} if "absent_since" in known["M"] else {}
        known["M"] |= {"called_until": past[":past"]} if "called_until" in known["M"] else {}
    if "operation" not in item:
        if not tasks or "pending_shard" not in item:
            return False
        due = {"S": to_text(moment + timedelta(seconds=30))}
        stack.client("dynamodb").update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET tasks = :tasks, pending_deadline = :due, tasks_due_at = :due",
            ExpressionAttributeValues={":tasks": {"M": tasks}, ":due": due},
        )
        return True
    operation = item.get("operation", {"M": {}})["M"]
    absent = operation.get("absent", {"M": {}})["M"]
    if not absent:
        return False
    changes = "SET #operation.absent = :absent"
    values = {":absent": {"M": dict.fromkeys(absent, looked)}}
    if "task_run_at" in operation:
        changes, values = f"{changes}, #operation.task_run_at = :past", values | past
    return _change_operation(stack, container_id, changes, values)


def _change_operation(stack: LocalStack, container_id: str, changes: str, values: dict[str, Any]) -> bool:
    """Change the pending operation. Returns False if there is none."""
    dynamodb = stack.client("dynamodb")
    try:
        dynamodb.update_item(
            TableName=stack.table_name("ContainersTable"),
            Key={"id": {"S": container_id}},
            UpdateExpression=changes,
            ConditionExpression="attribute_exists(#operation)",
            ExpressionAttributeNames={"#operation": "operation"},
            ExpressionAttributeValues=values,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def recover_all(stack: LocalStack, patience: float = PATIENCE) -> int:
    """Let time pass and run sweeps until no operation is pending. Returns the number of sweeps."""
    sweeps = 0
    end = time.monotonic() + patience
    while waiting := pending(stack):
        assert time.monotonic() < end, f"still pending: {waiting}"
        for item in waiting:
            set_looks_back(stack, item["id"]["S"])
            make_overdue(stack, item["id"]["S"])
        stack.invoke("RecoverFunction", {"sweep": "operations"})
        sweeps += 1
    return sweeps
