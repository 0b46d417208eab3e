"""The continuation of a drift sweep in another invocation of its function."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from longshore.aws.functions import Function


class Part(StrEnum):
    """The parts of a drift sweep, in their order."""

    CONTAINERS = "containers"  # each live container is compared with its task
    TASKS = "tasks"  # each running task is compared with its container
    SERVICES = "services"  # each service is compared with its container, unless that is live


class Position(NamedTuple):
    """A position in a drift sweep.

    Attributes:
        part: The part.
        after: What DynamoDB or ECS has returned to continue the part; None at its beginning.
    """

    part: Part = Part.CONTAINERS
    after: Any = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Position":
        """Return the position at which the sweep of an event begins.

        Raises:
            ValueError: The event names an unknown part.
        """
        return cls(Part(event.get("part", Part.CONTAINERS)), event.get("after"))


class SweepContinuation:
    """Passes the remainder of a drift sweep to another invocation of the function."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def hand_on(self, position: Position) -> None:
        """Invoke the function asynchronously. If the reply is lost, it may run twice, which is safe.

        Raises:
            ExternalServiceError: Lambda did not accept the invocation. The next scheduled sweep begins anew.
        """
        self._function.invoke(json.dumps({"sweep": "drift", "part": position.part, "after": position.after}))
