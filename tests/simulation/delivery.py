"""Delivery of events by EventBridge and Lambda: at least once and in any order. In some runs events are lost."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulation.hostility import Reached

if TYPE_CHECKING:
    from simulation.world import World

_HOUR = 3600.0


class Delivery:
    """Delivers the events of AWS to the code under test. No function runs while `down` is set."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.down = False
        rng = self._rng = world.rng("delivery")
        # The share of events that arrive minutes late, in any run.
        self._slow = rng.choice((0.0, 0.0, 0.05, 0.3))

    def deliver(self, event: dict[str, Any]) -> None:
        """Deliver an event of ECS or Systems Manager."""
        world, detail = self.world, event["detail"]
        if event["source"] == "aws.ssm":
            self.send(f"command {detail['command-id'][-6:]}", lambda: world.commands.apply(detail))
            return
        if event.get("resources") and "taskArn" not in detail:
            name = f"event {event['resources'][0].rpartition('/')[2]}"
            self.send(name, lambda: world.service_events.apply(event))
            return
        name = f"event {detail['taskArn'][-6:]}v{detail['version']}"

        def arrives() -> Any:
            if world.hostile_ecs.shown(detail["taskArn"], world.scheduler.current):
                world.reached(Reached.EVENT_EARLY)
            if str(detail.get("group", "")).startswith("service:"):
                return world.service_events.apply(event)
            effect = world.events.apply(detail)
            if detail["lastStatus"] == "STOPPED" and detail.get("startedBy") in world.ledger.containers:
                world.ledger.effects.applied(detail["startedBy"], detail["taskArn"])
            return effect

        self.send(name, arrives)

    def send(self, name: str, function: Callable[[], Any], *, may_be_lost: bool = True) -> None:
        """Invoke a function for an event, once or more often, now or later."""
        rng, world, settings = self._rng, self.world, self.world.hostility
        # Always draw all values, so that a setting does not affect the other draws.
        lost, twice, late, slow = rng.random(), rng.random(), rng.random(), rng.random()
        if self.down:
            if may_be_lost and lost < 0.8:
                self._is_lost(name)
                return
            late = 0.0
        elif may_be_lost and world.faults.on and lost < settings.events_lost:
            self._is_lost(name)
            return
        for copy in range(2 if twice < settings.events_twice else 1):
            seconds = rng.choice((0.01, 0.05, 0.3, 1.0)) * rng.uniform(0.5, 1.5)
            hours = late < settings.events_late or self.down
            if hours and (world.faults.on or self.down):
                seconds = rng.uniform(_HOUR, 4 * _HOUR)
            elif slow < self._slow and world.faults.on:
                seconds = rng.uniform(1, 200)
            self._at(seconds, f"{name}'" if copy else name, function, copy=bool(copy), late=hours)

    def _at(self, seconds: float, name: str, function: Callable[[], Any], *, copy: bool, late: bool) -> None:
        def arrives() -> None:
            if copy:
                self.world.reached(Reached.EVENT_TWICE)
            if late and seconds >= _HOUR:
                self.world.reached(Reached.EVENT_LATE)
            self.world.invoke_event(name, function, seconds=30)

        self.world.later(seconds, arrives)
        self.world.stats["events"] += 1

    def _is_lost(self, name: str) -> None:
        self.world.note(name, "is lost")
        self.world.reached(Reached.EVENT_LOST)
