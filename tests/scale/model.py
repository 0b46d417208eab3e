"""The model of a stack under load: the engine, its functions and the emulated AWS on a virtual clock."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from unittest import mock

import longshore.engine.operations
import simulation.aws
from longshore.aws.access import Access
from longshore.aws.attributes import deserialize_item
from longshore.aws.ecs import Ecs, Quota
from longshore.aws.hosts import HostCommands
from longshore.aws.items import container_of
from longshore.aws.listing import ContainerListing
from longshore.aws.services import Services
from longshore.aws.store import Store
from longshore.domain.errors import LongshoreError
from longshore.domain.models import Container, OperationRequest, Outcome
from longshore.engine.continuation import Position
from longshore.engine.counts import CountChanges
from longshore.engine.drift import Drift
from longshore.engine.driver import Driver
from longshore.engine.events import TaskEvents
from longshore.engine.lifetimes import Lifetimes
from longshore.engine.lookups import Lookups
from longshore.engine.operations import Operations
from longshore.engine.pace import Pace
from longshore.engine.recorder import Recorder
from longshore.engine.schedules import ScheduledRuns, ScheduleInput
from longshore.engine.service_drift import ServiceDrift
from longshore.engine.steps import Steps
from longshore.engine.sweeps import Recovery
from simulation.aws import clients
from simulation.cloud import table_properties
from simulation.dynamodb import DynamoDb
from simulation.scheduler import Actor, Scheduler, VirtualClock
from simulation.services import Services as ServiceControls
from simulation.trace import START
from simulation.wiring import one_after_the_other

from local.emulator.ecs import StaticCatalog, TaskSimulation
from local.emulator.ecs.quotas import DEFAULTS, Limit, Quotas
from local.emulator.errors import AwsError
from local.emulator.scaling import ScalableTargets
from scale.population import CLUSTER, HOST

LATENCY = {"dynamodb": 0.006, "ecs": 0.08, "ssm": 0.08}  # seconds per call
_DELIVERY = 0.5  # seconds from a change of a task to its event's function
_WORKERS = 16  # threads of a sweep, as in `wiring/event_functions.py`
_SWEEP_SECONDS = 300  # the timeout of the functions behind schedules
_RESERVE = 8  # seconds
_RECOVERY_LASTS = 50  # seconds
PACE = {Quota.ACTIONS: 36.0, Quota.FARGATE: 18.0, Quota.READS: 9.0}
"""The rates of one worker, as the template's default parameters set them."""


class Invocation(NamedTuple):
    """A completed invocation of a function."""

    kind: str  # operation, event, recovery, drift or schedule
    started: float  # seconds since the start of the model
    seconds: float
    result: Any


