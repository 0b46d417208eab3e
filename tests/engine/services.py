"""The stage with containers that stand for services."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from longshore.aws.items import log_item
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.domain.service import Scaling
from longshore.domain.task import adopted_as
from simulation.services import SUSPENSIONS, ScalableTarget, SimulatedService

from engine.aws import CLUSTER
from engine.stage import PROJECT, Stage

MINIMUM, MAXIMUM = 3, 20
COUNT = 3
EFFECTS = ("UpdateService", "RegisterScalableTarget")
"""The calls that change a service."""


class ServiceStage(Stage):
    """A stage with services. The scheduler of ECS looks at a service 0.2 seconds after a change."""

    def add_service(
        self,
        *statuses: str,
        count: int = COUNT,
        scales: bool = False,
        fargate: bool = False,
        name: str = "web",
        cluster: str = CLUSTER,
    ) -> str:
        """Add a service, and its container with a history of these statuses. Returns the container's id.

        A service that is not running was stopped by Longshore: its count is 0, and its scaling suspended.

        Args:
            statuses: The history. The last status is the current one.
            count: The count of the service, or the count that a start restores.
            scales: Whether the service is a scalable target, with bounds from MINIMUM to MAXIMUM.
            fargate: Whether its tasks run on Fargate, without a host.
            name: The name of the service.
            cluster: The cluster of the service.
        """
        definition = {"name": "app", "image": "busybox", "memory": 128, "stopTimeout": 10}
        self.catalog.add_task_definition(
            name,
            [definition],
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )
        live, launch_type = statuses[-1] == "running", "FARGATE" if fargate else "EC2"
        bounds = (MINIMUM, MAXIMUM) if scales else None
        service = self.services.add(cluster, name, name, count if live else 0, launch_type=launch_type, bounds=bounds)
        if (target := self.services.target(service)) is not None and not live:
            target.minimum, target.suspended = 0, dict.fromkeys(SUSPENSIONS, True)
        moment = self.clock.now() - timedelta(hours=1)
        container = Container(
            id=adopted_as(service.arn),
            project_id=PROJECT,
            name=name,
            status=Status(statuses[0]),
            status_since=moment,
            runtime=Runtime(cluster=cluster, service=name, task_definition=name, launch_type=LaunchType(launch_type)),
            desired_count=count,
            running_count=count if live else 0,
            count_stored_at=None if live else moment,
            scaling=Scaling(minimum=MINIMUM) if scales and not live else None,
            created_at=moment,
            updated_at=moment,
        )
        for position, status in enumerate(statuses):
            change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
            container, entry = append(container, change, f"{position:024x}", moment)
            self.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
            moment += timedelta(seconds=60)
        self.ecs.drain_events()
        self.put(container)
        return container.id

    def service(self, name: str = "web") -> SimulatedService:
        return self.services.of(name)

    def target(self, name: str = "web") -> ScalableTarget:
        """Return the scalable target of a service, which has one."""
        target = self.services.target(self.service(name))
        assert target is not None
        return target

    def counts(self, name: str = "web") -> tuple[int, int]:
        """Return the desired count of a service and the number of its tasks."""
        service = self.service(name)
        return service.desired_count, len(self.services.tasks(service))

    def effects(self) -> list[dict[str, Any]]:
        """Return the parameters of the calls that change services, without those that name the service."""
        names = {"cluster", "service", "ServiceNamespace", "ResourceId", "ScalableDimension"}
        calls = [call for call in self.calls if call.operation in EFFECTS]
        return [{name: value for name, value in call.parameters.items() if name not in names} for call in calls]

    def drift_sweep(self) -> dict[str, int]:
        """Run the drift sweep. Returns the number of containers by effect, without the tasks of services."""
        counts = super().drift_sweep()
        return {effect: count for effect, count in counts.items() if effect != "foreign"}

    def while_time_passes(self, seconds: float, check: Callable[[], object] = lambda: None) -> None:
        """Advance the clock in ten steps, and call `check` after each of them."""
        for _ in range(10):
            self.advance(seconds / 10)
            check()

    def settle(self, container_id: str, *, sweeps: int = 10) -> None:
        """Run the recovery sweep each minute until nothing is pending."""
        for _ in range(sweeps):
            if self.container(container_id).operation is None:
                return
            self.while_time_passes(61)
            self.sweep()
        raise AssertionError("The operation has not ended")
