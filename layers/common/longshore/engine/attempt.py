"""One attempt at a step of an operation: the ECS calls that steps consist of, and their findings.

ECS is eventually consistent: DescribeTasks may not return, and StopTask may not know, a task that exists. A task that
a lookup does not find is therefore only absent. It counts as gone when both are true:

- Two lookups, at least 30 seconds and at most 10 minutes apart, did not find it. The 30 seconds are between the
  response to the first lookup and the request of the second, because a response may be late.
- ECS has shown it before, or five minutes have passed since its RunTask. The response of RunTask is not a lookup.

    RunTask         absent          absent: gone
    |---------------|---------------|------------->
    0 s             10 s            >= 5 min (a task that ECS has shown before: >= 40 s)
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from longshore.aws.ecs import Ecs, EcsError, PlacementError
from longshore.domain.clock import Clock
from longshore.domain.lifecycle import next_step
from longshore.domain.models import BETWEEN_LOOKS, LOOKS_LAST, Container, PendingOperation
from longshore.domain.task import Task
from longshore.engine.known import Known
from longshore.engine.waits import Waits

T = TypeVar("T")

UNSHOWN = timedelta(minutes=5)
"""How long ECS may not show a task after RunTask. Source: "Eventual consistency" in the ECS API reference."""

TOKEN_REUSED = timedelta(minutes=50)
"""How long a client token is used. ECS forgets a token after 24 hours, or one hour after its task has ended."""

TOKEN_REPLACED = timedelta(minutes=60)
"""Age at which a client token may be replaced: at least UNSHOWN after the last RunTask with it."""

_BETWEEN_STOPS = timedelta(seconds=2)  # between calls of StopTask that do not find the task
_CLOCKS_DIFFER = timedelta(seconds=5)  # the largest expected difference between the clocks of Lambda and ECS


class Attempt:
    """Calls ECS for one attempt at a step and records the findings.

    Args:
        until: Stop repeating calls at this time (UTC). Every call is made at least once.
        known: What the driver knows about tasks.
        has_changed: Reads the container's item. Returns whether another worker has changed the operation.

    Attributes:
        acted: Whether a call with an effect was not refused, so that it may have taken effect.
        on_its_way: Whether the step's task was seen and has not reached the step's goal.
        absent: The first lookup that found nothing since ECS last showed the task, by task ARN or client token.
        task_arn: The task that the operation, or the start that it superseded, has run.
        task_run_at: The latest time at which that task can have been run.
        task_shown: Whether ECS has shown that task.
        own_version: The newest version of the container's own task that was seen. None: it was not seen.
        started: The task of a start, as it was last seen.
        sent_command: The host and the id of a command without a known result.
    """

    def __init__(
        self,
        ecs: Ecs,
        clock: Clock,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        known: Known = Known(),  # noqa: B008  (immutable)
        has_changed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.container = container
        self.pending = pending
        self.until = until
        precedes = next_step(pending.operation, pending.step) is not None
        self.waits = Waits(clock, until, has_changed, asks_twice=precedes)
        self.launched = known.launched if known.launched and known.launched.arn == pending.task_arn else None
        self.acted = self.launched is not None
        self.on_its_way = False
        self.absent = dict(pending.absent)
        self.task_arn = pending.task_arn
        self.task_run_at = pending.task_run_at
        self.task_shown = pending.task_shown
        self.own_version: int | None = None
        self.started: Task | None = None
        self.sent_command = pending.sent_command
        self._ecs = ecs
        self._clock = clock
        self._event_task = known.event_task
        self._lookup = known.lookup
        self._looked_up: set[str] = set()  # ARNs for which the lookup was used
        self._asked_at = clock.now()  # when the last call was sent
        self._not_found: dict[str, datetime] = {}  # when the last lookup that found nothing was sent

    def now(self) -> datetime:
        return self._clock.now()

    # --- finding tasks ---------------------------------------------------------------------------------------------

    def look(self, arn: str) -> Task | None:
        """Return the task as the event describes it, or else as ECS shows it. None when ECS does not show it."""
        if self._event_task is not None and self._event_task.arn == arn:
            return self._looked(arn, self._event_task)
        if self._lookup is not None and arn in self._lookup.arns - self._looked_up:
            self._looked_up.add(arn)
            self._asked_at = self._lookup.asked_at
            if self._lookup.error is not None:
                raise self._lookup.error
            return self._looked(arn, self._lookup.tasks.get(arn))
        return self._looked(arn, self.retry(lambda: self._ecs.describe(self.container.runtime, arn), effect=False))

    def find(self, arn: str) -> Task | None:
        """Look up a task now, and if ECS does not show it, again later in the wait. Returns None if it does not."""
        for number, asks in enumerate(self.waits.rounds()):
            if number == 0 or asks:
                task = self.look(arn)
                if task is not None or self.is_gone(arn):
                    return task
        return None

    def watch(self, task: Task, seen: Callable[[Task], bool]) -> Task:
        """Wait until an event has completed the operation. When the time is over, look up the task.

        Args:
            task: The task as it was just seen.
            seen: Returns whether there is nothing to wait for.

        Returns:
            The task as last shown.

        Raises:
            ChangedError: Another worker has changed the operation.
        """
        for number, asks in enumerate(self.waits.rounds()):
            if seen(task):
                break
            of_event = self._event_task is not None and self._event_task.arn == task.arn
            if not of_event and (number == 0 or not asks):
                continue  # The task was just seen, or its event is expected.
            try:
                task = self.look(task.arn) or task
            except EcsError:
                continue  # A lookup has no effect, and the next one may succeed.
        return task

    def is_gone(self, arn: str) -> bool:
        """Check whether a task that this attempt did not find counts as gone."""
        if arn == self.container.task_arn and self.container.task_ended and arn in self._not_found:
            return True  # ECS has shown that the task ended, and forgets it one hour later.
        if not self._is_absent_twice(arn):
            return False
        if arn == self.task_arn and not self.task_shown:
            return self.task_run_at is not None and self._not_found[arn] - self.task_run_at >= UNSHOWN
        # ECS has shown the container's own task before, or its start was given up long after RunTask.
        return True

    def _looked(self, arn: str, task: Task | None) -> Task | None:
        if task is None:
            self._missed(arn)
        else:
            self._not_found.pop(arn, None)
            self.absent.pop(arn, None)
            self.task_shown = self.task_shown or arn == self.task_arn
            if arn == self.container.task_arn:
                self.own_version = max(task.version, self.own_version or 0)
        return task

    def _missed(self, name: str) -> None:
        """Record the time of a lookup that found nothing. `name` is the task's ARN or the searched client token."""
        self._not_found[name] = self._asked_at
        first = self.absent.get(name)
        if first is None or self.now() - first > LOOKS_LAST:
            self.absent[name] = self.now()

    def _is_absent_twice(self, name: str) -> bool:
        """Check whether this attempt's lookup and another at least 30 seconds earlier found nothing."""
        first, last = self.absent.get(name), self._not_found.get(name)
        return first is not None and last is not None and last - first >= BETWEEN_LOOKS

    # --- acting on tasks -------------------------------------------------------------------------------------------

    def run(self, token: str) -> Task:
        """Run a task, or get the task that was run with this client token before, and record its ARN.

        Raises:
            PlacementError: ECS could not place the task, so no task of the token exists.
            EcsError: ECS refused the request, or it is not known whether the task was run.
        """
        container, acted = self.container, self.acted
        try:
            task = self.retry(
                lambda: self._ecs.run(container.runtime, container.server_instance_id, container.id, token)
            )
        except PlacementError:
            self.acted = acted
            raise
        self.note_task(task.arn, self.now())
        return task

    def note_task(self, arn: str, run_at: datetime) -> None:
        """Record the ARN of the task that the operation, or the start that it superseded, has run."""
        if arn != self.task_arn:
            self.task_arn, self.task_run_at, self.task_shown = arn, run_at, False

    def search(self, token: str, since: datetime) -> Task | None:
        """Search for the task that was run with a client token that ECS may have forgotten, and record its ARN.

        Args:
            token: The client token.
            since: When the token was first used, at the earliest. The container's tasks since then belong to it.

        Returns:
            The task, preferably one that has not stopped. None when ECS lists no task; see `is_unused`.
        """
        tasks, complete = self.retry(
            lambda: self._ecs.started_by(self.container.runtime, self.container.id), effect=False
        )
        found = [
            task
            for task in tasks
            if task.arn != self.container.task_arn
            and task.created_at is not None
            # A task that has stopped may be of an operation just before, which ended only when its task had stopped.
            and task.created_at >= (since if task.is_stopped else since - _CLOCKS_DIFFER)
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
        """Check whether two searches, at least 30 seconds apart, found no task of this client token."""
        return self._is_absent_twice(token)

    def stop(self, arn: str, reason: str) -> Task | None:
        """Call StopTask. Returns None when ECS does not know the task, which counts as a failed lookup."""
        return self._looked(arn, self.retry(lambda: self._ecs.stop(self.container.runtime, arn, reason)))

    def end(self, arns: Sequence[str], reason: str) -> dict[str, Task] | None:
        """Stop tasks, and wait until events have reported their ends. When the time is over, look up the tasks.

        Returns:
            The tasks that were seen stopped, by ARN. None if some have not stopped and are not gone.

        Raises:
            ChangedError: Another worker has changed the operation.
        """
        ended: dict[str, Task] = {}
        asked: set[str] = set()
        waiting = list(dict.fromkeys(arns))
        again_at: dict[str, datetime] = {}
        for asks in self.waits.rounds():
            for arn in list(waiting):
                if not asks and (arn in asked or self.now() < again_at.get(arn, self.now())):
                    continue
                again_at[arn] = self.now() + _BETWEEN_STOPS
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
        """Call StopTask. Before a task that StopTask does not know counts as gone, look it up."""
        if self._event_task is not None and self._event_task.arn == arn and self._event_task.is_stopped:
            return self.look(arn)
        task = self.stop(arn, reason)
        if task is not None:
            asked.add(arn)
            return task
        if self.is_gone(arn):
            try:
                return self.look(arn)
            except EcsError:
                self._not_found.pop(arn, None)
        return None

    def _look_again(self, arn: str) -> Task | None:
        try:
            return self.look(arn)
        except EcsError:
            return None

    # --- repeating -------------------------------------------------------------------------------------------------

    def retry(self, call: Callable[[], T], *, effect: bool = True) -> T:
        """Repeat a call that is safe to repeat until ECS accepts it, refuses it or throttles it, or the time runs out.

        Raises:
            EcsError: The last failure. A refusal has `no_effect` set only if no earlier try can have taken effect.
        """
        failure: EcsError | None = None
        for _ in self.waits.pauses():
            self._asked_at = self.now()
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
                if error.conflict or error.throttled:
                    raise
            else:
                if effect and result is not None:
                    self.acted = True
                return result
        assert failure is not None
        raise failure
