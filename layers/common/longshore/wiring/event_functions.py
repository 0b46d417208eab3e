"""Creates the use cases of the functions behind EventBridge. Clients and shared objects come from `api_functions`."""

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from longshore.domain.clock import SystemClock
from longshore.wiring import api_functions

if TYPE_CHECKING:
    from longshore.aws.bus import EventBus
    from longshore.aws.ecs import Ecs
    from longshore.aws.services import Services
    from longshore.engine.continuation import SweepContinuation
    from longshore.engine.drift import Drift
    from longshore.engine.events import CommandEvents, Servers
    from longshore.engine.publishing import Publisher
    from longshore.engine.recorder import Recorder
    from longshore.engine.schedules import Continuation, ScheduledRuns
    from longshore.engine.service_drift import ServiceDrift
    from longshore.engine.service_events import ServiceEvents
    from longshore.engine.sweeps import OnFailure, Recovery

_WORKERS = 16

_RECOVERY_LASTS = timedelta(seconds=50)
"""How long a recovery sweep takes over operations. The next one, a minute later, continues: there is one at a time."""

_READS_OF_EACH = 0.5  # the share of the rate of reads for each of the two sweeps, which may run at the same time
_SERVICE_UPDATES, _SERVICE_READS = 4.5, 18.0  # calls per second: 0.9 of the quotas of ECS


def clusters() -> list[str]:
    """Return the clusters that the stack controls."""
    return list(dict.fromkeys(os.environ["CLUSTER_NAMES"].split(",")))


@cache
def recorder() -> "Recorder":
    from longshore.engine.recorder import Recorder

    return Recorder(api_functions.store(), SystemClock())


@cache
def task_events() -> "ServiceEvents":
    from longshore.aws.ecs import Ecs
    from longshore.edge.lambda_events import log_pending
    from longshore.engine.events import TaskEvents
    from longshore.engine.service_events import ServiceEvents

    store, driver = api_functions.store(), api_functions.driver()
    tasks = TaskEvents(store, driver, recorder(), Ecs(api_functions.ecs()), log_pending)
    return ServiceEvents(store, driver, _service_drift(api_functions.services_of()), tasks, log_pending)


def _service_drift(services: "Services", on_failure: "OnFailure" = lambda *_: None) -> "ServiceDrift":
    from longshore.engine.counts import CountChanges
    from longshore.engine.service_drift import ServiceDrift

    clock, store = SystemClock(), api_functions.store()
    return ServiceDrift(store, services, CountChanges(store, services, clock), clock, on_failure)


@cache
def command_events() -> "CommandEvents":
    from longshore.edge.lambda_events import log_pending
    from longshore.engine.events import CommandEvents

    return CommandEvents(api_functions.store(), api_functions.driver(), api_functions.hosts(), log_pending)


@cache
def servers() -> "Servers":
    from longshore.domain.ledger import KnownTask
    from longshore.domain.models import Container, StatusLog
    from longshore.edge.lambda_events import log_failure
    from longshore.engine.events import Servers

    for model in (Container, KnownTask, StatusLog):
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
        api_functions.operations_of(api_functions.driver_of(*_paced())),
        _spread,
        log_failure,
    )


def continuation(function_arn: str) -> "Continuation":
    from longshore.aws.functions import Function
    from longshore.engine.schedules import Continuation

    return Continuation(Function(api_functions.functions(), function_arn))


def sweep_continuation(function_arn: str) -> "SweepContinuation":
    from longshore.aws.functions import Function
    from longshore.engine.continuation import SweepContinuation

    return SweepContinuation(Function(api_functions.functions(), function_arn))


def sweeps() -> None:
    """Import the sweeps during the initialization. A new sweep is created for each event."""
    import longshore.engine.drift
    import longshore.engine.lifetimes
    import longshore.engine.sweeps  # noqa: F401


def _paced(invocations: int = 1) -> "tuple[Ecs, Services]":
    """Create an `Ecs` and a `Services` that keep the rates of the stack's parameters and the quotas for services.

    Args:
        invocations: The number of invocations that share the rates of reads at the same time.
    """
    from longshore.aws.ecs import Ecs, Quota
    from longshore.engine.pace import Pace
    from longshore.wiring.settings import PaceSettings

    settings = PaceSettings.of(os.environ)
    limits = {
        Quota.ACTIONS: settings.task_actions,
        Quota.FARGATE: settings.fargate_starts,
        Quota.READS: settings.task_reads * _READS_OF_EACH / invocations,
        Quota.SERVICE_UPDATES: _SERVICE_UPDATES,
        Quota.SERVICE_READS: _SERVICE_READS * _READS_OF_EACH / invocations,
    }
    pace = Pace(SystemClock(), limits)
    return Ecs(api_functions.ecs(), pace), api_functions.services_of(pace)


