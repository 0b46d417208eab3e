"""Registration of ECS services: each service becomes a container that stands for it.

The container's id is derived from the service's ARN, so that repeated or concurrent registrations of a service create
one container. Nothing is changed in ECS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.runtime import CapacityProvider, Runtime
from longshore.domain.service import Service
from longshore.domain.task import adopted_as

from admin.errors import AdminError, UnavailableError, explained
from admin.registry import Registration, Registry, first_row
from admin.target import Target
from admin.values import check_name

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

_MOST_DESCRIBED = 10  # the maximum of DescribeServices
_PAGE = 100  # the maximum of ListServices


@dataclass(frozen=True)
class ServiceCandidate:
    """A service that may be registered.

    Attributes:
        wanted: The container to register, or None if the service is skipped.
        launch_type: The launch type of its tasks, or the names of the capacity providers.
        cluster: The name of its cluster.
        status: The first status of the container.
        count: The number of tasks that a start restores.
        skipped: The reason why the service is skipped.
    """

    service: Service
    container_id: str
    task_definition: str
    launch_type: str
    cluster: str
    status: Status = Status.STOPPED
    count: int = 1
    wanted: Registration | None = None
    skipped: str | None = None


class ServiceRegistry:
    """Registers services of one cluster in one project."""

    def __init__(self, ecs: ECSClient, registry: Registry, *, cluster: str, project_id: str) -> None:
        self._ecs = ecs
        self._registry = registry
        self._cluster = cluster
        self._project_id = project_id

    @classmethod
    def of(cls, target: Target, cluster: str, project_id: str) -> ServiceRegistry:
        """Create the registry for a stack's cluster."""
        return cls(target.ecs(), Registry.of(target), cluster=cluster, project_id=project_id)

    def register(self, service: str, name: str, count: int | None) -> tuple[ServiceCandidate, bool]:
        """Register a service.

        Args:
            service: The name of the service.
            name: The display name of the container.
            count: The number of tasks that a start restores, if nothing of the service runs. None: 1.

        Returns:
            The service, and False if it is already registered in the project.

        Raises:
            AdminError: The service does not exist, cannot be registered, or belongs to another project.
            UnavailableError: DynamoDB failed. The container may or may not be registered.
        """
        found = self._described([service])
        if not found:
            raise AdminError(f"The cluster {self._cluster} has no service {service}.")
        candidate = self._candidate(found[0], known=set(), name=check_name(name), count=count)
        if candidate.wanted is None:
            raise AdminError(f"The service {service} {candidate.skipped}.")
        try:
            present = self._create(candidate, "Registered")
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError(f"{explained(error)} The container may or may not be registered.") from None
        if present not in (None, self._project_id):
            raise AdminError(f"The service {service} is already registered in the project {present}.")
        return candidate, present is None

    def candidates(self) -> Iterator[list[ServiceCandidate]]:
        """Yield all services of the cluster in batches of up to 100.

        Raises:
            AdminError: The cluster does not exist.
        """
        for arns in self._pages():
            known = self._registry.known([adopted_as(arn) for arn in arns])
            yield [self._candidate(each, known) for each in self._described(arns)]

    def adopt(self, candidate: ServiceCandidate) -> bool:
        """Register a candidate that is not skipped. Returns False if another process has registered it.

        Raises:
            botocore.exceptions.ClientError: DynamoDB failed or denied access.
            botocore.exceptions.BotoCoreError: DynamoDB did not respond.
        """
        return self._create(candidate, "Adopted") is None

    def _create(self, candidate: ServiceCandidate, reason: str) -> str | None:
        """Write the container. Returns the project of the container if it exists already."""
        assert candidate.wanted is not None
        attributes = {"desired_count": candidate.count, "running_count": candidate.service.running}
        row = first_row(candidate.wanted, candidate.status, {"reason": reason}, attributes=attributes)
        present = self._registry.create(*row)
        return None if present is None else present.project_id

    def _pages(self) -> Iterator[list[str]]:
        pages = self._ecs.get_paginator("list_services").paginate(
            cluster=self._cluster, PaginationConfig={"PageSize": _PAGE}
        )
        try:
            for page in pages:
                yield page["serviceArns"]
        except self._ecs.exceptions.ClusterNotFoundException:
            raise AdminError(f"The cluster {self._cluster} does not exist.") from None

    def _described(self, names: Sequence[str]) -> list[Any]:
        batches = [list(names[start : start + _MOST_DESCRIBED]) for start in range(0, len(names), _MOST_DESCRIBED)]
        return [
            described
            for batch in batches
            for described in self._ecs.describe_services(cluster=self._cluster, services=batch)["services"]
        ]

    def _why_not(self, described: Any, container_id: str) -> str | None:
        controller = described.get("deploymentController", {}).get("type", "ECS")
        if described["status"] != "ACTIVE":
            return f"is {described['status']}, not ACTIVE"
        if described.get("schedulingStrategy", "REPLICA") != "REPLICA":
            return "is a daemon, whose count cannot be changed"
        if controller != "ECS":
            return f"is deployed by {controller}, not by ECS"
        if not described.get("capacityProviderStrategy") and _launched_by(described) not in set(LaunchType):
            return f"has the unsupported launch type {described['launchType']}"
        if self._registry.has_rows(container_id) and not self._registry.known([container_id]):
            return "was registered before, and its history still exists"
        return None

    def _candidate(
        self, described: Any, known: set[str], name: str | None = None, count: int | None = None
    ) -> ServiceCandidate:
        service = Service.of(described)
        definition, launch_type = described["taskDefinition"].rpartition("/")[2], _launched_by(described)
        found = ServiceCandidate(service, adopted_as(service.arn), definition, launch_type, self._cluster)
        skipped = (
            "is already registered" if found.container_id in known else self._why_not(described, found.container_id)
        )
        if skipped is not None:
            return replace(found, skipped=skipped)
        runtime = Runtime(
            cluster=self._cluster,
            service=service.name,
            task_definition=described["taskDefinition"],
            **_how_it_runs(described),
        )
        wanted = Registration(found.container_id, self._project_id, name or service.name, runtime)
        return replace(found, status=_status(service), count=service.desired or count or 1, wanted=wanted)


def _status(service: Service) -> Status:
    if service.running > 0 and service.desired > 0:
        return Status.RUNNING
    # The drift sweep corrects the status when the tasks run.
    return Status.FAILED if service.desired > 0 else Status.STOPPED


def _launched_by(described: Any) -> str:
    """Return the launch type of the service's tasks, or the names of the capacity providers."""
    names = [str(each["capacityProvider"]) for each in described.get("capacityProviderStrategy", [])]
    return ", ".join(names) or str(described.get("launchType", "EC2"))


def _how_it_runs(described: Any) -> dict[str, Any]:
    """Return the fields of the Runtime that specify the launch type or the capacity providers of the service."""
    providers = [
        CapacityProvider(name=each["capacityProvider"], weight=each.get("weight", 0), base=each.get("base", 0))
        for each in described.get("capacityProviderStrategy", [])
    ]
    return {"capacity_providers": providers} if providers else {"launch_type": LaunchType(_launched_by(described))}
