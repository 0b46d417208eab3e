"""What must always hold of a container, whatever has happened to it."""

from collections import Counter
from itertools import pairwise
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from local.stack import LocalStack

_deserialize = TypeDeserializer().deserialize


def check(stack: LocalStack, container_id: str) -> dict[str, Any]:
    """Assert that the container's rows form a chain, and that its item says what they say. Returns the item.

    1. At most one live task. 2. Each from_status is the row before's to_status, seq is dense, times strictly increase,
    and the last to_status is the container's status. 3. The counters and ranks equal what counting gives.
    """
    dynamodb = stack.client("dynamodb")
    answer = dynamodb.get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container_id}}, ConsistentRead=True
    )
    container = _plain(answer["Item"])
    rows = all_rows(stack, container_id)

    live = stack.emulator.ecs.live(started_by=container_id)
    assert len(live) <= 1, f"{len(live)} live tasks"
    if container["status"] in ("running", "paused") and "operation" not in container:
        assert [task.arn for task in live] == [container["task_arn"]]
    if container["status"] in ("stopped", "expired") and "operation" not in container:
        assert not live

    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0].get("from_status") is None
    for before, row in pairwise(rows):
        assert row["from_status"] == before["to_status"]
        assert row["transition_time"] > before["transition_time"]
        assert row["created_at"] >= before["created_at"]
    assert container["status"] == rows[-1]["to_status"]
    assert container["status_since"] == rows[-1]["transition_time"]

    assert container["log_count"] == len(rows)
    assert container["to_counts"] == Counter(row["to_status"] for row in rows)
    assert container["from_counts"] == Counter(row.get("from_status", "none") for row in rows)
    for kind in ("to", "from"):
        seen: Counter[str] = Counter()
        for row in rows:
            status = row.get(f"{kind}_status", "")
            seen[status] += 1
            assert row[f"{kind}_rank"] == f"{status}#{seen[status]:010d}"
    assert ("live_project_id" in container) == (container["status"] in ("running", "paused"))
    assert ("pending_deadline" in container) == ("operation" in container)
    return container


def all_rows(stack: LocalStack, container_id: str) -> list[dict[str, Any]]:
    """The container's rows with their hidden attributes, oldest first, as the table holds them."""
    pages = (
        stack.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=stack.table_name("StatusLogsTable"),
            KeyConditionExpression="container_id = :id",
            ExpressionAttributeValues={":id": {"S": container_id}},
            ConsistentRead=True,
        )
    )
    return [_plain(item) for page in pages for item in page["Items"]]


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}
