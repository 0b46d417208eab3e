"""The continuation of a drift sweep in other invocations of its function.

With several clusters, the tasks and services of each cluster are swept in invocations of their own: a cluster that
fails is repeated on its own, and delays no other cluster.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.functions import Function

if TYPE_CHECKING:
    from longshore.engine.drift import Drift


class Part(StrEnum):
    """The parts of a drift sweep, in their order."""

    CONTAINERS = "containers"  # each live container is compared with its task
    TASKS = "tasks"  # each running task of a cluster is compared with its container
    SERVICES = "services"  # each service of a cluster is compared with its container, unless that is live


class Position(NamedTuple):
    """A position in a drift sweep.

    Attributes:
        part: The part.
        after: What DynamoDB or ECS has returned to continue the part; None at its beginning.
        cluster: The cluster whose tasks or services are compared; None for the only cluster of the stack, and for
            CONTAINERS.
    """

    part: Part = Part.CONTAINERS
    after: Any = None
    cluster: str | None = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Position":
        """Return the position at which the sweep of an event begins.

        Raises:
            ValueError: The event names an unknown part.
        """
        return cls(Part(event.get("part", Part.CONTAINERS)), event.get("after"), event.get("cluster"))


class SweepContinuation:
    """Passes the remainder of a drift sweep to another invocation of the function."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def hand_on(self, position: Position) -> None:
        """Invoke the function asynchronously. If the reply is lost, it may run twice, which is safe.

        Raises:
            ExternalServiceError: Lambda did not accept the invocation. The next scheduled sweep begins anew.
        """
        self._function.invoke(json.dumps({"sweep": "drift", **position._asdict()}))


def sweep_drift(
    drift: "Drift", continuation: SweepContinuation, clusters: Sequence[str], start: Position
) -> dict[str, int]:
    """Run the drift sweep from a position on, and pass what is left to other invocations.

    Args:
        drift: The sweep.
        continuation: Invokes the function again.
        clusters: The clusters of the stack.
        start: The position.

    Returns:
        The number of containers and tasks by effect, of this invocation.

    Raises:
        ExternalServiceError: Lambda did not accept an invocation.
    """
    cluster: str | None = start.cluster or clusters[0]
    if start.part is Part.CONTAINERS and len(clusters) > 1:
        cluster = None
        for name in clusters if start.after is None else ():
            continuation.hand_on(Position(Part.TASKS, cluster=name))
    counts = drift.sweep(cluster, start)
    if drift.rest is not None:
        continuation.hand_on(drift.rest)
    return counts
