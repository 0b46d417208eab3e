"""What each step of an operation does to ECS and to the host, and what was observed of it.

Each step is safe to repeat: recovery runs it again after a crash, with the same ids. A step never writes to the
database; `operations` turns its observation into a commit.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, assert_never

from longshore.clock import Clock
from longshore.ecs import Ecs, EcsError, PlacementError, Task, has_host
from longshore.freezer import Action, Answer, Freezer, Result
from longshore.lifecycle import Status, Step
from longshore.models import Container, PendingOperation

T = TypeVar("T")

_FIRST_POLL = 0.2  # seconds between looks at a task, growing by half each time
_LONGEST_POLL = 2.0


class Reached(NamedTuple):
    """The step's goal was observed. `facts` go into the history."""

    at: datetime
    facts: Mapping[str, Any] = MappingProxyType({})
    task: Task | None = None  # as it was observed; a start's may have ended already


class Ended(NamedTuple):
    """The task had ended by itself before the step could act on it; None, ECS no longer knows it."""

    at: datetime
    task: Task | None


class Broken(NamedTuple):
    """The task stopped before it ever ran."""

    at: datetime
    reason: str
    task: Task


class Unobserved(NamedTuple):
    """Nothing was seen within the wait; the effect may still come."""

    reason: str
    task: Task | None = None  # a start's, as it was last seen


class NoEffect(NamedTuple):
    """What was asked was refused, and this try has changed nothing."""

    reason: str
    certain: bool = False  # nor has any try before


class Uncertain(NamedTuple):
    """A service failed, and whether the step took effect is not known."""

    reason: str


_Freeze = Callable[[Action, Container, Task, datetime], Answer]

Observation = Reached | Ended | Broken | Unobserved | NoEffect | Uncertain


