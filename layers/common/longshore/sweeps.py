"""What runs by the clock: operations that nobody drives any more, and containers that ECS says otherwise of.

Both read what may be behind, so each container is read again before anything is done; and both may run twice at the
same time, since an operation can be taken over by one only and an exit can be recorded once only.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from longshore.clock import Clock
from longshore.ecs import Ecs, EcsError, Task
from longshore.errors import LongshoreError
from longshore.models import Container, Trigger
from longshore.observed import TaskEvents
from longshore.operations import Operations
from longshore.store import PENDING_SHARDS, Store, Superseded

T = TypeVar("T")

Spread = Callable[[Callable[[str], str], Iterable[str]], Iterable[str]]
"""Calls a function with each of many container ids, several at a time: an executor's `map`, or `map` itself."""

_BATCH = 100  # what DescribeTasks takes
_OVERDUE_BATCH = 100  # containers of one shard in one sweep
_WAIT = timedelta(seconds=5)  # for each container: what a host's command takes; a task is left to its events
_STUCK = 3  # sweeps
_GRACE = timedelta(minutes=2)  # how young a change is left to the events


class Recovery:
    """Drives on what was left behind. `enough_time` says whether another container may be begun."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        clock: Clock,
        spread: Spread,
        enough_time: Callable[[], bool],
        on_stuck: Callable[[int], None] = lambda _: None,
        on_pending: Callable[[Container], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self._spread = spread
        self._enough_time = enough_time
        self._on_stuck = on_stuck
        self._on_pending = on_pending
        self._stuck = 0

    def sweep(self) -> dict[str, int]:
        """Drive on every operation that is past its deadline, from its step. Returns how many, by what became of them.

        An operation that is still under way gets a new deadline; one that fails now is tried again by a later sweep.
        `on_pending` is told of each, and `on_stuck` how many have had several sweeps already.
        """
        overdue = [
            container_id
            for shard in range(PENDING_SHARDS)
            for container_id in self._store.overdue(shard, self._clock.now(), _OVERDUE_BATCH)
        ]
        self._stuck = 0
        counts = counted(self._spread(self._recover, overdue))
        self._on_stuck(self._stuck)
        return counts

    def _recover(self, container_id: str) -> str:
        if not self._enough_time():
            return "left"
        try:
            container = self._store.container(container_id)
            if container is None or container.operation is None:
                return "settled"
            self._on_pending(container)
            self._stuck += container.operation.attempts >= _STUCK
            outcome = self._operations.resume(container, self._clock.now() + _WAIT)
        except LongshoreError:
            # An operation that has ended with an error has settled too. Its row tells which.
            return "failed"
        return outcome.kind.value if outcome else "driven"


class Drift:
    """Compares what containers say with what ECS says, for what no event has told."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        events: TaskEvents,
        ecs: Ecs,
        clock: Clock,
        enough_time: Callable[[], bool],
    ) -> None:
        self._store = store
        self._operations = operations
        self._events = events
        self._ecs = ecs
        self._clock = clock
        self._enough_time = enough_time

    def sweep(self, cluster: str) -> dict[str, int]:
        """Record the ends of tasks that nobody has told of, and stop the cluster's tasks that no container has.

        Returns how many, by what was found. Raises ExternalServiceError; a later sweep goes over it all again.
        """
        return counted([*self._containers(), *self._tasks(cluster)])

    def _containers(self) -> Iterator[str]:
        for container_ids in _batches(self._store.live(), _BATCH):
            if not self._enough_time():
                yield from ["left"] * len(container_ids)
                continue
            found = [self._store.container(container_id) for container_id in container_ids]
            idle = [container for container in found if container and container.is_live and not container.operation]
            # What has just changed is not yet known everywhere.
            settled = [container for container in idle if container.status_since < self._clock.now() - _GRACE]
            for cluster in sorted({container.runtime.cluster for container in settled}):
                yield from self._compare(cluster, [each for each in settled if each.runtime.cluster == cluster])

    def _compare(self, cluster: str, containers: list[Container]) -> Iterator[str]:
        tasks = self._ecs.describe_many(cluster, [container.task_arn or "" for container in containers])
        for container in containers:
            task = tasks.get(container.task_arn or "")
            if task is not None and not task.is_stopped:
                yield "true"
            elif isinstance(self._operations.record_exit(container, task, Trigger.RECOVERY), Superseded):
                yield "changed"
            else:
                yield "repaired"

    def _tasks(self, cluster: str) -> Iterator[str]:
        for tasks in self._ecs.all_running(cluster):
            for task in tasks:
                if not self._enough_time():
                    yield "left"
                elif task.is_running:
                    yield self._look_at(task, cluster)

    def _look_at(self, task: Task, cluster: str) -> str:
        try:
            return self._events.look_at(task, cluster).value
        except EcsError:
            return "failed"


def counted(effects: Iterable[str]) -> dict[str, int]:
    """How many there are of each."""
    counts: dict[str, int] = {}
    for effect in effects:
        counts[effect] = counts.get(effect, 0) + 1
    return counts


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
