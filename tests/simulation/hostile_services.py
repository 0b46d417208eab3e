"""The services of ECS with the delays and inconsistencies that the documentation of AWS allows.

The API of ECS is eventually consistent: DescribeServices may show an older state for some seconds after a change. A
call whose reply is lost is processed until the timeout of the client at the latest, which the engine relies on
(CALL_LASTS). A function does not stall between its decision to make such a call and the beginning of the call.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from longshore.aws.services import CALL_LASTS

from local.emulator.ecs import TaskSimulation
from local.emulator.errors import AwsError
from simulation.faults import Kind
from simulation.hostility import Reached, ServiceHostility
from simulation.scheduler import Actor
from simulation.service_model import SimulatedService
from simulation.services import ServiceSimulation

if TYPE_CHECKING:
    from simulation.world import World

CHANGES = frozenset({"UpdateService", "RegisterScalableTarget"})
"""The calls that change a service."""

_LONGEST = CALL_LASTS.total_seconds() - 0.1
_KEPT = timedelta(seconds=10)  # how long older states are kept


class SlowServices(ServiceSimulation):
    """Services whose scheduler looks after a drawn time, and whose deployments may fail."""

    def __init__(
        self,
        tasks: TaskSimulation,
        now: Callable[[], datetime],
        settings: ServiceHostility | None,
        rng: random.Random,
        reached: Callable[[Reached], None],
    ) -> None:
        super().__init__(tasks, now)
        self._settings = settings or ServiceHostility()
        self._rng = rng
        self._reached = reached
        self.on = True

    def _wake(self, service: SimulatedService) -> None:
        drawn = self._rng.uniform(0, self._settings.delay) * self._rng.choice((0.1, 1)) if self.on else 0.2
        self.delay = max(drawn, 0.1)
        if drawn > 8:
            self._reached(Reached.SERVICE_SLOW)
        super()._wake(service)
        self.delay = 1.0

    def _deploy(self, service: SimulatedService) -> None:
        super()._deploy(service)
        # The first deployment has ended before the run.
        if self.on and len(service.deployments) > 1 and self._rng.random() < self._settings.breaks:
            self._reached(Reached.SERVICE_BROKEN)
            service.breaks.add(service.deployments[0])
            service.rolls_back = self._rng.random() < self._settings.rolls_back

    def fail(self, service: SimulatedService, reason: str) -> None:
        super().fail(service, reason)
        if service.history[0].status == "ROLLBACK_IN_PROGRESS":
            self._reached(Reached.SERVICE_ROLLED_BACK)


class HostileServices:
    """Answers requests for services, and reports the changes to the checks."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._settings = world.hostility.services or ServiceHostility()
        self._rng = rng
        self._older: dict[str, list[tuple[datetime, dict[str, Any]]]] = {}
        self.coming: list[tuple[datetime, str | None, str]] = []  # calls that are processed later
        self.always_late: float | None = None  # process each call whose reply is lost after these seconds
        self.on = True

    def handle(self, actor: Actor, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request. Raises AwsError."""
        if operation in CHANGES:
            if self.on and self._rng.random() < self._settings.throttled:
                self._world.reached(Reached.SERVICE_THROTTLED)
                code = "ThrottlingException"
                if operation == "RegisterScalableTarget":
                    code = self._rng.choice((code, "ConcurrentUpdateException"))
                raise AwsError(code, "Rate exceeded")
            return self.change(self._world.service_checks.owner(actor, parameters), operation, parameters)
        answer = self._world.services.handle(operation, parameters)
        if operation == "DescribeServices" and self._settings.stale and self.on:
            answer["services"] = [self._stale(described) for described in answer["services"]]
        if operation == "ListServiceDeployments" and self._settings.stale and self.on:
            shown = self._world.scheduler.now - timedelta(seconds=self._rng.uniform(0, self._settings.stale))
            known = answer["serviceDeployments"]
            answer["serviceDeployments"] = [each for each in known if each["createdAt"] <= shown]
        return answer

    def change(self, owner: str | None, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Process a call that changes a service, for an operation. Raises AwsError."""
        world = self._world
        with world.service_checks.change(owner, operation, parameters):
            return world.services.handle(operation, parameters)

    def later(self, actor: Actor, operation: str, parameters: dict[str, Any], before: float) -> bool:
        """Process a call after its reply was lost, if the run has such calls and none has been drawn to be prompt.

        Args:
            actor: The caller.
            operation: The operation of the API.
            parameters: Its parameters.
            before: The seconds since the beginning of the call.

        Returns:
            Whether the call is processed later.
        """
        seconds = self.always_late
        if seconds is None:
            if not self._settings.late or self._rng.random() < 0.2:
                return False
            seconds = self._rng.uniform(0, max(0.0, _LONGEST - before))
        owner = self._world.service_checks.owner(actor, parameters)
        call = (self._world.scheduler.now + timedelta(seconds=seconds), owner, f"{operation} {parameters}")
        self.coming.append(call)

        def arrives() -> None:
            self.coming.remove(call)
            self._world.reached(Reached.SERVICE_CALL_LATE)
            self._world.note("late call", operation, parameters)
            try:
                self.change(owner, operation, parameters)
            except AwsError as error:
                self._world.note("late call", f"{operation} -> {error.code}")
            self._world.after_effect()

        self._world.later(seconds, arrives)
        return True

    @staticmethod
    def limited(kind: Kind | None, before: float) -> tuple[Kind | None, float]:
        """Return the fault and the pause before a call that changes a service. Its client never repeats a call."""
        kind = {Kind.REPEATED: Kind.LOST, Kind.OVERTAKEN: None}.get(kind, kind) if kind else None
        return kind, min(before, _LONGEST)

    def _stale(self, described: dict[str, Any]) -> dict[str, Any]:
        return self.as_it_was(described, self._rng.uniform(0, self._settings.stale))

    def as_it_was(self, described: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return a service as it was some seconds ago."""
        at = self._world.scheduler.now - timedelta(seconds=seconds)
        older = [each for since, each in self._older.get(described["serviceName"], ()) if since <= at]
        shown = older[-1] if older else described
        if shown != described:
            self._world.reached(Reached.SERVICE_STALE)
        return shown

    def recent(self) -> list[Any]:
        """Return the older states that DescribeServices may still show."""
        return [kept[-3:] for kept in self._older.values()]

    def observe(self, name: str, described: dict[str, Any]) -> None:
        """Keep a new state of a service."""
        now, kept = self._world.scheduler.now, self._older.setdefault(name, [])
        kept.append((now, described))
        while len(kept) > 1 and kept[1][0] < now - _KEPT:
            kept.pop(0)
