"""A project with many containers and rows, many of them of the same millisecond, for tests of project histories."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.aws.history_pages import shown
from longshore.aws.items import container_item, log_item
from longshore.domain.facts import Requested
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger

from local.seed import Seeder
from local.stack import LocalStack

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
ACTORS = ["ada", "grace", "edsger"]
BATCH = 25


class ProjectRows:
    """Adds containers and rows to a project, without tasks.

    Args:
        stack: The stack.
        project: The project.
        containers: The number of containers.
        prefix: The first eight characters of the ids of containers and rows; None: those of the project.

    Attributes:
        rows: The rows of the project as the API returns them, in the order in which they were added.
        containers: The containers by id.
    """

    def __init__(self, stack: LocalStack, project: str, containers: int, prefix: str | None = None) -> None:
        self._stack = stack
        self._prefix = prefix or project[:8]
        self._choose = random.Random(self._prefix)
        self._seeder = Seeder(stack)
        self._number = 0
        self.rows: list[dict[str, Any]] = []
        runtime = Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2)
        self.containers = {
            identity: Container(
                id=identity,
                project_id=project,
                name=f"container {number}",
                status=Status.STOPPED,
                status_since=START,
                runtime=runtime,
                created_at=START,
                updated_at=START,
            )
            for number, identity in enumerate(f"{self._prefix}{number:016x}" for number in range(containers))
        }
        self._seeder.members(project)
        self._write("ContainersTable", [container_item(container) for container in self.containers.values()])

    def add(self, count: int, since: datetime = START, step: timedelta = timedelta(milliseconds=1)) -> None:
        """Add rows of random containers at about the given time. Several containers have rows of one millisecond."""
        items = list(self._items(count, since, step))
        for start in range(0, count, BATCH):
            self._write("StatusLogsTable", items[start : start + BATCH])
            self.rows += map(shown, items[start : start + BATCH])

    def move(self, identity: str, project: str) -> None:
        """Move a container to another project."""
        self.containers[identity] = self.containers[identity].model_copy(update={"project_id": project})
        self._write("ContainersTable", [container_item(self.containers[identity])])

    def _items(self, count: int, since: datetime, step: timedelta) -> Iterator[dict[str, Any]]:
        ids = list(self.containers)
        for position in range(count):
            identity = self._choose.choice(ids)
            container, moment = self.containers[identity], since + position // 5 * step
            self._number += 1
            change = Change(
                to_status=self._choose.choice(list(Status)),
                observed_at=moment,
                triggered_by=self._choose.choice(list(Trigger)),
                requested=self._choose.choice([Requested(), *(Requested("start", actor) for actor in ACTORS)]),
            )
            row_id = f"{self._prefix}{self._number:016x}"
            self.containers[identity], entry = append(container, change, row_id, moment)
            yield log_item(entry)

    def _write(self, table: str, items: list[dict[str, Any]]) -> None:
        self._seeder._batch(self._stack.table_name(table), [{"PutRequest": {"Item": item}} for item in items])
