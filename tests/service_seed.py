"""Services of a local stack with their containers."""

from __future__ import annotations

from datetime import timedelta

from longshore.domain.clock import SystemClock
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Runtime
from longshore.domain.service import Scaling
from longshore.domain.task import adopted_as
from settling import eventually

from admin.registry import Registration, Registry, first_row
from local.seed import PROJECT, WEB
from local.stack import LocalStack

COUNT, MINIMUM, MAXIMUM = 2, 1, 20
_TARGET = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
_FLAGS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


def add_service(
    stack: LocalStack,
    name: str,
    status: str,
    *,
    scales: bool = False,
    old: bool = False,
    desired: int = COUNT,
    minimum: int = MINIMUM,
) -> str:
    """Create a service in ECS, and its container with a status. Returns the container's id.

    A service that is not running was stopped by Longshore: its count is 0, and its scaling suspended.

    Args:
        stack: The stack.
        name: The name of the service.
        status: The status of the container.
        scales: Whether the service is a scalable target.
        old: Whether the status is older than the recent changes that the drift sweep skips.
        desired: The number of tasks of the service, or the number that a start restores.
        minimum: The minimum of the scalable target, or the minimum that a start restores.
    """
    ecs, cluster = stack.client("ecs"), str(stack.parameters["ClusterName"])
    live = status == "running"
    count = desired if live else 0
    arn = ecs.create_service(cluster=cluster, serviceName=name, taskDefinition=WEB, desiredCount=count)["service"][
        "serviceArn"
    ]
    if scales:
        stack.client("application-autoscaling").register_scalable_target(
            **_TARGET,
            ResourceId=f"service/{cluster}/{name}",
            MinCapacity=minimum if live else 0,
            MaxCapacity=MAXIMUM,
            SuspendedState=dict.fromkeys(_FLAGS, not live),
        )
    eventually(lambda: ecs.describe_services(cluster=cluster, services=[name])["services"][0]["runningCount"] == count)
    registry = Registry(
        stack.client("dynamodb"),
        containers=stack.table_name("ContainersTable"),
        status_logs=stack.table_name("StatusLogsTable"),
        retention=0,
    )
    runtime = Runtime(cluster=cluster, service=name, task_definition=WEB, launch_type=LaunchType.EC2)
    now = SystemClock().now()
    attributes = {
        "desired_count": desired,
        "running_count": count,
        "count_stored_at": None if live else now,
        "scaling": Scaling(minimum=minimum) if scales and not live else None,
    }
    container, entry = first_row(
        Registration(adopted_as(arn), PROJECT, name, runtime),
        Status(status),
        {"reason": "Adopted"},
        attributes=attributes,
        observed_at=now - timedelta(hours=1) if old else now,
    )
    registry.create(container, entry)
    return container.id
