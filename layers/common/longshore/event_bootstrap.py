"""Wires the functions behind EventBridge. What they share with the API's is wired by `bootstrap`.

Each needs one of these, and imports no more than that.
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

from longshore import bootstrap
from longshore.clock import SystemClock

if TYPE_CHECKING:
    from longshore.observed import CommandEvents, Servers, TaskEvents
    from longshore.schedules import Continuation, ScheduledStops
    from longshore.sweeps import Drift, Recovery

_WORKERS = 16


def cluster() -> str:
    """The cluster that the stack controls."""
    return os.environ["CLUSTER_NAME"]


@cache
def task_events() -> "TaskEvents":
    from longshore.ecs import Ecs
    from longshore.events import log_pending
    from longshore.observed import TaskEvents

    return TaskEvents(bootstrap.store(), bootstrap.operations(), Ecs(bootstrap.ecs()), log_pending)


@cache
def command_events() -> "CommandEvents":
    from longshore.events import log_pending
    from longshore.observed import CommandEvents

    return CommandEvents(bootstrap.store(), bootstrap.operations(), bootstrap.freezer(), log_pending)


@cache
def servers() -> "Servers":
    from longshore.models import Container, StatusLog
    from longshore.observed import Servers

    for model in (Container, StatusLog):
        model.model_rebuild()
    return Servers(bootstrap.store(), SystemClock())


@cache
def scheduled_stops() -> "ScheduledStops":
    from longshore.schedules import ScheduledStops

    return ScheduledStops(bootstrap.store(), bootstrap.operations(), _spread)


def continuation(function_arn: str) -> "Continuation":
    from longshore.schedules import Continuation

    return Continuation(bootstrap.functions(), function_arn)


def sweeps() -> None:
    """Import what the sweeps are made of: they themselves are made anew for each event."""
    import longshore.sweeps  # noqa: F401


def recovery(function: str, enough_time: Callable[[], bool]) -> "Recovery":
    from longshore.events import log_pending
    from longshore.metrics import Metric, publish
    from longshore.models import Container
    from longshore.sweeps import Recovery

    def on_stuck(count: int) -> None:
        publish(function, {Metric.STUCK_OPERATIONS: count})

    def on_pending(container: Container) -> None:
        if container.operation is not None:
            log_pending(container.operation, container.id)

    store, operations = bootstrap.store(), bootstrap.operations()
    return Recovery(store, operations, SystemClock(), _spread, enough_time, on_stuck, on_pending)


def drift(enough_time: Callable[[], bool]) -> "Drift":
    from longshore.ecs import Ecs
    from longshore.sweeps import Drift

    clock = SystemClock()
    ecs = Ecs(bootstrap.ecs())
    return Drift(bootstrap.store(), bootstrap.operations(), task_events(), ecs, clock, enough_time)


def _spread(function: Callable[[str], str], items: Iterable[str]) -> Iterable[str]:
    from concurrent.futures import ThreadPoolExecutor

    # boto3's clients may be shared by threads; while one waits for an answer, the others work.
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="spread") as executor:
        return list(executor.map(function, items))


def forget() -> None:
    """Make everything anew when it is next needed, as a new execution environment would."""
    for made in (task_events, command_events, servers, scheduled_stops):
        made.cache_clear()
