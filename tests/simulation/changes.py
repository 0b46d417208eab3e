"""Callers that limit the running time of containers, keep them alive, and protect them."""

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from longshore.domain.changes import ContainerChange
from longshore.domain.lifecycle import BEGINNING, Operation
from longshore.domain.models import Container
from longshore.domain.unchanged import UNCHANGED, Unchanged

from simulation.scheduler import Actor
from simulation.setup import USERS

if TYPE_CHECKING:
    from simulation.world import World

_SECONDS = 10.0  # the timeout of the functions


class Changes:
    """Draws changes of containers. `containers` are the ids that callers use."""

    def __init__(self, world: "World", containers: list[str]) -> None:
        self.world = world
        self._containers = containers
        self._rng: random.Random = world.rng("lifetimes")

    def schedule(self, start: datetime, span: float) -> None:
        """Schedule the changes of a run."""
        if not self.world.hostility.lifetimes:
            return
        # Times of a few seconds let lifetimes end while operations are pending.
        for number in range(self._rng.choice((3, 6, 12))):
            moment = start + timedelta(seconds=self._rng.uniform(0, span))
            self.world.scheduler.at(moment, lambda number=number: self._act(f"change-{number}"))  # type: ignore[misc]

    def during_sweep(self) -> None:
        """Schedule changes during the recovery sweep that has just been invoked."""
        if not self.world.hostility.lifetimes or not self.world.faults.on or self._rng.random() < 0.5:
            return
        for number in range(self._rng.choice((1, 2, 4))):
            name = f"change-{self.world.stats['sweeps with changes']}-{number}"
            self.world.later(self._rng.uniform(0, 1.5), lambda name=name: self._act(name))  # type: ignore[misc]
        self.world.stats["sweeps with changes"] += 1

    def stop_at(self, operation: Operation) -> datetime | Unchanged | None:
        """Draw the `stop_at` of a request."""
        if not self.world.hostility.lifetimes or operation not in BEGINNING or self._rng.random() < 0.5:
            return UNCHANGED
        return None if self._rng.random() < 0.1 else self._soon()

    def _soon(self) -> datetime:
        return self.world.clock.now() + timedelta(seconds=self._rng.choice((1, 5, 30, 90, 300)))

    def _act(self, name: str) -> None:
        rng, world = self._rng, self.world
        user, container_id = rng.choice(USERS), rng.choice(self._containers)
        act = rng.choice(("stop_at", "stop_at", "clear", "idle", "idle", "keep", "keep", "protect", "free", "hold"))
        world.note(name, f"requests {act} of {container_id[-2:]}")
        if act == "keep":
            self._keep_alive(name, user, container_id)
            return
        values: dict[str, dict[str, Any]] = {
            "stop_at": {"stop_at": self._soon()},
            "clear": {"stop_at": None},
            "idle": {"idle_timeout": rng.choice((None, 2, 20, 60, 200))},
            "protect": {"protection": "busy"},
            "free": {"protection": None},
            "hold": {"hold_until": self._soon()},
        }
        change = ContainerChange(**values[act])
        if act == "idle" and change.idle_timeout and self.world.faults.on and rng.random() < 0.7:
            seconds = int(values[act]["idle_timeout"]) * rng.uniform(0.2, 1)
            world.later(seconds, lambda: self._keep_alive(f"{name}-kept", user, container_id))
        world.invoke(name, lambda: world.changes.apply(user, container_id, change), seconds=_SECONDS)

    def _keep_alive(self, name: str, user: str, container_id: str) -> None:
        world, asked_at = self.world, self.world.scheduler.now

        def ended(actor: Actor, answer: Any) -> None:
            if not actor.crashed and isinstance(answer, Container):
                world.kept_alive.setdefault(container_id, []).append(asked_at)
                world.stats["kept alive"] += 1

        keep_alive = world.changes.keep_alive
        world.invoke(name, lambda: keep_alive(user, container_id), seconds=_SECONDS, ended=ended)
