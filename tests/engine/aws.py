"""The emulated AWS of a test: in memory, one call after another, on a virtual clock.

A test can make a call fail, lose its reply, change its answer, or run a function just before or after it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from unittest import mock

import longshore.engine.changes
import longshore.engine.operations
from botocore.exceptions import ReadTimeoutError
from simulation.aws import clients
from simulation.dynamodb import DynamoDb
from simulation.services import Services

from local import template
from local.emulator.ecs import StaticCatalog, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.scaling import ScalableTargets
from local.emulator.ssm import CommandSimulation

CLUSTER = "default"
HOST = "i-0a1b2c3d4e5f60718"
TABLES = {
    "ContainersTable": "containers",
    "StatusLogsTable": "status-logs",
    "AccessTable": "access",
    "IdempotencyTable": "idempotency",
}
STACK = template.load()
EVENTS = ("ECS Task State Change", "ECS Service Action", "ECS Deployment State Change")
"""The types of the events of ECS that the rules of the template deliver."""

NOT_FOUND = AwsError("InvalidParameterException", "The referenced task was not found.")
DENIED = AwsError("AccessDeniedException", "User is not authorized to perform this")
THROTTLED = AwsError("ThrottlingException", "Rate exceeded")
FAILED = AwsError("ServerException", "Service Unavailable", 500)
NO_ANSWER = ReadTimeoutError(endpoint_url="https://aws.example/")


class Crash(Exception):  # noqa: N818
    """The process ends at this point."""


class Call(NamedTuple):
    """A request to AWS."""

    service: str
    operation: str
    parameters: dict[str, Any]


class Clock:
    """A clock that advances only when code sleeps or the test advances it. The emulated AWS follows it."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
        self.advanced: Callable[[], None] = lambda: None
        self.waited: Callable[[], None] = lambda: None  # called after each wait, but not after each call to AWS

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(milliseconds=max(1, round(seconds * 1000)))
        self.advanced()
        if seconds >= 0.1:
            self.waited()


