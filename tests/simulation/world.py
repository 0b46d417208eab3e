"""One run's AWS, the library wired to it, the actors, and what is recorded of them."""

import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest import mock

import longshore.operations
import longshore.reader
from longshore.access import Access
from longshore.ecs import Ecs
from longshore.errors import LongshoreError
from longshore.freezer import Freezer
from longshore.models import Container, Outcome
from longshore.observed import CommandEvents, Servers, TaskEvents
from longshore.operations import Operations
from longshore.reader import Reader
from longshore.schedules import ScheduledStops
from longshore.steps import Steps
from longshore.store import Store
from longshore.sweeps import Drift, Recovery

from local import template
from local.emulator.ecs import StaticCatalog, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.ssm import CommandSimulation
from simulation.aws import clients
from simulation.checks import Ledger, Violation
from simulation.dynamodb import DynamoDb, Item
from simulation.faults import Faults, Kind
from simulation.scheduler import Actor, Crash, Scheduler, VirtualClock

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
CLUSTER = "default"
TABLES = {
    "ContainersTable": "containers",
    "StatusLogsTable": "status-logs",
    "AccessTable": "access",
    "IdempotencyTable": "idempotency",
}
_DOCUMENT = "host-command"
_RESERVE = timedelta(seconds=8)  # what a batch keeps back of its function's time
_LONGEST_STALL = 400  # seconds
_RETRIES = (60.0, 120.0)  # when Lambda delivers an event again that could not be handled


@cache
def _stack() -> template.Stack:
    return template.load()


@cache
def table_properties() -> dict[str, Any]:
    """The tables' keys and indexes, as the template declares them."""
    return {name: _stack().tables[logical_id] for logical_id, name in TABLES.items()}


@cache
def _document() -> dict[str, Any]:
    (properties,) = _stack().of_type("AWS::SSM::Document").values()
    content: dict[str, Any] = properties["Content"]
    return content


@dataclass(frozen=True)
class Line:
    """A line of the trace. `subject` is formatted only when the trace is printed."""

    at: datetime
    who: str
    what: str
    subject: Any = None

    def __str__(self) -> str:
        moment = (self.at - START).total_seconds()
        return f"{moment:10.3f}  {self.who:<14} {self.what} {_short(self.subject)}".rstrip()


