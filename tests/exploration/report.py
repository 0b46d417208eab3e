"""Progress and results of the exploration, for a terminal or a log."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exploration.explore import Result
from exploration.scenarios import every, skipped
from exploration.search import Cost
from exploration.starts import STARTS

_SHOWN = 80  # lines of the trace of a violation
_EVERY = 15.0  # seconds between two lines of progress if the output is not a terminal


def label(budget: Cost) -> str:
    """Return a budget in the form of the tables, such as `P=1 F=1`."""
    return f"P={budget.preemptions} F={budget.faults}"


@dataclass
class Meter:
    """The progress of a phase: a progress bar on a terminal, otherwise a line at intervals.

    Args:
        name: The phase's name.
        total: The number of jobs.
        seconds: The time limit; None for no limit.
    """

    name: str
    total: int
    seconds: float | None
    runs: int = 0
    done: int = 0
    violations: int = 0
    _began: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        text = TextColumn("[progress.description]{task.description}")
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._bar = Progress(*columns, console=Console(), disable=not sys.stdout.isatty())
        self._task = self._bar.add_task(self.name, total=self.total, left="")
        self._bar.start()

    def add(self, result: Result) -> None:
        """Count a finished job."""
        self.done += 1
        self.runs += result.runs
        self.violations += bool(result.found)
        left = self._left()
        self._bar.update(self._task, advance=1, left=f"{self.runs:,} runs, about {left}")
        if self._bar.disable and (time.monotonic() - self._printed > _EVERY or self.done == self.total):
            self._printed = time.monotonic()
            found = f", {self.violations} with a violation" if self.violations else ""
            print(f"{self.name}: {self.done} of {self.total}, {self.runs:,} runs{found}, about {left}", flush=True)

    def close(self) -> None:
        self._bar.stop()

    def _left(self) -> str:
        elapsed = time.monotonic() - self._began
        left = elapsed / self.done * (self.total - self.done)
        if self.seconds is not None:
            left = min(left, max(0.0, self.seconds - elapsed))
        return f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"


def show_violations(result: Result, mutation: str | None) -> None:
    """Print the violations of a result, each with the end of its trace and the command that replays it."""
    changed = f" --mutation {mutation}" if mutation else ""
    for found in result.found:
        print(f"--- {result.job.scenario}, {label(result.job.budget)}", *found.ending.trace[-_SHOWN:], sep="\n")
        print(f"VIOLATION in {result.job.scenario} after {found.runs} runs: {found.ending.violation}")
        print(f"Replay (in tests/): python -m exploration{changed} --replay '{found.replay}'", flush=True)


def show_table(results: Iterable[Result]) -> None:
    """Print a line for each scenario and budget that was explored, and the totals of each budget."""
    sums: dict[Cost, list[float]] = {}
    print(f"{'scenario':34} {'bound':8} {'result':14} {'runs':>9} {'states':>9} {'CPU s':>8}")
    for result in sorted(results, key=lambda result: (result.job.scenario.partition(":")[::-1], result.job.budget)):
        added = (1, result.exhausted, bool(result.found), result.runs, result.states, result.seconds)
        sums[result.job.budget] = [a + b for a, b in zip(sums.get(result.job.budget, [0] * 6), added, strict=True)]
        if not result.runs:
            continue
        state = "violation" if result.found else "exhausted" if result.exhausted else "not exhausted"
        print(
            f"{result.job.scenario:34} {label(result.job.budget):8} {state:14} "
            f"{result.runs:9,} {result.states:9,} {result.seconds:8.1f}"
        )
    for budget, (pairs, exhausted, violations, runs, states, seconds) in sorted(sums.items()):
        print(
            f"{label(budget)}: {pairs:.0f} pairs, {exhausted:.0f} exhausted, {violations:.0f} with a violation, "
            f"{runs:,.0f} runs, {states:,.0f} states, {seconds:,.0f} s CPU"
        )


def show_scenarios() -> None:
    """Print each start state with the pairs that are explored and the reasons for those that are not."""
    for name, start in STARTS.items():
        pairs = [scenario for scenario in every() if scenario.start == name]
        explored = [scenario for scenario in pairs if skipped(scenario) is None]
        print(f"{name}: {start.why}", f"  explored ({len(explored)}):", sep="\n")
        print("   ", ", ".join(scenario.name.partition(":")[0] for scenario in explored))
        reasons: dict[str, list[str]] = {}
        for scenario in pairs:
            if (reason := skipped(scenario)) is not None:
                reasons.setdefault(reason, []).append(scenario.name.partition(":")[0])
        for reason, names in reasons.items():
            print(f"  not explored ({len(names)}), because {reason}:\n    {', '.join(names)}")
