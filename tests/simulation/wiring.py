"""Wires the library to the run's clients."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

from longshore.domain.clock import Clock

from simulation.aws import clients

DOCUMENT = "host-command"
CURRENT = "longshore"
"""The package of the current version."""


@dataclass(frozen=True)
class Library:
    """The use cases that the Lambda functions call. The types are those of the wired version."""

    package: str
    store: Any
    operations: Any
    reader: Any
    events: Any
    service_events: Any
    commands: Any
    servers: Any
    schedules: Any
    recovery: Any
    drift: Any
    changes: Any

    @property
    def is_current(self) -> bool:
        return self.package == CURRENT


def wire(package: str, clock: Clock, wait: timedelta, enough_time: Callable[[], bool]) -> Library:
    """Wire the current version of the library, or version 0.2, which is imported under another package name."""

    def part(name: str) -> Any:
        return import_module(f"{package}.{name}")

    dynamodb, ecs_client, ssm = clients().dynamodb, clients().ecs, clients().ssm
    tables = {"containers": "containers", "status_logs": "status-logs"}
    store = part("aws.store").Store(dynamodb, **tables, idempotency="idempotency", clock=clock)
    pages = part("aws.history_pages").HistoryPages(dynamodb, **tables)
    access = part("aws.access").Access(dynamodb, "access")
    ecs = part("aws.ecs").Ecs(ecs_client)
    hosts = part("aws.hosts").HostCommands(lambda: ssm, ecs, DOCUMENT, clock)
    services = part("aws.services").Services(lambda: clients().ecs, lambda: clients().scaling)
    counts = part("engine.counts").CountChanges(store, services, clock)
    steps = part("engine.service_steps").StepsByKind(ecs, hosts, clock, services)
    driver = part("engine.driver").Driver(store, steps, clock)
    recorder = part("engine.recorder").Recorder(store, clock)
    operations = part("engine.operations").Operations(store, access, driver, clock, wait)
    of_events = part("engine.events")
    events = of_events.TaskEvents(store, driver, recorder, ecs)
    lookups = part("engine.lookups").Lookups(ecs, clock)
    of_services = part("engine.service_drift").ServiceDrift(store, services, counts, clock)
    drifts = part("engine.drift" if package == CURRENT else "engine.sweeps")
    drift = drifts.Drift(store, recorder, events, ecs, lookups, of_services, clock, enough_time)
    listing = part("aws.listing").ContainerListing(dynamodb, "containers", clock, lambda *_: None)
    details = part("aws.details").ContainerDetails(dynamodb, "containers", clock)
    return Library(
        package=package,
        store=store,
        operations=operations,
        reader=part("engine.reader").HistoryReader(pages, access, clock, 0),
        events=events,
        service_events=part("engine.service_events").ServiceEvents(store, driver, of_services, events),
        commands=of_events.CommandEvents(store, driver, hosts),
        servers=of_events.Servers(store, clock),
        schedules=part("engine.schedules").ScheduledRuns(store, listing, access, operations, map),
        recovery=part("engine.sweeps").Recovery(
            store,
            driver,
            clock,
            map,
            enough_time,
            lookups=lookups,
            look_again=drift.look_again,
            end_lifetime=part("engine.lifetimes").Lifetimes(store, operations, clock).end,
        ),
        drift=drift,
        changes=part("engine.changes").ContainerChanges(store, details, access, counts, clock),
    )


def one_after_the_other(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Replace `longshore.engine.concurrency.together`, because the scheduler needs a single thread."""
    return tuple(call() for call in calls)
