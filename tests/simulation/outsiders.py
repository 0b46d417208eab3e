"""Somebody outside of Longshore who changes services, scaling policies, and callers who change the counts."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from longshore.domain.changes import ContainerChange

from local.emulator.ecs import ServiceDeployment
from local.emulator.ecs.service_deployments import Hook
from local.emulator.errors import AwsError
from simulation.hostility import Reached
from simulation.services import SimulatedService
from simulation.setup import USERS

if TYPE_CHECKING:
    from simulation.world import World

_SECONDS = 10.0  # the timeout of the functions


class Outsiders:
    """Changes the services of a run. They have no effect in a run without services."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._rng: random.Random = world.rng("outsiders")

    def schedule(self, start: datetime, span: float) -> None:
        """Schedule the changes of a run."""
        settings, rng = self.world.hostility.services, self._rng
        if settings is None:
            return
        self.world.ecs.waits = self._answers
        happens: list[Callable[[SimulatedService], None]] = [self._scales] * settings.scales
        happens += [rng.choice((self._counts, self._counts, self._deploys)) for _ in range(settings.counted)]
        happens += [self._bounds] * settings.bounded
        happens += [self._blocks] * settings.blocked
        happens += [self._deletes] * settings.deleted
        for one in happens:
            moment = start + timedelta(seconds=rng.uniform(0, span))
            self.world.scheduler.at(moment, lambda one=one: self._act(one))  # type: ignore[misc]
        for number in range(rng.choice((0, 1, 2))):
            moment = start + timedelta(seconds=rng.uniform(0, span))
            self.world.scheduler.at(moment, lambda number=number: self._change(number))  # type: ignore[misc]

    def calm_down(self) -> None:
        """Let all tasks start, replace the deployments that have failed, and continue half of those that wait."""
        world = self.world
        world.ecs.on = world.targets.on = world.hostile_services.on = False
        for name in world.service_checks.records:
            service = world.services.find(name)
            if service is None or service.status != "ACTIVE":
                continue
            service.blocked = False
            if service.current.waiting is not None and self._rng.random() < 0.5:
                self._answer(service.current, service.current.waiting, "CONTINUE")
            if world.ecs.has_failed(service.primary):
                self._redeploy(service)
            world.services.set_desired(service, service.desired_count)

    def _act(self, function: Callable[[SimulatedService], None]) -> None:
        name = self._rng.choice(list(self.world.service_checks.records))
        service = self.world.services.find(name)
        if service is not None and service.status == "ACTIVE":
            function(service)
            self.world.after_effect()

    def _happened(self, what: Reached, service: SimulatedService, subject: object = None) -> None:
        self.world.reached(what)
        self.world.note("outside", f"{what}: {service.name}", subject)

    def _scales(self, service: SimulatedService) -> None:
        """Act like a scaling policy that wants another count."""
        target = self.world.services.target(service)
        if target is None:
            return
        wanted = self._rng.choice([count for count in range(target.maximum + 1) if count != service.desired_count])
        if self.world.services.scale(service, wanted):
            self.world.service_checks.changed_outside(service.name, by_policy=True)
            self._happened(Reached.SERVICE_SCALED, service, service.desired_count)
        elif any(target.suspended.values()):
            self._happened(Reached.SERVICE_NOT_SCALED, service)

    def _bounds(self, service: SimulatedService) -> None:
        """Act like a scheduled action that changes the minimum."""
        target = self.world.services.target(service)
        if target is None:
            return
        minimum = self._rng.choice([count for count in range(min(4, target.maximum + 1)) if count != target.minimum])
        if self.world.services.set_bounds(service, minimum, None):
            self.world.service_checks.bounded_outside(service.name, minimum)
            self._happened(Reached.SERVICE_BOUNDED, service, minimum)
        else:
            self._happened(Reached.SERVICE_NOT_SCALED, service)

    def _counts(self, service: SimulatedService) -> None:
        count = self._rng.choice([count for count in range(4) if count != service.desired_count])
        self.world.service_checks.changed_outside(service.name)
        self.world.services.set_desired(service, count)
        self._happened(Reached.SERVICE_COUNTED, service, count)

    def _deploys(self, service: SimulatedService) -> None:
        self._redeploy(service)
        self._happened(Reached.SERVICE_DEPLOYED, service)

    def _redeploy(self, service: SimulatedService) -> None:
        self.world.service_checks.changed_outside(service.name)
        self.world.services.redeploy(service)

    def _blocks(self, service: SimulatedService) -> None:
        service.blocked = True
        self._happened(Reached.SERVICE_BLOCKED, service)

        def restore() -> None:
            service.blocked = False
            self.world.after_effect()

        self.world.later(self._rng.choice((5.0, 60.0, 300.0)), restore)

    def _answers(self, deployment: ServiceDeployment, hook: Hook) -> None:
        """Let a person continue a deployment that waits, or roll it back, or do nothing."""
        if not self.world.ecs.on:
            self.world.later(1.0, lambda: self._answer(deployment, hook, "CONTINUE"))
        elif (action := self._rng.choice(("CONTINUE", "CONTINUE", "ROLLBACK", None))) is not None:
            seconds = self._rng.choice((5.0, 60.0, 300.0)) * self._rng.random()
            self.world.later(seconds, lambda: self._answer(deployment, hook, action))

    def _answer(self, deployment: ServiceDeployment, hook: Hook, action: str) -> None:
        if deployment.status != "IN_PROGRESS" or hook.status != "AWAITING_ACTION":
            return
        request = {"serviceDeploymentArn": deployment.arn, "hookId": hook.id, "action": action}
        try:
            self.world.ecs.handle("ContinueServiceDeployment", request)
        except AwsError:
            return  # The service has been deleted.
        what = Reached.SERVICE_CONTINUED if action == "CONTINUE" else Reached.SERVICE_REJECTED
        self.world.reached(what)
        self.world.note("outside", f"{what}: {deployment.service_arn.rpartition('/')[2]}")
        self.world.after_effect()

    def _deletes(self, service: SimulatedService) -> None:
        self.world.service_checks.changed_outside(service.name)
        self.world.services.delete(service)
        self._happened(Reached.SERVICE_DELETED, service)
        self.world.later(self._rng.choice((60.0, 600.0)), lambda: self._forgets(service))

    def _forgets(self, service: SimulatedService) -> None:
        """Let ECS not show a deleted service any more."""
        if service.status == "INACTIVE":
            self.world.ecs.forget_service(service)
            self._happened(Reached.SERVICE_FORGOTTEN, service)

    def _change(self, number: int) -> None:
        """Change the count of a container as a caller."""
        world, rng = self.world, self._rng
        record = rng.choice(list(world.service_checks.records.values()))
        count, user = rng.choice((1, 2, 3)), rng.choice(USERS)
        name = f"change-count-{number}"
        world.note(name, f"requests the count {count} of {record.container_id[-2:]}")
        change = ContainerChange(desired_count=count)
        world.invoke(name, lambda: world.changes.apply(user, record.container_id, change), seconds=_SECONDS)
