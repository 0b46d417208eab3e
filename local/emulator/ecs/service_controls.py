"""Controls of the simulated services, in addition to the ECS API."""

from datetime import timedelta
from typing import Any

from local.emulator.ecs.catalog import REGION
from local.emulator.ecs.controls import Controls
from local.emulator.ecs.service_api import ServiceApi
from local.emulator.ecs.services import SimulatedService


class ServiceControls(ServiceApi, Controls):
    """Creates services that run immediately, and ends their deployments."""

    def set_service_delay(self, seconds: float) -> None:
        """Change the seconds from a change of a service or of its tasks until the scheduler acts on it."""
        with self._lock:
            self._service_delay = timedelta(seconds=seconds)

    def fail_deployment(self, service: SimulatedService, reason: str, *, rollback: bool = False) -> None:
        """End the PRIMARY deployment now, like the circuit breaker, with or without a rollback."""
        with self._lock:
            now = self._tick()
            self._fail(service, reason, now, rollback=rollback)
            self._wake(service, now)

    def forget_service(self, service: SimulatedService) -> None:
        """Forget a service, as ECS does some time after it has become INACTIVE."""
        with self._lock:
            self._services.pop((service.cluster.arn, service.name), None)

    def adopt_service(self, request: dict[str, Any], region: str = REGION) -> SimulatedService:
        """Create a service whose tasks are RUNNING immediately, without events, as if it had existed before.

        Args:
            request: The parameters of CreateService.
            region: The region.

        Raises:
            AwsError: CreateService refuses the request, or the cluster has no instance.
            NotStartedError: An engine cannot start a task.
        """
        with self._lock:
            cluster = self._cluster(request, region)
            sent = len(self._events)
            created = self.handle("CreateService", request, region)["service"]
            service = self._services[(cluster.arn, created["serviceName"])]
            deployment = service.primary
            for _ in range(service.desired_count):
                self.adopt_running(
                    cluster.arn,
                    service.settings["taskDefinition"],
                    started_by=deployment.id,
                    launch_type=service.settings["launchType"],
                    region=region,
                ).group = service.group
            deployment.proven = True
            self._conclude(service, service.created_at)
            service.due = None
            del self._events[sent:]
            return service
