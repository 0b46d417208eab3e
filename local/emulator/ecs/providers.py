"""Capacity providers: which kinds exist, and the provider that a strategy selects for a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.emulator.errors import AwsError

FARGATE = {"FARGATE": "FARGATE", "FARGATE_SPOT": "FARGATE_SPOT"}
"""The capacity providers that every account has, with their types."""

LAUNCH_TYPES = {
    "FARGATE": "FARGATE",
    "FARGATE_SPOT": "FARGATE",
    "EC2_AUTOSCALING": "EC2",
    "MANAGED_INSTANCES": "MANAGED_INSTANCES",
}
"""The launch type of the tasks of a capacity provider, by the type of the provider."""

MAX_PROVIDERS = 20


def selected(strategy: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> str:
    """Return the name of the capacity provider that runs a task: the one with a base, or with the largest weight.

    Args:
        strategy: The `capacityProviderStrategy` of a request.
        types: The types of the capacity providers that exist, by name.

    Raises:
        AwsError: ECS would reject the strategy.
    """
    names = [str(item["capacityProvider"]) for item in strategy]
    if len(names) > MAX_PROVIDERS:
        raise _invalid(f"A capacity provider strategy can contain at most {MAX_PROVIDERS} capacity providers.")
    if unknown := [name for name in names if name not in types]:
        raise _invalid(f"The specified capacity provider {unknown[0]} was not found.")
    if len({LAUNCH_TYPES[types[name]] for name in names}) > 1:
        raise _invalid("A capacity provider strategy cannot contain capacity providers of different types.")
    if not any(item.get("weight") for item in strategy):
        raise _invalid("At least one capacity provider must have a weight greater than 0.")
    usable = [item for item in strategy if item.get("weight")]
    return str(max(usable, key=lambda item: (item.get("base") or 0, item["weight"]))["capacityProvider"])


def described(names: Sequence[str], types: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the response of DescribeCapacityProviders.

    Args:
        names: The requested names; all if empty.
        types: The types of the capacity providers that exist, by name.
        prefix: The ARNs up to the type of the resource, such as `arn:aws:ecs:us-east-1:123456789012`.
    """
    found, failures = [], []
    for name in names or types:
        arn = f"{prefix}:capacity-provider/{name}"
        if name not in types:
            failures.append({"arn": arn, "reason": "MISSING"})
            continue
        provider: dict[str, Any] = {"capacityProviderArn": arn, "name": name, "status": "ACTIVE", "type": types[name]}
        if types[name] == "MANAGED_INSTANCES":
            provider["managedInstancesProvider"] = {}
        elif name not in FARGATE:
            provider["autoScalingGroupProvider"] = {"autoScalingGroupArn": f"arn:aws:autoscaling:::group/{name}"}
        found.append(provider)
    return {"capacityProviders": found, "failures": failures}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
