"""When and how often the script of a command runs on its host."""

import random
from collections.abc import Callable
from typing import Any

from local.emulator.ssm import CommandPlan
from simulation.hostility import Hostility, Reached

_DELIVERY = 30.0  # TimeoutSeconds
_EXECUTION = 20.0  # the document's timeout


class CommandPlans:
    """Draws a plan for each command.

    Args:
        hostility: The run's settings.
        rng: The random stream.
        reached: Counts a behaviour that affects a command of the code under test.
    """

    def __init__(self, hostility: Hostility, rng: random.Random, reached: Callable[[Reached], None]) -> None:
        self._hostility = hostility
        self._rng = rng
        self._reached = reached
        self.on = True

    def __call__(self) -> CommandPlan:
        """Return the plan of the next command."""
        return CommandPlan(**self._draw())

    def loses_reply(self) -> bool:
        """Return whether the reply to the next SendCommand is lost. Then a retry may overtake the first command."""
        return self.on and self._hostility.commands_differ and self._rng.random() < 0.3

    def _draw(self) -> dict[str, Any]:
        settings, chance = self._hostility, self._rng.random
        half = settings.command_delay / 2
        plan: dict[str, Any] = {"deliver_after": half, "take": half}
        late, twice = chance() < settings.commands_late, chance() < settings.commands_twice
        never, hangs = chance() < settings.commands_never, chance() < settings.docker_hangs
        if not self.on:
            return plan
        if late:
            plan["deliver_after"] = self._rng.uniform(3, _DELIVERY if chance() < 0.7 else _DELIVERY + _EXECUTION)
            self._reached(Reached.COMMAND_LATE)
        if hangs:
            plan["take"] = self._rng.uniform(5, 3 * _EXECUTION)
            self._reached(Reached.DOCKER_HANGS)
        if twice:
            plan |= {"runs": 2, "second_after": self._rng.choice((0.1, 5.0, 30.0))}
            self._reached(Reached.COMMAND_TWICE)
        if never:
            plan["runs"] = 0
            self._reached(Reached.COMMAND_NEVER)
        return plan