class World:
    """Where the actors live. Every draw comes from the seed, each kind of draw from a stream of its own."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.trace: list[Line] = []
        self.stats: Counter[str] = Counter()
        self.waiting = 0  # what `later` has yet to do
        self.scheduler = Scheduler(START)
        self.clock = VirtualClock(self.scheduler)
        self.faults = Faults(self.rng("faults"))
        self._chances = self.rng("world")
        chances = self._chances
        self.dynamodb = DynamoDb(table_properties(), lambda: self.scheduler.now, self._lag, self._written)
        self.catalog = StaticCatalog()
        self.catalog.add_cluster(CLUSTER)
        self.ecs = TaskSimulation(
            self.catalog,
            lambda: self.scheduler.now,
            run_delay=chances.choice((0.4, 0.4, 3, 12, 25, 75)),
            stop_delay=chances.choice((0.3, 0.3, 2, 8)),
            rng=self.rng("ecs"),
        )
        self.ssm = CommandSimulation(
            self.ecs,
            lambda name, _: _document() if name == _DOCUMENT else None,
            lambda: self.scheduler.now,
            command_delay=chances.choice((0.1, 0.1, 1, 6)),
            rng=self.rng("ssm"),
        )
        self.scheduler.machines = [self.ssm, self.ecs]
        self.scheduler.advanced = self.after_effect
        self.ledger = Ledger(self)
        self.deliver: Callable[[dict[str, Any]], None] = lambda _: None  # where AWS's events go
        # How far a global index may be behind, and how far the actors' clocks may differ.
        self._most_lag = chances.choice((0, 0, 1, 5))
        self._most_skew = chances.choice((0, 0, 0.02, 0.5))
        self._seen: set[str] = set()
        # For how many seconds ECS may not show a task that was just started.
        self._most_unseen = timedelta(seconds=chances.choice((0, 0, 0.5, 2)))
        self._wire(timedelta(seconds=chances.choice((0, 2, 8, 20, 20))))

    def rng(self, name: str) -> random.Random:
        """A stream of draws of its own."""
        return random.Random(f"{self._seed}/{name}")

    def _wire(self, wait: timedelta) -> None:
        dynamodb, ecs, ssm = clients().dynamodb, clients().ecs, clients().ssm
        self.store = Store(
            dynamodb, containers="containers", status_logs="status-logs", idempotency="idempotency", clock=self.clock
        )
        tasks = Ecs(ecs)
        freezer = Freezer(lambda: ssm, tasks, _DOCUMENT, self.clock)
        steps = Steps(tasks, freezer, self.clock)
        access = Access(dynamodb, "access")
        self.operations = Operations(self.store, access, steps, self.clock, wait)
        self.reader = Reader(self.store, access)
        self.events = TaskEvents(self.store, self.operations, tasks)
        self.commands = CommandEvents(self.store, self.operations, freezer)
        self.servers = Servers(self.store, self.clock)
        self.schedules = ScheduledStops(self.store, self.operations, map)
        self.recovery = Recovery(self.store, self.operations, self.clock, map, self.enough_time)
        self.drift = Drift(self.store, self.operations, self.events, tasks, self.clock, self.enough_time)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Put this world in the place of everything that is real."""
        entropy = self.rng("entropy")
        random.seed(f"{self._seed}/global")
        clients().endpoint = self
        with (
            mock.patch.object(os, "urandom", entropy.randbytes),
            mock.patch.object(longshore.operations, "together", _one_after_the_other),
            mock.patch.object(longshore.reader, "together", _one_after_the_other),
        ):
            yield

    # --- actors ----------------------------------------------------------------------------------------------------

    def invoke(
        self,
        name: str,
        function: Callable[[], Any],
        *,
        seconds: float,
        ended: Callable[[Actor, Any], None] = lambda *_: None,
    ) -> None:
        """Run a function as Lambda would. Its time is up after so many seconds, unless the run lets it stall longer.

        `ended` gets its result, or the LongshoreError that it raised. Any other exception is a violation.
        """
        killed_at = None
        if self._chances.random() < 0.7:
            killed_at = self.scheduler.now + timedelta(seconds=seconds)
        skew = timedelta(seconds=round(self._chances.uniform(-self._most_skew, self._most_skew), 3))
        actor = Actor(name, skew, killed_at)
        result: list[Any] = [None]

        def body() -> None:
            try:
                result[0] = function()
            except LongshoreError as error:
                result[0] = error
            except Exception as error:
                self.note(name, f"raised {type(error).__name__}: {error}")
                raise Violation(f"an unexpected exception: {type(error).__name__}: {error}") from error

        def over(actor: Actor) -> None:
            self.note(name, "crashed" if actor.crashed else "ended", result[0])
            self.stats["actors crashed" if actor.crashed else "actors ended"] += 1
            ended(actor, result[0])

        self.note(name, "begins")
        self.scheduler.spawn(actor, body, over)

    def invoke_event(self, name: str, function: Callable[[], Any], *, seconds: float, attempt: int = 0) -> None:
        """The same for an asynchronous event: what fails is delivered again, twice."""

        def ended(actor: Actor, result: Any) -> None:
            if (actor.crashed or isinstance(result, LongshoreError)) and attempt < len(_RETRIES):
                self.stats["events retried"] += 1
                self.later(
                    _RETRIES[attempt],
                    lambda: self.invoke_event(name, function, seconds=seconds, attempt=attempt + 1),
                )

        self.invoke(f"{name}~{attempt}" if attempt else name, function, seconds=seconds, ended=ended)

    def later(self, seconds: float, function: Callable[[], Any]) -> None:
        """Call the function so many seconds from now. It counts as something under way."""
        self.waiting += 1

        def run() -> None:
            self.waiting -= 1
            function()

        self.scheduler.at(self.scheduler.now + timedelta(seconds=seconds), run)

    def enough_time(self) -> bool:
        """Whether the current actor may begin something more."""
        actor = self.scheduler.current
        return actor is None or actor.killed_at is None or self.scheduler.now + _RESERVE < actor.killed_at

    def note(self, who: str, what: str, subject: Any = None) -> None:
        """Add a line to the trace."""
        self.trace.append(Line(self.scheduler.now, who, what, subject))

    def remark(self, what: str) -> None:
        """Count what is not a violation, but worth a look: `--find` shows the runs in which it occurs."""
        self.stats[f"remark: {what}"] += 1

    def digest(self) -> str:
        """Stands for the whole trace."""
        return hashlib.sha256("\n".join(map(str, self.trace)).encode()).hexdigest()

    # --- requests --------------------------------------------------------------------------------------------------

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """One request of the current actor to AWS, with whatever happens to it on the way."""
        actor = self.scheduler.current
        assert actor is not None, "a request outside of any actor"
        assert not actor.ended, f"{actor.name} goes on after its end"
        plan = self.faults.plan(service, operation, again=actor.stricken)
        actor.stricken = plan.kind is not None
        self.stats["calls"] += 1
        if plan.kind:
            self.stats[f"fault: {plan.kind}"] += 1
        name = f"{service}:{operation}"
        if plan.kind is Kind.CRASH_BEFORE:
            self.note(actor.name, f"crashes before {name}")
            raise Crash
        if plan.kind is Kind.OVERTAKEN:
            self._wait_for_a_change()
        self.scheduler.pause(plan.before)
        if plan.kind in (Kind.FAILED, Kind.DENIED, Kind.CONFLICT):
            self.note(actor.name, f"{name} fails ({plan.kind})", parameters)
            self.scheduler.pause(plan.after)
            raise self._error(plan.kind, service, operation, parameters)
        answer = self._perform(actor, name, service, operation, parameters)
        if plan.kind is Kind.CRASH_AFTER:
            self.note(actor.name, f"crashes after {name}")
            raise Crash
        self.scheduler.pause(plan.after)
        if plan.kind is Kind.REPEATED:
            answer = self._perform(actor, f"{name} again", service, operation, parameters)
            self.scheduler.pause(plan.before)
        if plan.kind is Kind.LOST:
            self.note(actor.name, f"{name}: its reply is lost")
            raise self._error(plan.kind, service, operation, parameters)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def _wait_for_a_change(self) -> None:
        seen = self.ledger.changes
        for _ in range(_LONGEST_STALL):
            self.scheduler.pause(1)
            if self.ledger.changes != seen:
                return

    def _error(self, kind: Kind, service: str, operation: str, parameters: dict[str, Any]) -> Exception:
        items = len(parameters.get("TransactItems", [None]))
        error = self.faults.error(kind, service, operation, items)
        return error if isinstance(error, AwsError) else error()

    def _perform(
        self, actor: Actor, name: str, service: str, operation: str, parameters: dict[str, Any]
    ) -> dict[str, Any] | AwsError:
        try:
            answer = self._handle(service, operation, parameters)
        except AwsError as error:
            self.note(actor.name, f"{name} -> {error.code}", parameters)
            self.after_effect()
            return error
        self.note(actor.name, name, parameters)
        self.after_effect()
        return answer

    def _handle(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if service == "dynamodb":
            return self.dynamodb.handle(operation, parameters)
        if service == "ssm":
            answer = self.ssm.handle(operation, parameters)
            if operation == "SendCommand":
                self.ledger.commanded(parameters["Comment"][-24:], parameters["Parameters"]["action"][0])
            return answer
        if operation == "DescribeContainerInstances":
            instances = {instance.arn: instance for instance in self.ecs.instances()}
            wanted = parameters["containerInstances"]
            found = [instances[arn] for arn in wanted if arn in instances]
            return {"containerInstances": [{"ec2InstanceId": instance.ec2_instance_id} for instance in found]}
        answer = self.ecs.handle(operation, parameters)
        match operation:
            case "RunTask":
                self.ledger.ran(answer["tasks"], parameters.get("clientToken"))
            case "DescribeTasks":
                answer["tasks"] = [task for task in answer["tasks"] if not self._is_unseen(task["taskArn"])]
            case "ListTasks":
                unseen = [arn for arn in answer["taskArns"] if self._is_unseen(arn)]
                self.ledger.overlooked.update(unseen)
                answer["taskArns"] = [arn for arn in answer["taskArns"] if arn not in unseen]
        return answer

    def _is_unseen(self, arn: str) -> bool:
        """ECS is eventually consistent: it may not know yet of what it has just done. What was seen once stays so."""
        task = self.ecs._tasks[arn]
        if arn in self._seen or arn not in self.ledger.tokens or task.last_status not in ("PROVISIONING", "PENDING"):
            return False
        age = self.scheduler.now - task.created_at
        if self.faults.on and age < self._most_unseen and self._chances.random() < 0.7:
            self.stats["tasks unseen"] += 1
            return True
        self._seen.add(arn)
        return False

    # --- what is watched -------------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container:
        """The container as the table holds it."""
        return Container.model_validate(self.ledger.plain(self.dynamodb.tables["containers"].items[(container_id,)]))

    def _written(self, table: str, before: Item | None, after: Item | None) -> None:
        self.ledger.written(table, before, after)

    def after_effect(self) -> None:
        """Hand on AWS's events, and check what must hold at every moment."""
        events = self.ecs.drain_events()
        for event in events:
            detail = event["detail"]
            self.note("ecs", f"task {detail['taskArn'][-6:]} v{detail['version']} {detail['lastStatus']}")
            self.deliver(event)
        for event in self.ssm.drain_events():
            detail = event["detail"]
            if detail["status"] == "Success":  # as the rule has it
                self.note("ssm", f"command {detail['command-id'][-6:]} {detail['status']}")
                self.deliver(event)
        self.ledger.check(tasks_changed=bool(events))

    def _lag(self) -> int:
        return self._chances.randint(0, self._most_lag) if self.faults.on else 0


def _one_after_the_other(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    return first(), second()


def _short(subject: Any) -> str:
    """What a request, or an answer, is about."""
    if subject is None:
        return ""
    if isinstance(subject, LongshoreError):
        return f"{subject.code} {subject.data}"
    if isinstance(subject, Outcome):
        return f"{subject.kind}: {subject.message!r}, {subject.status}"
    if not isinstance(subject, dict):
        return str(subject)
    if "TransactItems" in subject:
        return " + ".join(_short(parameters) for item in subject["TransactItems"] for parameters in item.values())
    values = subject.get("ExpressionAttributeValues", {})
    if "UpdateExpression" in subject:
        operation = values.get(":operation", {}).get("M", {})
        pending = " ".join(operation[name]["S"][-24:] for name in ("operation", "step", "id") if name in operation)
        shown = [values[name].get("S") or values[name].get("N") for name in (":status", ":log_count", ":generation")]
        return f"{subject['Key']['id']['S'][-2:]} {'/'.join(map(str, shown))} pending: {pending or '-'}"
    if "KeyConditionExpression" in subject:
        told = [next(iter(value.values())) for value in values.values()]
        return f"{subject['TableName']} {subject.get('IndexName', '')} {told}"
    if "Item" in subject:
        names = ("from_status", "to_status", "seq", "operation_id")
        return f"put {subject['TableName']} " + " ".join(
            next(iter(subject["Item"][name].values())) for name in names if name in subject["Item"]
        )
    hidden = ("cluster", "ConsistentRead", "ExpressionAttributeNames", "Comment", "DocumentName", "TimeoutSeconds")
    return str({name: value for name, value in subject.items() if name not in hidden})
