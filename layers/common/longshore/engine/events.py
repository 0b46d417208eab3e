"""Changes that no caller waits for: a task's event, a host command that has succeeded, a server that is terminated.

Events come late, twice and out of order. One is believed only about the task that the container has, or that its
pending operation has run, and only when its version is higher than the last that was believed. Then it is applied
without asking ECS, which may not know yet what the event tells.
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
        """Apply the event's detail: a task, as DescribeTasks gives it. Fields that are not known are ignored."""
        return self.look_at(Task.of(detail), str(detail.get("clusterArn", "")))

    def look_at(self, task: Task, cluster: str, *, shown: bool = False) -> Effect:
        """Apply what is known of a task of the cluster (its name or ARN).

        Args:
            task: The task as an event or ECS describes it.
            cluster: The cluster that the task runs on.
            shown: ECS itself shows the task now, so that it is true even if its version is known already.

        Raises:
            UnreadableItemError: The container's item cannot be read.
            ExternalServiceError: A service failed; nothing of what is known of the task may be lost.
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
            # Something else happened meanwhile: look again.
        raise ExternalServiceError("The container is receiving too many requests")

    def _note_sighting(self, container: Container, pending: PendingOperation, task: Task) -> None:
        """Forget that the operation's driver has not found a task which is shown now."""
        if task.arn in pending.absent and not task.is_stopped:
            absent = {arn: first for arn, first in pending.absent.items() if arn != task.arn}
            self._store.note(container, pending.model_copy(update={"absent": absent}), None)

    def _container_of(self, task: Task) -> Container | None:
        """The container that ran the task, or that has adopted it."""
        container = None
        if task.started_by is not None and _ID.fullmatch(task.started_by):
            container = self._store.container(task.started_by)
        return container or self._store.container(adopted_as(task.arn))

    def _while_idle(self, container: Container, task: Task, *, shown: bool) -> Effect | None:
        """Record what is known of a task, as long as the container is as it was read; None when it no longer is."""
        if task.arn != container.task_arn:
            return self._stop_stray(container, task)
        news = task.version > container.task_version
        result: Container | ConditionFailed
        if task.is_running and container.status is Status.FAILED and container.task_version != NO_NEWER:
            # What ECS shows may be old, too: it is older than an end that is known already.
            if not news and not (shown and task.version == container.task_version):
                return Effect.STALE
            # Given up, and then it came up after all; or ECS had not shown it for a while.
            trigger = Trigger.RECOVERY if shown else Trigger.SYSTEM
            result = self._recorder.record_running(container, task, trigger)
        elif not news:
            return Effect.STALE
        elif task.is_stopped and container.is_live:
            result = self._recorder.record_exit(container, task, Trigger.SYSTEM)
        elif task.is_stopped and container.status is Status.FAILED:
            # It will not come up: an older event that says otherwise may still be on its way.
            ended = container.model_copy(update={"task_version": task.version, "task_ended": True})
            result = self._store.note_idle(container, ended)
        elif task.is_running and container.is_live and container.absent_since is not None:
            # A sweep has not found the task, which is there.
            result = self._store.note_idle(container, container.model_copy(update={"absent_since": None}))
        else:
            return Effect.STALE
        return None if isinstance(result, ConditionFailed) else Effect.RECORDED

    def _while_pending(self, container: Container, task: Task) -> Effect | None:
        """Apply what is known of a task to the pending operation; None when the container is no longer as read."""
        pending = container.operation
        assert pending is not None
        self._on_pending(pending)
        starting = pending.step is Step.START
        if task.arn == container.task_arn:
            # The end of the container's task is what a stop waits for, and what a pause has to know of. For a start
            # it matters only while the task before has yet to stop.
            if not task.is_stopped or (starting and container.status is not Status.FAILED):
                return Effect.STALE
            if task.version <= container.task_version and container.is_live:
                return Effect.STALE
            return Effect.SETTLED if self._driver.settle(container, told=task) else None
        if not starting:
            if task.is_stopped and pending.superseded_start is not None:
                # It may be the task of the start that a force-stop has superseded, whose end is what that waits for.
                return Effect.SETTLED if self._driver.settle(container, told=task) else None
            return self._stop_stray(container, task)
        # Of a task that is not noted, the start finds out whether it has run it: it asks ECS with its token.
        if (task.is_running or task.is_stopped) and not self._driver.settle(container, told=task):
            return None
        current = self._store.container(container.id)
        known = {current.task_arn, current.operation.task_arn if current.operation else None} if current else {task.arn}
        if current and task.arn not in known and (current.operation is None or current.operation.task_arn is not None):
            return self._stop_stray(current, task)
        return Effect.SETTLED

    def _stop_stray(self, container: Container, task: Task) -> Effect:
        """Stop a task that is not its container's: the operation that ran it has been superseded."""
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
        driver: Driver,
        hosts: HostCommands,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._hosts = hosts
        self._on_pending = on_pending

    def apply(self, detail: Mapping[str, str]) -> Effect:
        """Apply the event's detail, of which only the command and the host are believed."""
        sent_for = self._hosts.done_for(detail["command-id"], detail["instance-id"])
        if sent_for is None:
            return Effect.FOREIGN
        for _ in range(_TRIES):
            container = self._store.container(sent_for.container_id)
            pending = container.operation if container else None
            if container is None or pending is None or pending.id != sent_for.operation_id:
                return Effect.STALE
            if not awaits_host(container, pending) or pending.command_number != sent_for.number:
                # A later attempt has sent a command of its own, or the operation is giving up and reverts this one.
                return Effect.STALE
            self._on_pending(pending)
            if self._driver.settle(container, host_is_done=True):
                return Effect.SETTLED
        raise ExternalServiceError("The container is receiving too many requests")


class Servers:
    """Expires the containers of servers that are terminated. `on_failure` is told of each that could not be."""

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

        One container that cannot be expired does not stop the others.

        Returns:
            The number of containers that were expired.

        Raises:
            ExternalServiceError: Some could not be expired; the event has to be delivered again.
        """
        # All of them first: what is read page by page would change under the reading.
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
