"""The scenarios: the statuses that a container starts from, the actors, and the pairs that are worth exploring."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations_with_replacement

from longshore.domain.lifecycle import LaunchType, Operation, Proceed, Status, decide
from simulation.hostility import Hostility

# Effects come at the first look: each further look is a choice point that tells nothing new.
_PROMPT = Hostility(run_delay=0.1, stop_delay=0.1, command_delay=0.1, wait=1.0)
# They come when the caller was answered 202 already.
_SLOW = Hostility(run_delay=3, stop_delay=3, command_delay=3, wait=0.1)


@dataclass(frozen=True)
class Start:
    """The state of the container and its cluster at the start of a run.

    Args:
        why: The reason why this status matters.
        history: The statuses of its rows.
        crashed: Requests that crash before the run begins: the operation and the call that the crash follows. Their
            deadline has passed when the run begins.
        live: Whether it has a task that runs.
        capacity: Whether the cluster has room for one more task.
        breaks: Whether a task that is run stops before it has started.
        keys: Whether callers send an Idempotency-Key, each their own.
        hostility: The settings of the simulated AWS.
    """

    why: str
    history: tuple[Status, ...]
    crashed: tuple[tuple[Operation, str], ...] = ()
    live: bool = False
    capacity: bool = True
    breaks: bool = False
    keys: bool = False
    hostility: Hostility = field(default=_PROMPT)

    @property
    def status(self) -> Status:
        return self.history[-1]

    @property
    def pending(self) -> Operation | None:
        return self.crashed[-1][0] if self.crashed else None


_STOPPED = (Status.STOPPED,)
_RUNNING = (Status.STOPPED, Status.RUNNING)

STARTS = {
    "stopped": Start("a task is run, and at most one may be", _STOPPED),
    "full": Start("RunTask is refused after the claim: the operation is undone", _STOPPED, capacity=False),
    "running": Start("there is work to lose: stops, pauses and exits meet", _RUNNING, live=True),
    "paused": Start("a stop has two effects: it thaws, and it stops", (*_RUNNING, Status.PAUSED), live=True),
    "failed": Start("its task lives on, and must end before another is run", (*_RUNNING, Status.FAILED), live=True),
    "broken": Start("its task stops before it has started: an operation ends as failed", _STOPPED, breaks=True),
    "slow": Start(
        "everything is answered 202, which a key keeps, and settled later",
        _RUNNING,
        live=True,
        keys=True,
        hostility=_SLOW,
    ),
    "slow-full": Start(
        "a 202 whose operation turns out to be impossible",
        (*_RUNNING, Status.FAILED),
        live=True,
        capacity=False,
        keys=True,
        hostility=_SLOW,
    ),
    "start-overdue": Start(
        "a start has crashed after RunTask: it is continued, or superseded", _STOPPED, ((Operation.START, "RunTask"),)
    ),
    "kill-overdue": Start(
        "a force-stop that superseded a start has crashed: it has to find a task that it does not know",
        _STOPPED,
        ((Operation.START, "RunTask"), (Operation.FORCE_STOP, "UpdateItem TransactWriteItems")),
    ),
    "stop-overdue": Start(
        "a stop has crashed after StopTask: its effect is there, its row is not",
        _RUNNING,
        ((Operation.STOP, "StopTask"),),
        live=True,
    ),
    "restart-overdue": Start(
        "a restart has crashed in its second step: it has a row already",
        _RUNNING,
        ((Operation.RESTART, "RunTask"),),
        live=True,
    ),
    "pause-overdue": Start(
        "a pause has crashed after its command was sent: the processes are frozen, and the status says running",
        _RUNNING,
        ((Operation.PAUSE, "SendCommand"),),
        live=True,
    ),
}


class Other(StrEnum):
    """The actors that are no caller's request."""

    REPEAT = "repeat"  # the first request once more, with the same Idempotency-Key
    STARTED = "started"  # the event that a task runs
    STOPPED = "stopped-event"  # the event that a task has stopped
    EXIT = "exit"  # the container's task exits by itself, and the event of it
    RECOVERY = "recovery"  # the recovery sweep, when the deadline of what is pending has passed
    DRIFT = "drift"  # the drift sweep
    SCHEDULE = "schedule"  # a scheduled stop of everything
    LATE = "late-schedule"  # one that was scheduled a minute before the run begins


ACTORS: tuple[Operation | Other, ...] = (*Operation, *Other)


@dataclass(frozen=True)
class Scenario:
    """A pair of actors and the state in which they start."""

    first: Operation | Other
    second: Operation | Other
    start: str

    @property
    def name(self) -> str:
        return f"{self.first}+{self.second}:{self.start}"

    @property
    def is_symmetric(self) -> bool:
        """Whether both actors do the same, so that it does not matter which of them begins."""
        return self.first == self.second or (self.second is Other.REPEAT and isinstance(self.first, Operation))

    @classmethod
    def parse(cls, name: str) -> "Scenario":
        """Read a scenario's name, such as `start+stop:stopped`. Raises ValueError."""
        by_name = {str(actor): actor for actor in ACTORS}
        pair, _, start = name.partition(":")
        first, _, second = pair.partition("+")
        if first not in by_name or second not in by_name or start not in STARTS:
            raise ValueError(f"no such scenario: {name}")
        return cls(by_name[first], by_name[second], start)


def proceeds(start: Start, operation: Operation) -> bool:
    """Whether the operation is not refused at once."""
    return isinstance(decide(start.status, operation, start.pending, LaunchType.EC2), Proceed)


def skipped(scenario: Scenario) -> str | None:
    """Return why a pair is not explored from a status, or None when it is."""
    start, pair = STARTS[scenario.start], (scenario.first, scenario.second)
    operations = [actor for actor in pair if isinstance(actor, Operation)]
    live = start.live and start.status is not Status.FAILED
    runs = any(actor in (Operation.START, Operation.RESTART) for actor in pair) and not live
    stops = live or start.status is Status.FAILED or start.pending is not None
    acts = [operation for operation in operations if proceeds(start, operation)]
    overdue = bool(start.crashed)
    if Other.REPEAT in pair:
        if not operations:
            return "a repeat needs the request that it repeats"
        if not acts:
            return "the request is refused at once, and so is its repeat"
    elif len(operations) == 2 and not acts and not overdue:
        return "both are refused at once"
    elif len(operations) == 1 and not acts and not (overdue or Other.EXIT in pair):
        return "the request is refused at once, whatever the other does"
    elif not operations and not (overdue or live):
        return "nothing is pending, and nothing runs"
    return _skipped_other(scenario, runs=runs, stops=stops, acts=bool(acts))


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
        return "no task runs that could exit"
    if Other.SCHEDULE in pair and not live:
        return "a scheduled stop looks at what runs when it begins"
    wanted = {Operation.START, Operation.RESTART, Operation.PAUSE, Operation.RESUME}
    if Other.LATE in pair and not (acts and pair & wanted):
        return "it matters only when a user has asked for something else meanwhile"
    if Other.RECOVERY in pair and not (acts or start.crashed or Other.SCHEDULE in pair):
        return "nothing becomes overdue"
    return None


def scenarios() -> Iterator[Scenario]:
    """Every pair that is explored."""
    for scenario in every():
        if skipped(scenario) is None:
            yield scenario


def every() -> Iterator[Scenario]:
    """Every pair from every status, also those that are not explored."""
    for start in STARTS:
        for first, second in combinations_with_replacement(ACTORS, 2):
            yield Scenario(first, second, start)
