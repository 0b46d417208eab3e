"""Looks for what must never be, while callers, events and sweeps go on.

What is seen once may be something on its way: a container is looked at again before a fault is told. A fault in its
history was there at one moment, since an item and its rows change together or not at all; so it counts when it is there
again. A fault in what ECS or the clock says counts only while the item stays as it is. ECS may not show a task that
exists: then the next look comes half a minute later, as it does for operations and sweeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from longshore.aws.ecs import Ecs
from longshore.domain.clock import SystemClock
from longshore.domain.models import BETWEEN_LOOKS, Container
from longshore.domain.task import Task

from admin.checks import (
    GRACE,
    STATE,
    Code,
    Fault,
    History,
    Item,
    container_of,
    history,
    index_faults,
    limit_faults,
    pending_faults,
    task_faults,
)
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_LOOKS = 6
_PAUSE = 0.5  # seconds between two looks
_BETWEEN_LOOKS = BETWEEN_LOOKS.total_seconds() + 1  # for a task that ECS does not show; clocks differ


@dataclass(frozen=True)
class Look:
    """What was seen of a container at one time. `item` is None when there is none."""

    item: Item | None
    history: History
    faults: list[Fault] = field(default_factory=list)
    task_absent: bool = False  # ECS has not shown its task

    @classmethod
    def well(cls) -> Look:
        return cls(None, History())


@dataclass
class Tasks:
    """The tasks of a cluster that were running at one time."""

    by_arn: dict[str, Task] = field(default_factory=dict)
    by_starter: dict[str, list[Task]] = field(default_factory=dict)


class Doctor:
    """Reads containers, rows and tasks, and changes nothing. Raises AWS's errors; ECS's as ExternalServiceError."""

    def __init__(
        self, dynamodb: DynamoDBClient, ecs: Ecs, *, containers: str, status_logs: str, grace: timedelta = GRACE
    ) -> None:
        self._dynamodb = dynamodb
        self._ecs = ecs
        self._containers = containers
        self._status_logs = status_logs
        self._grace = grace
        self._clock = SystemClock()

    @classmethod
    def of(cls, target: Target) -> Doctor:
        return cls(target.dynamodb(), Ecs(target.ecs()), containers=target.containers, status_logs=target.status_logs)

    def ids(self) -> Iterator[str]:
        """The ids of all containers, read page by page."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._containers, ProjectionExpression="id", ConsistentRead=True
        )
        for page in pages:
            for item in page["Items"]:
                yield item["id"]["S"]

    def tasks(self, cluster: str) -> Tasks:
        """All that the cluster runs: so that many containers cost a few requests to ECS, and not two each."""
        found = Tasks()
        for tasks in self._ecs.all_running(cluster):
            for task in tasks:
                found.by_arn[task.arn] = task
                found.by_starter.setdefault(task.started_by or "", []).append(task)
        return found

    def examine(self, container_id: str, tasks: Tasks | None = None) -> Look | None:
        """The container with the faults that are certain; None when it changed at every look.

        `tasks` is what its cluster ran a while ago: it may clear a container, and never convicts one.
        """
        first = self.look(container_id, tasks)
        if first.faults and tasks is not None:
            first = self.look(container_id)
        if not first.faults:
            return first
        for _ in range(_LOOKS):
            if first.task_absent and any(fault.code is Code.TASK_MISSING for fault in first.faults):
                self.wait_between_looks()
            else:
                time.sleep(_PAUSE)
            again = self.look(container_id)
            before = {fault.code for fault in first.faults}
            same = _settled(first.item) == _settled(again.item)
            certain = [each for each in again.faults if each.code in before and (same or each.code not in STATE)]
            if certain or not again.faults:
                return Look(again.item, again.history, certain)
            first = again
        return None

    def wait_between_looks(self) -> None:
        """Wait until a second look proves that a task which the first did not find is gone."""
        time.sleep(_BETWEEN_LOOKS)

    def awaits_second_look(self, container_ids: Iterable[str]) -> bool:
        """Whether the drift sweep has looked once for the task of one of the containers, and did not find it."""
        return any("absent_since" in (self._item(each) or {}) for each in container_ids)

    def look(self, container_id: str, tasks: Tasks | None = None) -> Look:
        item = self._item(container_id)
        if item is None:
            return Look(None, History(), [Fault(Code.ITEM_MALFORMED, "there is no such container")])
        found = history(item, self._rows_of(container_id, item))
        container = container_of(item)
        if isinstance(container, Fault):
            return Look(item, found, [container, *found.faults])
        own, started = self._tasks_of(container, tasks)
        now = self._clock.now()
        faults = [
            *found.faults,
            *index_faults(item, container),
            *pending_faults(container, now, self._grace),
            *task_faults(container, own, started, now, self._grace),
            *limit_faults(container),
        ]
        return Look(item, found, faults, task_absent=own is None)

    def _tasks_of(self, container: Container, known: Tasks | None) -> tuple[Task | None, list[Task]]:
        """The container's own task, and those that live in its name."""
        own = container.task_arn or ""
        if known is not None:
            return known.by_arn.get(own), known.by_starter.get(container.id, [])
        started, _ = self._ecs.started_by(container.runtime, container.id, ["RUNNING"])
        found = next((task for task in started if task.arn == own), None)
        if found is None and own:
            found = self._ecs.describe(container.runtime, own)
        return found, started

    def _item(self, container_id: str) -> Item | None:
        answer = self._dynamodb.get_item(
            TableName=self._containers, Key={"id": {"S": container_id}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def _rows_of(self, container_id: str, item: Item) -> Iterator[Item]:
        """The rows, but for those that were added since the item was read."""
        for row in self._rows(container_id):
            if row["transition_time"] > item.get("last_transition_time", "") and self._item(container_id) != item:
                return
            yield row

    def _rows(self, container_id: str) -> Iterator[Item]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._status_logs,
            KeyConditionExpression="container_id = :id",
            ExpressionAttributeValues={":id": {"S": container_id}},
            ConsistentRead=True,
        )
        for page in pages:
            for item in page["Items"]:
                yield plain(item)


def _settled(item: Item | None) -> Item | None:
    """An item without what sweeps note while they look for its task."""
    if item is None or "operation" in item:
        return item
    noted = ("absent_since", "pending_shard", "pending_deadline")
    return {name: value for name, value in item.items() if name not in noted}
