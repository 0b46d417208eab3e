"""Containers for tests of lists. They have no tasks and no history, because lists read only their items."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.aws.items import container_item
from longshore.domain.clock import to_text
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Container, Runtime

from local.stack import LocalStack

# Names whose order differs by bytes, by UTF-16 and without case. Several containers have the same name.
NAMES = ("web", "Web", "api", "Éclair", "z", "￮", "\U0001f600", "worker 1", "worker 10", "worker 2", "straße")
LABELS: tuple[dict[str, str], ...] = ({}, {"env": "dev"}, {"env": "prod", "team": "a:b"}, {"env": "dev", "team": "c"})

_BEGIN = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
_STATUSES = (Status.STOPPED, Status.FAILED, Status.EXPIRED, Status.RUNNING, Status.PAUSED)


def fleet(project: str, count: int, names: Sequence[str] = NAMES) -> list[Container]:
    """Return containers with random ids. Names, statuses, times and labels repeat with different periods."""
    chance = random.Random(project)
    return [
        Container(
            id=f"{chance.getrandbits(96):024x}",
            project_id=project,
            name=names[number % len(names)],
            labels=LABELS[number % len(LABELS)],
            status=_STATUSES[number % len(_STATUSES)],
            status_since=_BEGIN,
            runtime=Runtime(
                cluster="default",
                task_definition="arn:aws:ecs:us-east-1:123456789012:task-definition/web:7",
                launch_type=LaunchType.EC2,
            ),
            created_at=_BEGIN + timedelta(days=number % 7),
            updated_at=_BEGIN + timedelta(milliseconds=chance.randrange(count)),
        )
        for number in range(count)
    ]


def put(stack: LocalStack, containers: Sequence[Container]) -> None:
    """Write the items of containers."""
    table, dynamodb = stack.table_name("ContainersTable"), stack.client("dynamodb")
    waiting: list[Any] = [{"PutRequest": {"Item": container_item(container)}} for container in containers]
    while waiting:
        answer = dynamodb.batch_write_item(RequestItems={table: waiting[:25]})
        waiting = waiting[25:] + answer.get("UnprocessedItems", {}).get(table, [])


def in_order(containers: Sequence[Container], sort_by: str = "name", sort_order: str = "asc") -> list[str]:
    """Return the ids of containers in the order that the API documents."""

    def key(container: Container) -> tuple[bytes, str]:
        value = getattr(container, sort_by)
        return (to_text(value) if isinstance(value, datetime) else str(value)).encode(), container.id

    return [container.id for container in sorted(containers, key=key, reverse=sort_order == "desc")]
