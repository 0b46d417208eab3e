"""The ECS services of `make up`: one with a scalable target, and one on Fargate."""

from __future__ import annotations

from local.seed import WEB, WEB_FARGATE, Stack

SCALED = "storefront"
ON_FARGATE = "newsletter"


def seed_services(stack: Stack) -> None:
    """Create the services, which run, in the cluster of the stack. The task definitions of the demo exist.

    This creates no containers: the services are not registered in a project.
    """
    ecs, cluster = stack.emulator.ecs, str(stack.parameters["ClusterName"])
    ecs.adopt_service(
        {
            "cluster": cluster,
            "serviceName": SCALED,
            "taskDefinition": WEB,
            "desiredCount": 3,
            "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        }
    )
    stack.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{cluster}/{SCALED}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=6,
    )
    ecs.adopt_service(
        {
            "cluster": cluster,
            "serviceName": ON_FARGATE,
            "taskDefinition": WEB_FARGATE,
            "launchType": "FARGATE",
            "desiredCount": 1,
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d"]}},
        }
    )
