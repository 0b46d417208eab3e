"""Creates the use cases of the functions behind EventBridge. Clients and shared objects come from `api_functions`."""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

from longshore.domain.clock import SystemClock
from longshore.wiring import api_functions

if TYPE_CHECKING:
    from longshore.engine.events import CommandEvents, Servers, TaskEvents
    from longshore.engine.recorder import Recorder
    from longshore.engine.schedules import Continuation, ScheduledRuns
    from longshore.engine.sweeps import Drift, OnFailure, Recovery

_WORKERS = 16


def cluster() -> str:
    """Return the cluster that the stack controls."""
    return os.environ["CLUSTER_NAME"]


@cache
def recorder() -> "Recorder":
    from longshore.engine.recorder import Recorder

    return Recorder(api_functions.store(), SystemClock())


@cache
def task_events() -> "TaskEvents":
    from longshore.aws.ecs import Ecs
    from longshore.edge.lambda_events import log_pending
    from longshore.engine.events import TaskEvents

    return TaskEvents(api_functions.store(), api_functions.driver(), recorder(), Ecs(api_functions.ecs()), log_pending)


@cache
def command_events() -> "CommandEvents":
    from longshore.edge.lambda_events import log_pending
    from longshore.engine.events import CommandEvents

    return CommandEvents(api_functions.store(), api_functions.driver(), api_functions.hosts(), log_pending)


@cache
def servers() -> "Servers":
    from longshore.domain.models import Container, StatusLog
    from longshore.edge.lambda_events import log_failure
    from longshore.engine.events import Servers

    for model in (Container, StatusLog):
        model.model_rebuild()
    return Servers(api_functions.store(), SystemClock(), log_failure)


@cache
def scheduled_runs() -> "ScheduledRuns":
    from longshore.edge.lambda_events import log_failure
    from longshore.engine.schedules import ScheduledRuns

    return ScheduledRuns(
        api_functions.store(),
        api_functions.container_listing(),
        api_functions.access(),
        api_functions.operations(),
        _spread,
        log_failure,
    )


def continuation(function_arn: str) -> "Continuation":
    from longshore.aws.functions import Function
    from longshore.engine.schedules import Continuation

    return Continuation(Function(api_functions.functions(), function_arn))


def sweeps() -> None:
    """Import the sweeps during the initialization. A new sweep is created for each event."""
    import longshore.engine.lifetimes
    import longshore.engine.sweeps  # noqa: F401


def recovery(function: str, enough_time: Callable[[], bool]) -> "Recovery":
    from longshore.domain.models import Container
    from longshore.edge.lambda_events import log_pending
    from longshore.edge.metrics import Metric, publish
    from longshore.engine.lifetimes import Lifetimes
    from longshore.engine.sweeps import Recovery

    def on_stuck(count: int) -> None:
        publish(function, {Metric.STUCK_OPERATIONS: count})

    def on_pending(container: Container) -> None:
        if container.operation is not None:
            log_pending(container.operation, container.id)

    clock = SystemClock()
    store, driver = api_functions.store(), api_functions.driver()
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
        end_lifetime=Lifetimes(store, api_functions.operations(), clock).end,
    )


def drift(function: str, enough_time: Callable[[], bool]) -> "Drift":
    from longshore.aws.ecs import Ecs
    from longshore.engine.sweeps import Drift

    clock, ecs = SystemClock(), Ecs(api_functions.ecs())
    return Drift(api_functions.store(), recorder(), task_events(), ecs, clock, enough_time, _on_failure(function))


def _on_failure(function: str) -> "OnFailure":
    """Log items that a sweep could not process, and count those that it could not read."""
    from longshore.domain.errors import LongshoreError, UnreadableItemError
    from longshore.edge.lambda_events import log_failure
    from longshore.edge.metrics import Metric, publish

    def on_failure(name: str, error: LongshoreError) -> None:
        log_failure(name, error)
        if isinstance(error, UnreadableItemError):
            publish(function, {Metric.UNREADABLE_ITEMS: 1})

    return on_failure


def _spread(function: Callable[[str], str], items: Iterable[str]) -> Iterable[str]:
    from concurrent.futures import ThreadPoolExecutor

    # Threads may share botocore's clients.
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="spread") as executor:
        return list(executor.map(function, items))


def forget() -> None:
    """Discard all objects, as a new execution environment does."""
    for made in (recorder, task_events, command_events, servers, scheduled_runs):
        made.cache_clear()
