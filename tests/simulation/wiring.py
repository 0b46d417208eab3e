"""Wires the library to the run's clients."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

from longshore.aws.access import Access
from longshore.aws.details import ContainerDetails
from longshore.aws.ecs import Ecs
from longshore.aws.history_pages import HistoryPages
from longshore.aws.hosts import HostCommands
from longshore.aws.listing import ContainerListing
from longshore.aws.services import Services
from longshore.aws.store import Store
from longshore.domain.clock import Clock
from longshore.engine.changes import ContainerChanges
from longshore.engine.counts import CountChanges
from longshore.engine.drift import Drift
from longshore.engine.driver import Driver
from longshore.engine.events import CommandEvents, Servers, TaskEvents
from longshore.engine.lifetimes import Lifetimes
from longshore.engine.lookups import Lookups
from longshore.engine.operations import Operations
from longshore.engine.reader import HistoryReader
from longshore.engine.recorder import Recorder
from longshore.engine.schedules import ScheduledRuns
from longshore.engine.service_drift import ServiceDrift
from longshore.engine.service_events import ServiceEvents
from longshore.engine.service_steps import StepsByKind
from longshore.engine.sweeps import Recovery

from simulation.aws import clients

DOCUMENT = "host-command"


@dataclass(frozen=True)
class Library:
    """The use cases that the Lambda functions call. The types are those of the wired version."""

    package: str
    store: Any
    operations: Any
    reader: Any
    events: Any
    commands: Any
    servers: Any
    schedules: Any
    recovery: Any
    drift: Any
    service_events: Any = None  # version 0.1 has no services
    changes: Any = None  # version 0.1 has no changes


def current(clock: Clock, wait: timedelta, enough_time: Callable[[], bool]) -> Library:
    """Wire the current version of the library."""
    dynamodb, ecs_client, ssm = clients().dynamodb, clients().ecs, clients().ssm
    store = Store(dynamodb, containers="containers", status_logs="status-logs", idempotency="idempotency", clock=clock)
    pages = HistoryPages(dynamodb, containers="containers", status_logs="status-logs")
    access = Access(dynamodb, "access")
    ecs = Ecs(ecs_client)
    hosts = HostCommands(lambda: ssm, ecs, DOCUMENT, clock)
    services = Services(lambda: clients().ecs, lambda: clients().scaling)
    counts = CountChanges(store, services, clock)
    driver = Driver(store, StepsByKind(ecs, hosts, clock, services), clock)
    recorder = Recorder(store, clock)
    operations = Operations(store, access, driver, clock, wait)
    events = TaskEvents(store, driver, recorder, ecs)
    lookups = Lookups(ecs, clock)
    of_services = ServiceDrift(store, services, counts, clock)
    drift = Drift(store, recorder, events, ecs, lookups, of_services, clock, enough_time)
    listing = ContainerListing(dynamodb, "containers", clock, lambda *_: None)
    return Library(
        package="longshore",
        store=store,
        operations=operations,
        reader=HistoryReader(pages, access, clock, 0),
        events=events,
        service_events=ServiceEvents(store, driver, of_services, events),
        commands=CommandEvents(store, driver, hosts),
        servers=Servers(store, clock),
        schedules=ScheduledRuns(store, listing, access, operations, map),
        recovery=Recovery(
            store,
            driver,
            clock,
            map,
            enough_time,
            lookups=lookups,
            look_again=drift.look_again,
            end_lifetime=Lifetimes(store, operations, clock).end,
        ),
        drift=drift,
        changes=ContainerChanges(store, ContainerDetails(dynamodb, "containers", clock), access, counts, clock),
    )


def first_version(package: str, clock: Clock, wait: timedelta, enough_time: Callable[[], bool]) -> Library:
    """Wire version 0.1, which is imported under the given package name."""
    dynamodb, ecs_client, ssm = clients().dynamodb, clients().ecs, clients().ssm
    part = _parts(package)
    store = part("store").Store(
        dynamodb, containers="containers", status_logs="status-logs", idempotency="idempotency", clock=clock
    )
    access = part("access").Access(dynamodb, "access")
    ecs = part("ecs").Ecs(ecs_client)
    freezer = part("freezer").Freezer(lambda: ssm, ecs, DOCUMENT, clock)
    operations = part("operations").Operations(store, access, part("steps").Steps(ecs, freezer, clock), clock, wait)
    observed, sweeps = part("observed"), part("sweeps")
    events = observed.TaskEvents(store, operations, ecs)
    return Library(
        package=package,
        store=store,
        operations=operations,
        reader=part("reader").Reader(store, access),
        events=events,
        commands=observed.CommandEvents(store, operations, freezer),
        servers=observed.Servers(store, clock),
        schedules=part("schedules").ScheduledStops(store, operations, map),
        recovery=sweeps.Recovery(store, operations, clock, map, enough_time),
        drift=sweeps.Drift(store, operations, events, ecs, clock, enough_time),
    )


def _parts(package: str) -> Callable[[str], Any]:
    return lambda name: import_module(f"{package}.{name}")


def one_after_the_other(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Replace `longshore.engine.concurrency.together`, because the scheduler needs a single thread."""
    return tuple(call() for call in calls)
