"""The operations of the ECS API for services."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from local.emulator.ecs.api import TaskApi, launch_type_of, page
from local.emulator.ecs.catalog import REGION, Cluster
from local.emulator.ecs.deployment_api import DeploymentApi
from local.emulator.ecs.services import SETTINGS, SimulatedService
from local.emulator.errors import AwsError

_SERVICE_OPERATIONS = frozenset({"CreateService", "UpdateService", "DescribeServices", "ListServices", "DeleteService"})
_MAX_DESCRIBED = 10
_PAGE = 10
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
# Members that DescribeServices returns as they were given.
_DETAILS = (
    "loadBalancers",
    "serviceRegistries",
    "placementStrategy",
    "healthCheckGracePeriodSeconds",
    "enableECSManagedTags",
)


class ServiceApi(DeploymentApi):
    """CreateService, UpdateService, DescribeServices, ListServices and DeleteService, and the operations of tasks."""

    OPERATIONS = TaskApi.OPERATIONS | DeploymentApi.DEPLOYMENT_OPERATIONS | _SERVICE_OPERATIONS

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Perform one of OPERATIONS. Parameters and result are those of the ECS API. Raises AwsError."""
        if operation not in _SERVICE_OPERATIONS:
            return super().handle(operation, parameters, region)
        with self._lock:
            now = self._tick()
            cluster = self._cluster(parameters, region)
            match operation:
                case "CreateService":
                    return self._create_service(parameters, cluster, region, now)
                case "UpdateService":
                    return self._update_service(parameters, cluster, region, now)
                case "DescribeServices":
                    return self._describe_services(parameters, cluster, region)
                case "ListServices":
                    return self._list_services(parameters, cluster)
            return self._delete_service(parameters, cluster, now)

    def services(self, cluster: str | None = None) -> list[SimulatedService]:
        """Return the services that are not INACTIVE, optionally of one cluster (name or ARN)."""
        with self._lock:
            self._tick()
            return [
                service
                for service in self._services.values()
                if service.status != "INACTIVE" and cluster in (None, service.cluster.name, service.cluster.arn)
            ]

    def _create_service(
        self, parameters: dict[str, Any], cluster: Cluster, region: str, now: datetime
    ) -> dict[str, Any]:
        name = str(parameters.get("serviceName", ""))
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidParameterException", "Invalid service name.")
        known = self._services.get((cluster.arn, name))
        if known is not None and known.status == "DRAINING":
            raise AwsError("InvalidParameterException", "Unable to Start a service that is still Draining.")
        if known is not None and known.status == "ACTIVE":
            if known.client_token is None or known.client_token != parameters.get("clientToken"):
                raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
            return {"service": self._to_api(known)}
        _refuse_unknown(parameters)
        if "desiredCount" not in parameters:
            raise AwsError("InvalidParameterException", "The desired count must be specified.")
        service = SimulatedService(
            arn=f"arn:aws:ecs:{region}:{self._account}:service/{cluster.name}/{name}",
            name=name,
            region=region,
            cluster=cluster,
            desired_count=_count(parameters),
            created_at=now,
            settings=self._settings(parameters, {}, region),
            configuration=_configuration(parameters, {}),
            placement_constraints=list(parameters.get("placementConstraints") or []),
            propagate_tags=str(parameters.get("propagateTags") or "NONE"),
            tags=list(parameters.get("tags") or []),
            details={"loadBalancers": [], "serviceRegistries": [], **_details(parameters)},
            client_token=parameters.get("clientToken"),
        )
        self._services[(cluster.arn, name)] = service
        self._deploy(service, now)
        self._wake(service, now)
        return {"service": self._to_api(service)}

    def _update_service(
        self, parameters: dict[str, Any], cluster: Cluster, region: str, now: datetime
    ) -> dict[str, Any]:
        service = self._active(parameters, cluster)
        # Check everything before the first change.
        desired = _count(parameters) if "desiredCount" in parameters else service.desired_count
        configuration = _configuration(parameters, service.configuration)
        settings = self._settings(parameters, service.settings, region)
        service.configuration = configuration
        service.details |= _details(parameters)
        if desired != service.desired_count:
            service.desired_count, service.steady = desired, False
        if settings != service.settings or parameters.get("forceNewDeployment"):
            service.settings = settings
            self._deploy(service, now)
        # "After the service is updated, the service scheduler resumes normal behavior."
        service.forgive()
        self._wake(service, now)
        return {"service": self._to_api(service)}

    def _describe_services(self, parameters: dict[str, Any], cluster: Cluster, region: str) -> dict[str, Any]:
        references = [str(reference) for reference in parameters.get("services") or []]
        if not references:
            raise AwsError("InvalidParameterException", "Services cannot be empty.")
        if len(references) > _MAX_DESCRIBED:
            raise AwsError("InvalidParameterException", f"Services cannot be more than {_MAX_DESCRIBED}.")
        include_tags = "TAGS" in (parameters.get("include") or [])
        services, failures = [], []
        for reference in references:
            found = self._services.get((cluster.arn, _name(reference)))
            if found is not None:
                services.append(self._to_api(found, include_tags))
            else:
                arn = f"arn:aws:ecs:{region}:{self._account}:service/{cluster.name}/{_name(reference)}"
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"services": services, "failures": failures}

    def _list_services(self, parameters: dict[str, Any], cluster: Cluster) -> dict[str, Any]:
        launch_type = parameters.get("launchType")
        found = [
            service.arn
            for service in self._services.values()
            if service.cluster == cluster
            and service.status != "INACTIVE"
            and launch_type in (None, service.settings.get("launchType"))
            and parameters.get("schedulingStrategy", "REPLICA") == "REPLICA"
        ]
        return page(found, "serviceArns", parameters, _PAGE)

    def _delete_service(self, parameters: dict[str, Any], cluster: Cluster, now: datetime) -> dict[str, Any]:
        service = self._active(parameters, cluster)
        if service.desired_count and not parameters.get("force"):
            message = "The service cannot be stopped while it is scaled above 0."
            raise AwsError("InvalidParameterException", message)
        service.status, service.desired_count = "DRAINING", 0
        self._wake(service, now)
        return {"service": self._to_api(service)}

    # ── parts of requests ──

    def _active(self, parameters: dict[str, Any], cluster: Cluster) -> SimulatedService:
        service = self._services.get((cluster.arn, _name(str(parameters.get("service", "")))))
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if service.status != "ACTIVE":
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        return service

    def _settings(self, parameters: dict[str, Any], before: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Return the settings of a service after a request. Raises AwsError if tasks cannot be run with them."""
        given = {name: parameters[name] for name in SETTINGS if parameters.get(name) is not None}
        settings = {**before, **given}
        if "capacityProviderStrategy" in given:
            settings.pop("launchType", None)
        definition = self._definition(settings, region)
        launch_type, provider = launch_type_of(settings, definition, self._types(region))
        if provider is None:
            settings["launchType"] = launch_type
        return {**settings, "taskDefinition": definition.arn}

    def _to_api(self, service: SimulatedService, include_tags: bool = False) -> dict[str, Any]:
        return service.to_api(self._tasks_of(service), include_tags)


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _count(parameters: Mapping[str, Any]) -> int:
    count = parameters["desiredCount"]
    if not isinstance(count, int) or count < 0:
        raise AwsError("InvalidParameterException", "The desired count must not be negative.")
    return count


def _configuration(parameters: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    configuration = {**before, **(parameters.get("deploymentConfiguration") or {})}
    minimum, maximum = configuration.get("minimumHealthyPercent", 100), configuration.get("maximumPercent", 200)
    if minimum == maximum == 100:
        raise AwsError(
            "InvalidParameterException",
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        )
    if minimum < 0 or maximum < 100 or maximum < minimum:
        raise AwsError("InvalidParameterException", "Invalid minimumHealthyPercent or maximumPercent.")
    return configuration


def _details(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameters[name] for name in _DETAILS if parameters.get(name) is not None}


def _refuse_unknown(parameters: Mapping[str, Any]) -> None:
    """Raise AwsError for kinds of services that are not emulated."""
    strategy = parameters.get("schedulingStrategy", "REPLICA")
    controller = (parameters.get("deploymentController") or {}).get("type", "ECS")
    if (strategy, controller) != ("REPLICA", "ECS"):
        message = f"Services with {strategy} and {controller} are not emulated."
        raise AwsError("InvalidParameterException", message)
