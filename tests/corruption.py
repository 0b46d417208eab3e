"""Corrupts items and rows of containers, for the tests of `doctor`, and reads the faults that it reports."""

from __future__ import annotations

import json
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from invariants import all_rows
from longshore.domain.clock import SystemClock
from longshore.domain.lifecycle import Operation, Step
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation, Trigger
from longshore.engine.settle import DEADLINE

from admin.adoption import store_of
from admin.target import local
from local.seed import Seeder
from local.stack import LocalStack

OLD = ["stopped", "running"] * 15
"""The statuses of a container whose last change is so long ago that events and sweeps have finished."""

_serialize = TypeSerializer().serialize


def change(stack: LocalStack, identity: str, **attributes: Any) -> None:
    """Set attributes of a container's item. None removes an attribute."""
    _update(stack, "ContainersTable", {"id": {"S": identity}}, attributes)


def change_row(stack: LocalStack, identity: str, position: int, **attributes: Any) -> None:
    """Set attributes of the row at a position in time. None removes an attribute."""
    row = all_rows(stack, identity)[position]
    key = {"container_id": {"S": identity}, "transition_time": {"S": row["transition_time"]}}
    _update(stack, "StatusLogsTable", key, attributes)


def remove_row(stack: LocalStack, identity: str, position: int) -> None:
    """Delete the row at a position in time."""
    row = all_rows(stack, identity)[position]
    key = {"container_id": {"S": identity}, "transition_time": {"S": row["transition_time"]}}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("StatusLogsTable"), Key=key)


def remove_rows(stack: LocalStack, identity: str) -> None:
    """Delete all rows of a container."""
    for _ in all_rows(stack, identity):
        remove_row(stack, identity, 0)


def _update(stack: LocalStack, table: str, key: dict[str, Any], attributes: dict[str, Any]) -> None:
    present = {name: value for name, value in attributes.items() if value is not None}
    parts = ["SET " + ", ".join(f"#{name} = :{name}" for name in present)] if present else []
    if removed := [name for name in attributes if name not in present]:
        parts.append("REMOVE " + ", ".join(f"#{name}" for name in removed))
    values: dict[str, Any] = (
        {"ExpressionAttributeValues": {f":{name}": _serialize(value) for name, value in present.items()}}
        if present
        else {}
    )
    stack.client("dynamodb").update_item(
        TableName=stack.table_name(table),
        Key=key,
        UpdateExpression=" ".join(parts),
        ExpressionAttributeNames={f"#{name}": name for name in attributes},
        **values,
    )


def item(stack: LocalStack, identity: str) -> dict[str, Any]:
    """Read a container's item in DynamoDB's form."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )
    return dict(answer["Item"])


def left_pending(stack: LocalStack, seeder: Seeder, identity: str) -> None:
    """Add a running container with a pending stop, as if its driver had crashed after the claim."""
    seeder.add(identity, OLD)
    store = store_of(local())
    container = store.container(identity)
    assert container is not None
    now = SystemClock().now()
    pending = PendingOperation(
        id=identity,
        operation=Operation.STOP,
        step=Step.STOP,
        started_at=now,
        since=now,
        deadline=now + DEADLINE,
        triggered_by=Trigger.USER,
    )
    assert isinstance(store.claim(container, pending, supersedes=False, requested_at=now), Container)


def faults_of(run: Any, *arguments: str) -> list[tuple[str, str]]:
    """Run `doctor --json` and return the codes and messages of the faults."""
    ran = run("doctor", *arguments, "--json")
    assert ran.code in (0, 1), ran.err
    return [(each["code"], each["message"]) for each in json.loads(ran.out)]
