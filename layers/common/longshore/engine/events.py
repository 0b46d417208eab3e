"""Applies events: changes of ECS tasks, host commands that succeeded, servers that were terminated.

Events may arrive late, more than once and out of order. A task's event is applied only if the task is the container's
or was run by its pending operation, and only if the event's version is higher than the last known version. It is then
applied without asking ECS, which may not show the new state yet.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from longshore.aws.ecs import Ecs
from longshore.aws.hosts import HostCommands
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError, LongshoreError
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import Status, Step
from longshore.domain.models import NO_NEWER, Change, Container, PendingOperation, Trigger
from longshore.domain.task import Task, adopted_as
from longshore.engine.driver import Driver
from longshore.engine.recorder import Recorder
from longshore.engine.steps import awaits_host

_TRIES = 5
_ID = re.compile(r"[0-9a-f]{24}")


class Effect(StrEnum):
    """The effect of an event."""

    FOREIGN = "foreign"  # none: the task or command belongs to no container
    STALE = "stale"  # none: already known, or about a task or operation that the container no longer has
    SETTLED = "settled"  # applied to the pending operation
    RECORDED = "recorded"  # written to the container that has nothing pending, in most cases with a row
    POSTPONED = "postponed"  # none yet: ECS did not show the service, and a sweep will look at it
    STRAY_STOPPED = "stray-stopped"  # StopTask was called for a task that its container no longer has


class TaskEvents:
    """Applies "ECS Task State Change" events.

    Args:
        on_pending: Called with the pending operation that an event is for, so that the log can include its request id.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        recorder: Recorder,
        ecs: Ecs,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._recorder = recorder
        self._ecs = ecs
        self._on_pending = on_pending

    def apply(self, detail: dict[str, Any]) -> Effect:
        """Apply an event.

        Args:
            detail: The event's `detail`: a task in the shape that DescribeTasks returns. Unknown fields are ignored.

        Raises:
            UnreadableItemError: The container's item cannot be read.
            ExternalServiceError: A service failed. The event must be delivered again.
        """
        return self.look_at(Task.of(detail), str(detail.get("clusterArn", "")))

    def look_at(self, task: Task, cluster: str, *, shown: bool = False) -> Effect:
        """Apply the state of a task to its container.

        Args:
            task: The task as an event or ECS describes it.
            cluster: The name or ARN of the cluster that the task runs on.
            shown: Whether ECS itself shows the task now. Its state is then current even if its version is known.

        Raises:
            UnreadableItemError: The container's item cannot be read.
            ExternalServiceError: A service failed. The event must be delivered again.
        """
        for _ in range(_TRIES):
            container = self._container_of(task)
            if container is None or container.runtime.cluster.rsplit("/", 1)[-1] != cluster.rsplit("/", 1)[-1]:
                return Effect.FOREIGN
            if container.operation is not None:
                self._note_sighting(container, container.operation, task)
                effect = self._while_pending(container, task)
            else:
                effect = self._while_idle(container, task, shown=shown)
            if effect is not None:
                return effect
            # The container has changed since it was read.
        raise ExternalServiceError("The container is receiving too many requests")

    def _note_sighting(self, container: Container, pending: PendingOperation, task: Task) -> None:
        """Store that a task exists that the operation's driver did not find."""
        if task.arn in pending.absent and not task.is_stopped:
            absent = {arn: first for arn, first in pending.absent.items() if arn != task.arn}
            self._store.note(container, pending.model_copy(update={"absent": absent}), None)

    def _container_of(self, task: Task) -> Container | None:
        """Return the container that has run or adopted the task."""
        for container_id in container_ids_of(task):
            container = self._store.container(container_id)
            if container is not None:
                return container
        return None

    def _while_idle(self, container: Container, task: Task, *, shown: bool) -> Effect | None:
        """Apply a task's state while nothing is pending. Returns None if the container has changed in the meantime."""
        if task.arn != container.task_arn:
            return self._stop_stray(container, task)
        news = task.version > container.task_version
        result: Container | ConditionFailed
        if task.is_running and container.status is Status.FAILED and container.task_version != NO_NEWER:
            # DescribeTasks may return an old state too: here, one from before an end that is already known.
            if not news and not (shown and task.version == container.task_version):
                return Effect.STALE
            # The task started after its start was given up, or ECS did not show it for a while.
            trigger = Trigger.RECOVERY if shown else Trigger.SYSTEM
            result = self._recorder.record_running(container, task, trigger)
        elif not news:
            return Effect.STALE
        elif task.is_stopped and container.is_live:
            result = self._recorder.record_exit(container, task, Trigger.SYSTEM)
        elif task.is_stopped and container.status is Status.FAILED:
            # Store the task's end. An older event that shows the task running may still arrive.
            ended = container.model_copy(update={"task_version": task.version, "ended_task_arn": task.arn})
            result = self._store.note_idle(container, ended)
        elif task.is_running and container.is_live and container.absent_since is not None:
            # A sweep did not find the task, but it exists.
            result = self._store.note_idle(container, container.model_copy(update={"absent_since": None}))
        else:
            return Effect.STALE
        return None if isinstance(result, ConditionFailed) else Effect.RECORDED

    def _while_pending(self, container: Container, task: Task) -> Effect | None:
        """Apply a task's state to the pending operation. Returns None if the container has changed in the meantime."""
        pending = container.operation
        assert pending is not None
        self._on_pending(pending)
        starting = pending.step is Step.START
        if task.arn == container.task_arn:
            # A stop waits for the end of the container's task, and a pause fails with it. A start needs it only while
            # the previous task of a failed container has not stopped.
            if not task.is_stopped or (starting and container.status is not Status.FAILED):
                return Effect.STALE
            if task.version <= container.task_version and container.is_live:
                return Effect.STALE
            return Effect.SETTLED if self._driver.settle(container, event_task=task) else None
        if not starting:
            if task.is_stopped and pending.superseded_start is not None:
                # It may be the task of the start that the force-stop has superseded. The force-stop waits for its end.
                return Effect.SETTLED if self._driver.settle(container, event_task=task) else None
            return self._stop_stray(container, task)
        # If the operation has no task stored, the start calls RunTask with its client token, which returns its task.
        if (task.is_running or task.is_stopped) and not self._driver.settle(container, event_task=task):
            return None
        current = self._store.container(container.id)
        known = {current.task_arn, current.operation.task_arn if current.operation else None} if current else {task.arn}
        if current and task.arn not in known and (current.operation is None or current.operation.task_arn is not None):
            return self._stop_stray(current, task)
        return Effect.SETTLED

    def _stop_stray(self, container: Container, task: Task) -> Effect:
        """Stop a task that its container does not have, because the operation that ran it has been superseded."""
        if task.is_stopped:
            return Effect.STALE
        self._ecs.stop(container.runtime, task.arn, "Longshore: not the task that its container has")
        return Effect.STRAY_STOPPED


