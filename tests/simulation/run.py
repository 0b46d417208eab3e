"""One run: callers and misfortunes with faults, then calm until all has settled, then the checks."""

import gc
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from simulation.checks import Violation, settled
from simulation.dynamodb import Unsupported
from simulation.hostility import Hostility
from simulation.workload import DRIFT_EVERY, SWEEP_EVERY, Workload
from simulation.world import World

MOST_SWEEPS = 180  # minutes of calm, within which everything has to settle
QUIET_SWEEPS = 2 * DRIFT_EVERY  # minutes without anything under way: the slower sweep has gone over all of it
_FEW_SWEEPS = timedelta(minutes=15)  # between sweeps while nothing but late events is awaited


@dataclass
class Report:
    """The result of a run. `violation` is None when everything held."""

    seed: str
    violation: str | None
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    stats: Counter[str] = field(default_factory=Counter)
    behaviours: list[str] = field(default_factory=list)


def run(
    seed: str,
    *,
    traced: bool = False,
    digested: bool = False,
    mutation: Callable[[], AbstractContextManager[object]] = nullcontext,
    only: Collection[str] | None = None,
    liveness: bool | None = None,
    hostility: Hostility | None = None,
    faultless: bool = False,
) -> Report:
    """Simulate one run.

    Args:
        seed: Determines the run.
        traced: Return the trace even if nothing is wrong.
        digested: Return the digest of the trace even if nothing is wrong.
        mutation: Changes the code under test.
        only: Names of hostile behaviours: the run has these and no other.
        liveness: Whether to heal only ECS and one worker after the chaos; drawn by default.
        hostility: The run's settings, in place of drawn ones.
        faultless: Whether no call fails.
    """
    world = World(seed, hostility=hostility, only=only, liveness=liveness)
    if faultless:
        world.faults.kinds.clear()
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
    shown = traced or violation is not None
    report = Report(seed, violation, stats=world.stats, behaviours=world.hostility.behaviours)
    report.digest = world.digest() if shown or digested else ""
    if shown:
        report.trace = [str(line) for line in world.trace]
    report.stats["runs"] += 1
    for name in report.behaviours:
        report.stats[f"runs with {name}"] += 1
    # Actors that never ended hold on to their world.
    world.scheduler.actors.clear()
    if violation:
        gc.collect()
    return report


def _simulate(world: World) -> None:
    workload = Workload(world)
    world.scheduler.run(workload.begin())
    if (end := workload.outage()) is not None:
        world.scheduler.run(end)
    if world.hostility.liveness:
        workload.heal_ecs()
        _check_liveness(world, workload)
    began = world.scheduler.now
    workload.calm_down()
    _settle(world, workload)
    world.stats["virtual minutes"] += round((world.scheduler.now - began) / timedelta(minutes=1))
    settled(world, workload.asked)


def _check_liveness(world: World, workload: Workload) -> None:
    """Raise Violation unless everything settles with one worker and ECS healed, and all else as hostile as before."""
    world.stats["runs with liveness"] += 1
    for _ in range(MOST_SWEEPS):
        workload.sweep(healed=True)
        world.scheduler.run(world.scheduler.now + SWEEP_EVERY)
        if not world.ledger.pending() and not world.scheduler.actors:
            return
    for container_id in world.ledger.pending():
        operation = world.ledger.containers[container_id]["operation"]
        raise Violation(
            f"{operation['operation']} {operation['id']} is still pending at {operation['step']} {MOST_SWEEPS} minutes "
            "after ECS and one worker were healed"
        )


def _settle(world: World, workload: Workload) -> None:
    """Let time pass until nothing is under way and the sweeps have seen all of it."""
    quiet = 0
    for _ in range(MOST_SWEEPS):
        workload.sweep()
        resting = not (world.ledger.pending() or world.scheduler.actors)
        # While the only thing to come is a late event, fewer sweeps find as much.
        few = resting and world.waiting and quiet == 0
        world.scheduler.run(world.scheduler.now + (_FEW_SWEEPS if few else SWEEP_EVERY))
        # An actor may have stalled for long: it belongs to the chaos, and its effects have to settle too.
        idle = not (world.ledger.pending() or world.scheduler.actors or world.waiting)
        quiet = quiet + 1 if idle else 0
        if quiet > QUIET_SWEEPS:
            break
