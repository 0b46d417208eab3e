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
    from longshore.recorder import Recorder
    from longshore.schedules import Continuation, ScheduledStops
    from longshore.sweeps import Drift, OnFailure, Recovery

_WORKERS = 16


def cluster() -> str:
    """The cluster that the stack controls."""
    return os.environ["CLUSTER_NAME"]


@cache
def recorder() -> "Recorder":
    from longshore.recorder import Recorder

    return Recorder(bootstrap.store(), SystemClock())


@cache
def task_events() -> "TaskEvents":
    from longshore.ecs import Ecs
    from longshore.events import log_pending
    from longshore.observed import TaskEvents

    return TaskEvents(bootstrap.store(), bootstrap.driver(), recorder(), Ecs(bootstrap.ecs()), log_pending)


@cache
def command_events() -> "CommandEvents":
    from longshore.events import log_pending
    from longshore.observed import CommandEvents

    return CommandEvents(bootstrap.store(), bootstrap.driver(), bootstrap.hosts(), log_pending)


@cache
def servers() -> "Servers":
    from longshore.events import log_failure
    from longshore.models import Container, StatusLog
    from longshore.observed import Servers

    for model in (Container, StatusLog):
        model.model_rebuild()
    return Servers(bootstrap.store(), SystemClock(), log_failure)


@cache
def scheduled_stops() -> "ScheduledStops":
    from longshore.events import log_failure
    from longshore.schedules import ScheduledStops

    return ScheduledStops(bootstrap.store(), bootstrap.operations(), _spread, log_failure)


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

    clock = SystemClock()
    store, driver = bootstrap.store(), bootstrap.driver()
    return Recovery(
        store,
        driver,
        clock,
        _spread,
        enough_time,
        on_stuck,
        on_pending,
        _on_failure(function),
        look_again=drift(function, enough_time).look_again,
    )


def drift(function: str, enough_time: Callable[[], bool]) -> "Drift":
    from longshore.ecs import Ecs
    from longshore.sweeps import Drift

    clock, ecs = SystemClock(), Ecs(bootstrap.ecs())
    return Drift(bootstrap.store(), recorder(), task_events(), ecs, clock, enough_time, _on_failure(function))


def _on_failure(function: str) -> "OnFailure":
    """Log what a sweep could not handle, and count the items that it could not read."""
    from longshore.errors import LongshoreError, UnreadableItemError
    from longshore.events import log_failure
    from longshore.metrics import Metric, publish

    def on_failure(name: str, error: LongshoreError) -> None:
        log_failure(name, error)
        if isinstance(error, UnreadableItemError):
            publish(function, {Metric.UNREADABLE_ITEMS: 1})

    return on_failure


def _spread(function: Callable[[str], str], items: Iterable[str]) -> Iterable[str]:
    from concurrent.futures import ThreadPoolExecutor

    # boto3's clients may be shared by threads; while one waits for an answer, the others work.
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="spread") as executor:
        return list(executor.map(function, items))


def forget() -> None:
    """Make everything anew when it is next needed, as a new execution environment would."""
    for made in (recorder, task_events, command_events, servers, scheduled_stops):
        made.cache_clear()
