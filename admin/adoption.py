"""Adoption of running ECS tasks: registers each task as a running container.

The container's id is derived from the task's ARN, so that repeated or concurrent adoptions of a task create one
container. The container's runtime is read from ECS, and its security groups from EC2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from longshore.aws.ecs import Ecs
from longshore.aws.store import Store
from longshore.domain.clock import SystemClock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Container
from longshore.domain.pending import Trigger
from longshore.domain.results import change_by_exit
from longshore.domain.runtime import CapacityProvider, Runtime
from longshore.domain.task import Task, adopted_as

from admin.errors import AdminError, explained
from admin.registry import Registration, Registry, first_row, role_not_passed
from admin.target import Target
from admin.values import is_id

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecs import ECSClient

_PAGE = 100  # the maximum of ListTasks and DescribeTasks
_WORKERS = 8
_SERVICE = "service:"
_LAUNCH_TYPES = {each.value for each in LaunchType}
_MANAGED = "MANAGED_INSTANCES"  # the launch type of tasks on ECS Managed Instances, which RunTask does not accept


@dataclass(frozen=True)
class Filter:
    """Selection of tasks. A task must match every field that is not None."""

    family: str | None = None
    service: str | None = None
    started_by: str | None = None
    include_services: bool = False


@dataclass(frozen=True)
class Candidate:
    """A running task that may be adopted.

    Attributes:
        task_definition: The family and revision of its task definition.
        wanted: The container to register, or None if the task is skipped.
        skipped: The reason why the task is skipped.
        notes: What a later start of the container will do differently.
    """

    task: Task
    family: str
    task_definition: str
    launch_type: str
    group: str
    cluster: str
    container_id: str
    wanted: Registration | None = None
    skipped: str | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Counts:
    """Numbers of adopted and skipped tasks, and the reasons of failures by task id."""

    adopted: int = 0
    skipped: int = 0
    skipped_at_once: int = 0  # skipped tasks for which no write was attempted
    failed: dict[str, str] = field(default_factory=dict)


class Adoption:
    """Adopts the running tasks of one cluster into one project."""

    def __init__(
        self,
        ecs: ECSClient,
        ec2: EC2Client,
        registry: Registry,
        store: Store,
        role_not_passed: Callable[[str], str | None],
        *,
        cluster: str,
        project_id: str,
    ) -> None:
        self._ecs = ecs
        self._ec2 = ec2
        self._registry = registry
        self._store = store
        # Called once per task definition.
        self._role_not_passed = cache(role_not_passed)
        self._cluster = cluster
        self._project_id = project_id

    @classmethod
    def of(cls, target: Target, cluster: str, project_id: str) -> Adoption:
        """Create the adoption for a stack's cluster."""
        return cls(
            target.ecs(),
            target.ec2(),
            Registry.of(target),
            store_of(target),
            partial(role_not_passed, target),
            cluster=cluster,
            project_id=project_id,
        )

    def count(self) -> int:
        """Return the number of running tasks in the cluster."""
        return sum(len(arns) for arns in self._pages())

    def candidates(self, wanted: Filter) -> Iterator[list[Candidate]]:
        """Yield the matching tasks in batches of up to 100.

        Raises:
            AdminError: The cluster does not exist.
        """
        for arns in self._pages():
            described = self._ecs.describe_tasks(cluster=self._cluster, tasks=arns)["tasks"]
            matching = [each for each in described if _matches(each, wanted)]
            networks = self._networks(matching)
            owned = self._registry.known([name for each in matching for name in _possible_ids(each)])
            yield [self._candidate(each, wanted, owned, networks) for each in matching]

    def adopt(self, candidates: Sequence[Candidate], on_progress: Callable[[], object]) -> Counts:
        """Register the candidates that are not skipped. A failure does not stop the batch.

        Args:
            candidates: The tasks of one batch.
            on_progress: Called after each registration.
        """
        not_wanted = sum(candidate.wanted is None for candidate in candidates)
        counts = Counts(skipped=not_wanted, skipped_at_once=not_wanted)
        registered: dict[str, Container] = {}
        with ThreadPoolExecutor(_WORKERS) as executor:
            wanted = [candidate for candidate in candidates if candidate.wanted is not None]
            for candidate, result in zip(wanted, executor.map(self._register, wanted), strict=True):
                on_progress()
                match result:
                    case Container():
                        registered[candidate.task.arn] = result
                        counts.adopted += 1
                    case None:
                        counts.skipped += 1
                    case reason:
                        counts.failed[candidate.task.id] = reason
        self._record_ends(registered)
        return counts

    def _pages(self) -> Iterator[list[str]]:
        pages = self._ecs.get_paginator("list_tasks").paginate(
            cluster=self._cluster, desiredStatus="RUNNING", PaginationConfig={"PageSize": _PAGE}
        )
        try:
            for page in pages:
                if page["taskArns"]:
                    yield page["taskArns"]
        except self._ecs.exceptions.ClusterNotFoundException:
            raise AdminError(f"The cluster {self._cluster} does not exist.") from None

    def _candidate(
        self, described: Any, wanted: Filter, owned: set[str], networks: Mapping[str, Mapping[str, Any]]
    ) -> Candidate:
        task = Task.of(described)
        family_and_revision = described["taskDefinitionArn"].rpartition("/")[2]
        base: dict[str, Any] = {
            "task": task,
            "family": family_and_revision.partition(":")[0],
            "task_definition": family_and_revision,
            "launch_type": described.get("launchType", "EC2"),
            "group": described.get("group", ""),
            "cluster": self._cluster,
            "container_id": adopted_as(task.arn),
        }
        skipped = _why_not(described, wanted, owned)
        if skipped is not None:
            return Candidate(**base, skipped=skipped)
        network = _network(described)
        if network is not None and network["interface"] not in networks:
            return Candidate(**base, skipped="its network interface cannot be read")
        known = networks[network["interface"]] if network else {}
        runtime = Runtime(
            cluster=self._cluster,
            task_definition=described["taskDefinitionArn"],
            **_how_it_runs(described),
            subnets=[network["subnet"]] if network else [],
            security_groups=known.get("groups", []),
            assign_public_ip=base["launch_type"] == "FARGATE" and known.get("public", False),
            platform_version=described.get("platformVersion"),
        )
        registration = Registration(base["container_id"], self._project_id, base["family"], runtime)
        role = self._role_not_passed(runtime.task_definition)
        return Candidate(**base, wanted=registration, notes=tuple(_notes(described, role)))

    def _networks(self, described: Sequence[Any]) -> dict[str, dict[str, Any]]:
        """Return the security groups, and whether there is a public address, by network interface id."""
        ids = [network["interface"] for each in described if (network := _network(each)) is not None]
        if not ids:
            return {}
        # With a filter, an interface that no longer exists is left out and is not an error.
        pages = self._ec2.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": "network-interface-id", "Values": ids}]
        )
        return {
            interface["NetworkInterfaceId"]: {
                "groups": [group["GroupId"] for group in interface["Groups"]],
                "public": bool(interface.get("Association", {}).get("PublicIp")),
            }
            for page in pages
            for interface in page["NetworkInterfaces"]
        }

    def _register(self, candidate: Candidate) -> Container | str | None:
        """Return the new container, None if another process has adopted the task, or the reason of the failure."""
        assert candidate.wanted is not None
        task = candidate.task
        container, entry = first_row(
            candidate.wanted,
            Status.RUNNING,
            {"reason": "Adopted", "task_id": task.id},
            tasks=ledger_of(task.arn, task.version),
            **({"observed_at": task.started_at} if task.started_at else {}),
        )
        try:
            present = self._registry.create(container, entry)
        except (ClientError, BotoCoreError) as error:
            return str(explained(error))
        return container if present is None else None

    def _record_ends(self, registered: Mapping[str, Container]) -> None:
        """Record the exit of tasks that stopped during adoption, because their event came before their container."""
        if not registered:
            return
        try:
            tasks = Ecs(self._ecs).describe_many(self._cluster, list(registered))
            for arn, container in registered.items():
                task = tasks.get(arn)
                if task is None or task.is_stopped:
                    self._record_end(container, task)
        except ExternalServiceError:
            return  # The drift sweep records the exits.

    def _record_end(self, container: Container, task: Task | None) -> None:
        now = SystemClock().now()
        at: datetime = (task.stopped_at if task else None) or now
        after, entry = append(container, change_by_exit(container, at, task, {}, Trigger.SYSTEM), new_id(), now)
        self._store.commit_observed(container, after, entry)


