"""Controls of the emulated services of ECS and of their scalable targets, for the tests that run on a virtual clock."""

from typing import Any

from local.emulator.ecs import SimulatedService, SimulatedTask, TaskSimulation
from local.emulator.scaling import SUSPENSIONS, ScalableTarget, ScalableTargets

__all__ = ["SUSPENSIONS", "ScalableTarget", "Services", "SimulatedService", "state_of"]

_NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d"]}}
_TARGET = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}


class Services:
    """Adds, changes and inspects services like somebody outside of Longshore. Their names are unique.

    Args:
        ecs: The services and their tasks.
        targets: The scalable targets.
    """

    OF_TARGETS = ScalableTargets.OPERATIONS
    _OF_SERVICES = frozenset({"DescribeServices", "ListServices", "ListServiceDeployments", "UpdateService"})

    def __init__(self, ecs: TaskSimulation, targets: ScalableTargets) -> None:
        self._ecs = ecs
        self._targets = targets

    # --- requests --------------------------------------------------------------------------------------------------

    def handles(self, operation: str, parameters: dict[str, Any]) -> bool:
        """Return whether a request is for services or their targets."""
        of_service = operation in self._OF_SERVICES or (operation == "ListTasks" and "serviceName" in parameters)
        return of_service or operation in self.OF_TARGETS

    def handle(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request. Raises AwsError."""
        if operation in self.OF_TARGETS:
            return self._targets.handle(operation, parameters)
        return self._ecs.handle(operation, parameters)

    @staticmethod
    def name_of(parameters: dict[str, Any]) -> str:
        """Return the name of the service that a request changes."""
        return str(parameters.get("service") or parameters["ResourceId"]).rpartition("/")[2]

    # --- observations ----------------------------------------------------------------------------------------------

    def find(self, name: str) -> SimulatedService | None:
        """Return a service. None if there is none."""
        return next((service for service in self._ecs._services.values() if service.name == name), None)

    def of(self, name: str) -> SimulatedService:
        """Return a service that exists."""
        service = self.find(name)
        assert service is not None, f"no service {name}"
        return service

    def target(self, service: SimulatedService) -> ScalableTarget | None:
        """Return the scalable target of a service. None if it has none."""
        return self._targets.find(_resource(service))

    def tasks(self, service: SimulatedService) -> list[SimulatedTask]:
        """Return the tasks of a service that have not stopped."""
        return [task for task in self._ecs._tasks_of(service) if task.live]

    def described(self, service: SimulatedService) -> dict[str, Any]:
        """Return a service in the shape that DescribeServices returns."""
        return self._ecs._to_api(service)

    def deployments(self, service: SimulatedService) -> list[dict[str, Any]]:
        """Return the service deployments in the shape that ListServiceDeployments returns."""
        return [deployment.to_brief() for deployment in service.history]

    def mark(self, service: SimulatedService) -> tuple[Any, ...]:
        """Return a value that changes with each change that DescribeServices or ListServiceDeployments shows."""
        tasks = ((task.id, task.version, task.desired_status) for task in self.tasks(service))
        deployments = ((each.id, each.status, each.rollout_state, each.failed_tasks) for each in service.deployments)
        history = ((each.arn, each.updated_at, each.status) for each in service.history)
        said = service.events[0]["id"] if service.events else ""
        return service.status, service.desired_count, said, *tasks, *deployments, *history

    @property
    def deployed(self) -> int:
        """The number of deployments of all services."""
        return sum(len(service.history) for service in self._ecs._services.values())

    # --- changes ---------------------------------------------------------------------------------------------------

    def set_delay(self, seconds: float) -> None:
        """Change the seconds until the scheduler looks at a service that changes from now on."""
        self._ecs.set_service_delay(seconds)

    def add(
        self,
        cluster: str,
        name: str,
        family: str,
        desired: int,
        *,
        launch_type: str = "EC2",
        bounds: tuple[int, int] | None = None,
        strategy: str = "ROLLING",
    ) -> SimulatedService:
        """Add a service whose tasks run, and its scalable target if there are bounds."""
        request = {"cluster": cluster, "serviceName": name, "taskDefinition": family, "desiredCount": desired}
        network = {"networkConfiguration": _NETWORK} if launch_type == "FARGATE" else {}
        configuration = {} if strategy == "ROLLING" else {"deploymentConfiguration": {"strategy": strategy}}
        service = self._ecs.adopt_service({**request, **network, **configuration, "launchType": launch_type})
        if bounds is not None:
            self.register(service, MinCapacity=bounds[0], MaxCapacity=bounds[1])
            target = self.target(service)
            assert target is not None
            target.due = None
        return service

    def register(self, service: SimulatedService, **changes: Any) -> None:
        """Register the target of a service. What the call does not name stays as it is."""
        self._targets.handle("RegisterScalableTarget", {**_TARGET, "ResourceId": _resource(service), **changes})

    def set_desired(self, service: SimulatedService, count: int) -> None:
        """Change the count."""
        self._update(service, desiredCount=count)

    def scale(self, service: SimulatedService, count: int) -> bool:
        """Change the count like a scaling policy. Returns whether it has changed."""
        before = service.desired_count
        return self._targets.scale(_resource(service), count) is not None and service.desired_count != before

    def set_bounds(self, service: SimulatedService, minimum: int | None, maximum: int | None) -> bool:
        """Change the bounds like a scheduled action. Returns whether scheduled scaling is not suspended."""
        return self._targets.set_bounds(_resource(service), minimum, maximum)

    def redeploy(self, service: SimulatedService) -> None:
        """Start a deployment."""
        self._update(service, forceNewDeployment=True)

    def fail(self, service: SimulatedService, reason: str, *, rollback: bool = False) -> None:
        """End the newest deployment like the circuit breaker."""
        self._ecs.fail_deployment(service, reason, rollback=rollback)

    def delete(self, service: SimulatedService) -> None:
        """Delete a service with its tasks. It is DRAINING until they have stopped, and then INACTIVE."""
        self._ecs.handle("DeleteService", {"cluster": service.cluster.name, "service": service.name, "force": True})

    def _update(self, service: SimulatedService, **changes: Any) -> None:
        self._ecs.handle("UpdateService", {"cluster": service.cluster.name, "service": service.name, **changes})


def state_of(target: ScalableTarget) -> tuple[int, int, tuple[bool, ...]]:
    """Return the bounds and the suspensions of a target."""
    return target.minimum, target.maximum, tuple(target.suspended[name] for name in SUSPENSIONS)


def _resource(service: SimulatedService) -> str:
    return f"service/{service.cluster.name}/{service.name}"
