"""The steps of operations: their effects on ECS and the host, and their observations.

Steps are safe to repeat: after a crash they run again with the same ids. A step never writes to the database; `driver`
commits its observation.
"""

from collections.abc import Callable
from datetime import datetime
from typing import assert_never

from longshore.aws.ecs import Ecs, EcsError, PlacementError
from longshore.aws.hosts import Action, CommandResult, CommandStatus, HostCommands
from longshore.domain.clock import Clock
from longshore.domain.facts import Observed
from longshore.domain.ledger import TOKEN_REUSED, KnownTask
from longshore.domain.lifecycle import Platform, Status, Step
from longshore.domain.models import COMMANDS, Container
from longshore.domain.pending import PendingOperation
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.ending import end_all
from longshore.engine.known import Known
from longshore.engine.observations import (
    Changed,
    Ended,
    Findings,
    Launched,
    NeverRan,
    NoEffect,
    Observation,
    Reached,
    Result,
    TokenExpired,
    Uncertain,
    Unobserved,
)
from longshore.engine.waits import ChangedError, LateError

_NOT_SHOWN = "ECS does not show the task"


class Steps:
    """Runs steps. Errors of AWS are returned as observations, not raised."""

    def __init__(self, ecs: Ecs, hosts: HostCommands, clock: Clock) -> None:
        self._ecs = ecs
        self._hosts = hosts
        self._clock = clock

    def run(
        self,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        *,
        look_first: bool = False,
        known: Known = Known(),  # noqa: B008  (immutable)
        host_is_done: bool = False,
        has_changed: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Make one attempt at the pending operation's step: act, and wait for the effect.

        Args:
            container: The container as read.
            pending: Its pending operation.
            until: Stop waiting at this time (UTC).
            look_first: Whether to look up a task before StopTask, because an earlier attempt may have stopped it.
            known: What the driver knows about tasks.
            host_is_done: Whether the step's command to the host is known to have succeeded.
            has_changed: Reads the container's item. Returns whether another worker has changed the operation.
        """
        attempt = Attempt(self._ecs, self._clock, container, pending, until, known, has_changed)
        observation: Observation
        try:
            observation = self._observe(
                attempt, look_first=look_first or known.event_task is not None, host_is_done=host_is_done
            )
        except ChangedError:
            observation = Changed(attempt.started)
        except LateError:
            observation = Unobserved("The operation takes too long")
        except PlacementError as error:
            observation = NoEffect(error.reason, final=True)
        except EcsError as error:
            if error.no_effect and not attempt.acted:
                observation = NoEffect(error.reason)
            else:
                observation = Uncertain(error.reason, throttled=error.throttled)
        if isinstance(observation, Unobserved | Uncertain | NoEffect) and container.own_token is not None:
            attempt.keep(container.own_token)
        findings = Findings(attempt.acted, attempt.on_its_way, attempt.tasks, attempt.sent_command)
        return Result(observation, findings)

    def unpause(self, container: Container, pending: PendingOperation) -> bool:
        """Send an unpause to the host of a task whose pause was given up, without waiting for its result.

        Returns:
            Whether Systems Manager has accepted the command, or none is needed because the task has ended.
        """
        attempt = Attempt(self._ecs, self._clock, container, pending, self._clock.now())
        own = container.own_token
        try:
            task = attempt.look(own) if own is not None else None
            if task is None:
                return own is None
            return task.is_stopped or not isinstance(
                self._hosts.send(Action.UNPAUSE, container, task, pending.command.number), CommandResult
            )
        except EcsError:
            return False

    def stop_now(self, container: Container, task_arn: str) -> None:
        """Call StopTask for a task that has to end. Best effort: the task is in the ledger, or an event adds it."""
        try:
            self._ecs.stop(container.runtime, task_arn, "Longshore: the start was superseded")
        except EcsError:
            return

    # --- the steps -------------------------------------------------------------------------------------------------

    def _observe(self, attempt: Attempt, *, look_first: bool, host_is_done: bool) -> Observation:
        step = attempt.pending.step
        assert step is not Step.ROLL  # of services only
        match step:
            case Step.START:
                return self._start(attempt)
            case Step.STOP:
                return self._stop(attempt, look_first=look_first, host_is_done=host_is_done)
            case Step.KILL:
                return self._kill(attempt)
            case Step.PAUSE:
                return self._pause_or_unpause(attempt, Action.PAUSE, host_is_done=host_is_done)
            case Step.UNPAUSE:
                return self._pause_or_unpause(attempt, Action.UNPAUSE, host_is_done=host_is_done)
            case _:
                assert_never(step)

    def _start(self, attempt: Attempt) -> Observation:
        token = attempt.pending.token
        # The claim has written the entry. An operation must settle even if the item is damaged.
        attempt.tasks.setdefault(token, KnownTask(called_from=attempt.pending.begun_at))
        if not self._only(attempt, token):
            return Unobserved("The previous task has not stopped")
        attempt.on_its_way = False
        was_launched = attempt.tasks[token].arn is not None
        task = _task_of_start(attempt, token)
        if not isinstance(task, Task):
            return task
        attempt.started = task
        if not was_launched and not (task.is_running or task.is_stopped) and not attempt.waits.are_over:
            return Launched(task)
        task = attempt.watch(token, task)
        now = attempt.now()
        if task.is_running:
            if attempt.tasks.keys() != {token}:
                return Unobserved("Another task of the container has not stopped", task)
            return Reached(now, Observed(task_id=task.id), task)
        if not task.is_stopped:
            attempt.on_its_way = True
            return Unobserved(task.stopped_reason or f"The task is {task.last_status}", task)
        if task.stopped_at is None and token not in attempt.ended:
            # For a repeated client token whose task has stopped, RunTask returns the task without details.
            task = attempt.find(token) or task
        if task.started_at is not None and attempt.tasks.keys() <= {token}:
            # The task ran, and ended before the first lookup.
            return Reached(task.started_at, Observed(task_id=task.id), task)
        if task.stopped_at is None and token not in attempt.ended:
            return Unobserved(_NOT_SHOWN, task)
        return NeverRan(now, task.stopped_reason or "The task stopped before it ran", task)

    def _stop(self, attempt: Attempt, *, look_first: bool, host_is_done: bool) -> Observation:
        container, own = attempt.container, attempt.container.own_token
        if own is None:
            return Ended(attempt.now(), None)
        paused = container.status is Status.PAUSED
        if paused or look_first:
            task = attempt.find(own)
            if task is None and own not in attempt.ended:
                return Unobserved(_NOT_SHOWN)
            if paused and task is not None and not task.is_stopped:
                # A paused process does not handle SIGTERM.
                if not host_is_done:
                    result = self._command(attempt, Action.UNPAUSE, task)
                    if result.status is not CommandStatus.DONE:
                        return self._not_done(attempt, result)
                # The task is no longer paused although the container's status is `paused`: there was an effect.
                attempt.acted = True
        if not end_all(attempt, list(attempt.tasks), _reason(attempt)) or attempt.tasks:
            return Unobserved("The task has not stopped")
        return _stopped(attempt, attempt.ended[own])

    def _kill(self, attempt: Attempt) -> Observation:
        container, pending, own = attempt.container, attempt.pending, attempt.container.own_token
        seen = _seen(attempt)
        if container.is_live and (own is None or own in attempt.ended):
            task = attempt.ended[own] if own is not None else None
            if task is None or _before(task.stopped_at, pending.since):
                return Ended((task.stopped_at if task else None) or attempt.now(), task)
        refused: str | None = None
        living = [task for task in seen if not task.is_stopped]
        for number, task in enumerate(living[:COMMANDS] if container.runtime.platform is Platform.HOST else []):
            # Do not wait for the result. If the host does not answer, StopTask still stops the task, more slowly.
            refusal = self._send_kill(attempt, task, pending.command.number + number)
            refused = refusal or refused
        if not end_all(attempt, list(attempt.tasks), _reason(attempt), may_run=True) or attempt.tasks:
            return Unobserved("The task has not stopped")
        task = attempt.ended.get(own) if own is not None else _last_ended(attempt)
        return Reached(attempt.now(), (task.facts if task else Observed())._replace(kill_refused=refused), task)

    def _send_kill(self, attempt: Attempt, task: Task, number: int) -> str | None:
        """Send a kill to the task's host. Returns why it was not sent, if so: StopTask does not depend on it."""
        try:
            sent = self._hosts.send(Action.KILL, attempt.container, task, number)
        except EcsError as error:
            return error.reason
        attempt.acted |= not isinstance(sent, CommandResult) or sent.status is not CommandStatus.NO_EFFECT
        return sent.reason if isinstance(sent, CommandResult) else None

    def _only(self, attempt: Attempt, token: str) -> bool:
        """End every task but one. Returns whether all of the others are proven ended."""
        others = [each for each in attempt.tasks if each != token]
        if others:
            end_all(attempt, others, _reason(attempt))
        return attempt.tasks.keys() == {token}

    def _pause_or_unpause(self, attempt: Attempt, action: Action, *, host_is_done: bool) -> Observation:
        own = attempt.container.own_token
        if action is Action.UNPAUSE and own is not None and not self._only(attempt, own):
            return Unobserved("Another task of the container has not stopped")
        task = self._own(attempt)
        if not isinstance(task, Task):
            return task
        result = CommandResult(CommandStatus.DONE) if host_is_done else self._command(attempt, action, task)
        if result.status is CommandStatus.DONE:
            return Reached(attempt.now(), Observed(task_id=task.id))
        return self._not_done(attempt, result)

    def _own(self, attempt: Attempt) -> Task | Observation:
        """Return the container's task if it has not stopped. Otherwise return the observation."""
        own = attempt.container.own_token
        if own is not None and own not in attempt.ended:
            task = attempt.find(own)
            if task is not None and not task.is_stopped:
                return task
            if own not in attempt.ended:
                return Unobserved(_NOT_SHOWN)
        task = attempt.ended[own] if own is not None else None
        return Ended((task.stopped_at if task else None) or attempt.now(), task)

    def _command(self, attempt: Attempt, action: Action, task: Task) -> CommandResult:
        """Send a command and wait for its result, unless the command of an earlier attempt has succeeded.

        A command that has succeeded has ended before its expiry time, and no later command of the operation was sent.
        """
        if attempt.sent_command is not None:
            # An operation must settle even if the attribute is damaged: the command is then sent again.
            host, _, command_id = attempt.sent_command.partition(" ")
            if command_id and self._hosts.has_succeeded(command_id, host):
                attempt.acted = True
                return CommandResult(CommandStatus.DONE)
        result = self._hosts.act(action, attempt.container, task, attempt.pending.command.number, attempt.until)
        attempt.acted = attempt.acted or result.status is not CommandStatus.NO_EFFECT
        attempt.sent_command = result.sent if result.status is CommandStatus.IN_PROGRESS else None
        return result

    def _not_done(self, attempt: Attempt, result: CommandResult) -> Observation:
        match result.status:
            case CommandStatus.NO_EFFECT:
                # The most likely reason for the host's refusal is that the task has just ended.
                task = self._own(attempt)
                return NoEffect(result.reason) if isinstance(task, Task) else task
            case CommandStatus.IN_PROGRESS:
                return Unobserved(result.reason)
            case _:
                return Uncertain(result.reason)


def _task_of_start(attempt: Attempt, token: str) -> Task | Observation:
    """Return the task that the operation has run, or run it. Otherwise return the observation."""
    known = attempt.tasks[token]
    if known.arn is not None:
        if attempt.launched is not None:
            return attempt.launched
        task = attempt.find(token)
        if task is not None:
            return task
        if token in attempt.ended:
            return NeverRan(attempt.now(), "The task is no longer known to ECS", None)
        attempt.on_its_way = True
        return Unobserved(_NOT_SHOWN)
    age = attempt.now() - (known.called_from or attempt.pending.started_at)
    if age < TOKEN_REUSED:
        try:
            return attempt.run(token)
        except EcsError as error:
            if not error.conflict:
                raise
    task = attempt.search(token, attempt.pending.started_at)
    if task is not None:
        return task
    if token in attempt.ended:
        return TokenExpired()  # It is proven unused, and too old to be used again.
    return Unobserved("ECS may have run the task, and does not list it yet")


def _seen(attempt: Attempt) -> list[Task]:
    """Look up all tasks of the ledger. A lookup that fails does not matter here: StopTask does not depend on it."""
    seen: list[Task] = []
    for token in [each for each, known in attempt.tasks.items() if known.arn is not None]:
        try:
            task = attempt.look(token)
        except EcsError:
            continue
        if task is not None:
            seen.append(task)
    return seen


def _last_ended(attempt: Attempt) -> Task | None:
    """Return the task that a force-stop of a container without a live status has ended."""
    return next((task for task in reversed(attempt.ended.values()) if task is not None), None)


def _reason(attempt: Attempt) -> str:
    return f"Longshore operation {attempt.pending.id}"


def _stopped(attempt: Attempt, task: Task | None) -> Observation:
    now = attempt.now()
    if task is None:
        return Ended(now, None)
    by_itself = task.stop_code not in (None, "UserInitiated") or _before(task.stopped_at, attempt.pending.since)
    return Ended(task.stopped_at or now, task) if by_itself else Reached(now, task.facts, task)


def awaits_host(container: Container, pending: PendingOperation) -> bool:
    """Check whether the operation's step waits for a command to a host. No event of ECS reports that command's end."""
    unpauses = pending.step is Step.STOP and container.status is Status.PAUSED
    return unpauses or pending.step in (Step.PAUSE, Step.UNPAUSE)


def _before(moment: datetime | None, other: datetime) -> bool:
    return moment is not None and moment < other
