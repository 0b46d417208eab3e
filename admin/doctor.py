"""Finds violated invariants while callers, events and sweeps continue to work.

A fault that is seen once may be work in progress, so a container is looked at again before a fault is reported. An item
and its rows change in one transaction, so a fault in the history is certain when a second look finds it again. A fault
that compares the item with ECS or the clock is certain only if the item has not changed between the looks. ECS may not
show a task or a service that exists. In this case the second look follows half a minute later, as for operations and
sweeps.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING

from longshore.aws.batches import batches
from longshore.aws.ecs import Ecs
from longshore.aws.services import MOST_DESCRIBED, Services
from longshore.domain.clock import SystemClock
from longshore.domain.ledger import BETWEEN_LOOKS
from longshore.domain.lifecycle import Kind
from longshore.domain.models import Container
from longshore.domain.service import Service
from longshore.domain.task import Task, adopted_as

from admin.checks import (
    ABSENT,
    GRACE,
    STATE,
    Fault,
    History,
    Item,
    cluster_faults,
    container_of,
    history,
    index_faults,
    limit_faults,
    moment,
    pending_faults,
    service_faults,
    task_faults,
)
from admin.floors import Floors
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_LOOKS = 6
_PAUSE = 0.5  # seconds between two looks
_BETWEEN_LOOKS = BETWEEN_LOOKS.total_seconds() + 1  # for what ECS does not show; 1 s for clock differences


@dataclass(frozen=True)
class Look:
    """The state of a container at one time.

    Attributes:
        item: The container's item; None if the container does not exist, or is healthy.
        exists: Whether the container exists.
        absent: Whether ECS did not show the container's task or service.
    """

    item: Item | None
    history: History
    faults: list[Fault] = field(default_factory=list)
    exists: bool = True
    absent: bool = False

    @classmethod
    def healthy(cls) -> Look:
        """Return a look without faults."""
        return cls(None, History())


@dataclass
class Present:
    """What clusters had at one time.

    Attributes:
        by_arn: The running tasks by ARN.
        by_starter: The running tasks by startedBy.
        services: The services of containers, by the id of the container.
    """

    by_arn: dict[str, Task] = field(default_factory=dict)
    by_starter: dict[str, list[Task]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)


class Doctor:
    """Checks containers, their rows and their tasks or services, and changes nothing.

    Methods raise botocore's errors if DynamoDB fails, and ExternalServiceError if ECS fails.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        ecs: Ecs,
        services: Services,
        floors: Floors,
        *,
        containers: str,
        clusters: Sequence[str],
        grace: timedelta = GRACE,
    ) -> None:
        self._dynamodb = dynamodb
        self._ecs = ecs
        self._services = services
        self._floors = floors
        self._containers = containers
        self._clusters = clusters
        self._grace = grace
        self._clock = SystemClock()

    @classmethod
    def of(cls, target: Target) -> Doctor:
        """Create the doctor for a stack."""
        return cls(
            target.dynamodb(),
            Ecs(target.ecs()),
            Services(target.ecs, target.scaling),
            target.floors,
            containers=target.containers,
            clusters=target.clusters,
        )

    def ids(self) -> Iterator[str]:
        """Yield the ids of all containers."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._containers, ProjectionExpression="id", ConsistentRead=True
        )
        for page in pages:
            for item in page["Items"]:
                yield item["id"]["S"]

    def present(self, container_ids: Collection[str]) -> Present:
        """Return what the clusters have now, so that checking many containers takes only a few ECS requests."""
        found, wanted = Present(), set(container_ids)
        for cluster in self._clusters:
            for task in chain.from_iterable(self._ecs.all_running(cluster)):
                found.by_arn[task.arn] = task
                found.by_starter.setdefault(task.started_by or "", []).append(task)
            names = [arn.rpartition("/")[2] for arn in self._listed(cluster) if adopted_as(arn) in wanted]
            for batch in batches(names, MOST_DESCRIBED):
                services = self._services.describe_many(cluster, batch).values()
                found.services |= {adopted_as(service.arn): service for service in services}
        return found

    def _listed(self, cluster: str) -> Iterator[str]:
        """Yield the ARNs of all services of a cluster."""
        after: str | None = None
        while True:
            arns, after = self._services.listed(cluster, after)
            yield from arns
            if after is None:
                return

    def examine(self, container_id: str, present: Present | None = None) -> Look | None:
        """Look at a container until its faults are certain.

        Args:
            container_id: The id of the container.
            present: What the clusters had at an earlier time. This is only used to show that a container has no faults.
                Any fault is checked again with current data.

        Returns:
            The container with its certain faults, or None if it changed between all looks.
        """
        first = self.look(container_id, present)
        if first.faults and present is not None:
            first = self.look(container_id)
        if not first.faults:
            return first
        for _ in range(_LOOKS):
            before = {fault.code for fault in first.faults}
            if first.absent and before & ABSENT:
                self.wait_between_looks()
            else:
                time.sleep(_PAUSE)
            again = self.look(container_id)
            same = _settled(first.item) == _settled(again.item)
            certain = [each for each in again.faults if each.code in before and (same or each.code not in STATE)]
            if certain or not again.faults:
                return Look(again.item, again.history, certain, exists=again.exists)
            first = again
        return None

    def wait_between_looks(self) -> None:
        """Wait until a second look can prove that a missing task or service is gone."""
        time.sleep(_BETWEEN_LOOKS)

    def awaits_second_look(self, container_ids: Iterable[str]) -> bool:
        """Return whether the drift sweep has not found the task or service of a container and needs a second look."""
        items = [self._item(each) or {} for each in container_ids]
        return any("absent_since" in item or "tasks_due_at" in item for item in items)

    def look(self, container_id: str, present: Present | None = None) -> Look:
        """Look at a container once. The faults are not certain; see `examine`."""
        item = self._item(container_id)
        if item is None:
            return Look(None, History(), exists=False)
        floor = self._floors.floor(item)
        rows = self._rows_of(container_id, item, floor)
        found = history(item, rows, floor, self._floors.before(item, floor))
        container = container_of(item)
        if isinstance(container, Fault):
            return Look(item, found, [container, *found.faults])
        now = self._clock.now()
        faults = [
            *found.faults,
            *index_faults(item, container),
            *pending_faults(container, now, self._grace),
            *limit_faults(container),
        ]
        unknown = cluster_faults(container, self._clusters)
        if unknown:
            return Look(item, found, [*faults, *unknown])
        if container.kind is Kind.SERVICE:
            service = self._service_of(container, present)
            faults += service_faults(
                container, service, lambda: self._services.scaling(container.runtime), now, self._grace
            )
            return Look(item, found, faults, absent=service is None)
        own, started = self._tasks_of(container, present)
        faults += task_faults(container, own, started, now, self._grace)
        return Look(item, found, faults, absent=own is None)

    def _service_of(self, container: Container, known: Present | None) -> Service | None:
        if known is not None:
            return known.services.get(container.id)
        return self._services.describe(container.runtime)

    def _tasks_of(self, container: Container, known: Present | None) -> tuple[Task | None, list[Task]]:
        """Return the container's own task and the running tasks that it started."""
        own = container.task_arn or ""
        if known is not None:
            return known.by_arn.get(own), known.by_starter.get(container.id, [])
        started = self._ecs.started_by(container.runtime, container.id)
        found = next((task for task in started if task.arn == own), None)
        if found is None and own:
            found = self._ecs.describe(container.runtime, own)
        return found, started

    def _item(self, container_id: str) -> Item | None:
        answer = self._dynamodb.get_item(
            TableName=self._containers, Key={"id": {"S": container_id}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def _rows_of(self, container_id: str, item: Item, floor: str) -> Iterator[Item]:
        """Yield the rows that are shown, without those that were added since the item was read."""
        last = moment(item, "last_transition_time")
        for row in self._floors.rows(container_id, floor):
            at = moment(row, "transition_time")
            is_newer = last is None or at is None or at > last
            if is_newer and self._item(container_id) != item:
                return
            yield row


def _settled(item: Item | None) -> Item | None:
    """Return the item without the attributes that sweeps write while they look for its task."""
    if item is None or "operation" in item:
        return item
    noted = ("absent_since", "tasks", "tasks_due_at", "generation", "pending_shard", "pending_deadline")
    return {name: value for name, value in item.items() if name not in noted}