def _one_after_the_other(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    return first(), second()


class Hook(NamedTuple):
    """A function that runs once before or after a call of an operation."""

    operation: str
    function: Callable[[Call], object]
    skip: list[int]
    after: bool


Answer = dict[str, Any]


class Fault(NamedTuple):
    """A fault of the next calls of an operation: an error, or a changed answer.

    Attributes:
        operation: The operation of AWS, such as `RunTask`.
        times: The number of calls left; -1 for all calls.
        error: The error to raise; None if the call is answered.
        lost: Whether the error comes after the effect.
        repeats: Whether the reply is lost and botocore sends the same request again.
        change: Computes the answer from the true answer.
    """

    operation: str
    times: list[int]
    error: Exception | None = None
    lost: bool = False
    repeats: bool = False
    change: Callable[[Call, Answer], Answer] | None = None


class Aws:
    """DynamoDB, ECS with its services, Application Auto Scaling, and Systems Manager.

    Tasks start in 0.4 seconds and stop in 0.3; commands take 0.1. The scheduler of services and Application Auto
    Scaling act 0.2 seconds after a change.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advanced = self._advanced
        self.calls: list[Call] = []
        self.events: list[dict[str, Any]] = []
        self.tick = 0.001  # seconds per call
        self.history_is_full = False  # whether writes of rows are refused
        self._faults: list[Fault] = []
        self._hooks: list[Hook] = []
        tables = {name: STACK.tables[logical_id] for logical_id, name in TABLES.items()}
        self.dynamodb = DynamoDb(tables, self.clock.now, lambda: 0, lambda *_: None)
        self.catalog = StaticCatalog()
        self.catalog.add_cluster(CLUSTER)
        self.ecs = TaskSimulation(self.catalog, self.clock.now, run_delay=0.4, stop_delay=0.3)
        self.ecs.add_instance(CLUSTER, HOST, cpu=1 << 20, memory=1 << 20)
        self.targets = ScalableTargets(self.ecs, self.clock.now, delay=0.2)
        self.services = Services(self.ecs, self.targets)
        (document,) = STACK.of_type("AWS::SSM::Document").values()
        self.document: dict[str, Any] = document["Content"]
        self.ssm = CommandSimulation(self.ecs, lambda *_: self.document, self.clock.now)

    # --- setup ------------------------------------------------------------------------------------------------------

    def fail(self, operation: str, error: Exception, *, times: int = 1, lost: bool = False) -> None:
        """Make the next calls of an operation fail (-1: all of them); with `lost`, after their effect."""
        self._faults.append(Fault(operation, [times], error, lost))

    def repeat(self, operation: str, *, times: int = 1) -> None:
        """Lose the replies to the next calls; botocore sends the same requests again."""
        self._faults.append(Fault(operation, [times], repeats=True))

    def change(self, operation: str, change: Callable[[Call, Answer], Answer], *, times: int = -1) -> None:
        """Replace the answers to the next calls by the results of `change`."""
        self._faults.append(Fault(operation, [times], change=change))

    def hide_tasks(self, *, times: int = -1) -> None:
        """Make DescribeTasks return no tasks, as ECS may for a while."""
        self.change("DescribeTasks", lambda *_: {"tasks": [], "failures": []}, times=times)

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def before(self, operation: str, hook: Callable[[Call], object], *, skip: int = 0) -> None:
        """Call the hook once, just before the next call of an operation, after skipping `skip` calls."""
        self._hooks.append(Hook(operation, hook, [skip], after=False))

    def after(self, operation: str, hook: Callable[[Call], object], *, skip: int = 0) -> None:
        """Call the hook once, after the effect of the next call and before its answer, after skipping `skip` calls."""
        self._hooks.append(Hook(operation, hook, [skip], after=True))

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.clock.sleep(seconds)

    # --- observations -----------------------------------------------------------------------------------------------

    def count(self, operation: str) -> int:
        """Return how often an operation of AWS was called."""
        return len(self.parameters(operation))

    def parameters(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of each call of an operation of AWS."""
        return [call.parameters for call in self.calls if call.operation == operation]

    def commands(self) -> list[dict[str, list[str]]]:
        """Return the parameters of each command sent to a host."""
        return [parameters["Parameters"] for parameters in self.parameters("SendCommand")]

    # --- the endpoint of the clients -------------------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[None]:
        clients().endpoint = self
        with (
            mock.patch.object(longshore.engine.changes, "together", _one_after_the_other),
            mock.patch.object(longshore.engine.operations, "together", _one_after_the_other),
        ):
            yield

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request, with the faults and hooks of the test."""
        call = Call(service, operation, parameters)
        self.calls.append(call)
        self._call_hook(call, after=False)
        fault = next((f for f in self._faults if f.operation == operation and f.times[0] != 0), Fault(operation, [1]))
        fault.times[0] -= 1
        if fault.error is not None and not fault.lost:
            raise fault.error
        if self.tick:
            self.advance(self.tick)
        answer = self._handle(service, operation, parameters)
        self._call_hook(call, after=True)
        if fault.error is not None:
            raise fault.error
        if fault.repeats:
            answer = self._handle(service, operation, parameters)
        return answer if fault.change is None else fault.change(call, answer)

    def _call_hook(self, call: Call, *, after: bool) -> None:
        for hook in [hook for hook in self._hooks if (hook.operation, hook.after) == (call.operation, after)][:1]:
            hook.skip[0] -= 1
            if hook.skip[0] < 0:
                self._hooks.remove(hook)
                hook.function(call)

    def _handle(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if service == "dynamodb":
            writes = parameters.get("TransactItems", [])
            if self.history_is_full and any(w.get("Put", {}).get("TableName") == "status-logs" for w in writes):
                reasons = [{"Code": "None"}, {"Code": "ItemCollectionSizeLimitExceeded"}]
                raise AwsError("TransactionCanceledException", "Transaction cancelled", CancellationReasons=reasons)
            return self.dynamodb.handle(operation, parameters)
        if service == "ssm":
            answer = self.ssm.handle(operation, parameters)
        elif self.services.handles(operation, parameters):
            answer = self.services.handle(operation, parameters)
        elif operation == "DescribeContainerInstances":
            found = [i for i in self.ecs.instances() if i.arn in parameters["containerInstances"]]
            answer = {"containerInstances": [{"ec2InstanceId": instance.ec2_instance_id} for instance in found]}
        else:
            answer = self.ecs.handle(operation, parameters)
        self._advanced()
        return answer

    def _advanced(self) -> None:
        self.ssm.advance(self.clock.now())
        self.ecs.advance(self.clock.now())
        self.targets.advance(self.clock.now())
        self.events += [event for event in self.ecs.drain_events() if event["detail-type"] in EVENTS]
        self.events += [event for event in self.ssm.drain_events() if event["detail"]["status"] == "Success"]
