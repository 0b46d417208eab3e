"""Capacity provider strategies, as the operator specifies them and as ECS accepts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from longshore.domain.lifecycle import LaunchType, Platform
from longshore.domain.runtime import FARGATE_PROVIDERS, CapacityProvider

from admin.errors import AdminError

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

# Limits of the CapacityProviderStrategyItem of the ECS API.
_MAX_WEIGHT = 1000
_MAX_BASE = 100_000
_MAX_PROVIDERS = 20

_KINDS = {
    Platform.FARGATE: "Fargate",
    Platform.HOST: "Auto Scaling group",
    Platform.MANAGED: "ECS Managed Instances",
}


def how_to_run(
    ecs: ECSClient, cluster: str, launch_type: LaunchType | None, capacity_providers: Sequence[str] | None
) -> dict[str, Any]:
    """Return the fields of a Runtime that specify a launch type or capacity providers; empty if neither is given.

    Args:
        ecs: Describes the capacity providers.
        cluster: The cluster of the container.
        launch_type: The launch type, if it is given.
        capacity_providers: The values of `--capacity-provider`, if any.

    Raises:
        AdminError: A capacity provider does not exist, or ECS would reject the strategy.
    """
    if capacity_providers:
        strategy = _strategy(capacity_providers)
        managed = _platform(ecs, cluster, strategy) is Platform.MANAGED
        return {"launch_type": None, "capacity_providers": strategy, "managed_instances": managed}
    if launch_type is not None:
        return {"launch_type": launch_type, "capacity_providers": [], "managed_instances": False}
    return {}


def _strategy(given: Sequence[str]) -> list[CapacityProvider]:
    strategy = [_provider(text) for text in given]
    if len({provider.name for provider in strategy}) < len(strategy):
        raise AdminError("A capacity provider is specified twice.")
    if len(strategy) > _MAX_PROVIDERS:
        raise AdminError(f"Specify at most {_MAX_PROVIDERS} capacity providers.")
    if not any(provider.weight for provider in strategy):
        raise AdminError("At least one capacity provider must have a weight greater than 0.")
    if sum(provider.base > 0 for provider in strategy) > 1:
        raise AdminError("Only one capacity provider can have a base.")
    return strategy


def _provider(text: str) -> CapacityProvider:
    name, *numbers = text.split(":")
    if not name or len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise AdminError(f"A capacity provider must look like NAME, NAME:WEIGHT or NAME:WEIGHT:BASE, not {text!r}.")
    weight, base = [*map(int, numbers), *(1, 0)[len(numbers) :]]
    if weight > _MAX_WEIGHT or base > _MAX_BASE:
        raise AdminError(f"The weight can be at most {_MAX_WEIGHT}, and the base at most {_MAX_BASE}, not {text!r}.")
    return CapacityProvider(name=name, weight=weight, base=base)


def _platform(ecs: ECSClient, cluster: str, strategy: Sequence[CapacityProvider]) -> Platform:
    """Return what the capacity providers run tasks on."""
    found = _described(ecs, cluster, [provider.name for provider in strategy])
    for provider in strategy:
        described = found.get(provider.name)
        if described is None:
            raise AdminError(
                f"The capacity provider {provider.name} does not exist,"
                f" or is not associated with the cluster {cluster}."
            )
        if described.get("status", "ACTIVE") != "ACTIVE":
            raise AdminError(f"The capacity provider {provider.name} is {described['status'].lower()}, not active.")
    platforms = {name: _platform_of(described) for name, described in found.items()}
    if len(set(platforms.values())) > 1:
        kinds = ", ".join(f"{provider.name} ({_KINDS[platforms[provider.name]]})" for provider in strategy)
        raise AdminError(f"The capacity providers must be of the same kind, not {kinds}.")
    return next(iter(platforms.values()))


def _platform_of(described: Any) -> Platform:
    if described["name"] in FARGATE_PROVIDERS:
        return Platform.FARGATE
    managed = "managedInstancesProvider" in described or described.get("type") == "MANAGED_INSTANCES"
    return Platform.MANAGED if managed else Platform.HOST


def _described(ecs: ECSClient, cluster: str, names: list[str]) -> dict[str, Any]:
    """Return the capacity providers of the cluster that have these names, as ECS describes them."""
    found: dict[str, Any] = {}
    request: dict[str, Any] = {"cluster": cluster, "capacityProviders": names}
    while True:
        answer = ecs.describe_capacity_providers(**request)
        found |= {described["name"]: described for described in answer["capacityProviders"]}
        if not answer.get("nextToken"):
            return found
        request["nextToken"] = answer["nextToken"]
