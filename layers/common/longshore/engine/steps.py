"""The steps of operations: their effects on ECS and the host, and their observations.

Steps are safe to repeat: after a crash they run again with the same ids. A step never writes to the database; `driver`
commits its observation.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_never

from longshore.aws.ecs import Ecs, EcsError, PlacementError
from longshore.aws.hosts import Action, CommandResult, CommandStatus, HostCommands
from longshore.domain.clock import Clock
from longshore.domain.lifecycle import Platform, Status, Step
from longshore.domain.models import Container, PendingOperation
from longshore.domain.task import Task
from longshore.engine.attempt import TOKEN_REPLACED, TOKEN_REUSED, UNSHOWN, Attempt
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
from longshore.engine.waits import ChangedError

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
        except PlacementError as error:
            observation = NoEffect(error.reason, final=True)
        except EcsError as error:
            if error.no_effect and not attempt.acted:
                observation = NoEffect(error.reason)
            else:
                observation = Uncertain(error.reason, throttled=error.throttled)
        findings = Findings(
            attempt.acted,
            attempt.on_its_way,
            attempt.task_arn,
            attempt.task_run_at,
            attempt.task_shown,
            attempt.absent,
            attempt.own_version,
            attempt.sent_command,
        )
        return Result(observation, findings)

    def revert(self, container: Container, pending: PendingOperation) -> bool:
        """Send the opposite of the step's command to the host, without waiting for its result.

        Returns:
            Whether Systems Manager has accepted the command, or none is needed because the task has ended.
        """
        attempt = Attempt(self._ecs, self._clock, container, pending, self._clock.now())
        action = Action.UNPAUSE if pending.step is Step.PAUSE else Action.PAUSE
        try:
            task = attempt.look(container.task_arn) if container.task_arn else None
            if task is None:
                return container.task_arn is None
            return task.is_stopped or not isinstance(
                self._hosts.send(action, container, task, pending.command_number), CommandResult
            )
        except EcsError:
            return False

    def stop_stray(self, container: Container, task_arn: str) -> None:
        """Stop a task whose start operation has been superseded.

        Best effort. If the call fails, the task is stopped when an event reports that it is running.
        """
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
        container, pending = attempt.container, attempt.pending
        if container.status is Status.FAILED and container.task_arn and pending.task_arn is None:
            # The container's task may still exist, and a container has at most one live task. Its own task is run only
            # when that has ended.
            if attempt.end([container.task_arn], f"Longshore operation {pending.id}") is None:
                return Unobserved("The previous task has not stopped")
            attempt.on_its_way = False
        task = _task_of_start(attempt)
        if not isinstance(task, Task):
            return task
        attempt.started = task
        if pending.task_arn is None and not (task.is_running or task.is_stopped) and not attempt.waits.are_over:
            return Launched(task)
        task = attempt.watch(task, lambda seen: seen.is_running or seen.is_stopped)
        now = attempt.now()
        if task.is_running:
            return Reached(now, {"task_id": task.id}, task)
        if not task.is_stopped:
            attempt.on_its_way = True
            return Unobserved(task.stopped_reason or f"The task is {task.last_status}", task)
        if task.stopped_at is None:
            # For a repeated client token whose task has stopped, RunTask returns the task without details.
            task = attempt.find(task.arn) or task
        if task.started_at is not None:
            # The task ran, and ended before the first lookup.
            return Reached(task.started_at, {"task_id": task.id}, task)
        if task.stopped_at is None and not attempt.is_gone(task.arn):
            return Unobserved(_NOT_SHOWN, task)
        return NeverRan(now, task.stopped_reason or "The task stopped before it ran", task)

    def _stop(self, attempt: Attempt, *, look_first: bool, host_is_done: bool) -> Observation:
        container, pending = attempt.container, attempt.pending
        arn = container.task_arn
        if arn is None:
            return Ended(attempt.now(), None)
        paused = container.status is Status.PAUSED
        if paused or look_first:
            task = attempt.find(arn)
            if task is None and not attempt.is_gone(arn):
                return Unobserved(_NOT_SHOWN)
            if task is None or task.is_stopped:
                return _stopped(attempt, task)
            if paused and not host_is_done:
                # A paused process does not handle SIGTERM.
                result = self._command(attempt, Action.UNPAUSE, task)
                if result.status is not CommandStatus.DONE:
                    return self._not_done(attempt, result)
            # The task is no longer paused although the container's status is `paused`: there was an effect.
            attempt.acted = attempt.acted or paused
        ended = attempt.end([arn], f"Longshore operation {pending.id}")
        if ended is None:
            return Unobserved("The task has not stopped")
        return _stopped(attempt, ended.get(arn))

    def _kill(self, attempt: Attempt) -> Observation:
        container, pending = attempt.container, attempt.pending
        if pending.superseded_start is not None and not _has_task_of_superseded_start(attempt):
            return Unobserved("ECS may have run a task, and does not list it yet")
        arns = [arn for arn in dict.fromkeys((container.task_arn, attempt.task_arn)) if arn]
        seen = {arn: task for arn in arns if (task := attempt.look(arn)) is not None}
        own = seen.get(container.task_arn or "")
        if container.is_live and (
            (own is None and (container.task_arn is None or attempt.is_gone(container.task_arn)))
            or (own is not None and own.is_stopped and _before(own.stopped_at, pending.since))
        ):
            return Ended((own.stopped_at if own else None) or attempt.now(), own)
        living = [task for task in seen.values() if not task.is_stopped]
        facts: dict[str, Any] = {}
        for number, task in enumerate(living if container.runtime.platform is Platform.HOST else []):
            # Do not wait for the result. If the host does not answer, StopTask still stops the task, more slowly.
            sent = self._hosts.send(Action.KILL, container, task, pending.command_number + number)
            if isinstance(sent, CommandResult):
                facts["kill_refused"] = sent.reason
            attempt.acted |= not isinstance(sent, CommandResult) or sent.status is not CommandStatus.NO_EFFECT
        waiting = [arn for arn in arns if not (arn in seen and seen[arn].is_stopped) and not attempt.is_gone(arn)]
        ended = attempt.end(waiting, f"Longshore operation {pending.id}")
        if ended is None:
            return Unobserved("The task has not stopped")
        own = ended.get(container.task_arn or "", own)
        return Reached(attempt.now(), facts | (own.facts if own else {}), own)

    def _pause_or_unpause(self, attempt: Attempt, action: Action, *, host_is_done: bool) -> Observation:
        task = self._own(attempt)
        if not isinstance(task, Task):
            return task
        result = CommandResult(CommandStatus.DONE) if host_is_done else self._command(attempt, action, task)
        if result.status is CommandStatus.DONE:
            return Reached(attempt.now(), {"task_id": task.id})
        return self._not_done(attempt, result)

    def _own(self, attempt: Attempt) -> Task | Observation:
        """Return the container's task if it has not stopped. Otherwise return the observation."""
        arn = attempt.container.task_arn
        task = attempt.find(arn) if arn else None
        if task is not None and not task.is_stopped:
            return task
        if task is None and arn is not None and not attempt.is_gone(arn):
            return Unobserved(_NOT_SHOWN)
        return Ended((task.stopped_at if task else None) or attempt.now(), task)

    def _command(self, attempt: Attempt, action: Action, task: Task) -> CommandResult:
        """Send a command and wait for its result, unless the command of an earlier attempt has succeeded.

        A command that has succeeded has ended before its expiry time, and no later command of the operation was sent.
        """
        if attempt.sent_command is not None:
            host, command_id = attempt.sent_command.split()
            if self._hosts.has_succeeded(command_id, host):
                attempt.acted = True
                return CommandResult(CommandStatus.DONE)
        result = self._hosts.act(action, attempt.container, task, attempt.pending.command_number, attempt.until)
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