class Model:
    """The stack and its AWS.

    Args:
        run_delay: Seconds from RunTask to RUNNING.
        wait: Seconds that a request waits for its effect.
        quotas: The quotas of ECS.
        events: Whether events of tasks are delivered.
    """

    def __init__(
        self,
        *,
        run_delay: float = 3.0,
        wait: float = 8.0,
        quotas: Mapping[str, Limit] = DEFAULTS,
        events: bool = True,
    ) -> None:
        self.scheduler = Scheduler(START)
        self.clock = VirtualClock(self.scheduler)
        self.calls: Counter[tuple[str, str]] = Counter()  # by kind of invocation and operation
        self.throttled: Counter[str] = Counter()  # by kind of invocation
        self.invocations: list[Invocation] = []
        self.dead_letters: list[Exception] = []
        self._events = events
        self._kinds: dict[int, str] = {}
        self._wait = timedelta(seconds=wait)
        self._build_aws(run_delay, quotas)

    def _build_aws(self, run_delay: float, quotas: Mapping[str, Limit]) -> None:
        self.dynamodb = DynamoDb(table_properties(), lambda: self.scheduler.now)
        for table in self.dynamodb.tables.values():
            table.versions = deque(maxlen=1)  # type: ignore[assignment]  # no read of an index lags behind
        self.catalog = StaticCatalog()
        self.catalog.add_cluster(CLUSTER)
        self.ecs = TaskSimulation(
            self.catalog, lambda: self.scheduler.now, run_delay=run_delay, stop_delay=1.0, rng=random.Random(1)
        )
        self.ecs.add_instance(CLUSTER, HOST, cpu=1 << 40, memory=1 << 40)
        targets = ScalableTargets(self.ecs, lambda: self.scheduler.now, delay=0.2)
        self.services = ServiceControls(self.ecs, targets)
        self.quotas = Quotas(quotas, lambda: self.scheduler.now)
        self.scheduler.machines = [self.ecs, targets]
        self.scheduler.advanced = self._deliver
        self.store = Store(
            clients().dynamodb,
            containers="containers",
            status_logs="status-logs",
            idempotency="idempotency",
            clock=self.clock,
        )
        self.operations = self._operations_of(self._driver(Ecs(clients().ecs)))
        self._task_events = self._events_of(Ecs(clients().ecs))

    # --- wiring ----------------------------------------------------------------------------------------------------

    def _driver(self, ecs: Ecs) -> Driver:
        hosts = HostCommands(lambda: clients().ssm, ecs, "host-command", self.clock)
        return Driver(self.store, Steps(ecs, hosts, self.clock), self.clock)

    def _operations_of(self, driver: Driver) -> Operations:
        return Operations(self.store, _access(), driver, self.clock, self._wait)

    def _events_of(self, ecs: Ecs) -> TaskEvents:
        return TaskEvents(self.store, self._driver(ecs), Recorder(self.store, self.clock), ecs)

    def _paced(self) -> Ecs:
        return Ecs(clients().ecs, Pace(self.clock, PACE))

    def _drift(self, enough_time: Callable[[], bool], on_failure: Callable[[str, LongshoreError], None]) -> Drift:
        ecs, recorder = self._paced(), Recorder(self.store, self.clock)
        lookups = Lookups(ecs, self.clock)
        events = self._events_of(ecs)
        services = Services(lambda: clients().ecs, lambda: clients().scaling)
        drift = ServiceDrift(self.store, services, CountChanges(self.store, services, self.clock), self.clock)
        return Drift(self.store, recorder, events, ecs, lookups, drift, self.clock, enough_time, on_failure)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Direct AWS requests to this model. The parameters of requests are not validated, which saves time."""
        clients().endpoint = self
        valid = mock.Mock(has_errors=lambda: False)
        with (
            mock.patch.object(longshore.engine.operations, "together", one_after_the_other),
            mock.patch.object(simulation.aws, "_validator", mock.Mock(validate=lambda *_: valid)),
        ):
            yield

    # --- requests --------------------------------------------------------------------------------------------------

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the current actor after the latency of the service."""
        kind = self._kinds[id(self.scheduler.current)]
        self.calls[kind, operation] += 1
        self.scheduler.pause(LATENCY[service])
        if service == "dynamodb":
            return self.dynamodb.handle(operation, parameters)
        if not self.quotas.allow(operation, parameters):
            self.throttled[kind] += 1
            raise AwsError("ThrottlingException", "Rate exceeded")
        if self.services.handles(operation, parameters):
            return self.services.handle(operation, parameters)
        answer = self.ecs.handle(operation, parameters)
        self._deliver()
        return answer

    def _deliver(self) -> None:
        for event in self.ecs.drain_events():
            if self._events and "taskArn" in event["detail"]:
                self.later(_DELIVERY, lambda detail=event["detail"]: self._apply(detail))  # type: ignore[misc]

    def _apply(self, detail: dict[str, Any], attempt: int = 0) -> None:
        def ended(result: Any) -> None:
            if isinstance(result, LongshoreError):
                if attempt < 2:  # as Lambda retries
                    self.later(60.0 * (attempt + 1), lambda: self._apply(detail, attempt + 1))
                else:
                    self.dead_letters.append(result)

        self.invoke("event", lambda: self._task_events.apply(detail), ended)

    def later(self, seconds: float, function: Callable[[], Any]) -> None:
        """Call a function after a delay."""
        self.scheduler.at(self.scheduler.now + timedelta(seconds=seconds), function)

    # --- invocations -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The seconds since the start of the model."""
        return (self.scheduler.now - START).total_seconds()

    def run(self, seconds: float) -> None:
        """Let the time pass."""
        self.scheduler.run(self.scheduler.now + timedelta(seconds=seconds))

    def invoke(self, kind: str, function: Callable[[], Any], ended: Callable[[Any], None] = lambda _: None) -> None:
        """Run a function like Lambda. `ended` receives its result or its LongshoreError."""
        started, result = self.now, list[Any]([None])

        def body() -> None:
            try:
                result[0] = function()
            except LongshoreError as error:
                result[0] = error

        def over(actor: Actor) -> None:
            assert not actor.crashed, f"{kind} exceeded its time limit"
            self.invocations.append(Invocation(kind, started, self.now - started, result[0]))
            del self._kinds[id(actor)]
            ended(result[0])

        limit = _SWEEP_SECONDS if kind in ("recovery", "drift", "schedule") else 29
        actor = Actor(kind, timedelta(), self.scheduler.now + timedelta(seconds=limit))
        self._kinds[id(actor)] = kind
        self.scheduler.spawn(actor, body, over)

    def ask(self, request: OperationRequest, ended: Callable[[Outcome | LongshoreError], None]) -> None:
        """Request an operation as a caller."""
        self.invoke("operation", lambda: self.operations.perform(request), ended)

    def recover(self, on_failure: Callable[[str, LongshoreError], None] = lambda *_: None) -> None:
        """Invoke the recovery sweep, as the template's rule does each minute."""
        until = self.scheduler.now + timedelta(seconds=_RECOVERY_LASTS)
        ecs = self._paced()
        driver = self._driver(ecs)
        sweep = Recovery(
            self.store,
            driver,
            self.clock,
            self._spread,
            lambda: self.scheduler.now < until,
            on_failure=on_failure,
            lookups=Lookups(ecs, self.clock),
            look_again=self._drift(lambda: True, on_failure).look_again,
            end_lifetime=Lifetimes(self.store, self._operations_of(driver), self.clock).end,
        )
        self.invoke("recovery", sweep.sweep)

    def drift(
        self, start: Position | None = None, on_failure: Callable[[str, LongshoreError], None] = lambda *_: None
    ) -> None:
        """Invoke the drift sweep, which is continued in further invocations."""
        until = self.scheduler.now + timedelta(seconds=_SWEEP_SECONDS - _RESERVE)
        sweep = self._drift(lambda: self.scheduler.now < until, on_failure)

        def ended(_: Any) -> None:
            assert sweep.unlisted == []
            if sweep.rest is not None:
                self.drift(sweep.rest, on_failure)

        self.invoke("drift", lambda: sweep.sweep(CLUSTER, start or Position()), ended)

    def run_schedule(self, wanted: ScheduleInput) -> None:
        """Invoke the run of a schedule, which is continued in further invocations. A failed run is retried."""
        until = self.scheduler.now + timedelta(seconds=_SWEEP_SECONDS - _RESERVE)
        listing = ContainerListing(clients().dynamodb, "containers", self.clock, lambda *_: None)
        operations = self._operations_of(self._driver(self._paced()))
        runs = ScheduledRuns(self.store, listing, _access(), operations, self._spread)

        def ended(result: Any) -> None:
            if isinstance(result, LongshoreError):
                self.dead_letters.append(result)
            elif result.left or result.failed:
                ids = [*result.left, *result.failed]
                self.run_schedule(wanted.model_copy(update={"all": False, "container_ids": ids}))

        self.invoke(
            "schedule",
            lambda: runs.run(wanted, "run-1", lambda: self.scheduler.now < until, now=self.clock.now()),
            ended,
        )

    def sweep_each_minute(self, seconds: float) -> None:
        """Schedule the recovery sweep each minute for this time."""
        for minute in range(1, int(seconds // 60) + 1):
            self.later(60.0 * minute, self.recover)

    def _spread(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Call a function with each item in concurrent workers, as the threads of a sweep do."""
        parent, waiting = self.scheduler.current, deque(enumerate(items))
        assert parent is not None
        results: list[Any] = [None] * len(waiting)
        working: list[Actor] = []

        def body() -> None:
            while waiting:
                number, item = waiting.popleft()
                results[number] = function(item)

        def over(actor: Actor) -> None:
            del self._kinds[id(actor)]
            working.remove(actor)

        for _ in range(min(_WORKERS, len(waiting))):
            actor = Actor(parent.name, parent.skew, parent.killed_at)
            self._kinds[id(actor)] = self._kinds[id(parent)]
            working.append(actor)
            self.scheduler.spawn(actor, body, over)
        while working:
            self.scheduler.pause(0.01)
        return results

    def forget_running_tasks(self) -> None:
        """Remove the running tasks from ECS, which takes longer for each call the more tasks there are."""
        settled = self.scheduler.now - timedelta(seconds=10)
        for task in self.ecs.tasks():
            if task.started_at is not None and task.started_at < settled:
                self.ecs.forget(task.arn)

    # --- observations ----------------------------------------------------------------------------------------------

    def count(self, operation: str, kind: str | None = None) -> int:
        """Return how often an operation of AWS was called, optionally by one kind of invocation."""
        return sum(n for (of, name), n in self.calls.items() if name == operation and kind in (None, of))

    def container(self, container_id: str) -> Container:
        """Return the container as stored in the table."""
        item = self.dynamodb.tables["containers"].items[(container_id,)]
        return container_of(deserialize_item(item))

    def failures(self) -> list[LongshoreError]:
        """Return the errors with which requests of callers were answered."""
        results = [each.result for each in self.invocations if each.kind == "operation"]
        return [result for result in results if isinstance(result, LongshoreError)]


def _access() -> Access:
    return Access(clients().dynamodb, "access")
