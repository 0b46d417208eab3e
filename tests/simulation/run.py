"""One run: callers and misfortunes with faults, then calm until all has settled, then the checks."""

import gc
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from simulation.checks import Violation
from simulation.dynamodb import Unsupported
from simulation.workload import DRIFT_EVERY, SWEEP_EVERY, Workload
from simulation.world import World

MOST_SWEEPS = 120  # minutes of calm, within which everything has to settle
QUIET_SWEEPS = 2 * DRIFT_EVERY  # minutes without anything under way: the slower sweep has gone over all of it


@dataclass
class Report:
    """What came of a run. `violation` is None when all held."""

    seed: str
    violation: str | None
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    stats: Counter[str] = field(default_factory=Counter)


def run(
    seed: str,
    *,
    traced: bool = False,
    mutation: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Report:
    """Simulate one run. `traced` returns the trace even if nothing is wrong; a mutation changes the code under test."""
    world = World(seed)
    violation: str | None = None
    with world.open(), mutation():
        try:
            _simulate(world)
        except Violation as found:
            violation = str(found)
            if found.__cause__ is not None:
                violation += "\n" + "".join(traceback.format_exception(found.__cause__))
        except Unsupported as missing:
            violation = f"the simulation lacks {missing}"
    report = Report(seed, violation, digest=world.digest() if traced or violation else "", stats=world.stats)
    if traced or violation:
        report.trace = [str(line) for line in world.trace]
    report.stats["runs"] += 1
    # Actors that never ended hold on to their world.
    world.scheduler.actors.clear()
    if violation:
        gc.collect()
    return report


def _simulate(world: World) -> None:
    workload = Workload(world)
    end = workload.begin()
    world.scheduler.run(end)
    workload.calm_down()
    quiet = 0
    for number in range(1, MOST_SWEEPS + 1):
        workload.sweep(number)
        world.scheduler.run(world.scheduler.now + SWEEP_EVERY)
        # An actor may have stalled for long: it belongs to the chaos, and what it does has to settle too.
        idle = not (world.ledger.pending() or world.scheduler.actors or world.waiting)
        quiet = quiet + 1 if idle else 0
        if quiet > QUIET_SWEEPS:
            break
    world.stats["virtual minutes"] += round((world.scheduler.now - end) / timedelta(minutes=1))
    world.ledger.settled(workload.asked)
