"""Clusters, task definitions and container instances."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True)
class Cluster:
    name: str
    arn: str


@dataclass(frozen=True)
class TaskDefinition:
    """A task definition. `containers` are as in RegisterTaskDefinition; `cpu` and `memory` are those of the task."""

    arn: str
    family: str
    containers: tuple[dict[str, Any], ...]
    active: bool = True
    network_mode: str = "bridge"
    compatibilities: tuple[str, ...] = ("EC2",)
    cpu: int | None = None
    memory: int | None = None

    def cpu_units(self) -> int:
        return self.cpu or sum(int(container.get("cpu") or 0) for container in self.containers)

    def memory_mib(self) -> int:
        return self.memory or sum(
            int(container.get("memoryReservation") or container.get("memory") or 0) for container in self.containers
        )


@dataclass(frozen=True)
class Instance:
    """A container instance. `cpu` (units) and `memory` (MiB) are the registered resources."""

    arn: str
    ec2_instance_id: str
    cluster_arn: str
    cpu: int = 4096
    memory: int = 7482
    status: str = "ACTIVE"
    agent_connected: bool = True
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def external(self) -> bool:
        return self.ec2_instance_id.startswith("mi-")


class Catalog(Protocol):
    """Finds clusters, task definitions and container instances by name, id or ARN."""

    def cluster(self, reference: str, region: str) -> Cluster | None: ...

    def task_definition(self, reference: str, region: str) -> TaskDefinition | None: ...

    def instances(self, region: str) -> list[Instance]:
        """Return the container instances of all clusters of a region, in order of registration."""

    def add_instance(self, instance: Instance, region: str) -> None: ...

    def remove_instance(self, instance: Instance, region: str) -> None: ...

    def capacity_providers(self, region: str) -> dict[str, str]:
        """Return the types of the capacity providers by name, except those of Fargate."""

    def add_capacity_provider(self, name: str, kind: str) -> None: ...


class StaticCatalog:
    """A catalog of one region in memory, for simulations without HTTP."""

    def __init__(self, region: str = REGION, account: str = ACCOUNT) -> None:
        self._region = region
        self._prefix = f"arn:aws:ecs:{region}:{account}"
        self._clusters: dict[str, Cluster] = {}
        self._definitions: dict[str, TaskDefinition] = {}
        self._instances: dict[str, Instance] = {}
        self._capacity_providers: dict[str, str] = {}

    def add_cluster(self, name: str) -> Cluster:
        cluster = Cluster(name, f"{self._prefix}:cluster/{name}")
        self._clusters[name] = cluster
        return cluster

    def add_task_definition(
        self,
        family: str,
        containers: Iterable[dict[str, Any]],
        network_mode: str = "bridge",
        compatibilities: Iterable[str] = ("EC2",),
    ) -> TaskDefinition:
        """Register the next revision of a family."""
        revision = 1 + sum(1 for known in self._definitions.values() if known.family == family)
        definition = TaskDefinition(
            f"{self._prefix}:task-definition/{family}:{revision}",
            family,
            tuple(containers),
            network_mode=network_mode,
            compatibilities=tuple(compatibilities),
        )
        self._definitions[f"{family}:{revision}"] = self._definitions[family] = definition
        return definition

    def cluster(self, reference: str, region: str) -> Cluster | None:
        return self._clusters.get(reference.rpartition("/")[2]) if region == self._region else None

    def task_definition(self, reference: str, region: str) -> TaskDefinition | None:
        return self._definitions.get(reference.rpartition("/")[2]) if region == self._region else None

    def instances(self, region: str) -> list[Instance]:
        return list(self._instances.values()) if region == self._region else []

    def add_instance(self, instance: Instance, region: str) -> None:
        if region != self._region:
            raise ValueError(f"this catalog belongs to {self._region}")
        self._instances[instance.arn] = instance

    def remove_instance(self, instance: Instance, region: str) -> None:
        if region == self._region:
            self._instances.pop(instance.arn, None)

    def capacity_providers(self, region: str) -> dict[str, str]:
        return self._capacity_providers if region == self._region else {}

    def add_capacity_provider(self, name: str, kind: str) -> None:
        self._capacity_providers[name] = kind
