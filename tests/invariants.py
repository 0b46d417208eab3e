"""The invariants of a container."""

from typing import Any

from longshore.aws.items import container_of

from admin.checks import history, index_faults
from admin.floors import Floors
from admin.items import plain
from local.stack import LocalStack


def check(stack: LocalStack, container_id: str) -> dict[str, Any]:
    """Check the invariants of the container, and return its item.

    1. It has at most one live task.
    2. Each row's from_status is the previous row's to_status, seq has no gaps, times strictly increase, and the last
       to_status is the container's status.
    3. The counters and ranks of the item and of each row equal those of counting the rows.

    With a retention, these hold for the rows from the floor on.

    An event may commit between two reads, so they are repeated until the item is the same before and after them.
    """
    container = _item(stack, container_id)
    while True:
        rows = all_rows(stack, container_id)
        # An adopted task has another startedBy.
        own = [task for task in stack.emulator.ecs.live() if task.arn == container.get("task_arn")]
        live = {task.arn for task in [*own, *stack.emulator.ecs.live(started_by=container_id)]}
        before, container = container, _item(stack, container_id)
        if container == before:
            break

    assert len(live) <= 1, f"{len(live)} live tasks"
    is_service = "service" in container["runtime"]  # whose tasks ECS runs
    if container["status"] in ("running", "paused") and "operation" not in container and not is_service:
        assert live == {container["task_arn"]}
    if container["status"] in ("stopped", "expired") and "operation" not in container:
        assert not live

    floors = Floors(
        stack.client("dynamodb"),
        status_logs=stack.table_name("StatusLogsTable"),
        retention=int(stack.parameters["HistoryRetentionDays"]),
    )
    floor = floors.floor(container)
    retained = [row for row in rows if row["transition_time"] >= floor]
    assert history(container, retained, floor, floors.before(container, floor)).faults == []
    assert index_faults(container, container_of(container)) == []
    return container


def _item(stack: LocalStack, container_id: str) -> dict[str, Any]:
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container_id}}, ConsistentRead=True
    )
    return plain(answer["Item"])


def all_rows(stack: LocalStack, container_id: str) -> list[dict[str, Any]]:
    """Return the container's rows as stored, with internal attributes, oldest first."""
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
    return [plain(item) for page in pages for item in page["Items"]]
