"""The services at the start of a run, and the containers that stand for them."""

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from longshore.aws.items import container_item, log_item
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.domain.service import Scaling
from longshore.domain.task import adopted_as

from simulation.services import SUSPENSIONS, ScalableTarget

if TYPE_CHECKING:
    from simulation.world import World

MAXIMUM = 6
_HISTORIES = (("running",), ("running",), ("running", "stopped"), ("running", "stopped"), ("stopped", "running"))


def add_service(
    world: "World",
    name: str,
    statuses: tuple[str, ...],
    *,
    cluster: str,
    project: str,
    count: int,
    scaling: Scaling | None = None,
    fargate: bool = False,
    strategy: str = "ROLLING",
) -> Container:
    """Add a service, and its container with a history.

    A service that is not running was stopped by Longshore: its count is 0, and its scaling suspended.

    Args:
        world: The world.
        name: The name of the service.
        statuses: The history. The last status is the current one.
        cluster: The name of the cluster.
        project: The project of the container.
        count: The count of the service, or the count that a start restores.
        scaling: The scalable target before a stop; None: there is none.
        fargate: Whether its tasks run on Fargate.
        strategy: The strategy of its deployments.
    """
    launch_type = "FARGATE" if fargate else "EC2"
    live = statuses[-1] == "running"
    bounds = (scaling.minimum, MAXIMUM) if scaling is not None else None
    running = count if live else 0
    service = world.services.add(
        cluster, name, name, running, launch_type=launch_type, bounds=bounds, strategy=strategy
    )
    if scaling is not None and (target := world.services.target(service)) is not None:
        _set_scaling(target, scaling, stopped=not live)
    moment = world.scheduler.now - timedelta(minutes=10)
    container = Container(
        id=adopted_as(service.arn),
        project_id=project,
        name=name,
        status=Status(statuses[0]),
        status_since=moment,
        runtime=Runtime(cluster=cluster, service=name, task_definition=name, launch_type=LaunchType(launch_type)),
        desired_count=count,
        running_count=running,
        count_stored_at=None if live else moment,
        scaling=None if live else scaling,
        created_at=moment,
        updated_at=moment,
    )
    for position, status in enumerate(statuses):
        change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
        container, entry = append(container, change, f"{position:022x}{name[-2:].encode().hex()[-2:]}", moment)
        world.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
        moment += timedelta(seconds=50 + position)
    world.dynamodb.handle("PutItem", {"TableName": "containers", "Item": container_item(container)})
    world.service_checks.add(service, container)
    words = f"{'/'.join(statuses)}, {count} on {launch_type}, {strategy}, scaling {scaling}"
    world.note("setup", f"service {name}: {words}")
    return container


def _set_scaling(target: ScalableTarget, scaling: Scaling, *, stopped: bool) -> None:
    values = (
        scaling.dynamic_scaling_in_suspended,
        scaling.dynamic_scaling_out_suspended,
        scaling.scheduled_scaling_suspended,
    )
    target.suspended = dict(zip(SUSPENSIONS, values, strict=True))
    if stopped:
        target.minimum, target.suspended = 0, dict.fromkeys(SUSPENSIONS, True)


def add_services(world: "World", rng: random.Random, *, cluster: str, project: str) -> list[str]:
    """Add one or two services with drawn counts, scaling and status. Returns the ids of their containers."""
    found, settings = list[str](), world.hostility.services
    assert settings is not None
    for number in range(rng.choice((1, 1, 2))):
        name, fargate = f"service-{number + 1}", rng.random() < 0.3
        definition = {"name": "app", "image": "busybox:local", "memory": 64, "stopTimeout": rng.choice((2, 10, 30))}
        world.catalog.add_task_definition(
            name,
            [definition],
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )
        scaling = None
        if rng.random() < 0.6:
            scaling = Scaling(minimum=rng.choice((0, 1, 2)), scheduled_scaling_suspended=rng.random() < 0.3)
        count = max(rng.choice((1, 2, 3)), scaling.minimum if scaling else 0)
        container = add_service(
            world,
            name,
            rng.choice(_HISTORIES),
            cluster=cluster,
            project=project,
            count=count,
            scaling=scaling,
            fargate=fargate,
            strategy="BLUE_GREEN" if rng.random() < settings.blue_green else "ROLLING",
        )
        found.append(container.id)
    return found
