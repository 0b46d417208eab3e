"""A simulation of the host document's script: lock, command numbers, expiry and reverting."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from local.emulator.ecs import TaskSimulation
from local.emulator.ssm.invocations import Outcome

DONE, NOTHING_CHANGED, UNCERTAIN = 0, 1, 2  # the script's exit codes
REVERTING_TAKES = timedelta(seconds=0.1)

_UNDO = {"pause": "unpause", "unpause": "pause"}
_LAST_SECOND = 253_402_300_799  # of the year 9999

Ended = Callable[[Outcome, datetime], None]


class Order(NamedTuple):
    """The parameters that determine the order of the commands to a Longshore container."""

    container: str
    number: int
    expires: int  # seconds since 1970

    def expired(self, at: datetime) -> bool:
        return int(at.timestamp()) > self.expires

    def deadline(self) -> datetime:
        return datetime.fromtimestamp(min(self.expires, _LAST_SECOND), UTC)


class Phase(Enum):
    """The current phase of a run of the script."""

    DELIVERY = auto()  # not started
    WAITING = auto()  # waiting for the lock
    ACTING = auto()
    REVERTING = auto()


@dataclass(eq=False)
class ScriptRun:
    """A run of the script on an instance. Without `order`, the run takes no lock and never expires."""

    instance_id: str
    action: str
    runtime_ids: list[str]
    order: Order | None
    take: timedelta
    ended: Ended
    due: datetime
    phase: Phase = Phase.DELIVERY
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, instance_id: str, parameters: dict[str, list[str]], take: timedelta, start: datetime, ended: Ended
    ) -> "ScriptRun":
        """Create a run from document parameters, which contain `container`, `number` and `expires` or none of them."""
        order = None
        if parameters.get("number"):
            order = Order(parameters["container"][0], int(parameters["number"][0]), int(parameters["expires"][0]))
        action = next(iter(parameters.get("action", [])), "")
        return cls(instance_id, action, parameters.get("runtimeIds", []), order, take, ended, start)


@dataclass
class _Ledger:
    """The state of a Longshore container on an instance: the highest command number, its exit code, and the lock."""

    number: int = 0
    exit_code: int | None = None
    holder: ScriptRun | None = None

    @property
    def free(self) -> bool:
        return self.holder is None


class SimulatedScripts:
    """Runs scripts on simulated tasks, each step at its own time.

    A run continues after SSM has reported ExecutionTimedOut, because the real script acts in its own session.
    """

    def __init__(self, tasks: TaskSimulation) -> None:
        self._tasks = tasks
        self._runs: list[ScriptRun] = []
        self._ledgers: dict[tuple[str, str], _Ledger] = {}

    def add(self, run: ScriptRun) -> None:
        """Add a run, which starts when it is due."""
        self._runs.append(run)

    def next_due(self) -> datetime | None:
        """Return the time of the next step, or None."""
        return min((run.due for run in self._runs), default=None)

    def step(self) -> None:
        """Carry out the next step."""
        run = min(self._runs, key=lambda each: each.due)
        at = run.due
        match run.phase:
            case Phase.DELIVERY:
                self._start(run, at)
            case Phase.WAITING:
                self._give_up(run, at)
            case Phase.ACTING:
                self._act(run, at)
            case Phase.REVERTING:
                self._tasks.host_command(run.instance_id, _UNDO[run.action], run.changed, at)
                self._finish(run, NOTHING_CHANGED, at, "reverting: expired")

    def _ledger(self, run: ScriptRun) -> _Ledger:
        assert run.order is not None
        return self._ledgers.setdefault((run.instance_id, run.order.container), _Ledger())

    def _start(self, run: ScriptRun, at: datetime) -> None:
        if run.order is None:
            self._proceed(run, at)
        elif self._ledger(run).free:
            self._lock(run, run.order, at)
        else:
            run.phase, run.due = Phase.WAITING, max(at, run.order.deadline())

    def _give_up(self, run: ScriptRun, at: datetime) -> None:
        """End a run that could not take the lock in time."""
        assert run.order is not None
        if run.order.number == self._ledger(run).number:
            self._end(run, UNCERTAIN, at, "the first run has not ended")
        else:
            self._end(run, NOTHING_CHANGED, at, "refused: another command has not ended")

    def _lock(self, run: ScriptRun, order: Order, at: datetime) -> None:
        ledger = self._ledger(run)
        if order.number == ledger.number:
            self._end(run, UNCERTAIN if ledger.exit_code is None else ledger.exit_code, at)
        elif order.number < ledger.number:
            self._end(run, NOTHING_CHANGED, at, "refused: not newer than the last command")
        else:
            ledger.number, ledger.exit_code, ledger.holder = order.number, None, run
            if order.expired(at):
                self._finish(run, NOTHING_CHANGED, at, "refused: expired")
            else:
                self._proceed(run, at)

    def _proceed(self, run: ScriptRun, at: datetime) -> None:
        run.phase, run.due = Phase.ACTING, at + run.take

    def _act(self, run: ScriptRun, at: datetime) -> None:
        effect = self._tasks.host_command(run.instance_id, run.action, run.runtime_ids, at)
        if effect.error is not None:
            self._finish(run, NOTHING_CHANGED, at, effect.error)
        elif run.action == "kill" or run.order is None or not run.order.expired(at):
            self._finish(run, DONE, at)
        elif effect.changed:
            run.changed = effect.changed
            run.phase, run.due = Phase.REVERTING, at + REVERTING_TAKES
        else:
            self._finish(run, NOTHING_CHANGED, at, "reverting: expired")

    def _finish(self, run: ScriptRun, exit_code: int, at: datetime, error: str = "") -> None:
        """End a run that holds the lock, and give the lock to the next run."""
        self._end(run, exit_code, at, error)
        if run.order is None:
            return
        ledger = self._ledger(run)
        ledger.exit_code, ledger.holder = exit_code, None
        while ledger.free and (waiting := self._first_waiting(ledger)) is not None:
            self._lock(*waiting, at)

    def _first_waiting(self, ledger: _Ledger) -> tuple[ScriptRun, Order] | None:
        for run in self._runs:
            if run.phase is Phase.WAITING and run.order is not None and self._ledger(run) is ledger:
                return run, run.order
        return None

    def _end(self, run: ScriptRun, exit_code: int, at: datetime, error: str = "") -> None:
        self._runs.remove(run)
        run.ended(Outcome(exit_code, error_output=error), at)
