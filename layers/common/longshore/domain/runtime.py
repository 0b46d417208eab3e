"""How ECS runs the task or the service of a container."""

from longshore.domain.base import Model
from longshore.domain.lifecycle import LaunchType, Platform

FARGATE_PROVIDERS = frozenset({"FARGATE", "FARGATE_SPOT"})
"""The names of the capacity providers that run tasks on Fargate. No other capacity provider can have these names."""


class CapacityProvider(Model):
    """An element of a capacity provider strategy of ECS."""

    name: str
    weight: int = 1
    base: int = 0


class Runtime(Model):
    """How a container's task is run: the parameters of ECS RunTask that belong to the container, or its service."""

    cluster: str
    service: str | None = None  # the name of the service that the container stands for; None: a task
    task_definition: str
    launch_type: LaunchType | None = None  # None: the capacity providers run the task
    capacity_providers: list[CapacityProvider] = []  # of the same platform
    managed_instances: bool = False  # the capacity providers are ECS Managed Instances
    subnets: list[str] = []
    security_groups: list[str] = []
    assign_public_ip: bool = False
    placement_constraints: list[str] = []  # expressions of ECS's cluster query language
    platform_version: str | None = None

    @property
    def platform(self) -> Platform:
        """What the tasks run on."""
        if self.service is not None:
            return Platform.SERVICE
        providers = {provider.name for provider in self.capacity_providers}
        if self.launch_type is LaunchType.FARGATE or providers & FARGATE_PROVIDERS:
            return Platform.FARGATE
        return Platform.MANAGED if self.managed_instances else Platform.HOST
