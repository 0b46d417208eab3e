"""The ECS services of `make up` and their containers: one with a scalable target, and one on Fargate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from longshore.domain.task import adopted_as

from local.seed import WEB, WEB_FARGATE, Seeder, Stack

SCALED = "storefront"
ON_FARGATE = "newsletter"

_BETWEEN_CHANGES = timedelta(hours=8)


def seed_services(stack: Stack) -> None:
    """Create the services, which run, in the first cluster of the stack, and their containers in the demo project.

    The task definitions of the demo exist.
    """
    cluster = str(stack.parameters["ClusterName"]).split(",")[0]
    scaled = {
        "serviceName": SCALED,
        "taskDefinition": WEB,
        "desiredCount": 3,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    }
    on_fargate = {
        "serviceName": ON_FARGATE,
        "taskDefinition": WEB_FARGATE,
        "launchType": "FARGATE",
        "desiredCount": 1,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d"]}},
    }
    seeder = Seeder(stack)
    for request in (scaled, on_fargate):
        _add(stack, seeder, {"cluster": cluster, **request})
    stack.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{cluster}/{SCALED}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=6,
    )


def _add(stack: Stack, seeder: Seeder, request: dict[str, Any]) -> None:
    """Create a service with the parameters of CreateService, and its container."""
    service = stack.emulator.ecs.adopt_service(request)
    seeder.add(
        adopted_as(service.arn),
        ["running", "stopped", "running"],
        name=service.name,
        service=service.name,
        desired_count=service.desired_count,
        launch_type=service.settings["launchType"],
        task_definition=request["taskDefinition"],
        every=_BETWEEN_CHANGES,
    )