def store_of(target: Target) -> Store:
    """Create the library's store for a stack's tables."""
    return Store(
        target.dynamodb(),
        containers=target.containers,
        status_logs=target.status_logs,
        idempotency=target.output("IdempotencyTableName"),
        clock=SystemClock(),
        retention=target.history_retention,
    )


def _matches(described: Any, wanted: Filter) -> bool:
    family = described["taskDefinitionArn"].rpartition("/")[2].partition(":")[0]
    return (
        wanted.family in (None, family)
        and wanted.started_by in (None, described.get("startedBy", ""))
        and (wanted.service is None or described.get("group") == f"{_SERVICE}{wanted.service}")
    )


def _possible_ids(described: Any) -> list[str]:
    """Return the ids of the containers that may have started or adopted the task."""
    started_by = str(described.get("startedBy", ""))
    return [*([started_by] if is_id(started_by) else []), adopted_as(described["taskArn"])]


def _why_not(described: Any, wanted: Filter, owned: set[str]) -> str | None:
    if owned.intersection(_possible_ids(described)):
        return "already belongs to a container of Longshore"
    if described["lastStatus"] != "RUNNING":
        return f"is {described['lastStatus']}, not RUNNING"
    group = described.get("group", "")
    if group.startswith(_SERVICE) and not wanted.include_services:
        return f"belongs to the service {group.removeprefix(_SERVICE)}, which replaces stopped tasks"
    launch_types = _LAUNCH_TYPES | ({_MANAGED} if described.get("capacityProviderName") else set())
    if described.get("launchType", "EC2") not in launch_types:
        return f"has the unsupported launch type {described['launchType']}"
    return None


