"""The services of ECS with the delays and inconsistencies that the documentation of AWS allows.

The API of ECS is eventually consistent: DescribeServices may show an older state for some seconds after a change. A
call whose reply is lost is processed until the timeout of the client at the latest, which the engine relies on
(CALL_LASTS). A function does not stall between its decision to make such a call and the beginning of the call.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.services import CALL_LASTS

from local.emulator.ecs import Deployment, ServiceDeployment, SimulatedService, SimulatedTask
from local.emulator.ecs.service_deployments import STAGES, Hook
from local.emulator.errors import AwsError
from local.emulator.scaling import ScalableTarget, ScalableTargets
from simulation.faults import Kind
from simulation.hostility import Reached, ServiceHostility
from simulation.hosts import Effects
from simulation.scheduler import Actor

if TYPE_CHECKING:
    from simulation.world import World

CHANGES = frozenset({"UpdateService", "RegisterScalableTarget"})
"""The calls that change a service."""

_LONGEST = CALL_LASTS.total_seconds() - 0.1
_KEPT = timedelta(seconds=10)  # how long older states are kept
_SLOW = 8  # seconds


class SlowServices(Effects):
    """Tasks and services. The scheduler looks at a service after a drawn time, and its deployments may fail.

    The tasks of a deployment that is to fail do not start: their images cannot be pulled. A blue/green deployment may
    wait for a person.

    Attributes:
        on: Whether times, failures and hooks are drawn.
        failing: The ids of the deployments that are to fail.
        waits: Called with each deployment that begins to wait for a person, and its hook.
    """

    of_services: ServiceHostility = ServiceHostility()
    service_chances: random.Random
    on = True
    waits: Callable[[ServiceDeployment, Hook], None] = lambda *_: None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.failing: set[str] = set()

    def _wake(self, service: SimulatedService, at: datetime) -> None:
        if not self.on:
            super()._wake(service, at)
            return
        longest = timedelta(seconds=self.of_services.delay)
        if service.due is not None and service.due <= at + longest:
            return  # The scheduler looks soon anyway.
        rng = self.service_chances
        drawn = max(0.1, rng.uniform(0, self.of_services.delay) * rng.choice((0.1, 1)))
        if drawn > _SLOW:
            self.reached(Reached.SERVICE_SLOW)
        service.look_by(at + timedelta(seconds=drawn))

    def _deploy(self, service: SimulatedService, at: datetime) -> None:
        if service.history and self.on:
            configured = self._blue_green() if service.strategy == "BLUE_GREEN" else self._rolling()
            service.configuration = {**service.configuration, **configured}
        super()._deploy(service, at)
        breaker = service.configuration.get("deploymentCircuitBreaker") or {}
        if len(service.history) > 1 and self.on and breaker.get("enable"):
            self.failing.add(service.primary.id)

    def _rolling(self) -> dict[str, Any]:
        """Draw whether the next deployment fails, and whether it is rolled back then."""
        rng, settings = self.service_chances, self.of_services
        fails, rolls_back = rng.random() < settings.breaks, rng.random() < settings.rolls_back
        return {"deploymentCircuitBreaker": {"enable": fails, "rollback": fails and rolls_back}}

    def _blue_green(self) -> dict[str, Any]:
        """Draw the stage at which the next deployment waits for a person, and the action after the timeout."""
        rng = self.service_chances
        self.reached(Reached.SERVICE_BLUE_GREEN)
        timeout = {"timeoutInMinutes": rng.choice((1, 5)), "action": rng.choice(("ROLLBACK", "CONTINUE"))}
        hook = {"targetType": "PAUSE", "lifecycleStages": [rng.choice(STAGES[:-2])], "timeoutConfiguration": timeout}
        hooks = [hook] if rng.random() < self.of_services.pauses else []
        return {"lifecycleHooks": hooks, "bakeTimeInMinutes": rng.choice((0, 1, 5))}

    def _enter(self, service: SimulatedService, current: ServiceDeployment, stage: str, at: datetime) -> None:
        known = len(current.hooks)
        super()._enter(service, current, stage, at)
        for hook in current.hooks[known:]:
            self.reached(Reached.SERVICE_PAUSED)
            self.waits(current, hook)

    def _stage_is_over(self, service: SimulatedService, current: ServiceDeployment, at: datetime) -> bool:
        hook = current.waiting
        is_over = super()._stage_is_over(service, current, at)
        if hook is not None and hook.status == "TIMED_OUT":
            self.reached(Reached.SERVICE_PAUSE_OVER)
        return is_over

    def _create(self, *arguments: Any, **named: Any) -> SimulatedTask:
        task = super()._create(*arguments, **named)
        if task.started_by in self.failing:
            for container in task.containers:
                container.start = "fail"
        return task

    def _fail(self, service: SimulatedService, reason: str, at: datetime, *, rollback: bool) -> None:
        self.reached(Reached.SERVICE_BROKEN)
        super()._fail(service, reason, at, rollback=rollback)

    def _roll_back(self, service: SimulatedService, reason: str, at: datetime) -> None:
        super()._roll_back(service, reason, at)
        if service.current.triggered and service.current.rolling_back:
            self.reached(Reached.SERVICE_ROLLED_BACK)

    def has_failed(self, deployment: Deployment) -> bool:
        """Return whether a deployment has failed or is to fail."""
        return deployment.rollout_state == "FAILED" or deployment.id in self.failing


class SlowTargets(ScalableTargets):
    """Scalable targets that act after a drawn time.

    Attributes:
        on: Whether the time is drawn.
        moved: Called after a move of a count into its bounds, with the target and the count before.
    """

    of_services: ServiceHostility = ServiceHostility()
    service_chances: random.Random
    on = True
    moved: Callable[[ScalableTarget, int], None] = lambda *_: None

    def _moves_at(self) -> datetime:
        if not self.on:
            return super()._moves_at()
        rng = self.service_chances
        return self._now() + timedelta(seconds=max(0.1, rng.uniform(0, self.of_services.moves) * rng.choice((0.1, 1))))

    def _move(self, target: ScalableTarget, region: str) -> None:
        before = self._desired(target.resource_id, region)
        super()._move(target, region)
        if before is not None and before != target.within(before):
            self.moved(target, before)


class Shown(NamedTuple):
    """A state of a service from a time on, as DescribeServices and ListServiceDeployments show it."""

    since: datetime
    described: dict[str, Any]
    deployments: list[dict[str, Any]]


class HostileServices:
    """Answers requests for services, and reports the changes to the checks."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._settings = world.hostility.services or ServiceHostility()
        self._rng = rng
        self._older: dict[str, list[Shown]] = {}
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
            shown = self._shown(self._world.services.name_of(parameters), self._drawn_age())
            if shown is not None:
                arns = {each["serviceDeploymentArn"] for each in answer["serviceDeployments"]}
                older = [each for each in shown.deployments if each["serviceDeploymentArn"] in arns]
                if older != answer["serviceDeployments"]:
                    self._world.reached(Reached.DEPLOYMENT_STALE)
                answer["serviceDeployments"] = older
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

    # --- older states ----------------------------------------------------------------------------------------------

    def _stale(self, described: dict[str, Any]) -> dict[str, Any]:
        return self.as_it_was(described, self._drawn_age())

    def _drawn_age(self) -> float:
        return self._rng.uniform(0, self._settings.stale)

    def as_it_was(self, described: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return a service as it was some seconds ago."""
        older = self._shown(described["serviceName"], seconds)
        shown = older.described if older is not None else described
        if shown != described:
            self._world.reached(Reached.SERVICE_STALE)
        return shown

    def _shown(self, name: str, seconds: float) -> Shown | None:
        """Return what was shown of a service some seconds ago, if that is known."""
        at = self._world.scheduler.now - timedelta(seconds=seconds)
        older = [each for each in self._older.get(name, ()) if each.since <= at]
        return older[-1] if older else None

    def recent(self, seconds: float) -> list[Any]:
        """Return the states that DescribeServices may still show, if it shows states that are up to so old."""
        oldest, found = self._world.scheduler.now - timedelta(seconds=seconds), []
        for kept in self._older.values():
            ends = [*(each.since for each in kept[1:]), None]
            recent = [each for each, end in zip(kept, ends, strict=True) if end is None or end > oldest]
            found.append([(max(each.since, oldest), each.described) for each in recent])
        return found

    def observe(self, name: str, described: dict[str, Any], deployments: list[dict[str, Any]]) -> None:
        """Keep a new state of a service and of its service deployments."""
        now, kept = self._world.scheduler.now, self._older.setdefault(name, [])
        kept.append(Shown(now, described, deployments))
        while len(kept) > 1 and kept[1].since < now - _KEPT:
            kept.pop(0)
