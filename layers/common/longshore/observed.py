"""Changes that nobody waits for: a task that stopped by itself, a command that a host has run, a server that is gone.

Events come late, twice and out of order. One is believed only about the task that the container has, and only when its
version is higher than the last that was believed. Whether a pending operation is complete is never taken from an event:
it is a reason to look.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from longshore.clock import Clock
from longshore.ecs import Ecs, Task, adopted_as
from longshore.errors import ExternalServiceError
from longshore.freezer import Freezer
from longshore.history import append
from longshore.lifecycle import Status, Step
from longshore.models import Change, Container, PendingOperation, Trigger
from longshore.operations import Operations, new_id
from longshore.steps import awaits_host
from longshore.store import Store, Superseded

_TRIES = 5
_ID = re.compile(r"[0-9a-f]{24}")


class Effect(StrEnum):
    """What became of an event."""

    FOREIGN = "foreign"  # not about a task of a container, or a command for one
    STALE = "stale"  # known already, or about a task or an operation that the container no longer has
    SETTLED = "settled"  # the pending operation was looked at
    RECORDED = "recorded"  # a row was written
    STRAY_STOPPED = "stray-stopped"  # the task is not its container's, and was told to stop


class TaskEvents:
    """Applies "ECS Task State Change" events. Raises ExternalServiceError: then the event has to come again.

    `on_pending` is told of the pending operation that an event is for: its request's id joins their logs.
    """

    def __init__(
        self,
        store: Store,
        operations: Operations,
        ecs: Ecs,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._operations = operations
        self._ecs = ecs
        self._on_pending = on_pending

    def apply(self, detail: dict[str, Any]) -> Effect:
        """Apply the event's detail: a task, as DescribeTasks gives it. Fields that are not known are ignored."""
        return self.look_at(Task.of(detail), str(detail.get("clusterArn", "")))

    def look_at(self, task: Task, cluster: str) -> Effect:
        """Apply what is known of a task of the cluster (its name or ARN)."""
        for _ in range(_TRIES):
            container = self._container_of(task)
            if container is None or container.runtime.cluster.rsplit("/", 1)[-1] != cluster.rsplit("/", 1)[-1]:
                return Effect.FOREIGN
            if container.operation is not None:
                return self._while_pending(container, task)
            effect = self._while_idle(container, task)
            if effect is not None:
                return effect
            # Something else happened meanwhile: look again.
        raise ExternalServiceError("The container is receiving too many requests")

    def _container_of(self, task: Task) -> Container | None:
        """The container that ran the task, or that has adopted it."""
        container = None
        if task.started_by is not None and _ID.fullmatch(task.started_by):
            container = self._store.container(task.started_by)
        return container or self._store.container(adopted_as(task.arn))

    def _while_idle(self, container: Container, task: Task) -> Effect | None:
        """Record what the event tells, as long as the container is as it was read; None when it no longer is."""
        if task.arn != container.task_arn:
            return self._stop_stray(container, task)
        if task.version <= container.task_version:
            return Effect.STALE
        if task.is_stopped and container.is_live:
            result = self._operations.record_exit(container, task, Trigger.SYSTEM)
        elif task.is_running and container.status is Status.FAILED:
            # Given up, and then it came up after all.
            result = self._operations.record_running(container, task)
        elif task.is_stopped and container.status is Status.FAILED:
            # It will not: an older event that says otherwise may still be on its way.
            ended = container.model_copy(update={"task_version": task.version})
            result = self._store.note_task(container, ended)
        else:
            return Effect.STALE
        return None if isinstance(result, Superseded) else Effect.RECORDED

    def _while_pending(self, container: Container, task: Task) -> Effect:
        pending = container.operation
        assert pending is not None
        self._on_pending(pending)
        starting = pending.step is Step.START
        if task.arn == container.task_arn:
            # The end of the container's task is what a stop waits for, and what a pause has to know of. A start has
            # done with it.
            if starting or not task.is_stopped:
                return Effect.STALE
            self._operations.settle(container)
            return Effect.SETTLED
        if not starting:
            if task.is_stopped and pending.superseded_start is not None:
                # It may be the task of the start that a force-stop has superseded, whose end is what that waits for.
                self._operations.settle(container)
                return Effect.SETTLED
            return self._stop_stray(container, task)
        if task.is_running or task.is_stopped:
            # Whether this task is the one that the start has run is for the start to say.
            self._operations.settle(container)
        current = self._store.container(container.id)
        known = {current.task_arn, current.operation.task_arn if current.operation else None} if current else {task.arn}
        if current and task.arn not in known and (current.operation is None or current.operation.task_arn is not None):
            return self._stop_stray(current, task)
        return Effect.SETTLED

    def _stop_stray(self, container: Container, task: Task) -> Effect:
        """Stop a task that its container does not have: the operation that ran it was superseded meanwhile."""
        if task.is_stopped:
            return Effect.STALE
        self._ecs.stop(container.runtime, task.arn, "Longshore: not the task that its container has")
        return Effect.STRAY_STOPPED


class CommandEvents:
    """Applies "EC2 Command Invocation Status-change Notification" events, of commands that have succeeded.

    What has failed is left to the sweep, which tries again. Raises ExternalServiceError: then the event has to come
    again. `on_pending` as in TaskEvents.
    """

    def __init__(
        self,
        store: Store,
        operations: Operations,
        freezer: Freezer,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._operations = operations
        self._freezer = freezer
        self._on_pending = on_pending

    def apply(self, detail: Mapping[str, str]) -> Effect:
        """Apply the event's detail, of which only the command and the host are believed."""
        sent_for = self._freezer.done_for(detail["command-id"], detail["instance-id"])
        if sent_for is None:
            return Effect.FOREIGN
        container = self._store.container(sent_for.container_id)
        pending = container.operation if container else None
        if container is None or pending is None or pending.id != sent_for.operation_id:
            return Effect.STALE
        if not awaits_host(container, pending):
            return Effect.STALE
        self._on_pending(pending)
        self._operations.settle(container, host_is_done=True)
        return Effect.SETTLED


class Servers:
    """Expires the containers of servers that are gone. Raises ExternalServiceError."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def terminated(self, server_instance_id: str, at: datetime) -> int:
        """Expire every container that is bound to the server. Returns how many were; safe to repeat."""
        bound = self._bound(server_instance_id)
        return sum(self._expire(container_id, server_instance_id, at) for container_id in bound)

    def _bound(self, server_instance_id: str) -> list[str]:
        # All of them first: what is read page by page would change under the reading.
        return list(self._store.bound_to(server_instance_id))

    def _expire(self, container_id: str, server_instance_id: str, at: datetime) -> bool:
        for _ in range(_TRIES):
            container = self._store.container(container_id)
            if container is None or container.status is Status.EXPIRED:
                return False
            if container.server_instance_id != server_instance_id:
                return False
            change = Change(
                to_status=Status.EXPIRED,
                observed_at=at,
                triggered_by=Trigger.SYSTEM,
                metadata={
                    "reason": "The server was terminated",
                    "server_instance_id": server_instance_id,
                    "superseded": container.pending,
                },
            )
            after, entry = append(container, change, new_id(), self._clock.now())
            if not isinstance(self._store.commit_expiry(container, after, entry), Superseded):
                return True
        raise ExternalServiceError("The container is receiving too many requests")