def _how_it_runs(described: Any) -> dict[str, Any]:
    """Return the fields of the Runtime that specify the task's launch type or capacity provider."""
    launch_type, provider = described.get("launchType", "EC2"), described.get("capacityProviderName")
    if not provider:
        return {"launch_type": LaunchType(launch_type)}
    return {
        "capacity_providers": [CapacityProvider(name=provider)],
        "managed_instances": launch_type == _MANAGED,
    }


def _notes(described: Any, role: str | None) -> Iterator[str]:
    if role is not None:
        yield f"cannot be started again: the stack may not pass the role {role} (parameter TaskRoleArns)"
    if described.get("group", "").startswith(_SERVICE):
        yield "its service replaces it when it stops"
    overrides = described.get("overrides", {})
    if any(
        overrides.get(name) for name in ("cpu", "memory", "taskRoleArn", "executionRoleArn", "ephemeralStorage")
    ) or any(set(each) - {"name"} for each in overrides.get("containerOverrides", [])):
        yield "a later start does not repeat its overrides"
    if described.get("capacityProviderName"):
        yield f"a later start uses only the capacity provider {described['capacityProviderName']}"


def _network(described: Any) -> dict[str, str] | None:
    """Return the subnet and the network interface of a task in network mode awsvpc, or None for other modes."""
    for attachment in described.get("attachments", []):
        if attachment.get("type") in ("ElasticNetworkInterface", "eni"):
            details = {each["name"]: each["value"] for each in attachment.get("details", [])}
            return {"subnet": details.get("subnetId", ""), "interface": details.get("networkInterfaceId", "")}
    return None