def container_ids_of(task: Task) -> list[str]:
    """Return the ids of the containers that may have run or adopted the task."""
    started_by = [task.started_by] if task.started_by is not None and _ID.fullmatch(task.started_by) else []
    return [*started_by, adopted_as(task.arn)]


class CommandEvents:
    """Applies "EC2 Command Invocation Status-change Notification" events of commands that have succeeded.

    Failed commands are left to the recovery sweep, which tries again.

    Args:
        on_pending: Called with the pending operation that an event is for, so that the log can include its request id.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        hosts: HostCommands,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._hosts = hosts
        self._on_pending = on_pending

    def apply(self, detail: Mapping[str, str]) -> Effect:
        """Apply an event.

        Args:
            detail: The event's `detail`. Only `command-id` and `instance-id` are used, to ask Systems Manager.

        Raises:
            UnreadableItemError: The container's item cannot be read.
            ExternalServiceError: A service failed. The event must be delivered again.
        """
        sent_for = self._hosts.done_for(detail["command-id"], detail["instance-id"])
        if sent_for is None:
            return Effect.FOREIGN
        for _ in range(_TRIES):
            container = self._store.container(sent_for.container_id)
            pending = container.operation if container else None
            if container is None or pending is None or pending.id != sent_for.operation_id:
                return Effect.STALE
            if not awaits_host(container, pending) or pending.command_number != sent_for.number:
                # A later attempt has sent its own command, or the operation is given up and reverts this command.
                return Effect.STALE
            self._on_pending(pending)
            if self._driver.settle(container, host_is_done=True):
                return Effect.SETTLED
        raise ExternalServiceError("The container is receiving too many requests")


class Servers:
    """Expires the containers of servers that are terminated.

    Args:
        on_failure: Called with the id and the error of each container that could not be expired.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        on_failure: Callable[[str, LongshoreError], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_failure = on_failure

    def terminated(self, server_instance_id: str, at: datetime) -> int:
        """Expire every container that is bound to the server. Safe to repeat.

        A container that cannot be expired does not prevent the others from being expired.

        Args:
            server_instance_id: The id of the server's instance.
            at: When the server was terminated (UTC).

        Returns:
            The number of containers that were expired.

        Raises:
            ExternalServiceError: Some containers could not be expired. The event must be delivered again.
        """
        # Read the whole index first: expiring containers while reading pages of it could change the next pages.
        bound = list(self._store.index.bound_to(server_instance_id))
        expired, failed = 0, list[str]()
        for container_id in bound:
            try:
                expired += self._expire(container_id, server_instance_id, at)
            except LongshoreError as error:
                self._on_failure(container_id, error)
                failed.append(container_id)
        if failed:
            raise ExternalServiceError(f"{len(failed)} of {len(bound)} containers of the server could not be expired")
        return expired

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
            if not isinstance(self._store.commit_expiry(container, after, entry), ConditionFailed):
                return True
        raise ExternalServiceError("The container is receiving too many requests")
