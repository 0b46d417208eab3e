"""What a driver knows about tasks before it makes an attempt, so that the attempt need not ask ECS."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from longshore.aws.ecs import EcsError
from longshore.domain.task import Task
from longshore.engine.observations import Noting


class Lookup(NamedTuple):
    """The result of a DescribeTasks call for several tasks, which replaces the first lookup of each of them."""

    asked_at: datetime  # when the call was sent
    arns: frozenset[str]
    tasks: Mapping[str, Task]  # by ARN, without those that ECS does not show
    error: EcsError | None = None  # why there is no answer


class Known(NamedTuple):
    """What the driver knows about tasks before an attempt.

    Attributes:
        event_task: A task as an event describes it, used instead of looking that task up.
        launched: The operation's task as RunTask has just returned it, which is not a lookup.
        lookup: A lookup of several tasks just before the attempt.
        noted: What the driver has just stored for the attempt at a service's step, which now continues.
        acts: Whether the attempt may change a service. False for the handler of an event, which only looks.
    """

    event_task: Task | None = None
    launched: Task | None = None
    lookup: Lookup | None = None
    noted: Noting | None = None
    acts: bool = True
