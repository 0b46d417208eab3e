"""The scenarios: the start states of a container, the actors, and the pairs to explore."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations_with_replacement

from longshore.domain.lifecycle import Operation, Platform, Proceed, Status, decide
from simulation.hostility import Hostility

# Effects are visible at the first lookup: each further lookup would be a choice point that reveals nothing new.
_PROMPT = Hostility(run_delay=0.1, stop_delay=0.1, command_delay=0.1, wait=1.0)
_LIMITED = replace(_PROMPT, lifetimes=True)
# Effects are visible after the caller was answered 202.
_SLOW = Hostility(run_delay=3, stop_delay=3, command_delay=3, wait=0.1)


@dataclass(frozen=True)
class Start:
    """The state of the container and its cluster at the start of a run.

    Args:
        why: The reason why this state matters.
        history: The statuses of its rows.
        crashed: Requests that crash before the run starts: the operation, and the call after which it crashes. Their
            deadline has passed when the run starts.
        live: Whether it has a running task.
        capacity: Whether the cluster has room for another task.
        breaks: Whether a new task stops before it reaches RUNNING.
        service: Whether it stands for a service, which is a scalable target.
        keys: Whether each caller sends its own Idempotency-Key.
        limits: `stop_at` in seconds after the start of the run, or `idle_timeout` in seconds from then on, by name.
        hostility: The settings of the simulated AWS.
    """

    why: str
    history: tuple[Status, ...]
    crashed: tuple[tuple[Operation, str], ...] = ()
    live: bool = False
    capacity: bool = True
    breaks: bool = False
    service: bool = False
    keys: bool = False
    limits: tuple[tuple[str, int], ...] = ()
    hostility: Hostility = field(default=_PROMPT)

    @property
    def status(self) -> Status:
        return self.history[-1]

    @property
    def pending(self) -> Operation | None:
        return self.crashed[-1][0] if self.crashed else None


_STOPPED = (Status.STOPPED,)
_RUNNING = (Status.STOPPED, Status.RUNNING)
_STOPPED_SERVICE = (Status.RUNNING, Status.STOPPED)

STARTS = {
    "stopped": Start("a start runs a task, and at most one task may run", _STOPPED),
    "full": Start("RunTask is refused after the claim: the operation is undone", _STOPPED, capacity=False),
    "running": Start("stops, pauses and exits meet, and running work could be lost", _RUNNING, live=True),
    "paused": Start("a stop has two effects: it unpauses and stops the task", (*_RUNNING, Status.PAUSED), live=True),
    "failed": Start(
        "its task still lives, and must end before another task runs", (*_RUNNING, Status.FAILED), live=True
    ),
    "broken": Start("its task stops before it reaches RUNNING, so that the operation fails", _STOPPED, breaks=True),
    "slow": Start(
        "every request is answered 202, which is stored for its key, and ends later",
        _RUNNING,
        live=True,
        keys=True,
        hostility=_SLOW,
    ),
    "slow-full": Start(
        "a request is answered 202, and its operation turns out to be impossible",
        (*_RUNNING, Status.FAILED),
        live=True,
        capacity=False,
        keys=True,
        hostility=_SLOW,
    ),
    "start-overdue": Start(
        "a start has crashed after RunTask, and is continued or superseded", _STOPPED, ((Operation.START, "RunTask"),)
    ),
    "kill-overdue": Start(
        "a force-stop that superseded a start has crashed, and has to find a task without knowing its ARN",
        _STOPPED,
        ((Operation.START, "RunTask"), (Operation.FORCE_STOP, "UpdateItem TransactWriteItems")),
    ),
    "stop-overdue": Start(
        "a stop has crashed after StopTask: it has had its effect but has no row",
        _RUNNING,
        ((Operation.STOP, "StopTask"),),
        live=True,
    ),
    "restart-overdue": Start(
        "a restart has crashed in its second step, and already has a row",
        _RUNNING,
        ((Operation.RESTART, "RunTask"),),
        live=True,
    ),
    "ending": Start(
        "its `stop_at` passes, while a user moves it, protects the container or stops it",
        _RUNNING,
        live=True,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "idle": Start(
        "it has been idle for its timeout, while a user keeps it alive",
        _RUNNING,
        live=True,
        limits=(("idle_timeout", 30),),
        hostility=_LIMITED,
    ),
    "paused-ending": Start(
        "it is paused, and its `stop_at` passes",
        (*_RUNNING, Status.PAUSED),
        live=True,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "limited": Start(
        "it is stopped, its `stop_at` passes, and an operation starts it",
        _STOPPED,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "service-stopped": Start("a start restores the count, and then the scaling", _STOPPED_SERVICE, service=True),
    "service-running": Start(
        "a stop stores the count, and suspends the scaling", (Status.RUNNING,), live=True, service=True
    ),
    "service-start-overdue": Start(
        "a start has crashed between the count and the scaling",
        _STOPPED_SERVICE,
        ((Operation.START, "UpdateService"),),
        service=True,
    ),
    "service-stop-overdue": Start(
        "a stop has crashed between the scaling and the count",
        (Status.RUNNING,),
        ((Operation.STOP, "RegisterScalableTarget"),),
        live=True,
        service=True,
    ),
    "service-roll-overdue": Start(
        "a rolling restart has crashed, and must not be repeated",
        (Status.RUNNING,),
        ((Operation.RESTART, "UpdateService"),),
        live=True,
        service=True,
    ),
    "pause-overdue": Start(
        "a pause has crashed after its command was sent: the processes are frozen, and the status says running",
        _RUNNING,
        ((Operation.PAUSE, "SendCommand"),),
        live=True,
    ),
}


class Other(StrEnum):
    """The actors that are not requests of callers."""

    REPEAT = "repeat"  # the first request again, with the same Idempotency-Key
    STARTED = "started"  # the event that a task is running
    STOPPED = "stopped-event"  # the event that a task has stopped
    EXIT = "exit"  # the container's task exits on its own, and its event
    RECOVERY = "recovery"  # the recovery sweep, after the deadline of the pending operation
    DRIFT = "drift"  # the drift sweep
    SCHEDULE = "schedule"  # a scheduled stop of all containers
    LATE = "late-schedule"  # a scheduled stop from a minute before the run starts
    MOVE = "change-stop-at"  # a user changes `stop_at`
    CLEAR = "change-no-stop-at"  # a user removes `stop_at`
    KEEP = "change-keep-alive"  # a user keeps the container alive
    PROTECT = "change-protection"  # a user protects the container
    COUNT = "change-count"  # a user changes the count of the service
    OUTSIDE = "outside-count"  # somebody else changes the count of the service
    SCALES = "scaling-policy"  # a scaling policy raises the count of the service
    HINT = "service-event"  # an event of the service, or of one of its tasks


CHANGES = (Other.MOVE, Other.CLEAR, Other.KEEP, Other.PROTECT, Other.COUNT)
OF_SERVICES = (Other.COUNT, Other.OUTSIDE, Other.SCALES, Other.HINT)


ACTORS: tuple[Operation | Other, ...] = (*Operation, *Other)


@dataclass(frozen=True)
class Scenario:
    """A pair of actors and their start state."""

    first: Operation | Other
    second: Operation | Other
    start: str

    @property
    def name(self) -> str:
        return f"{self.first}+{self.second}:{self.start}"

    @property
    def is_symmetric(self) -> bool:
        """Return whether both actors do the same, so that it does not matter which starts first."""
        return self.first == self.second or (self.second is Other.REPEAT and isinstance(self.first, Operation))

    @classmethod
    def parse(cls, name: str) -> "Scenario":
        """Parse a scenario's name, such as `start+stop:stopped`. Raises ValueError."""
        by_name = {str(actor): actor for actor in ACTORS}
        pair, _, start = name.partition(":")
        first, _, second = pair.partition("+")
        if first not in by_name or second not in by_name or start not in STARTS:
            raise ValueError(f"no such scenario: {name}")
        return cls(by_name[first], by_name[second], start)


