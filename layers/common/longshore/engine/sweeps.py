"""Scheduled sweeps: continue operations whose deadline has expired, and reconcile containers with ECS.

Both sweeps read indexes that may lag, so each container is read again before it is changed. Both are safe to run twice
at the same time: only one worker can take an operation over, and an exit is recorded only once. An item that cannot be
read, a cluster that does not answer or an operation that fails does not prevent the rest from being processed.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
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
"""Calls a function with each container id, several at a time: the `map` of an executor, or the built-in `map`."""

OnFailure = Callable[[str, LongshoreError], None]
"""Called with the name and the error of each container, cluster or index that could not be processed."""

UNREADABLE = "unreadable"
"""The effect under which items that cannot be read are counted."""

_BATCH = 100  # the most tasks in one DescribeTasks call
_WAIT = timedelta(seconds=5)  # for each container: enough for a command to a host; changes of tasks are left to events
_STUCK = 3  # attempts by sweeps
_GRACE = timedelta(minutes=2)  # more recent changes are left to events


class Recovery:
    """Continues operations whose driver has crashed or stopped waiting, and stops containers whose lifetime has ended.

    Args:
        enough_time: Returns whether there is time for another container.
        on_stuck: Called with the number of operations that are still pending after several sweeps.
        on_pending: Called with each container before its operation is continued.
        on_failure: Called with the name and the error of each container or shard that could not be processed.
        look_again: Looks up a task that the drift sweep did not find: `Drift.look_again`.
        end_lifetime: Stops a container whose lifetime has ended: `Lifetimes.end`.

    Attributes:
        unlisted: The shards of the index that the last sweep could not read.
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
        end_lifetime: Callable[[Container], str | None],
    ) -> None:
        self._store = store
        self._driver = driver
        self._look_again = look_again
        self._end_lifetime = end_lifetime
        self._clock = clock
        self._spread = spread
        self._enough_time = enough_time
        self._on_stuck = on_stuck
        self._on_pending = on_pending
        self._on_failure = on_failure
        self._stuck = 0
        self.unlisted: list[str] = []

    def sweep(self) -> dict[str, int]:
        """Take over every operation whose deadline has expired, and stop every container whose lifetime has ended.

        Returns:
            The number of containers by effect.
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
            if container is None:
                return "settled"
            if container.operation is None:
                return self._end_lifetime(container) or self._look_if_absent(container)
            self._on_pending(container)
            self._stuck += container.operation.attempts >= _STUCK
            outcome = self._driver.take_over(container, self._clock.now() + _WAIT)
        except LongshoreError as error:
            # The operation may have ended with this error. Its row then states the reason.
            return _failed(container_id, error, self._on_failure)
        return outcome.kind.value if outcome else "continued elsewhere"

    def _look_if_absent(self, container: Container) -> str:
        return "settled" if container.absent_since is None else self._look_again(container)


class Drift:
    """Compares containers with ECS and records changes that no event has reported.

    Args:
        enough_time: Returns whether there is time for another container.
        on_failure: Called with the name and the error of each container, cluster or index that could not be processed.

    Attributes:
        unlisted: What the last sweep could not list: the index of live containers, or the tasks of the cluster.
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
        """Record changes that no event has reported, and stop tasks that Longshore has run but no container has now.

        A task that ECS does not show counts as gone only if the recovery sweep does not find it either, at least 30
        seconds later.

        Args:
            cluster: The cluster whose running tasks are checked. Containers are compared with their own clusters.

        Returns:
            The number of containers and tasks by effect.
        """
        self.unlisted = []
        return counted([*self._containers(), *self._tasks(cluster)])

    def look_again(self, container: Container) -> str:
        """Look up a task again that the drift sweep did not find. Its container has nothing pending.

        Returns:
            The effect.

        Raises:
            ExternalServiceError: ECS or DynamoDB failed.
        """
        if not container.is_live:
            ended = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, ended), "true")
        arn = container.task_arn
        asked_at = self._clock.now()
        return self._reconcile(container, self._ecs.describe(container.runtime, arn) if arn else None, asked_at)

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
            # Recent changes may not be visible everywhere yet.
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
        asked_at = self._clock.now()
        tasks = self._ecs.describe_many(cluster, arns) if arns else {}
        for container in containers:
            try:
                yield self._reconcile(container, tasks.get(container.task_arn or ""), asked_at)
            except LongshoreError as error:
                yield _failed(container.id, error, self._on_failure)

    def _reconcile(self, container: Container, task: Task | None, asked_at: datetime) -> str:
        """Compare a container with the task that a lookup, sent at `asked_at`, has returned."""
        if task is not None and not task.is_stopped:
            if container.absent_since is None:
                return self._listed(container)
            shown = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, shown), "shown again")
        if task is None and not self._is_gone(container, asked_at):
            since = container.absent_since
            if since is not None and self._clock.now() - since <= LOOKS_LAST:
                return "absent"
            absent = container.model_copy(update={"absent_since": self._clock.now()})
            return _effect(self._store.note_idle(container, absent), "absent")
        return _effect(self._recorder.record_exit(container, task, Trigger.RECOVERY), "repaired")

    def _listed(self, container: Container) -> str:
        """Restore the key by which the recovery sweep finds the container at the end of its lifetime."""
        return "true" if container.is_listed else _effect(self._store.note_idle(container, container), "listed again")

    @staticmethod
    def _is_gone(container: Container, asked_at: datetime) -> bool:
        since = container.absent_since
        return since is not None and BETWEEN_LOOKS <= asked_at - since <= LOOKS_LAST

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
    """Return the number of occurrences of each effect."""
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
