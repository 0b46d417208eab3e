"""Controls of the simulated services, in addition to the ECS API."""

from typing import Any

from local.emulator.ecs.catalog import REGION
from local.emulator.ecs.controls import Controls
from local.emulator.ecs.service_api import ServiceApi
from local.emulator.ecs.services import SimulatedService


class ServiceControls(ServiceApi, Controls):
    """Creates services that run immediately."""

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
