"""The drift sweep: compares containers with ECS and records changes that no event has reported.

It reads indexes that may lag, so each container is read again before it is changed. What it has no time for is
continued by another invocation at the position where the sweep has ended.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.index import Key
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError, UnreadableItemError
from longshore.domain.lifecycle import Kind
from longshore.domain.models import Container
from longshore.domain.pending import Trigger
from longshore.domain.task import Task
from longshore.engine.continuation import Part, Position
from longshore.engine.endings import Endings
from longshore.engine.events import Effect, TaskEvents, container_ids_of
from longshore.engine.known import Lookup
from longshore.engine.lookups import Lookups
from longshore.engine.pace import read
from longshore.engine.recorder import Recorder
from longshore.engine.service_drift import ServiceDrift
from longshore.engine.sweeps import OnFailure, counted, failed

_GRACE = timedelta(minutes=2)  # more recent changes are left to events


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
        self._endings = Endings(recorder, ecs, clock)
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
        if container.unwanted:
            return self._endings.end(container, lookup)
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
                yield failed("the index of live containers", error, self._on_failure)
                return
            yield from self._batch(container_ids)
            if after is None:
                return
        self.rest = Position(Part.CONTAINERS, after)

    def _batch(self, container_ids: list[str]) -> Iterator[str]:
        try:
            found = self._store.containers(list(dict.fromkeys(container_ids))) if container_ids else {}
        except LongshoreError as error:
            yield from [failed(container_id, error, self._on_failure) for container_id in container_ids]
            return
        compared: list[Container] = []
        for container_id, container in found.items():
            if isinstance(container, UnreadableItemError):
                yield failed(container_id, container, self._on_failure)
            elif container.is_live and container.operation is None and self._is_old(container):
                compared.append(container)
        yield from self._services.compare([container for container in compared if container.kind is Kind.SERVICE])
        compared = [container for container in compared if container.kind is Kind.TASK]
        lookups = self._lookups.of(compared)
        for container in compared:
            try:
                yield self._reconcile(container, lookups[container.id])
            except Exception as error:
                yield failed(container.id, error, self._on_failure)

    def _is_old(self, container: Container) -> bool:
        """Check whether the status is old. Recent changes may not be visible everywhere yet."""
        return container.status_since < self._clock.now() - _GRACE

    def _reconcile(self, container: Container, lookup: Lookup) -> str:
        """Compare a container with its task. Raises LongshoreError if the lookup or a write has failed."""
        if lookup.error is not None:
            raise lookup.error
        token, own = container.own_token, container.own
        if token is None or own is None:
            if container.is_live:
                return _effect(self._recorder.record_exit(container, None, Trigger.RECOVERY), "repaired")
            return _effect(self._recorder.note_ledger(container, container.tasks), "true")
        task = lookup.tasks.get(own.arn or "")
        if task is not None and not task.is_stopped:
            if own.absent_since is None:
                return self._listed(container)
            shown = {**container.tasks, token: own.seen(task)}
            return _effect(self._recorder.note_ledger(container, shown), "shown again")
        if task is None:
            missed = own.missed(self._clock.now())
            if not missed.is_gone(lookup.asked_at):
                if missed == own:
                    return "absent"
                return _effect(self._recorder.note_ledger(container, {**container.tasks, token: missed}), "absent")
        return _effect(self._recorder.record_exit(container, task, Trigger.RECOVERY), "repaired")

    def _listed(self, container: Container) -> str:
        """Restore the key by which the recovery sweep finds the container at the end of its lifetime."""
        return "true" if container.is_listed else _effect(self._store.note_idle(container, container), "listed again")

    def _tasks(self, cluster: str, after: str | None, *, first: bool) -> Iterator[str]:
        while first or self._enough_time():
            first = False
            try:
                arns, after = read(self._clock, partial(self._ecs.running, cluster, after))
                tasks = read(self._clock, partial(self._ecs.describe_many, cluster, arns)) if arns else {}
            except EcsError as error:
                self.unlisted.append(f"the tasks of {cluster}")
                yield failed(cluster, error, self._on_failure)
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
                yield failed(cluster, error, self._on_failure)
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
                yield failed(task.id, container, self._on_failure)
            elif container is not None and _is_true_of(container, task):
                yield Effect.STALE.value
            else:
                yield self._look_at(task, cluster)

    def _look_at(self, task: Task, cluster: str) -> str:
        try:
            return self._events.look_at(task, cluster, shown=True).value
        except Exception as error:
            return failed(task.id, error, self._on_failure)


def _is_true_of(container: Container, task: Task) -> bool:
    """Check whether the container's item states that this running task is its task, with nothing pending or noted."""
    known = container.own
    if container.operation is not None or known is None:
        return False
    return known.arn == task.arn and known.absent_since is None


def _effect(result: Container | ConditionFailed, effect: str) -> str:
    return "changed" if isinstance(result, ConditionFailed) else effect
