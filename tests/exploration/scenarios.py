"""The scenarios: the actors, and the pairs and triples to explore from each start state."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations_with_replacement

from longshore.domain.lifecycle import Operation, Platform, Proceed, Status, decide

from exploration.starts import STARTS, Start


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
    DEPLOY = "deployment"  # the deployment of the current version while version 0.2 runs
    HINT = "service-event"  # an event of the service, or of one of its tasks


CHANGES = (Other.MOVE, Other.CLEAR, Other.KEEP, Other.PROTECT, Other.COUNT)
OF_SERVICES = (Other.COUNT, Other.OUTSIDE, Other.SCALES, Other.HINT)


ACTORS: tuple[Operation | Other, ...] = (*Operation, *Other)


@dataclass(frozen=True)
class Scenario:
    """Two or three actors and their start state."""

    first: Operation | Other
    second: Operation | Other
    start: str
    third: Operation | Other | None = None

    @property
    def actors(self) -> tuple[Operation | Other, ...]:
        return (self.first, self.second) if self.third is None else (self.first, self.second, self.third)

    @property
    def name(self) -> str:
        return f"{'+'.join(self.actors)}:{self.start}"

    @property
    def is_symmetric(self) -> bool:
        """Return whether both actors do the same, so that it does not matter which starts first."""
        if self.third is not None:
            return False
        return self.first == self.second or (self.second is Other.REPEAT and isinstance(self.first, Operation))

    @classmethod
    def parse(cls, name: str) -> "Scenario":
        """Parse a scenario's name, such as `start+stop:stopped`. Raises ValueError."""
        by_name = {str(actor): actor for actor in ACTORS}
        pair, _, start = name.partition(":")
        names = pair.split("+")
        if len(names) not in (2, 3) or not {*names} <= {*by_name} or start not in STARTS:
            raise ValueError(f"no such scenario: {name}")
        first, second, *third = (by_name[each] for each in names)
        return cls(first, second, start, *third)


TRIPLES = (
    # A driver that was superseded, the force-stop that superseded it, and a start that follows.
    "start+force-stop+start:full-once",
    "start+force-stop+start:stopped",
    "restart+force-stop+start:failed",
    # An event and a sweep continue the operation of a caller.
    "start+started+recovery:stopped",
    "restart+stopped-event+recovery:running",
    "start+started+recovery:start-overdue",
    # The code of version 0.2 begins an operation that the current version supersedes or continues.
    "start+deployment+force-stop:upgrade",
    "start+deployment+recovery:upgrade",
)
"""The scenarios with three actors, each of which can show faults that two actors cannot."""


def proceeds(start: Start, operation: Operation) -> bool:
    """Return whether the operation is not refused immediately."""
    platform = Platform.SERVICE if start.service else Platform.HOST
    return isinstance(decide(start.status, operation, start.pending, platform), Proceed)


def skipped(scenario: Scenario) -> str | None:
    """Return why a pair is not explored from a start state, or None if it is explored."""
    start, pair = STARTS[scenario.start], (scenario.first, scenario.second)
    if start.pairs is not None or Other.DEPLOY in pair:
        named = scenario.name.partition(":")[0] in (start.pairs or ())
        return None if named else "it is explored with the actors that matter for it, or with three actors"
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
    """Yield every pair and triple that is explored."""
    for scenario in every():
        if skipped(scenario) is None:
            yield scenario
    yield from map(Scenario.parse, TRIPLES)


def every() -> Iterator[Scenario]:
    """Yield every pair from every start state, including those that are not explored."""
    for start in STARTS:
        for first, second in combinations_with_replacement(ACTORS, 2):
            yield Scenario(first, second, start)
