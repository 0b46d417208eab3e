"""Applies events: changes of ECS tasks, host commands that succeeded, servers that were terminated.

Events may arrive late, more than once and out of order. The event of a task in the container's ledger is applied
without asking ECS, which may not show the new state yet: the end of the task always, and other states only if the
event's version is higher than the last known version.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.hosts import HostCommands
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError, LongshoreError
from longshore.domain.facts import Observed, Requested
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import Ledger, callable_until, token_of, with_stray, without
from longshore.domain.lifecycle import Status, Step
from longshore.domain.models import Change, Container
from longshore.domain.pending import PendingOperation, Trigger
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
                effect = self._while_pending(container, container.operation, task)
            else:
                effect = self._while_idle(container, task, shown=shown)
            if effect is not None:
                return effect
            # The container has changed since it was read.
        raise ExternalServiceError("The container is receiving too many requests")

    def _container_of(self, task: Task) -> Container | None:
        """Return the container that has run or adopted the task."""
        for container_id in container_ids_of(task):
            container = self._store.container(container_id)
            if container is not None:
                return container
        return None

    def _while_idle(self, container: Container, task: Task, *, shown: bool) -> Effect | None:
        """Apply a task's state while nothing is pending. Returns None if the container has changed in the meantime."""
        token = token_of(container.tasks, task.arn)
        if token is None:
            return self._unknown(container, task, shown=shown)
        known = container.tasks[token]
        is_own = token == container.own_token
        if task.is_stopped:
            if is_own:
                result = self._recorder.record_exit(container, task, Trigger.SYSTEM)
                return None if isinstance(result, ConditionFailed) else Effect.RECORDED
            return self._note(container, without(container.tasks, token))
        if task.version <= known.version and not (shown and known.absent_since is not None):
            return Effect.STALE
        if not is_own:
            self._stop(container, task)
        if known.absent_since is not None:
            # A sweep did not find the task, but it exists.
            return self._note(container, {**container.tasks, token: known.seen(task)})
        return Effect.STALE if is_own else Effect.STRAY_STOPPED

    def _unknown(self, container: Container, task: Task, *, shown: bool) -> Effect | None:
        """Handle a task that is not in the ledger of its container, which has nothing pending.

        A task that is alive must be known, so it is added to the ledger, and stopped. The only task that may run is
        that of a failed container which only counted as gone.
        """
        if task.is_stopped or has_ended(container, task):
            return Effect.STALE
        last = container.last_task
        was_gone = last is not None and last.gone and last.id == task.id and not last.unclear
        if container.status is Status.FAILED and was_gone and not container.tasks and last is not None:
            # DescribeTasks may return an old state too: here, one from before an end that is already known.
            is_current = task.version > last.version or (shown and task.version == last.version)
            if not task.is_running or not is_current:
                return Effect.STALE
            trigger = Trigger.RECOVERY if shown else Trigger.SYSTEM
            result = self._recorder.record_running(container, task, trigger)
            return None if isinstance(result, ConditionFailed) else Effect.RECORDED
        return self._end_stray(container, task, lambda tasks: self._note(container, tasks))

    def _note(self, container: Container, tasks: Ledger) -> Effect | None:
        """Store a ledger of a container with nothing pending. Returns None if the container has changed meanwhile."""
        noted = self._recorder.note_ledger(container, tasks)
        return None if isinstance(noted, ConditionFailed) else Effect.RECORDED

    def _while_pending(self, container: Container, pending: PendingOperation, task: Task) -> Effect | None:
        """Apply a task's state to the pending operation. Returns None if the container has changed in the meantime."""
        self._on_pending(pending)
        token = token_of(container.tasks, task.arn)
        starting = pending.step is Step.START
        if token is None:
            return self._unknown_while_pending(container, pending, task)
        if task.is_stopped:
            if pending.step in (Step.PAUSE, Step.UNPAUSE) and token != container.own_token:
                # The step does not depend on the task, which was only to end.
                return self._note_pending(container, pending, without(container.tasks, token))
            return Effect.SETTLED if self._driver.settle(container, event_task=task) else None
        known = container.tasks[token]
        if starting and token == pending.token:
            if task.is_running:
                return Effect.SETTLED if self._driver.settle(container, event_task=task) else None
            if known.absent_since is None:
                return Effect.SETTLED  # Events of the task's way to RUNNING say nothing new.
        if known.absent_since is not None and task.version >= known.version:
            # The operation's driver did not find the task, but it exists.
            return self._note_pending(container, pending, {**container.tasks, token: known.seen(task)})
        return Effect.STALE

    def _unknown_while_pending(self, container: Container, pending: PendingOperation, task: Task) -> Effect | None:
        """Handle a task that is not in the ledger of its container. Returns None if the container has changed."""
        if has_ended(container, task):
            return Effect.STALE
        known = container.tasks.get(pending.token)
        if pending.step is Step.START and known is not None and known.arn is None:
            # It may be the task of this start, whose RunTask was not answered, and which its client token finds.
            if not (task.is_running or task.is_stopped):
                return Effect.SETTLED
            if not self._driver.settle(container, event_task=task):
                return None
            current = self._store.container(container.id)
            if current is None or token_of(current.tasks, task.arn) is not None or current.task_arn == task.arn:
                return Effect.SETTLED
            operation = current.operation
            if operation is not None and (known := current.tasks.get(operation.token)) and known.arn is None:
                return Effect.SETTLED
            return None if not task.is_stopped else Effect.SETTLED
        if task.is_stopped:
            if pending.step is Step.KILL and any(known.arn is None for known in container.tasks.values()):
                # It may be the task of the start that the force-stop has superseded. The force-stop waits for its end.
                return Effect.SETTLED if self._driver.settle(container, event_task=task) else None
            return Effect.STALE
        return self._end_stray(container, task, lambda tasks: self._note_pending(container, pending, tasks))

    def _note_pending(self, container: Container, pending: PendingOperation, tasks: Ledger) -> Effect | None:
        """Store a ledger of a container with a pending operation. Returns None if the container has changed."""
        noted = self._store.note(container.model_copy(update={"tasks": dict(tasks)}), pending, None)
        return None if isinstance(noted, ConditionFailed) else Effect.SETTLED

    def _end_stray(self, container: Container, task: Task, note: Callable[[Ledger], Effect | None]) -> Effect | None:
        """Stop a task that is not in the ledger, and add it, also if ECS refuses to stop it now."""
        tasks = with_stray(container.tasks, task)
        try:
            stopped = self._stop(container, task)
        except EcsError:
            note(tasks)
            raise
        if stopped is not None and stopped.is_stopped:
            return Effect.STALE
        return None if note(tasks) is None else Effect.STRAY_STOPPED

    def _stop(self, container: Container, task: Task) -> Task | None:
        """Call StopTask for a task that its container must not have. Returns None if ECS does not know the task."""
        return self._ecs.stop(container.runtime, task.arn, "Longshore: not the task that its container has")


def has_ended(container: Container, task: Task) -> bool:
    """Check whether ECS has shown the end of the task, so that an event of it is late."""
    last = container.last_task
    return last is not None and not last.gone and last.id == task.id


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
            if not awaits_host(container, pending) or pending.command.number != sent_for.number:
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
                requested=Requested(superseded=container.pending),
                observed=Observed(reason="The server was terminated", server_instance_id=server_instance_id),
            )
            if container.operation is not None:
                # A driver may still call RunTask with the client token of a start. A sweep ends the tasks.
                operation = container.operation
                change = change._replace(tasks=callable_until(container.tasks, operation.token, operation.deadline))
            after, entry = append(container, change, new_id(), self._clock.now())
            if not isinstance(self._store.commit_expiry(container, after, entry), ConditionFailed):
                return True
        raise ExternalServiceError("The container is receiving too many requests")
