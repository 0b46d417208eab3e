"""One attempt at a step of an operation: the calls to ECS that steps are made of, and what they have found out.

ECS is eventually consistent: DescribeTasks may not return, and StopTask may not know, a task that exists. So a task
that was not found is merely absent. It counts as gone when two looks at least 30 seconds, and at most 10 minutes, apart
did not find it, and either ECS has shown it before or five minutes have passed since its RunTask. RunTask's own answer
is not a look.

    RunTask         absent          absent: gone
    |---------------|---------------|------------->
    0 s             10 s            >= 5 min (a task that ECS has shown before: >= 40 s)
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from longshore.aws.ecs import Ecs, EcsError, PlacementError
from longshore.domain.clock import Clock
from longshore.domain.models import BETWEEN_LOOKS, LOOKS_LAST, Container, PendingOperation
from longshore.domain.task import Task

T = TypeVar("T")

UNSHOWN = timedelta(minutes=5)
"""How long after RunTask ECS may not show the task. Source: "Eventual consistency" in the ECS API reference."""

TOKEN_REUSED = timedelta(minutes=50)
"""How long a client token is used. ECS forgets it one hour after its task has ended, or after 24 hours."""

TOKEN_REPLACED = timedelta(minutes=60)
"""When a new client token may be used: at least UNSHOWN after the last RunTask with the old one."""

_CLOCKS_DIFFER = timedelta(seconds=5)  # between this function and ECS, at the most
_FIRST_POLL = 0.2  # seconds between looks at a task, growing by half each time
_LONGEST_POLL = 2.0


class Attempt:
    """Calls ECS for one attempt at a step, until the given time, and keeps what was found.

    Attributes:
        acted: A call with an effect was answered with something other than a refusal.
        on_its_way: The step's task was seen, and has yet to reach the step's goal.
        absent: By task ARN or client token, the first look that found nothing since the task was last shown.
        task_arn: The task that the operation, or the start that it superseded, has run.
        task_run_at: The latest time at which that task can have been run.
        task_shown: ECS has shown that task.
        own_version: The newest version of the container's own task that was seen; None: it was not seen.
    """

    def __init__(
        self,
        ecs: Ecs,
        clock: Clock,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        told: Task | None,
    ) -> None:
        self.container = container
        self.pending = pending
        self.until = until
        self.acted = False
        self.on_its_way = False
        self.absent = dict(pending.absent)
        self.task_arn = pending.task_arn
        self.task_run_at = pending.task_run_at
        self.task_shown = pending.task_shown
        self.own_version: int | None = None
        self._ecs = ecs
        self._clock = clock
        self._told = told
        self._not_found: set[str] = set()

    def now(self) -> datetime:
        return self._clock.now()

    # --- looking at tasks ------------------------------------------------------------------------------------------

    def look(self, arn: str) -> Task | None:
        """Look at a task once: what an event told of it, else what ECS says. None when ECS does not show it."""
        if self._told is not None and self._told.arn == arn:
            return self._looked(arn, self._told)
        return self._looked(arn, self.insist(lambda: self._ecs.describe(self.container.runtime, arn), effect=False))

    def find(self, arn: str) -> Task | None:
        """Look until ECS shows the task or it is gone. None also when the time is over."""
        for _ in self._pauses():
            task = self.look(arn)
            if task is not None or self.is_gone(arn):
                return task
        return None

    def watch(self, task: Task, seen: Callable[[Task], bool]) -> Task:
        """Look at a task until `seen` is true of it, or the time is over. Returns it as last shown."""
        for number, _ in enumerate(self._pauses()):
            if seen(task):
                break
            if number == 0 and (self._told is None or self._told.arn != task.arn):
                continue  # It was looked at just now.
            try:
                task = self.look(task.arn) or task
            except EcsError:
                continue  # Looking is free of effects: the next look may succeed.
        return task

    def is_gone(self, arn: str) -> bool:
        """Whether a task that this attempt has not found counts as gone."""
        if arn == self.container.task_arn and self.container.task_ended and arn in self._not_found:
            return True  # ECS has shown its end, and forgets a task one hour after that.
        if not self._is_absent_twice(arn):
            return False
        if arn == self.task_arn and not self.task_shown:
            return self.now() - (self.task_run_at or self.now()) >= UNSHOWN
        # The container's own task was seen running, or was given up long after its RunTask.
        return True

    def _looked(self, arn: str, task: Task | None) -> Task | None:
        if task is None:
            self._missed(arn)
        else:
            self._not_found.discard(arn)
            self.absent.pop(arn, None)
            self.task_shown = self.task_shown or arn == self.task_arn
            if arn == self.container.task_arn:
                self.own_version = max(task.version, self.own_version or 0)
        return task

    def _missed(self, name: str) -> None:
        """Note a look that found nothing: by a task's ARN, or by the client token whose task was searched for."""
        self._not_found.add(name)
        first = self.absent.get(name)
        if first is None or self.now() - first > LOOKS_LAST:
            self.absent[name] = self.now()

    def _is_absent_twice(self, name: str) -> bool:
        """Whether this look and one at least half a minute ago have found nothing."""
        first = self.absent.get(name)
        return name in self._not_found and first is not None and self.now() - first >= BETWEEN_LOOKS

    # --- acting on tasks -------------------------------------------------------------------------------------------

    def run(self, token: str) -> Task:
        """Run a task, or get the one that was run with this client token, and note it.

        Raises:
            PlacementError: ECS could not place it, so no task of the token exists.
            EcsError: ECS refused, or it is not known whether the task was run.
        """
        container, acted = self.container, self.acted
        try:
            task = self.insist(
                lambda: self._ecs.run(container.runtime, container.server_instance_id, container.id, token)
            )
        except PlacementError:
            self.acted = acted
            raise
        self.note_task(task.arn, self.now())
        return task

    def note_task(self, arn: str, run_at: datetime) -> None:
        """Note the task that the operation, or the start that it superseded, has run."""
        if arn != self.task_arn:
            self.task_arn, self.task_run_at, self.task_shown = arn, run_at, False

    def search(self, token: str, since: datetime) -> Task | None:
        """Find a task that was run with a client token which ECS may have forgotten, and note it.

        Args:
            token: The token.
            since: When it can have been used first: the container's tasks created since then are of this token.

        Returns:
            The task, a living one if there is one. None when ECS lists none: `is_unused` tells what that proves.
        """
        tasks, complete = self.insist(
            lambda: self._ecs.started_by(self.container.runtime, self.container.id), effect=False
        )
        found = [
            task
            for task in tasks
            if task.arn != self.container.task_arn
            and task.created_at is not None
            and task.created_at >= since - _CLOCKS_DIFFER
        ]
        if found:
            task = max(found, key=lambda each: (not each.is_stopped, each.created_at))
            self.absent.pop(token, None)
            self.note_task(task.arn, self.now())
            return self._looked(task.arn, task)
        if complete:
            self._missed(token)
        return None

    def is_unused(self, token: str) -> bool:
        """Whether two searches for a task of this client token have found none."""
        return self._is_absent_twice(token)

    def stop(self, arn: str, reason: str) -> Task | None:
        """Ask a task to stop. None when ECS does not know it, which counts as a look that did not find it."""
        return self._looked(arn, self.insist(lambda: self._ecs.stop(self.container.runtime, arn, reason)))

    def end(self, arns: Sequence[str], reason: str) -> dict[str, Task] | None:
        """Ask tasks to stop, until each was seen stopped or is gone.

        Returns:
            The tasks that were seen stopped, by ARN; None when the time was over before.
        """
        ended: dict[str, Task] = {}
        asked: set[str] = set()
        waiting = list(dict.fromkeys(arns))
        for _ in self._pauses():
            for arn in list(waiting):
                task = self._look_again(arn) if arn in asked else self._stop_or_look(arn, reason, asked)
                self.on_its_way = self.on_its_way or task is not None
                if task is not None and task.is_stopped:
                    ended[arn] = task
                if arn in ended or (task is None and self.is_gone(arn)):
                    waiting.remove(arn)
            if not waiting:
                return ended
        return None

    def _stop_or_look(self, arn: str, reason: str, asked: set[str]) -> Task | None:
        """Ask a task to stop. One that StopTask does not know is looked for before it counts as gone."""
        task = self.stop(arn, reason)
        if task is not None:
            asked.add(arn)
            return task
        if self.is_gone(arn):
            try:
                return self.look(arn)
            except EcsError:
                self._not_found.discard(arn)
        return None

    def _look_again(self, arn: str) -> Task | None:
        try:
            return self.look(arn)
        except EcsError:
            return None

    # --- repeating -------------------------------------------------------------------------------------------------

    def insist(self, call: Callable[[], T], *, effect: bool = True) -> T:
        """Repeat a call that is safe to repeat, until ECS answers or refuses it or the time is over.

        Raises:
            EcsError: The last failure. A refusal that follows a failed try proves nothing about that try.
        """
        failure: EcsError | None = None
        for _ in self._pauses():
            try:
                result = call()
            except PlacementError:
                raise
            except EcsError as error:
                if error.no_effect:
                    if effect and failure is not None:
                        raise EcsError(error.reason, no_effect=False) from error
                    raise
                failure = error
                self.acted = self.acted or effect
                if error.conflict:
                    raise
            else:
                if effect and result is not None:
                    self.acted = True
                return result
        assert failure is not None
        raise failure

    def _pauses(self) -> Iterator[None]:
        """Yield at once, and again after growing pauses until the time is over."""
        yield
        pause = _FIRST_POLL
        while self.now() < self.until:
            self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
            yield