def proceeds(start: Start, operation: Operation) -> bool:
    """Return whether the operation is not refused immediately."""
    platform = Platform.SERVICE if start.service else Platform.HOST
    return isinstance(decide(start.status, operation, start.pending, platform), Proceed)


def skipped(scenario: Scenario) -> str | None:
    """Return why a pair is not explored from a start state, or None if it is explored."""
    start, pair = STARTS[scenario.start], (scenario.first, scenario.second)
    if start.service:
        return _skipped_service(start, pair)
    if any(actor in OF_SERVICES for actor in pair):
        return "the container stands for a task"
    if (reason := _skipped_change(start, pair)) is not None:
        return reason
    if any(actor in CHANGES for actor in pair):
        return _skipped_other(scenario, runs=False, stops=False, acts=True) if Other.EXIT in pair else None
    operations = [actor for actor in pair if isinstance(actor, Operation)]
    live = start.live and start.status is not Status.FAILED
    runs = any(actor in (Operation.START, Operation.RESTART) for actor in pair) and not live
    stops = live or start.status is Status.FAILED or start.pending is not None
    acts = [operation for operation in operations if proceeds(start, operation)]
    overdue = bool(start.crashed)
    if Other.REPEAT in pair:
        if not operations:
            return "a retry needs a request to repeat"
        if not acts:
            return "the request and its retry are refused immediately"
    elif len(operations) == 2 and not acts and not overdue:
        return "both are refused immediately"
    elif len(operations) == 1 and not acts and not (overdue or Other.EXIT in pair):
        return "the request is refused immediately, regardless of the other actor"
    elif not operations and not (overdue or live):
        return "no operation is pending and no task runs"
    return _skipped_other(scenario, runs=runs, stops=stops, acts=bool(acts))


