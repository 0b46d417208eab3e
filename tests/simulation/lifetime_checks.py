"""Checks of the attributes that limit a container's running time, and of its protection.

1. Only changes of users write the attributes that they own. Operations write `stop_at` only in a claim that says so,
   when an operation without effect ends, and in the last row of a run.
2. The key of the index is the time at which the recovery sweep has to process the container. It is later only if the
   container is protected.
3. The recovery sweep stops only containers whose `stop_at` has passed or that have been idle, by their item just before
   the claim, and none that a caller has kept alive since.
4. No operation that a protection refuses is claimed on a protected container, none is pending when the protection is
   set, and the task of a protected container is not stopped.
5. After the run, no container is live although its time to end has passed, except protected ones.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from longshore.aws.items import container_of
from longshore.domain.errors import UnreadableItemError
from longshore.domain.lifecycle import PROTECTED_FROM

from local.emulator.ecs import SimulatedTask
from simulation.hostility import Reached
from simulation.records import LIVE, Violation

if TYPE_CHECKING:
    from simulation.world import World

_SKEW = timedelta(seconds=1.5)  # more than two clocks differ
_BOUND = timedelta(minutes=3)  # two minutes, and the time until the task has stopped
_OF_USERS = ("idle_timeout", "idle_timeout_at", "kept_alive_at", "hold_until", "protection")
_RULES = ("stop_at", "idle_timeout")

Plain = dict[str, Any]


def check_write(world: "World", old: Plain, new: Plain) -> None:
    """Check a write of a container's item. Raises Violation."""
    if not world.hostility.lifetimes:
        return
    actor = world.scheduler.current
    by_user = actor is not None and "change" in actor.name
    was, now = old.get("operation"), new.get("operation")
    if old and by_user:
        sets = new.get("protection") is not None and new.get("protection") != old.get("protection")
        if sets and was is not None and was["operation"] in PROTECTED_FROM:
            raise Violation(f"a protection was set while {was['operation']} {was['id']} was pending")
    elif old:
        _check_owners(old, new, was, now)
    if old and now is not None and (was is None or was["id"] != now["id"]):
        _check_claim(world, old, now)
    if now is None:
        _check_key(new)


def _check_owners(old: Plain, new: Plain, was: Plain | None, now: Plain | None) -> None:
    for name in _OF_USERS:
        if old.get(name) != new.get(name):
            raise Violation(f"an operation changed {name} from {old.get(name)} to {new.get(name)}")
    expected = old.get("stop_at")
    # A full history takes no row, and `failed` may follow `failed`.
    changed = any(old.get(name) != new.get(name) for name in ("status", "log_count", "reached_without_row"))
    if now is not None and (was is None or was["id"] != now["id"]) and new.get("stop_at_by") == now["id"]:
        if now.get("stop_at_before") != expected:
            raise Violation(f"a claim replaced stop_at {expected}, but keeps {now.get('stop_at_before')}")
        return
    if now is None and new["status"] not in LIVE and changed:
        expected = None
    elif was is not None and now is None and not changed and old.get("stop_at_by") == was["id"]:
        expected = was.get("stop_at_before")
    if new.get("stop_at") != expected:
        raise Violation(f"stop_at is {new.get('stop_at')}, not {expected}")


def _check_claim(world: "World", old: Plain, claimed: Plain) -> None:
    name = f"{claimed['operation']} {claimed['id']}"
    if old.get("protection") is not None and claimed["operation"] in PROTECTED_FROM:
        raise Violation(f"{name} was claimed on a protected container")
    rule = claimed.get("rule")
    if claimed["triggered_by"] != "schedule" or rule not in _RULES:
        return
    world.reached(Reached.LIFETIME_ENDED)
    before, now = container_of(old), world.scheduler.now
    at = before.stop_at if rule == "stop_at" else before.idle_at
    if not before.is_live or at is None or at > now + _SKEW:
        raise Violation(f"{name} was claimed because of {rule}, which is {at}")
    if rule == "idle_timeout" and before.idle_timeout is not None:
        for kept_at in world.kept_alive.get(before.id, ()):
            if kept_at + timedelta(seconds=before.idle_timeout) > now + _SKEW:
                raise Violation(f"{name} was claimed because of {rule}, but the container was kept alive at {kept_at}")


def _check_key(new: Plain) -> None:
    try:
        container = container_of(new)
    except UnreadableItemError:
        return
    due, listed = container.due_at, container.pending_deadline
    deferred = container.protection is not None and due is not None and listed is not None and listed > due
    if due != listed and not deferred:
        raise Violation(f"the key of the index is {listed}, and the container is due at {due}")


def check_stop(world: "World", task: SimulatedTask) -> None:
    """Check that the task that StopTask stops does not belong to a protected container. Raises Violation."""
    container = world.ledger.containers.get(task.started_by or "", {})
    own = container.get("status") in LIVE and container.get("task_arn") == task.arn
    if own and container.get("protection") is not None:
        raise Violation(f"the task {task.id[-6:]} of a protected container was stopped")


def settled(world: "World") -> None:
    """Check the final state. Raises Violation."""
    if not world.hostility.lifetimes:
        return
    for container_id, item in world.ledger.containers.items():
        try:
            container = container_of(item)
        except UnreadableItemError:
            continue
        ends_at, late = container.ends_at, world.scheduler.now - _BOUND
        if ends_at is not None and ends_at < late and container.protection is None:
            raise Violation(f"{container_id} is {container.status} although it had to be stopped at {ends_at}")