def _task_of_start(attempt: Attempt) -> Task | Observation:
    """Return the task that the operation has run, or run it. Otherwise return the observation."""
    pending = attempt.pending
    if pending.task_arn is not None:
        if attempt.launched is not None:
            return attempt.launched
        task = attempt.find(pending.task_arn)
        if task is not None:
            return task
        if attempt.is_gone(pending.task_arn):
            return NeverRan(attempt.now(), "The task is no longer known to ECS", None)
        attempt.on_its_way = True
        return Unobserved(_NOT_SHOWN)
    age = attempt.now() - pending.token_since
    if age < TOKEN_REUSED:
        try:
            return attempt.run(pending.token)
        except EcsError as error:
            if not error.conflict:
                raise
    task = attempt.search(pending.token, pending.started_at)
    if task is not None:
        return task
    if age < TOKEN_REPLACED or not attempt.is_unused(pending.token):
        return Unobserved("ECS may have run the task, and does not list it yet")
    return TokenExpired()


def _stopped(attempt: Attempt, task: Task | None) -> Observation:
    now = attempt.now()
    if task is None:
        return Ended(now, None)
    by_itself = task.stop_code not in (None, "UserInitiated") or _before(task.stopped_at, attempt.pending.since)
    return Ended(task.stopped_at or now, task) if by_itself else Reached(now, task.facts, task)


def _has_task_of_superseded_start(attempt: Attempt) -> bool:
    """Find the task that the superseded start has run, if any. Returns False if that is not known yet.

    ECS lists new tasks late, so only the client token identifies with certainty the task that a superseded start
    has run or is about to run. RunTask is therefore called again with that token. Every later call with the token
    returns the same task, which is stopped here:

        start        claim ------------------------------ RunTask(token): the task that was stopped
        force-stop           claim -- RunTask(token) -- StopTask -- commit

    If the token is too old to be used, the tasks that ECS lists are searched. That no task is found is proof only
    after two searches, and five minutes after the last RunTask that the start can have called.
    """
    pending = attempt.pending
    token = pending.superseded_start
    if attempt.task_arn is not None or token is None:
        return True
    if attempt.now() - pending.superseded_token_since < TOKEN_REUSED:
        try:
            attempt.run(token)
        except PlacementError:
            return True
        except EcsError as error:
            if not error.no_effect and not error.conflict:
                raise
        else:
            return True
    if attempt.search(token, pending.superseded_token_since) is not None:
        return True
    return attempt.now() - pending.started_at >= UNSHOWN and attempt.is_unused(token)


def awaits_host(container: Container, pending: PendingOperation) -> bool:
    """Check whether the operation's step waits for a command to a host. No event of ECS reports that command's end."""
    unpauses = pending.step is Step.STOP and container.status is Status.PAUSED
    return unpauses or pending.step in (Step.PAUSE, Step.UNPAUSE)


def _before(moment: datetime | None, other: datetime) -> bool:
    return moment is not None and moment < other
