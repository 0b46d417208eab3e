"""Scheduled sweeps: continue operations whose deadline has expired, and reconcile containers with ECS.

Both read indexes that may lag, so each container is read again before anything is done. Both may run twice at the same
time, since one worker only can take an operation over, and an exit can be recorded once only. One item that cannot be
read, one cluster that does not answer, or one operation that fails never stops the others.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.items import PENDING_SHARDS
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError, UnreadableItemError
from longshore.domain.models import BETWEEN_LOOKS, LOOKS_LAST, Container, Trigger
from longshore.domain.task import Task
from longshore.engine.driver import Driver
from longshore.engine.events import TaskEvents
from longshore.engine.recorder import Recorder

T = TypeVar("T")

Spread = Callable[[Callable[[str], str], Iterable[str]], Iterable[str]]
"""Calls a function with each of many container ids, several at a time: an executor's `map`, or `map` itself."""

OnFailure = Callable[[str, LongshoreError], None]
"""Is told of each container (or cluster) that could not be handled, and why."""

UNREADABLE = "unreadable"
"""The effect that is counted for an item that cannot be read."""

_BATCH = 100  # what DescribeTasks takes
_WAIT = timedelta(seconds=5)  # for each container: what a host's command takes; a task is left to its events
_STUCK = 3  # sweeps
_GRACE = timedelta(minutes=2)  # how young a change is left to the events