class Steps:
    """Runs steps. Never raises for a failure of AWS: the observation says what is known."""

    def __init__(self, ecs: Ecs, freezer: Freezer, clock: Clock) -> None:
        self._ecs = ecs
        self._freezer = freezer
        self._clock = clock

    def run(
        self,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        *,
        look_first: bool = False,
        host_is_done: bool = False,
    ) -> Observation:
        """Act, and look for the effect until the given time.

        With `look_first` a task is not told to stop when it has stopped already, as one who comes later may expect.
        With `host_is_done` what the step has to have done on the host is known to be done.
        """
        freeze = _already_done if host_is_done else self._freezer.act
        try:
            match pending.step:
                case Step.START:
                    return self._start(container, pending, until)
                case Step.STOP:
                    return self._stop(container, pending, until, freeze, look_first=look_first)
                case Step.KILL:
                    return self._kill(container, pending, until)
                case Step.PAUSE:
                    return self._freeze(Action.PAUSE, container, until, freeze)
                case Step.UNPAUSE:
                    return self._freeze(Action.UNPAUSE, container, until, freeze)
                case _:
                    assert_never(pending.step)
        except PlacementError as error:
            return NoEffect(error.reason, certain=True)
        except EcsError as error:
            return NoEffect(error.reason) if error.no_effect else Uncertain(error.reason)

    def stop_stray(self, container: Container, task_arn: str) -> None:
        """Stop a task that the container is not to have: its start was superseded while it was on its way.

        Best effort: the event of a task that runs without being its container's is the second chance.
        """
        try:
            self._ecs.stop(container.runtime, task_arn, "Longshore: the start was superseded")
        except EcsError:
            return

    # --- the steps -------------------------------------------------------------------------------------------------

    def _start(self, container: Container, pending: PendingOperation, until: datetime) -> Observation:
        # It may be `failed` because nobody could find out about its task, and at most one may live.
        leftover = [container.task_arn] if container.status is Status.FAILED and container.task_arn else []
        if self._stop_all(container, leftover, until) is None:
            return Unobserved("The task before has not stopped")
        task = self._noted(container, pending) or self._insist(lambda: self._run(container, pending.id), until)
        task = self._watch(container, task, until, lambda seen: seen.is_running or seen.is_stopped)
        now = self._clock.now()
        if task.is_running:
            return Reached(now, {"task_id": task.id}, task)
        if not task.is_stopped:
            return Unobserved(task.stopped_reason or f"The task is {task.last_status}", task)
        if task.stopped_at is None:
            # ECS repeats the answer to a token without details when the task has stopped.
            task = self._ecs.describe(container.runtime, task.arn) or task
        if task.started_at is not None:
            # It ran, and had ended before anyone looked.
            return Reached(task.started_at, {"task_id": task.id}, task)
        return Broken(now, task.stopped_reason or "The task stopped before it ran", task)

    def _stop(
        self, container: Container, pending: PendingOperation, until: datetime, freeze: _Freeze, *, look_first: bool
    ) -> Observation:
        if container.task_arn is None:
            return Ended(self._clock.now(), None)
        thawed = container.status is Status.PAUSED
        if thawed or look_first:
            task = self._current(container)
            if task is None or task.is_stopped:
                return self._stopped(pending, task)
            if thawed:
                # A frozen process gets no SIGTERM.
                answer = freeze(Action.UNPAUSE, container, task, until)
                if answer.result is not Result.DONE:
                    return self._not_done(container, answer)
        arn, reason = container.task_arn, f"Longshore operation {pending.id}"
        try:
            task = self._insist(lambda: self._ecs.stop(container.runtime, arn, reason), until)
        except EcsError as error:
            # The container is thawed and still says that it is paused: not without effect.
            if thawed:
                return Uncertain(error.reason)
            raise
        if task is not None:
            task = self._watch(container, task, until, lambda seen: seen.is_stopped)
            if not task.is_stopped:
                return Unobserved(f"The task is {task.last_status}")
        return self._stopped(pending, task)

    def _stopped(self, pending: PendingOperation, task: Task | None) -> Observation:
        now = self._clock.now()
        if task is None:
            return Ended(now, None)
        by_itself = task.stop_code not in (None, "UserInitiated") or _before(task.stopped_at, pending.since)
        return Ended(task.stopped_at or now, task) if by_itself else Reached(now, task.facts, task)

    def _kill(self, container: Container, pending: PendingOperation, until: datetime) -> Observation:
        tasks = self._found(container, pending, until)
        own = next((task for task in tasks if task.arn == container.task_arn), None)
        if container.is_live and (own is None or (own.is_stopped and _before(own.stopped_at, pending.since))):
            return Ended((own.stopped_at if own else None) or self._clock.now(), own)
        living = [task for task in tasks if not task.is_stopped]
        facts: dict[str, Any] = {}
        for task in living if has_host(container.runtime.launch_type) else []:
            # Without waiting for the result: should the host not answer, StopTask still goes the slow way.
            sent = self._freezer.send(Action.KILL, container, task)
            if isinstance(sent, Answer):
                facts["kill_refused"] = sent.reason
        stopped = self._stop_all(container, [task.arn for task in living], until)
        if stopped is None:
            return Unobserved("The task has not stopped")
        own = next((task for task in stopped if task.arn == container.task_arn), own)
        return Reached(self._clock.now(), facts | (own.facts if own else {}), own)

    def _freeze(self, action: Action, container: Container, until: datetime, freeze: _Freeze) -> Observation:
        task = self._current(container)
        if task is None or task.is_stopped:
            return Ended((task.stopped_at if task else None) or self._clock.now(), task)
        answer = freeze(action, container, task, until)
        if answer.result is Result.DONE:
            return Reached(self._clock.now(), {"task_id": task.id})
        return self._not_done(container, answer)

    def _not_done(self, container: Container, answer: Answer) -> Observation:
        match answer.result:
            case Result.NO_EFFECT:
                # The likeliest reason why a host refuses is that the task has just ended.
                task = self._current(container)
                if task is None or task.is_stopped:
                    return Ended((task.stopped_at if task else None) or self._clock.now(), task)
                return NoEffect(answer.reason)
            case Result.IN_PROGRESS:
                return Unobserved(answer.reason)
            case _:
                return Uncertain(answer.reason)

    # --- looking at tasks ------------------------------------------------------------------------------------------

    def _current(self, container: Container) -> Task | None:
        return self._ecs.describe(container.runtime, container.task_arn) if container.task_arn else None

    def _noted(self, container: Container, pending: PendingOperation) -> Task | None:
        return self._ecs.describe(container.runtime, pending.task_arn) if pending.task_arn else None

    def _found(self, container: Container, pending: PendingOperation, until: datetime) -> list[Task]:
        """The tasks that the container may have: its own, and the one of a superseded start.

        What a superseded start has run, or is just about to run, only its client token tells for certain, since ECS
        lists new tasks late. So the token is used once more: whoever uses it after that gets the same task, which is
        stopped here.

            start        claim ------------------------------ RunTask(token): the task that was stopped
            force-stop           claim -- RunTask(token) -- StopTask -- commit
        """
        arns = [container.task_arn, pending.task_arn]
        tasks = []
        if pending.superseded_start is not None:
            token = pending.superseded_start
            try:
                tasks.append(self._insist(lambda: self._run(container, token), until))
            except EcsError as error:
                if not error.no_effect:
                    raise
                arns += self._ecs.started_by(container.runtime, container.id)
        for arn in dict.fromkeys(arn for arn in arns if arn and arn not in {task.arn for task in tasks}):
            task = self._ecs.describe(container.runtime, arn)
            if task is not None:
                tasks.append(task)
        return tasks

    def _run(self, container: Container, token: str) -> Task:
        return self._ecs.run(container.runtime, container.server_instance_id, container.id, token)

    def _stop_all(self, container: Container, arns: list[str], until: datetime) -> list[Task] | None:
        """Stop the tasks. Returns those that ECS still knows when all were seen stopped in time, else None."""
        asked = [
            self._insist(partial(self._ecs.stop, container.runtime, arn, "Longshore: stopped for good"), until)
            for arn in arns
        ]
        tasks = [self._watch(container, task, until, lambda seen: seen.is_stopped) for task in asked if task]
        return tasks if all(task.is_stopped for task in tasks) else None

    def _watch(self, container: Container, task: Task, until: datetime, seen: Callable[[Task], bool]) -> Task:
        """Look at the task until what is awaited was seen, or it is time. Returns it as last seen."""
        pause = _FIRST_POLL
        while not seen(task) and self._clock.now() < until:
            self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
            try:
                # Unknown just after it was started: ECS is eventually consistent.
                task = self._ecs.describe(container.runtime, task.arn) or task
            except EcsError:
                continue  # Looking is free of effects: the next look may succeed.
        return task

    def _insist(self, call: Callable[[], T], until: datetime) -> T:
        """Repeat a call that is safe to repeat while ECS fails without refusing it, until it is time."""
        pause = _FIRST_POLL
        uncertain = False
        while True:
            try:
                return call()
            except PlacementError:
                raise
            except EcsError as error:
                # A refusal says nothing of the tries before it.
                if error.no_effect and uncertain:
                    raise EcsError(error.reason, no_effect=False) from error
                if error.no_effect or self._clock.now() >= until:
                    raise
                uncertain = True
            self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)


def _already_done(*_: object) -> Answer:
    return Answer(Result.DONE)


def awaits_host(container: Container, pending: PendingOperation) -> bool:
    """Whether the operation's step waits for what a host is to do: nothing but a command's event tells of that."""
    thaws = pending.step is Step.STOP and container.status is Status.PAUSED
    return thaws or pending.step in (Step.PAUSE, Step.UNPAUSE)


def _before(moment: datetime | None, other: datetime) -> bool:
    return moment is not None and moment < other
