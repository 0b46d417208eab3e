"""The use cases of the library, wired to the clients of a test."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from longshore.aws.access import Access
from longshore.aws.details import ContainerDetails
from longshore.aws.ecs import Ecs
from longshore.aws.history_pages import HistoryPages
from longshore.aws.hosts import HostCommands
from longshore.aws.listing import ContainerListing
from longshore.aws.services import Services
from longshore.aws.store import Store
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError
from longshore.engine.changes import ContainerChanges
from longshore.engine.counts import CountChanges
from longshore.engine.drift import Drift
from longshore.engine.driver import Driver
from longshore.engine.events import CommandEvents, Servers, TaskEvents
from longshore.engine.lifetimes import Lifetimes
from longshore.engine.lookups import Lookups
from longshore.engine.operations import Operations
from longshore.engine.recorder import Recorder
from longshore.engine.schedules import ScheduledRuns, ScheduleInput
from longshore.engine.service_drift import ServiceDrift
from longshore.engine.service_events import ServiceEvents
from longshore.engine.service_steps import StepsByKind
from longshore.engine.steps import Steps
from longshore.engine.sweeps import Recovery


class Wired(NamedTuple):
    """The objects that a test calls."""

    store: Store
    pages: HistoryPages
    steps: Steps
    driver: Driver
    recorder: Recorder
    operations: Operations
    task_events: ServiceEvents
    command_events: CommandEvents
    servers: Servers
    schedules: ScheduledRuns
    recovery: Recovery
    drift: Drift
    changes: ContainerChanges
    lookups: Lookups
    counts: CountChanges


def wire(
    clients: Any,
    clock: Clock,
    *,
    wait: timedelta,
    enough_time: Callable[[], bool],
    on_stuck: Callable[[int], None],
    on_pending: Callable[[str], None],
    on_failure: Callable[[str, LongshoreError], None],
    on_large: Callable[[str, float], None],
) -> Wired:
    """Wire all use cases to the given clients (`dynamodb`, `ecs`, `ssm`)."""
    store = Store(
        clients.dynamodb,
        containers="containers",
        status_logs="status-logs",
        idempotency="idempotency",
        clock=clock,
        on_large=on_large,
    )
    ecs = Ecs(clients.ecs)
    hosts = HostCommands(lambda: clients.ssm, ecs, "host-command", clock)
    services = Services(lambda: clients.ecs, lambda: clients.scaling)
    steps = StepsByKind(ecs, hosts, clock, services)
    driver = Driver(store, steps, clock)
    recorder = Recorder(store, clock)
    access = Access(clients.dynamodb, "access")
    operations = Operations(store, access, driver, clock, wait)
    listing = ContainerListing(clients.dynamodb, "containers", clock, on_failure)
    events = TaskEvents(store, driver, recorder, ecs, lambda pending: on_pending(pending.id))
    lookups = Lookups(ecs, clock)
    counts = CountChanges(store, services, clock)
    of_services = ServiceDrift(store, services, counts, clock, on_failure)
    drift = Drift(store, recorder, events, ecs, lookups, of_services, clock, enough_time, on_failure)
    return Wired(
        store,
        HistoryPages(clients.dynamodb, containers="containers", status_logs="status-logs"),
        steps,
        driver,
        recorder,
        operations,
        ServiceEvents(store, driver, of_services, events, lambda pending: on_pending(pending.id)),
        CommandEvents(store, driver, hosts, lambda pending: on_pending(pending.id)),
        Servers(store, clock, on_failure),
        ScheduledRuns(store, listing, access, operations, map, on_failure),
        Recovery(
            store,
            driver,
            clock,
            map,
            enough_time,
            on_stuck,
            lambda container: on_pending(container.operation.id if container.operation else ""),
            on_failure,
            lookups=lookups,
            look_again=drift.look_again,
            end_lifetime=Lifetimes(store, operations, clock).end,
        ),
        drift,
        ContainerChanges(store, ContainerDetails(clients.dynamodb, "containers", clock), access, counts, clock),
        lookups,
        counts,
    )


def scheduled_stop(wired: Wired, container_ids: list[str], time: datetime, now: datetime) -> dict[str, int]:
    """Run a scheduled stop with the scheduled time `time`. Returns the number of containers by effect."""
    wanted = ScheduleInput(container_ids=container_ids, rule="nightly", time=time)
    return wired.schedules.run(wanted, "run-1", lambda: True, now=now).counts
