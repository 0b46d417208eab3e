"""A single run: requests and misfortunes with faults, then a phase without faults until all settles, then checks."""

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

MOST_SWEEPS = 180  # minutes without faults, within which everything has to settle
QUIET_SWEEPS = 2 * DRIFT_EVERY  # minutes without any activity, so that the slower sweep has seen everything
_FEW_SWEEPS = timedelta(minutes=15)  # between sweeps while only late events are outstanding


@dataclass
class Report:
    """The result of a run. `violation` is None if all invariants held."""

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
    """Simulate a run.

    Args:
        seed: Determines the run.
        traced: Return the trace even without a violation.
        digested: Return the digest of the trace even without a violation.
        mutation: Changes the code under test.
        only: The names of the hostile behaviours that the run has, instead of drawing them.
        liveness: Whether to heal only ECS and one worker after the phase with faults; drawn by default.
        hostility: The run's settings, instead of drawing them.
        faultless: Whether to disable faults of calls.
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
            violation = f"not emulated: {missing}"
    shown = traced or violation is not None
    report = Report(seed, violation, stats=world.stats, behaviours=world.hostility.behaviours)
    report.digest = world.digest() if shown or digested else ""
    if shown:
        report.trace = [str(line) for line in world.trace]
    report.stats["runs"] += 1
    for name in report.behaviours:
        report.stats[f"runs with {name}"] += 1
    # Actors that never ended keep references to their world.
    world.scheduler.actors.clear()
    if violation:
        gc.collect()
    return report


def _simulate(world: World) -> None:
    workload = Workload(world)
    world.scheduler.run(workload.begin())
    if (end := workload.outage()) is not None:
        world.scheduler.run(end)
    if (end := workload.hours()) is not None:
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
    """Raise Violation unless everything settles with ECS and one worker healed, and all other faults still enabled."""
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
    """Advance the time until no activity is left and the sweeps have seen the final state."""
    quiet = 0
    for _ in range(MOST_SWEEPS):
        workload.sweep()
        resting = not (world.ledger.pending() or world.scheduler.actors)
        # While only a late event is outstanding, fewer sweeps suffice.
        few = resting and world.waiting and quiet == 0
        world.scheduler.run(world.scheduler.now + (_FEW_SWEEPS if few else SWEEP_EVERY))
        # An actor from the phase with faults may still be stalled, and its effects have to settle too.
        owed = world.service_checks.owed()
        idle = not (world.ledger.pending() or world.scheduler.actors or world.waiting or owed)
        quiet = quiet + 1 if idle else 0
        if quiet > QUIET_SWEEPS:
            break
