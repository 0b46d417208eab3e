"""One attempt at a step of an operation: the ECS calls that steps consist of, and their findings.

The attempt has a copy of the container's ledger (`domain/ledger.py`), to which each call adds what it has found. Tasks
that are proven ended leave the copy. The driver stores it.

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
from longshore.domain.ledger import KnownTask, arns, callable_until, with_stray
from longshore.domain.lifecycle import next_step
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.task import Task
from longshore.engine.known import Known
from longshore.engine.waits import ChangedError, LateError, Waits

T = TypeVar("T")

_BETWEEN_STOPS = timedelta(seconds=2)  # between calls of StopTask that do not find the task
_CLOCKS_DIFFER = timedelta(seconds=5)  # the largest expected difference between the clocks of Lambda and ECS


class Attempt:
    """Calls ECS for one attempt at a step and records the findings.

    Args:
        pending: The pending operation. None if a sweep ends tasks of a container with nothing pending.
        until: Stop repeating calls at this time (UTC). Every call is made at least once.
        known: What the driver knows about tasks.
        has_changed: Reads the container's item. Returns whether another worker has changed the operation.

    Attributes:
        acted: Whether a call with an effect was not refused, so that it may have taken effect.
        on_its_way: Whether the step's task was seen and has not reached the step's goal.
        tasks: The ledger with what the attempt has found.
        ended: The tasks that were proven ended, by their key in the ledger: as ECS has shown them, or None if the task
            is gone or the client token is unused.
        started: The task of a start, as it was last seen.
        sent_command: The host and the id of a command without a known result.
        undescribed: The ARNs of the container's running tasks, if the last search has failed after it had listed them.
    """

    def __init__(
        self,
        ecs: Ecs,
        clock: Clock,
        container: Container,
        pending: PendingOperation | None,
        until: datetime,
        known: Known = Known(),  # noqa: B008  (immutable)
        has_changed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.container = container
        self.operation = pending
        self.until = until
        precedes = pending is not None and next_step(pending.operation, pending.step) is not None
        self.waits = Waits(clock, until, has_changed, asks_twice=precedes)
        self.tasks: dict[str, KnownTask] = dict(container.tasks)
        self.ended: dict[str, Task | None] = {}
        self.launched = known.launched if known.launched and known.launched.arn in arns(self.tasks) else None
        self.acted = self.launched is not None
        self.on_its_way = False
        self.undescribed: list[str] = []
        self.started: Task | None = None
        self.sent_command = pending.command.sent if pending is not None else None
        self._ecs = ecs
        self._clock = clock
        self._has_changed = has_changed
        self._event_task = known.event_task
        self._lookup = known.lookup
        self._looked_up: set[str] = set()  # ARNs for which the lookup was used
        self._asked_at = clock.now()  # when the last call was sent
        self._has_asked = known.lookup is not None  # whether time has passed since the container's item was written

    @property
    def pending(self) -> PendingOperation:
        """The pending operation, whose step the attempt makes."""
        assert self.operation is not None
        return self.operation

    def now(self) -> datetime:
        return self._clock.now()

    # --- finding tasks ---------------------------------------------------------------------------------------------

    def look(self, token: str) -> Task | None:
        """Return the task as the event describes it, or else as ECS shows it. None when ECS does not show it.

        Args:
            token: The task's key in the ledger.
        """
        arn = self.tasks[token].arn
        assert arn is not None
        if self._event_task is not None and self._event_task.arn == arn:
            return self._looked(token, self._event_task)
        if self._lookup is not None and arn in self._lookup.arns - self._looked_up:
            self._looked_up.add(arn)
            self._asked_at = self._lookup.asked_at
            if self._lookup.error is not None:
                raise self._lookup.error
            return self._looked(token, self._lookup.tasks.get(arn))
        return self._looked(token, self.retry(lambda: self._ecs.describe(self.container.runtime, arn), effect=False))

    def find(self, token: str) -> Task | None:
        """Look up a task now, and if ECS does not show it, again later in the wait. Returns None if it does not."""
        for number, asks in enumerate(self.waits.rounds()):
            if number == 0 or asks:
                task = self.look(token)
                if task is not None or token in self.ended:
                    return task
        return None

    def watch(self, token: str, task: Task) -> Task:
        """Wait until a task is running or stopped, or an event has completed the operation.

        When the time is over, look up the task.

        Args:
            token: The task's key in the ledger.
            task: The task as it was just seen.

        Returns:
            The task as last shown.

        Raises:
            ChangedError: Another worker has changed the operation.
        """
        for number, asks in enumerate(self.waits.rounds()):
            if task.is_running or task.is_stopped:
                break
            of_event = self._event_task is not None and self._event_task.arn == task.arn
            if not of_event and (number == 0 or not asks):
                continue  # The task was just seen, or its event is expected.
            try:
                task = self.look(token) or task
            except EcsError:
                continue  # A lookup has no effect, and the next one may succeed.
        return task

    def _looked(self, token: str, task: Task | None) -> Task | None:
        """Record what a lookup has found. A task that is proven ended leaves the ledger."""
        if task is None:
            self.tasks[token] = self.tasks[token].missed(self.now())
            if self.tasks[token].is_gone(self._asked_at):
                self._remove(token, None)
            return None
        self.tasks[token] = self.tasks[token].seen(task)
        if task.is_stopped:
            self._remove(token, task)
        return task

    def keep(self, token: str) -> None:
        """Leave a task in the ledger that has ended: its end is recorded when all other tasks have ended, too."""
        if token in self.ended:
            self.tasks[token] = self.container.tasks[token]

    def _remove(self, token: str, task: Task | None) -> None:
        del self.tasks[token]
        self.ended[token] = task

    # --- acting on tasks -------------------------------------------------------------------------------------------

    def run(self, token: str) -> Task:
        """Run a task, or get the task that was run with this client token before, and record its ARN.

        RunTask is called only if every other task of the container is proven ended, before the operation's deadline,
        and while the operation is still as read. So no driver calls it after another one may have taken over.

        Raises:
            ChangedError: Another worker has changed the operation.
            LateError: The operation's deadline has passed.
            PlacementError: ECS could not place the task. No task of the token exists unless another driver has run it.
            EcsError: ECS refused the request, or it is not known whether the task was run.
        """
        assert self.tasks.keys() == {token}
        container, acted = self.container, self.acted
        try:
            task = self.retry(
                lambda: self._ecs.run(container.runtime, container.server_instance_id, container.id, token),
                before=self._check_ownership,
            )
        except PlacementError:
            self.acted = acted
            raise
        except EcsError as error:
            if not error.no_effect and self.tasks[token].called_until is not None:
                self.tasks = callable_until(self.tasks, token, self.now())
            raise
        self.tasks[token] = self.tasks[token].run(task, self.now())
        return task

    def _check_ownership(self) -> None:
        """Raise an error if the operation may belong to another driver."""
        if self.now() >= self.pending.deadline:
            raise LateError
        if self._has_asked and self._has_changed():
            raise ChangedError

    def note_unplaced(self, token: str) -> bool:
        """Record that ECS could not place the task of a token. Returns whether that proves the token unused.

        It does if no other driver can still call RunTask with the token.
        """
        until = self.tasks[token].called_until
        if until is None or self.now() < until:
            return False
        self._remove(token, None)
        return True

    def search(self, token: str, since: datetime) -> Task | None:
        """Search for the task that was run with a client token that ECS may have forgotten, and record its ARN.

        Other tasks of the container that are alive and not in the ledger are added to it as strays.

        Args:
            token: The client token.
            since: When the token was first used, at the earliest. The container's tasks since then belong to it.

        Returns:
            The task, preferably one that has not stopped. None when ECS lists no task. Two searches, and enough time
            since the last RunTask, prove that the token is unused, which then leaves the ledger.

        Raises:
            EcsError: ECS refused a call or did not answer. If it has listed tasks without describing them, they are in
                `undescribed`.
        """
        tasks, complete = self.retry(self._search, effect=False)
        unknown = [task for task in tasks if task.arn not in arns(self.tasks) and not self._has_left(task)]
        found = [
            task
            for task in unknown
            if task.created_at is not None
            # A task that has stopped may be of an operation just before, which ended only when its task had stopped.
            and task.created_at >= (since if task.is_stopped else since - _CLOCKS_DIFFER)
        ]
        task = max(found, key=lambda each: (not each.is_stopped, each.created_at), default=None)
        for stray in unknown:
            if stray is not task and not stray.is_stopped:
                self.tasks = with_stray(self.tasks, stray)
        if task is not None:
            self.tasks[token] = self.tasks[token].run(task, self.now())
            return self._looked(token, task)
        if complete:
            self.tasks[token] = self.tasks[token].missed(self.now())
            if self.tasks[token].is_unused(self._asked_at):
                self._remove(token, None)
        return None

    def _search(self) -> tuple[list[Task], bool]:
        """Return the container's tasks, and whether ECS has described every task that it lists."""
        runtime, container_id = self.container.runtime, self.container.id
        self.undescribed = self._ecs.listed(runtime, container_id, "RUNNING")
        # A task that stops between the two lists is in both.
        arns = list(dict.fromkeys([*self.undescribed, *self._ecs.listed(runtime, container_id, "STOPPED")]))
        tasks = self._ecs.described(runtime.cluster, arns)
        self.undescribed = []
        return tasks, len(tasks) == len(arns)

    def _has_left(self, task: Task) -> bool:
        last = self.container.last_task
        return (last is not None and last.id == task.id and not last.gone) or task.arn in [
            ended.arn for ended in self.ended.values() if ended is not None
        ]

    def stop(self, token: str, reason: str) -> Task | None:
        """Call StopTask. Returns None when ECS does not know the task, which counts as a failed lookup."""
        arn = self.tasks[token].arn
        assert arn is not None
        return self._looked(token, self.retry(lambda: self._ecs.stop(self.container.runtime, arn, reason)))

    def end(self, tokens: Sequence[str], reason: str) -> bool:
        """Stop tasks, and wait until events have reported their ends. When the time is over, look up the tasks.

        Args:
            tokens: The keys of the tasks in the ledger.
            reason: The reason for ECS.

        Returns:
            Whether all of them are proven ended.

        Raises:
            ChangedError: Another worker has changed the operation.
        """
        asked: set[str] = set()
        waiting = [token for token in tokens if token not in self.ended]
        again_at: dict[str, datetime] = {}
        failure: EcsError | None = None
        for asks in self.waits.rounds():
            for token in list(waiting):
                if not asks and (token in asked or self.now() < again_at.get(token, self.now())):
                    continue
                again_at[token] = self.now() + _BETWEEN_STOPS
                try:
                    task = self._look_again(token) if token in asked else self._stop_or_look(token, reason, asked)
                except EcsError as error:
                    # A refusal for one task does not keep the others from being stopped.
                    failure = failure or error
                    if error.throttled:
                        raise
                    continue
                self.on_its_way = self.on_its_way or task is not None
                if token in self.ended:
                    waiting.remove(token)
            if failure is not None:
                raise failure
            if not waiting:
                return True
        return False

    def _stop_or_look(self, token: str, reason: str, asked: set[str]) -> Task | None:
        """Call StopTask. Before a task that StopTask does not know counts as gone, look it up."""
        arn, before = self.tasks[token].arn, self.tasks[token]
        if self._event_task is not None and self._event_task.arn == arn and self._event_task.is_stopped:
            return self.look(token)
        task = self.stop(token, reason)
        if task is not None:
            asked.add(token)
            return task
        if token in self.ended:
            del self.ended[token]
            self.tasks[token] = before.missed(self.now())
            try:
                return self.look(token)
            except EcsError:
                return None
        return None

    def _look_again(self, token: str) -> Task | None:
        try:
            return self.look(token)
        except EcsError:
            return None

    # --- repeating -------------------------------------------------------------------------------------------------

    def retry(self, call: Callable[[], T], *, effect: bool = True, before: Callable[[], None] = lambda: None) -> T:
        """Repeat a call that is safe to repeat until ECS accepts it, refuses it or throttles it, or the time runs out.

        Args:
            call: The call.
            effect: Whether the call has an effect.
            before: Called before each try. Raises an error if the call must not be made any more.

        Raises:
            EcsError: The last failure. A refusal has `no_effect` set only if no earlier try can have taken effect.
        """
        failure: EcsError | None = None
        for _ in self.waits.pauses():
            before()
            self._asked_at, self._has_asked = self.now(), True
            try:
                result = call()
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
