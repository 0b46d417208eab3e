"""The decisions of the service scheduler: which tasks to start and stop, and when a deployment has failed."""

from typing import NamedTuple

from local.emulator.ecs.services import Counts

_LEAST_FAILURES, _MOST_FAILURES = 3, 200


class Plan(NamedTuple):
    """How many tasks to start and to stop.

    Attributes:
        start: Tasks of the PRIMARY deployment to start.
        stop: Tasks of the PRIMARY deployment to stop.
        stop_replaced: Tasks of the deployments that it replaces to stop. Those that do not run yet come first.
    """

    start: int = 0
    stop: int = 0
    stop_replaced: int = 0


def plan(desired: int, minimum_percent: int, maximum_percent: int, new: Counts, replaced: Counts | None) -> Plan:
    """Return the next steps towards the desired count.

    Source: DeploymentConfiguration in the ECS API reference. During a deployment, the minimum (rounded up) limits how
    many tasks may be stopped, and the maximum (rounded down) how many may run or be pending.

    Args:
        desired: The desired count of the service.
        minimum_percent: The lowest share of the desired count that stays healthy during a deployment.
        maximum_percent: The highest share of the desired count that runs or is pending during a deployment.
        new: The tasks of the PRIMARY deployment.
        replaced: The tasks of the deployments that it replaces; None if there are none.
    """
    missing, surplus = max(0, desired - new.wanted), max(0, new.wanted - desired)
    if replaced is None:
        return Plan(missing, surplus)
    minimum, maximum = -(-desired * minimum_percent // 100), desired * maximum_percent // 100
    room = max(0, maximum - new.active - replaced.active)
    dispensable = max(0, new.healthy + replaced.healthy - minimum)
    unhealthy = replaced.wanted - replaced.healthy
    return Plan(min(missing, room), surplus, min(replaced.wanted, unhealthy + dispensable))


def stalled(desired: int, new: Counts, replaced: Counts | None) -> Plan:
    """Return the next steps of a service whose deployment has failed: it starts nothing, but may become smaller."""
    old = 0 if replaced is None else replaced.wanted
    surplus = max(0, new.wanted + old - desired)
    return Plan(0, min(surplus, new.wanted), max(0, surplus - new.wanted))


def staged(desired: int, new: Counts, replaced: Counts | None, *, starts: bool) -> Plan:
    """Return the next steps of a deployment whose stages keep the tasks that it replaces.

    Source: DeploymentConfiguration in the ECS API reference: a blue/green deployment runs "two identical production
    environments". `starts`: whether the new tasks may start.
    """
    old = 0 if replaced is None else replaced.wanted
    missing, surplus = max(0, desired - new.wanted), max(0, new.wanted - desired)
    return Plan(missing if starts else 0, surplus, max(0, old - desired))


def failure_threshold(desired: int) -> int:
    """Return the number of failed tasks at which the circuit breaker ends a deployment.

    Source: "How the Amazon ECS deployment circuit breaker detects failures" in the ECS Developer Guide.
    """
    return min(_MOST_FAILURES, max(_LEAST_FAILURES, -(-desired // 2)))
