"""Scheduled sweeps: continue operations whose deadline has expired, and reconcile containers with ECS.

Both sweeps read indexes that may lag, so each container is read again before it is changed. Both are safe to run twice
at the same time: only one worker can take an operation over, and an exit is recorded only once. An item that cannot be
read, a cluster that does not answer or an operation that fails does not prevent the rest from being processed.

Sweeps read containers and tasks in batches, keep the pace of their `Ecs`, and do not wait for effects, which events
report. What a sweep has no time for is continued: by the next recovery sweep, which begins with the operations that are
overdue for the longest time, and by another invocation at the position where the drift sweep has ended.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from longshore.aws.batches import batches
from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.index import Key
from longshore.aws.items import PENDING_SHARDS
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError, UnreadableItemError
from longshore.domain.lifecycle import Kind
from longshore.domain.models import BETWEEN_LOOKS, LOOKS_LAST, Container, Trigger
from longshore.domain.task import Task
from longshore.engine.commits import DrivePolicy
from longshore.engine.continuation import Part, Position
from longshore.engine.driver import Driver
from longshore.engine.events import Effect, TaskEvents, container_ids_of
from longshore.engine.known import Lookup
from longshore.engine.lookups import Lookups
from longshore.engine.pace import read
from longshore.engine.recorder import Recorder
from longshore.engine.service_drift import ServiceDrift

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with each item, several at a time: the `map` of an executor, or the built-in `map`."""

OnFailure = Callable[[str, LongshoreError], None]
"""Called with the name and the error of each container, cluster or index that could not be processed."""

UNREADABLE = "unreadable"
"""The effect under which items that cannot be read are counted."""

_TAKEN_TOGETHER = 25  # operations; at the slowest pace, all of them are driven before their new deadlines
_STUCK = 3  # attempts by sweeps
_GRACE = timedelta(minutes=2)  # more recent changes are left to events


