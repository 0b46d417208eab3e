"""The service of a run, and what others change of it."""

from collections.abc import Sequence

from longshore.domain.lifecycle import Status
from longshore.domain.service import Scaling
from simulation.service_setup import add_service
from simulation.setup import CLUSTER

from exploration.world import ExploredWorld

SERVICE = "web"
COUNT = 2


def add(world: ExploredWorld, history: Sequence[Status], project: str) -> str:
    """Add the service, which is a scalable target. Returns the id of its container."""
    statuses, scaling = tuple(history), Scaling(minimum=1)
    return add_service(world, SERVICE, statuses, cluster=CLUSTER, project=project, count=COUNT, scaling=scaling).id


def change_count(world: ExploredWorld) -> None:
    """Change the count of the service like somebody outside of Longshore."""
    world.happens("somebody changes the count")
    service = world.services.of(SERVICE)
    world.service_checks.changed_outside(SERVICE)
    world.services.set_desired(service, 1 if service.desired_count == 0 else COUNT + 1)
    world.after_effect()


def scale(world: ExploredWorld) -> None:
    """Let a scaling policy raise the count of the service."""
    world.happens("a scaling policy acts")
    service = world.services.of(SERVICE)
    if world.services.scale(service, COUNT + 2):
        world.service_checks.changed_outside(SERVICE, by_policy=True)
    world.after_effect()
