"""A single run: the start state, the two players, then a phase without faults until all settles, then the checks."""

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from longshore.domain.changes import ContainerChange
from longshore.domain.errors import LongshoreError
from longshore.domain.lifecycle import Operation
from longshore.engine.schedules import ScheduleInput
from simulation import checks
from simulation.checks import Violation
from simulation.dynamodb import Unsupported
from simulation.records import LIVE
from simulation.scheduler import Actor, Crash
from simulation.setup import CLUSTER
from simulation.trace import START

from exploration import digest, outside
from exploration.faults import Fault, faults_at, reduced_faults_at
from exploration.scenarios import CHANGES, Other, Scenario
from exploration.search import Chooser, Pruned
from exploration.setup import DEADLINE, USERS, set_up
from exploration.starts import STARTS
from exploration.turns import ENVIRONMENT, Player
from exploration.world import ExploredWorld
from local.emulator.ecs import SimulatedTask

_SWEEPS_OF_TASKS = 10  # minutes within which the tasks of a failed container have to end
_MOST_SWEEPS = 120  # minutes within which everything has to settle
_DUE = {"apply_count_at", "tasks_due_at"}  # attributes of a container that the recovery sweep has to process
_IDS = re.compile(r"[0-9a-f]{6,}|\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d+ms\b")


@dataclass
class Ending:
    """The end of a run. `outcome` has the tables without ids and times, and the answers."""

    choices: list[int]
    violation: str | None = None
    outcome: str = ""
    trace: list[str] = field(default_factory=list)


def execute(scenario: Scenario, chooser: Chooser, *, reduced: bool = True, traced: bool = False) -> Ending | None:
    """Perform a run. Returns None if the run reached a state from which everything was explored.

    Args:
        scenario: The pair of actors and their start state.
        chooser: Makes the choices.
        reduced: Omit faults and choices that are known to lead to nothing new.
        traced: Return the trace even without a violation.
    """
    world = ExploredWorld(chooser, _reduced if reduced else _all, STARTS[scenario.start].hostility)
    ending = Ending(chooser.taken)
    try:
        _run(world, scenario, chooser, symmetric=reduced and scenario.is_symmetric)
        ending.outcome = _outcome(world)
    except Pruned:
        return None
    except Violation as found:
        ending.violation = str(found)
        if found.__cause__ is not None:
            ending.violation += "\n" + "".join(traceback.format_exception(found.__cause__))
        ending.outcome = _IDS.sub("…", f"violation: {found}")
    except Unsupported as missing:
        ending.violation = f"not emulated: {missing}"
    finally:
        if traced or ending.violation:
            ending.trace = [str(line) for line in world.trace]
        world.scheduler.abandon()
    return ending


def _all(service: str, operation: str, first: bool) -> tuple[Fault, ...]:
    return () if service == ENVIRONMENT else faults_at(service, operation)


def _reduced(service: str, operation: str, first: bool) -> tuple[Fault, ...]:
    return () if service == ENVIRONMENT else reduced_faults_at(service, operation, first=first)


def _run(world: ExploredWorld, scenario: Scenario, chooser: Chooser, *, symmetric: bool) -> None:
    set_up(world, STARTS[scenario.start])
    state = partial(digest.of, world)
    players = _players(world, scenario)
    world.scheduler.players = players
    if symmetric:
        world.scheduler.last = players[0]
    world.scheduler.play(state)
    chooser.finish(state)
    _calm(world)
    checks.settled(world, world.asked)
    world.evidence.settled(world.asked)
    if Other.LATE in scenario.actors:
        world.evidence.nothing_was_undone()


# --- the players -----------------------------------------------------------------------------------------------------


def _players(world: ExploredWorld, scenario: Scenario) -> list[Player]:
    pair = scenario.actors
    repeated = next((actor for actor in pair if isinstance(actor, Operation)), None) if Other.REPEAT in pair else None
    keys = STARTS[scenario.start].keys
    players = []
    for number, actor in enumerate(pair):
        user = USERS[0] if repeated else USERS[number % len(USERS)]
        key = "key" if repeated or keys else None
        begin = _beginning(world, repeated if actor is Other.REPEAT else actor, user, key)
        players.append(Player(f"{'abc'[number]}-{actor}", begin))
    return players