def recovery(function: str, enough_time: Callable[[], bool]) -> "Recovery":
    from longshore.domain.models import Container
    from longshore.edge.lambda_events import log_pending
    from longshore.edge.metrics import Metric, publish
    from longshore.engine.lifetimes import Lifetimes
    from longshore.engine.lookups import Lookups
    from longshore.engine.sweeps import Recovery

    def on_stuck(count: int) -> None:
        publish(function, {Metric.STUCK_OPERATIONS: count})

    def on_pending(container: Container) -> None:
        if container.operation is not None:
            log_pending(container.operation, container.id)

    clock, store = SystemClock(), api_functions.store()
    ecs, services = _paced()
    driver = api_functions.driver_of(ecs, services)
    until = clock.now() + _RECOVERY_LASTS
    return Recovery(
        store,
        driver,
        clock,
        _spread,
        lambda: clock.now() < until and enough_time(),
        on_stuck,
        on_pending,
        _on_failure(function),
        lookups=Lookups(ecs, clock),
        look_again=drift(function, enough_time).look_again,
        end_lifetime=Lifetimes(store, api_functions.operations_of(driver), clock).end,
    )


def drift(function: str, enough_time: Callable[[], bool]) -> "Drift":
    from longshore.edge.lambda_events import log_pending
    from longshore.engine.drift import Drift
    from longshore.engine.events import TaskEvents
    from longshore.engine.lookups import Lookups

    # With several clusters, the containers and each cluster are swept by invocations that run at the same time.
    number = len(clusters())
    ecs, services = _paced(invocations=number + 1 if number > 1 else 1)
    clock, store = SystemClock(), api_functions.store()
    events = TaskEvents(store, api_functions.driver_of(ecs, services), recorder(), ecs, log_pending)
    on_failure = _on_failure(function)
    of_services = _service_drift(services, on_failure)
    return Drift(store, recorder(), events, ecs, Lookups(ecs, clock), of_services, clock, enough_time, on_failure)


def publisher(enough_time: Callable[[], bool]) -> "Publisher":
    from longshore.aws.stream import UndeliveredQueue
    from longshore.edge.lambda_events import log_failure
    from longshore.engine.publishing import Publisher
    from longshore.wiring.settings import PublishingSettings

    queue = UndeliveredQueue(api_functions.sqs(), PublishingSettings.of(os.environ).undelivered_events)
    return Publisher(api_functions.container_listing(), event_bus(), queue, SystemClock(), enough_time, log_failure)


@cache
def event_bus() -> "EventBus":
    from longshore.aws.bus import EventBus
    from longshore.domain.status_changes import StatusChange
    from longshore.wiring.settings import PublishingSettings

    StatusChange.model_rebuild()
    settings = PublishingSettings.of(os.environ)
    return EventBus(api_functions.events(), settings.event_bus, settings.stack_arn)


def publishing() -> None:
    """Create the objects of the publisher during the initialization. A new publisher is created for each event."""
    publisher(lambda: True)


def _on_failure(function: str) -> "OnFailure":
    """Log what a sweep could not process, and count items that it could not read and clusters that failed."""
    from longshore.domain.errors import LongshoreError, UnreadableItemError
    from longshore.edge.lambda_events import log_failure
    from longshore.edge.metrics import Metric, publish

    def on_failure(name: str, error: LongshoreError) -> None:
        log_failure(name, error)
        if isinstance(error, UnreadableItemError):
            publish(function, {Metric.UNREADABLE_ITEMS: 1})
        elif name in clusters():
            publish(function, {Metric.CLUSTER_FAILURES: 1}, cluster=name)

    return on_failure


def _spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
    from concurrent.futures import ThreadPoolExecutor

    # Threads may share botocore's clients.
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="spread") as executor:
        return list(executor.map(function, items))


def forget() -> None:
    """Discard all objects, as a new execution environment does."""
    for made in (recorder, task_events, command_events, servers, scheduled_runs, event_bus):
        made.cache_clear()