def _skipped_service(start: Start, pair: tuple[Operation | Other, ...]) -> str | None:
    operations = [actor for actor in pair if isinstance(actor, Operation)]
    others = {*pair} - {*operations}
    if others - {*OF_SERVICES, Other.RECOVERY, Other.DRIFT}:
        return "the other actor is explored with tasks"
    if any(operation in (Operation.PAUSE, Operation.RESUME) for operation in operations):
        return "the request is refused in every status"
    if operations and not (start.crashed or any(proceeds(start, operation) for operation in operations)):
        return "all requests are refused immediately"
    if start.crashed:
        continued = operations or Other.RECOVERY in pair
        return None if continued else "the operation is continued only after both have ended"
    if not (operations or others & {Other.COUNT, Other.DRIFT}):
        return "Longshore does not take part"
    if Other.RECOVERY in pair and not (operations or Other.COUNT in pair):
        return "no operation becomes overdue"
    if Other.HINT in pair and not operations:
        return "no task changes"
    return "a sweep alone changes nothing" if others == {Other.DRIFT} and not operations else None


def _skipped_change(start: Start, pair: tuple[Operation | Other, ...]) -> str | None:
    changes = [actor for actor in pair if actor in CHANGES]
    if changes and not start.limits:
        return "changes are explored where the time to stop passes"
    if start.limits and not changes and not (Other.RECOVERY in pair or Other.DRIFT in pair):
        return "neither the recovery sweep nor a change takes part"
    if len(changes) == len(pair):
        return "two changes are one write each"
    idle = start.limits[:1] and start.limits[0][0] == "idle_timeout"
    if changes and changes[0] is not Other.PROTECT and (changes[0] is Other.KEEP) != bool(idle):
        return "the change does not move the time to stop"
    other = pair[1 - pair.index(changes[0])] if changes else None
    if isinstance(other, Operation) and not proceeds(start, other):
        return "the request is refused immediately, regardless of the other actor"
    if other in (Other.REPEAT, Other.STARTED, Other.STOPPED, Other.LATE):
        return "the other actor does not depend on the change"
    return None


def _skipped_other(scenario: Scenario, *, runs: bool, stops: bool, acts: bool) -> str | None:
    start, pair = STARTS[scenario.start], {scenario.first, scenario.second}
    live = start.live and start.status is not Status.FAILED
    if Other.STARTED in pair and not (runs or Operation.RESTART in pair or start.crashed):
        return "no task is started"
    if Other.STOPPED in pair and not (stops or runs):
        return "no task stops"
    if Other.STOPPED in pair and not (acts or start.crashed or Other.EXIT in pair):
        return "no task stops"
    if Other.EXIT in pair and not (live or start.crashed or runs):
        return "no task is running that could exit"
    if Other.SCHEDULE in pair and not live:
        return "a scheduled stop affects only containers that run when it starts"
    wanted = {Operation.START, Operation.RESTART, Operation.PAUSE, Operation.RESUME}
    if Other.LATE in pair and not (acts and pair & wanted):
        return "a late schedule matters only after another request of a user"
    if Other.RECOVERY in pair and not (acts or start.crashed or start.limits or Other.SCHEDULE in pair):
        return "no operation becomes overdue"
    return None


def scenarios() -> Iterator[Scenario]:
    """Yield every pair that is explored."""
    for scenario in every():
        if skipped(scenario) is None:
            yield scenario


def every() -> Iterator[Scenario]:
    """Yield every pair from every start state, including those that are not explored."""
    for start in STARTS:
        for first, second in combinations_with_replacement(ACTORS, 2):
            yield Scenario(first, second, start)