def _beginning(
    world: ExploredWorld, actor: Operation | Other | None, user: str, key: str | None
) -> Callable[[Player], bool]:
    assert actor is not None
    if isinstance(actor, Operation):
        return _begun(lambda player: world.ask(player, actor, world.target, user, key))
    if actor in CHANGES:
        return _begun(lambda player: _change(world, player, actor, user))
    match actor:
        case Other.STARTED | Other.STOPPED | Other.HINT:
            return _with_event(world, {Other.STARTED: "RUNNING", Other.STOPPED: "STOPPED"}.get(actor))
        case Other.EXIT:

            def begin_exit(player: Player) -> bool:
                runs = bool(_running(world))
                if runs:
                    world.act(player, lambda: _exit(world))
                return runs

            return begin_exit
        case Other.OUTSIDE | Other.SCALES:
            act = outside.change_count if actor is Other.OUTSIDE else outside.scale
            return _begun(lambda player: world.act(player, lambda: act(world)))
        case Other.DEPLOY:
            return _begun(lambda player: world.act(player, lambda: _deploy(world)))
        case Other.RECOVERY:
            return _begun(lambda player: world.act(player, lambda: _recover(world)))
        case Other.DRIFT:
            return _begun(lambda player: world.act(player, lambda: world.drift.sweep(CLUSTER)))
        case Other.SCHEDULE | Other.LATE:
            at = START - timedelta(minutes=actor is Other.LATE)
            return _begun(lambda player: world.act(player, lambda: _stop_all(world, player.name, at)))
    raise AssertionError(actor)


def _with_event(world: ExploredWorld, status: str | None) -> Callable[[Player], bool]:
    """Return the beginning of a player that applies an event of a task with the status, or any event."""

    def begin(player: Player) -> bool:
        event = world.take_event(status) if status else world.take_any_event()
        if event is not None:
            world.apply(player, event)
        return event is not None

    return begin


def _change(world: ExploredWorld, player: Player, actor: Other, user: str) -> None:
    match actor:
        case Other.KEEP:
            world.keep_alive(player, world.target, user)
        case Other.PROTECT:
            world.change(player, world.target, user, ContainerChange(protection="busy"))
        case Other.COUNT:
            world.change(player, world.target, user, ContainerChange(desired_count=outside.COUNT + 1))
        case Other.CLEAR:
            world.change(player, world.target, user, ContainerChange(stop_at=None))
        case Other.MOVE:
            # Later than all sweeps of the run.
            later = world.clock.now() + timedelta(days=1)
            world.change(player, world.target, user, ContainerChange(stop_at=later))
        case _:
            raise AssertionError(actor)


def _begun(begin: Callable[[Player], None]) -> Callable[[Player], bool]:
    def now(player: Player) -> bool:
        begin(player)
        return True

    return now


def _running(world: ExploredWorld) -> list[SimulatedTask]:
    tasks = world.ecs._tasks.values()
    return [task for task in tasks if task.live and any(process.running for process in task.containers)]


def _exit(world: ExploredWorld) -> None:
    """Let the container's task exit, and deliver its event immediately."""
    world.happens("the task exits")
    running = _running(world)
    if not running:
        return
    world.ecs.exit(running[0].arn, 1)
    world.after_effect()
    event = world.take_event("STOPPED")
    assert event is not None
    try:
        world.events.apply(event["detail"])
    except LongshoreError:
        world.mailbox.append(event)
    except Crash:
        world.mailbox.append(event)
        raise


def _deploy(world: ExploredWorld) -> None:
    """Let the current version run in every later invocation."""
    world.happens("the current version is deployed")
    assert world.versions.second is not None
    world.document = world.versions.document(world.versions.second)
    world.use(world.versions.second)


def _recover(world: ExploredWorld) -> None:
    if not any(asked.name.startswith("before") for asked in world.asked):
        world.clock.sleep(DEADLINE)
    world.recovery.sweep()


def _stop_all(world: ExploredWorld, name: str, at: datetime) -> None:
    """Run a scheduled stop with the given scheduled time."""
    world.ledger.scheduled[name] = (at, None)
    world.schedules.run(ScheduleInput(all=True, time=at), name, world.enough_time, now=world.clock.now())


# --- the end ---------------------------------------------------------------------------------------------------------