class Recovery:
    """Continues operations whose driver has crashed or given up waiting.

    Args:
        enough_time: Whether there is time to begin another container.
        on_stuck: Is told how many operations have had several sweeps already.
        on_pending: Is told of each container before its operation is continued.
        on_failure: Is told of each container that could not be handled.
        look_again: Looks for the task of a container that the drift sweep has not found: `Drift.look_again`.

    Attributes:
        unlisted: The parts of the index that the last sweep could not read, so that it knows nothing of them.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        clock: Clock,
        spread: Spread,
        enough_time: Callable[[], bool],
        on_stuck: Callable[[int], None] = lambda _: None,
        on_pending: Callable[[Container], None] = lambda _: None,
        on_failure: OnFailure = lambda *_: None,
        *,
        look_again: Callable[[Container], str],
    ) -> None:
        self._store = store
        self._driver = driver
        self._look_again = look_again
        self._clock = clock
        self._spread = spread
        self._enough_time = enough_time
        self._on_stuck = on_stuck
        self._on_pending = on_pending
        self._on_failure = on_failure
        self._stuck = 0
        self.unlisted: list[str] = []

    def sweep(self) -> dict[str, int]:
        """Take over every operation that is past its deadline, and continue it from its step.

        Returns:
            How many containers there were, by what became of each.
        """
        self._stuck = 0
        self.unlisted = []
        effects: list[str] = []
        for shard in range(PENDING_SHARDS):
            for container_ids in _batches(self._overdue(shard), _BATCH):
                effects += self._spread(self._recover, container_ids)
        if self._stuck or not self.unlisted:
            self._on_stuck(self._stuck)
        return counted(effects)

    def _overdue(self, shard: int) -> Iterator[str]:
        overdue = self._store.index.overdue(shard, self._clock.now())
        while self._enough_time():
            try:
                container_id = next(overdue)
            except StopIteration:
                return
            except LongshoreError as error:
                self.unlisted.append(f"shard {shard}")
                self._on_failure(f"shard {shard}", error)
                return
            yield container_id

    def _recover(self, container_id: str) -> str:
        if not self._enough_time():
            return "left"
        try:
            container = self._store.container(container_id)
            if container is None or (container.operation is None and container.absent_since is None):
                return "settled"
            if container.operation is None:
                return self._look_again(container)
            self._on_pending(container)
            self._stuck += container.operation.attempts >= _STUCK
            outcome = self._driver.take_over(container, self._clock.now() + _WAIT)
        except LongshoreError as error:
            # An operation that has ended with an error has settled too. Its row tells which.
            return _failed(container_id, error, self._on_failure)
        return outcome.kind.value if outcome else "continued elsewhere"


class Drift:
    """Compares what containers say with what ECS says, for changes that no event has told.

    Attributes:
        unlisted: What the last sweep could not list (the index of containers, the cluster's tasks).
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        events: TaskEvents,
        ecs: Ecs,
        clock: Clock,
        enough_time: Callable[[], bool],
        on_failure: OnFailure = lambda *_: None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._events = events
        self._ecs = ecs
        self._clock = clock
        self._enough_time = enough_time
        self._on_failure = on_failure
        self.unlisted: list[str] = []

    def sweep(self, cluster: str) -> dict[str, int]:
        """Record what no event has told, and stop the cluster's tasks that belong to no container.

        A task that ECS does not show counts as gone only when the recovery sweep does not find it either, half a minute
        later.

        Args:
            cluster: The cluster whose tasks are looked at. Containers are compared with the clusters that they name.

        Returns:
            How many containers and tasks there were, by what was found.
        """
        self.unlisted = []
        return counted([*self._containers(), *self._tasks(cluster)])

    def look_again(self, container: Container) -> str:
        """Look again for the task of a container with nothing pending, whose task a sweep has not found.

        Returns:
            What was found.

        Raises:
            ExternalServiceError: ECS or DynamoDB failed.
        """
        if not container.is_live:
            ended = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, ended), "true")
        arn = container.task_arn
        return self._reconcile(container, self._ecs.describe(container.runtime, arn) if arn else None)

    def _containers(self) -> Iterator[str]:
        try:
            for container_ids in _batches(self._store.index.live(), _BATCH):
                yield from self._batch(container_ids)
        except LongshoreError as error:
            self.unlisted.append("the index of live containers")
            yield _failed("the index of live containers", error, self._on_failure)

    def _batch(self, container_ids: list[str]) -> Iterator[str]:
        settled: dict[str, list[Container]] = {}
        for container_id in container_ids:
            if not self._enough_time():
                yield "left"
                continue
            try:
                container = self._store.container(container_id)
            except LongshoreError as error:
                yield _failed(container_id, error, self._on_failure)
                continue
            # What has just changed is not yet known everywhere.
            old = container is not None and container.status_since < self._clock.now() - _GRACE
            if container is not None and container.is_live and container.operation is None and old:
                settled.setdefault(container.runtime.cluster, []).append(container)
        for cluster, containers in sorted(settled.items()):
            try:
                yield from self._compare(cluster, containers)
            except LongshoreError as error:
                yield _failed(cluster, error, self._on_failure)

    def _compare(self, cluster: str, containers: list[Container]) -> Iterator[str]:
        arns = [container.task_arn for container in containers if container.task_arn]
        tasks = self._ecs.describe_many(cluster, arns) if arns else {}
        for container in containers:
            try:
                yield self._reconcile(container, tasks.get(container.task_arn or ""))
            except LongshoreError as error:
                yield _failed(container.id, error, self._on_failure)

    def _reconcile(self, container: Container, task: Task | None) -> str:
        if task is not None and not task.is_stopped:
            if container.absent_since is None:
                return "true"
            shown = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, shown), "shown again")
        if task is None and not self._is_gone(container):
            since = container.absent_since
            if since is not None and self._clock.now() - since <= LOOKS_LAST:
                return "absent"
            absent = container.model_copy(update={"absent_since": self._clock.now()})
            return _effect(self._store.note_idle(container, absent), "absent")
        return _effect(self._recorder.record_exit(container, task, Trigger.RECOVERY), "repaired")

    def _is_gone(self, container: Container) -> bool:
        since = container.absent_since
        return since is not None and BETWEEN_LOOKS <= self._clock.now() - since <= LOOKS_LAST

    def _tasks(self, cluster: str) -> Iterator[str]:
        try:
            for tasks in self._ecs.all_running(cluster):
                for task in tasks:
                    if not self._enough_time():
                        yield "left"
                    elif task.is_running:
                        yield self._look_at(task, cluster)
        except EcsError as error:
            self.unlisted.append(f"the tasks of {cluster}")
            yield _failed(cluster, error, self._on_failure)

    def _look_at(self, task: Task, cluster: str) -> str:
        try:
            return self._events.look_at(task, cluster, shown=True).value
        except LongshoreError as error:
            return _failed(task.id, error, self._on_failure)


def counted(effects: Iterable[str]) -> dict[str, int]:
    """How many there are of each."""
    counts: dict[str, int] = {}
    for effect in effects:
        counts[effect] = counts.get(effect, 0) + 1
    return counts


def _effect(result: Container | ConditionFailed, effect: str) -> str:
    return "changed" if isinstance(result, ConditionFailed) else effect


def _failed(name: str, error: LongshoreError, on_failure: OnFailure) -> str:
    on_failure(name, error)
    return UNREADABLE if isinstance(error, UnreadableItemError) else "failed"


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
