"""The digest of a world. Worlds with equal digests have equal futures, except for ids."""

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from simulation.ledger import Ledger
from simulation.world import World

from exploration.faults import OLDER_BY
from local.emulator.ecs import TaskSimulation
from local.emulator.ssm.scripts import SimulatedScripts

if TYPE_CHECKING:
    from exploration.world import ExploredWorld

# Values that never change during a run or do not affect its future.
_CONSTANT = frozenset({"cluster", "definition", "instance", "region", "overrides", "attributes", "tags", "attachments"})
_ECS = ("_tokens", "_capacity", "_agents_lost")
_NOT_IN_SSM = frozenset({"_tasks", "_host", "_document", "_now", "_delay", "_rng", "_lock", "_events", "_plan"})
# The tables contain the rows and the containers; `changes` is only a counter.
_NOT_IN_LEDGER = frozenset({"world", "rows", "containers", "operations", "changes", "_dirty"})
# Objects that others refer back to, and that the digest includes separately.
_WHOLES = (Ledger, TaskSimulation, SimulatedScripts, World)


def of(world: "ExploredWorld") -> bytes:
    """Return the digest of everything on which the rest of the run depends."""
    digest = hashlib.blake2b(digest_size=16)
    scheduler = world.scheduler
    parts = [
        scheduler.now.timestamp(),
        scheduler.last.name if scheduler.last else None,
        scheduler.unknown_since,
        [player.place for player in scheduler.players],
        sorted(world.items.items()),
        [_plain(task) for task in world.ecs._tasks.values()],
        [_plain(getattr(world.ecs, name)) for name in _ECS],
        [_plain(value) for name, value in vars(world.ssm).items() if name not in _NOT_IN_SSM],
        [_plain(value) for value in vars(world.ssm._scripts).values()],
        [_plain(value) for name, value in vars(world.ledger).items() if name not in _NOT_IN_LEDGER],
        [_plain(service) for service in world.ecs._services.values()],
        [_plain(target) for target in world.targets._targets.values()],
        sorted(world.ecs.failing),
        [_plain(record) for record in world.service_checks.records.values()],
        _plain(world.service_checks._drivers),
        _plain(world.hostile_services.coming),
        _plain(world.coming),
        _plain(world.hostile_services.recent(OLDER_BY)),
        _plain(world.answers.promised),
        _plain(world.kept_alive),
        [(event["source"], event["detail"]) for event in world.mailbox],
        _plain(world.evidence.facts),
    ]
    for part in parts:
        digest.update(repr(part).encode())
    return digest.digest()


def _plain(value: Any) -> Any:
    """Return a value whose repr is equal for equal values; an object is replaced by the values of its attributes."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        # The events of services have ids that depend on nothing.
        said = "message" in value and "createdAt" in value
        return [(key, _plain(each)) for key, each in value.items() if not (said and key == "id")]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, _WHOLES) or callable(value):
        return None
    if hasattr(value, "__dict__"):
        return [_plain(each) for name, each in vars(value).items() if name not in _CONSTANT]
    return repr(value)