def _calm(world: ExploredWorld) -> None:
    """Deliver the events, and run the sweeps until nothing changes."""
    world.note("world", "the phase with faults ends")
    world.faults.on = False
    world.ecs.recover()
    if world.versions.second is not None:
        world.use(world.versions.second)
    _finish(world)
    if world.hostility.lifetimes:
        _alone(world, "sweep-of-lifetimes", world.recovery.sweep)
    for number in range(1, _MOST_SWEEPS + 1):
        _deliver(world)
        if not world.ledger.pending():
            # Tasks that were asked to stop need time to do so.
            world.scheduler.run(world.scheduler.now + timedelta(minutes=1))
            if not world.mailbox and not (number <= _SWEEPS_OF_TASKS and _has_tasks_to_end(world)):
                break
            if world.mailbox:
                continue
        _alone(world, f"sweep-{number}", world.recovery.sweep)
    _check_by_events(world)
    for number in range(1, _MOST_SWEEPS + 1):
        before = world.ledger.changes, _tasks(world)
        _alone(world, f"drift-{number}", lambda: world.drift.sweep(CLUSTER), minutes=3)
        _deliver(world)
        if world.hostility.lifetimes:
            # An operation may have ended after the time at which the container has to be stopped.
            _alone(world, f"lifetimes-{number}", world.recovery.sweep)
            _deliver(world)
        if world.ledger.pending() or any(_DUE & each.keys() for each in world.ledger.containers.values()):
            _alone(world, f"late-sweep-{number}", world.recovery.sweep)
            _deliver(world)
        elif (world.ledger.changes, _tasks(world)) == before:
            return


def _has_tasks_to_end(world: ExploredWorld) -> bool:
    """Return whether a container that is neither running nor paused has a task, which a sweep has to end."""
    return any(
        each["status"] not in LIVE and any(world.ledger.alive.all_tasks(container_id))
        for container_id, each in world.ledger.containers.items()
    )


def _check_by_events(world: ExploredWorld) -> None:
    """Check that the container is correct without the drift sweep, since no event was lost.

    No event tells that ECS shows a task again that had counted as gone. Only the drift sweep finds it.
    """
    if world.hostile_ecs.absent:
        return
    for container_id, container in world.ledger.containers.items():
        # A count that somebody changes sends no event.
        if "operation" not in container and "service" not in container["runtime"]:
            checks.check_tasks(world, container_id, container)


def _tasks(world: ExploredWorld) -> list[tuple[str, int]]:
    return [(task.arn, task.version) for task in world.ecs._tasks.values()]


def _deliver(world: ExploredWorld) -> None:
    while world.mailbox:
        event = world.mailbox.pop(0)
        detail = event["detail"]
        subject = detail.get("taskArn") or detail.get("command-id") or event["resources"][0]
        name = f"event {subject[-6:]}v{detail.get('version', '')}"
        world.apply(Actor(name, timedelta(), None), event)
        _finish(world)


def _alone(world: ExploredWorld, name: str, sweep: Callable[[], Any], minutes: int = 1) -> None:
    world.scheduler.run(world.scheduler.now + timedelta(minutes=minutes))
    world.act(Actor(name, timedelta(), None), sweep)
    _finish(world)


def _finish(world: ExploredWorld) -> None:
    """Advance the time until every actor has ended and its effects in the cluster are complete."""
    world.scheduler.run(world.scheduler.now + timedelta(milliseconds=1))
    while world.scheduler.actors:
        world.scheduler.run(world.scheduler.now + timedelta(seconds=1))


def _outcome(world: ExploredWorld) -> str:
    rows = [
        (row.get("from_status"), row["to_status"], row["triggered_by"], (row.get("metadata") or {}).get("reason"))
        for rows in world.ledger.rows.values()
        for row in rows
    ]
    containers = [(each["status"], each["log_count"]) for each in world.ledger.containers.values()]
    tasks = sorted((task.last_status, [process.paused for process in task.containers]) for task in world.ecs.live())
    answers = [
        (one.name, f"{one.answer.code}: {one.answer}" if isinstance(one.answer, LongshoreError) else one.outcome)
        for one in world.asked
    ]
    return _IDS.sub("…", repr((rows, containers, tasks, answers)))