class Recovery:
    """Continues operations whose driver has crashed or stopped waiting, and stops containers whose lifetime has ended.

    Args:
        enough_time: Returns whether there is time for more containers.
        on_stuck: Called with the number of operations that are still pending after several sweeps.
        on_pending: Called with each container before its operation is continued.
        on_failure: Called with the name and the error of each container or shard that could not be processed.
        lookups: Looks up the tasks.
        look_again: Reconciles a container whose task the drift sweep did not find: `Drift.look_again`.
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
        lookups: Lookups,
        look_again: Callable[[Container, Lookup], str],
        end_lifetime: Callable[[Container], str | None],
    ) -> None:
        self._store = store
        self._driver = driver
        self._lookups = lookups
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
        """Continue overdue operations from their step, and stop containers whose lifetime has ended.

        Containers that have been due for longest come first.

        Returns:
            The number of containers by effect.
        """
        self._stuck = 0
        self.unlisted = []
        effects: list[str] = []
        for container_ids in batches(self._overdue()):
            effects += self._batch(container_ids)
        if self._stuck or not self.unlisted:
            self._on_stuck(self._stuck)
        return counted(effects)

    def _overdue(self) -> Iterator[str]:
        now = self._clock.now()
        overdue = heapq.merge(*(self._shard(shard, now) for shard in range(PENDING_SHARDS)))
        while self._enough_time() and (due := next(overdue, None)) is not None:
            yield due[1]

    def _shard(self, shard: int, now: datetime) -> Iterator[tuple[str, str]]:
        try:
            yield from self._store.index.overdue(shard, now)
        except LongshoreError as error:
            self.unlisted.append(f"shard {shard}")
            self._on_failure(f"shard {shard}", error)

    def _batch(self, container_ids: list[str]) -> Iterator[str]:
        try:
            found = self._store.containers(list(dict.fromkeys(container_ids)))
        except LongshoreError as error:
            yield from [_failed(container_id, error, self._on_failure) for container_id in container_ids]
            return
        containers: list[Container] = []
        for container_id in container_ids:
            container = found.get(container_id)
            if isinstance(container, UnreadableItemError):
                yield _failed(container_id, container, self._on_failure)
            elif container is None:
                yield "settled"
            else:
                containers.append(container)
        for group in batches(containers, _TAKEN_TOGETHER):
            yield from self._group(group) if self._enough_time() else ["left"] * len(group)

    def _group(self, containers: list[Container]) -> Iterator[str]:
        """Take operations over, look up all their tasks, and continue them."""
        attempts = [container.operation.attempts for container in containers if container.operation is not None]
        self._stuck += sum(number >= _STUCK for number in attempts)
        taken: list[Container] = []
        for result in self._spread(self._take, containers):
            if isinstance(result, Container):
                taken.append(result)
            else:
                yield result
        lookups = self._lookups.of(taken)
        yield from self._spread(lambda container: self._continue(container, lookups[container.id]), taken)

    def _take(self, container: Container) -> Container | str:
        """Take over the pending operation, or end the lifetime. Returns the container to continue, or the effect."""
        try:
            if container.operation is None:
                waits = container.absent_since is not None or container.apply_count_at is not None
                return self._end_lifetime(container) or (container if waits else "settled")
            self._on_pending(container)
            return self._driver.take(container) or "continued elsewhere"
        except LongshoreError as error:
            return _failed(container.id, error, self._on_failure)

    def _continue(self, container: Container, lookup: Lookup) -> str:
        try:
            if container.operation is None:
                return self._look_again(container, lookup)
            policy = DrivePolicy(self._clock.now(), for_caller=False, counted=True)
            return self._driver.drive(container, policy, lookup=lookup).kind.value
        except LongshoreError as error:
            # The operation may have ended with this error. Its row then states the reason.
            return _failed(container.id, error, self._on_failure)


class Drift:
    """Compares containers with ECS and records changes that no event has reported.

    Args:
        lookups: Looks up the tasks.
        services: Compares the containers of services.
        enough_time: Returns whether there is time for 100 more containers or tasks.
        on_failure: Called with the name and the error of each container, cluster or index that could not be processed.

    Attributes:
        unlisted: What the last sweep could not list: the index of live containers, or tasks or services of the cluster.
        rest: The position at which another invocation has to continue the last sweep; None if it is complete.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        events: TaskEvents,
        ecs: Ecs,
        lookups: Lookups,
        services: ServiceDrift,
        clock: Clock,
        enough_time: Callable[[], bool],
        on_failure: OnFailure = lambda *_: None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._events = events
        self._ecs = ecs
        self._lookups = lookups
        self._services = services
        self._clock = clock
        self._enough_time = enough_time
        self._on_failure = on_failure
        self.unlisted: list[str] = []
        self.rest: Position | None = None

    def sweep(self, cluster: str | None, start: Position = Position()) -> dict[str, int]:  # noqa: B008  (immutable)
        """Record changes that no event has reported, and stop tasks that Longshore has run but no container has now.

        A task that ECS does not show counts as gone only if the recovery sweep does not find it either, at least 30
        seconds later.

        Args:
            cluster: The cluster whose running tasks and services are checked; None to check none. Live containers are
                compared with their own clusters.
            start: Where to begin. If the time runs out, `rest` is where to continue.

        Returns:
            The number of containers and tasks by effect.
        """
        self.unlisted = []
        self.rest = None
        effects: list[str] = []
        first = start.part
        if first is Part.CONTAINERS:
            effects += self._containers(start.after)
        if cluster is not None and first is not Part.SERVICES and self.rest is None:
            effects += self._tasks(cluster, start.after if first is Part.TASKS else None, first=first is Part.TASKS)
        if cluster is not None and self.rest is None:
            effects += self._of_services(cluster, start.after if first is Part.SERVICES else None, first=first)
        return counted(effects)

    def look_again(self, container: Container, lookup: Lookup) -> str:
        """Reconcile an idle container whose task (see the lookup) or service the drift sweep did not find.

        Returns:
            The effect.

        Raises:
            ExternalServiceError: ECS or DynamoDB failed.
        """
        if container.kind is Kind.SERVICE:
            return self._services.look(container)
        if not container.is_live:
            ended = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, ended), "true")
        return self._reconcile(container, lookup)

    def _containers(self, after: Key | None) -> Iterator[str]:
        first = True
        # Each invocation makes progress, so that a sweep that is continued ends.
        while first or self._enough_time():
            first = False
            try:
                container_ids, after = self._store.index.live_page(after)
            except LongshoreError as error:
                self.unlisted.append("the index of live containers")
                yield _failed("the index of live containers", error, self._on_failure)
                return
            yield from self._batch(container_ids)
            if after is None:
                return
        self.rest = Position(Part.CONTAINERS, after)

    def _batch(self, container_ids: list[str]) -> Iterator[str]:
        try:
            found = self._store.containers(list(dict.fromkeys(container_ids))) if container_ids else {}
        except LongshoreError as error:
            yield from [_failed(container_id, error, self._on_failure) for container_id in container_ids]
            return
        compared: list[Container] = []
        for container_id, container in found.items():
            if isinstance(container, UnreadableItemError):
                yield _failed(container_id, container, self._on_failure)
            elif container.is_live and container.operation is None and self._is_old(container):
                compared.append(container)
        yield from self._services.compare([container for container in compared if container.kind is Kind.SERVICE])
        compared = [container for container in compared if container.kind is Kind.TASK]
        lookups = self._lookups.of(compared)
        for container in compared:
            try:
                yield self._reconcile(container, lookups[container.id])
            except LongshoreError as error:
                yield _failed(container.id, error, self._on_failure)

    def _is_old(self, container: Container) -> bool:
        """Check whether the status is old. Recent changes may not be visible everywhere yet."""
        return container.status_since < self._clock.now() - _GRACE

    def _reconcile(self, container: Container, lookup: Lookup) -> str:
        """Compare a container with its task. Raises LongshoreError if the lookup or a write has failed."""
        if lookup.error is not None:
            raise lookup.error
        task = lookup.tasks.get(container.task_arn or "")
        if task is not None and not task.is_stopped:
            if container.absent_since is None:
                return self._listed(container)
            shown = container.model_copy(update={"absent_since": None})
            return _effect(self._store.note_idle(container, shown), "shown again")
        if task is None and not self._is_gone(container, lookup.asked_at):
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

    def _tasks(self, cluster: str, after: str | None, *, first: bool) -> Iterator[str]:
        while first or self._enough_time():
            first = False
            try:
                arns, after = read(self._clock, partial(self._ecs.running, cluster, after))
                tasks = read(self._clock, partial(self._ecs.describe_many, cluster, arns)) if arns else {}
            except EcsError as error:
                self.unlisted.append(f"the tasks of {cluster}")
                yield _failed(cluster, error, self._on_failure)
                return
            yield from self._compare([task for task in tasks.values() if task.is_running], cluster)
            if after is None:
                return
        self.rest = Position(Part.TASKS, after, cluster)

    def _of_services(self, cluster: str, after: str | None, *, first: Part) -> Iterator[str]:
        while first is Part.SERVICES or self._enough_time():
            first = Part.TASKS
            try:
                effects, after = self._services.page(cluster, after)
            except LongshoreError as error:
                self.unlisted.append(f"the services of {cluster}")
                yield _failed(cluster, error, self._on_failure)
                return
            yield from effects
            if after is None:
                return
        self.rest = Position(Part.SERVICES, after, cluster)

    def _compare(self, tasks: list[Task], cluster: str) -> Iterator[str]:
        """Look at the tasks that differ from what their containers' items state."""
        owners = {task.arn: container_ids_of(task)[0] for task in tasks}
        try:
            found = self._store.containers(list(dict.fromkeys(owners.values()))) if tasks else {}
        except LongshoreError:
            found = {}  # Each task's container is then read on its own.
        for task in tasks:
            container = found.get(owners[task.arn])
            if isinstance(container, UnreadableItemError):
                yield _failed(task.id, container, self._on_failure)
            elif container is not None and _is_true_of(container, task):
                yield Effect.STALE.value
            else:
                yield self._look_at(task, cluster)

    def _look_at(self, task: Task, cluster: str) -> str:
        try:
            return self._events.look_at(task, cluster, shown=True).value
        except LongshoreError as error:
            return _failed(task.id, error, self._on_failure)


def _is_true_of(container: Container, task: Task) -> bool:
    """Check whether the container's item states that this running task is its task, with nothing pending or noted."""
    idle = container.operation is None and container.absent_since is None
    return idle and container.is_live and container.task_arn == task.arn


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
