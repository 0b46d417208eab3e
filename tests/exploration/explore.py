"""Exploration of a scenario within a budget."""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from exploration.run import Ending, execute
from exploration.scenarios import Scenario
from exploration.search import Chooser, Cost, Search
from exploration.world import ExploredWorld

Mutation = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Job:
    """A unit of work for a process: a scenario and a budget.

    Args:
        scenario: The scenario's name.
        budget: The most preemptions and faults of a run.
        until: When to stop, in seconds since 1970; None to explore everything.
        mutation: A change of the code under test, as `module:function`. The function returns a context manager.
        all: Whether to continue after a violation.
    """

    scenario: str
    budget: Cost
    until: float | None = None
    mutation: str | None = None
    all: bool = False


@dataclass
class Found:
    """A violation, the number of runs until it was found, and the text that replays its run."""

    ending: Ending
    runs: int
    replay: str


@dataclass
class Result:
    """The result of a job. `found` has the violations, without those that differ only in ids and times."""

    job: Job
    exhausted: bool = False
    runs: int = 0
    states: int = 0
    seconds: float = 0.0  # CPU time
    found: list[Found] = field(default_factory=list)


@dataclass
class Outcomes:
    """The outcomes of a scenario, and the number of runs."""

    runs: int = 0
    seen: set[str] = field(default_factory=set)


def mutation_of(name: str | None) -> Mutation:
    """Import a mutation. Without a name, the mutation changes nothing."""
    if name is None:
        return nullcontext
    module, _, function = name.partition(":")
    found: Mutation = getattr(importlib.import_module(module), function)
    return found


@contextmanager
def _prepared(mutation: str | None) -> Iterator[None]:
    with ExploredWorld.patched(), mutation_of(mutation)():
        yield


def explore(job: Job) -> Result:
    """Explore until the scenario is exhausted, a violation is found, or the time is up."""
    scenario, search, result = Scenario.parse(job.scenario), Search(job.budget), Result(job)
    began = time.process_time()
    with _prepared(job.mutation):
        while job.until is None or time.time() < job.until:
            chooser = search.next()
            if chooser is None:
                result.exhausted = True
                break
            try:
                ending = execute(scenario, chooser)
            except Exception as error:
                error.add_note(f"in {scenario.name} with the choices {'.'.join(map(str, chooser.taken))}")
                raise
            if ending is None or not ending.violation:
                continue
            if all(ending.outcome != known.ending.outcome for known in result.found):
                choices = ".".join(map(str, ending.choices))
                text = f"{scenario.name}:{job.budget.preemptions}:{job.budget.faults}:{choices}"
                result.found.append(Found(ending, search.runs, text))
            if not job.all:
                break
    result.runs, result.states, result.seconds = search.runs, search.states, time.process_time() - began
    return result


def outcomes(name: str, budget: Cost, *, prune: bool, mutation: str | None = None) -> Outcomes:
    """Explore a scenario exhaustively, regardless of violations.

    Args:
        name: The scenario's name.
        budget: The most preemptions and faults of a run.
        prune: False tries every fault at every call and expands equal states again.
        mutation: As in `Job`.
    """
    scenario, search, result = Scenario.parse(name), Search(budget, prune=prune), Outcomes()
    with _prepared(mutation):
        while (chooser := search.next()) is not None:
            ending = execute(scenario, chooser, reduced=prune)
            if ending is not None:
                result.seen.add(ending.outcome)
    result.runs = search.runs
    return result


def replay(text: str, mutation: str | None = None) -> Ending:
    """Repeat a run with its trace. Raises ValueError if the text is not a run or the code has changed since."""
    pair, start, preemptions, faults, choices = text.split(":")
    taken = [int(choice) for choice in choices.split(".")] if choices else []
    chooser = Chooser(None, taken, Cost(int(preemptions), int(faults)))
    with _prepared(mutation):
        ending = execute(Scenario.parse(f"{pair}:{start}"), chooser, traced=True)
    assert ending is not None
    return ending
