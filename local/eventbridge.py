"""What runs without a caller: EventBridge's rules, and Lambda's asynchronous invocations.

    an event      put()  -> patterns ------.
    a schedule    the clock, or fire() ----+-> Invocations -> the function; on an error twice more; a dead letter
    lambda:Invoke, InvocationType Event ---'

Rules, schedules, inputs and the number of retries are the translated template's; rules may also be made and changed
while the stack runs. What differs from AWS: a retry comes after seconds, not minutes; no event is delivered twice
unless it failed; and a queue of dead letters is a list.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol

from moto.events.models import EventPattern

from local.emulator import AwsError, InvokeAnswer
from local.expressions import Schedule, schedule
from local.runtime import FunctionError, FunctionTimeoutError, PayloadTooLargeError
from local.template import ACCOUNT_ID, PARTITION, REGION, Stack, TemplateError

LOG = logging.getLogger("local.eventbridge")

# What every region takes of an asynchronous invocation, in bytes of JSON.
ASYNC_PAYLOAD_LIMIT = 262_144

# Lambda waits one minute, then two.
RETRY_DELAYS = (0.5, 1.0)
# Lambda's default, for a function without an EventInvokeConfig.
_RETRIES = 2
_WORKERS = 16
# How long `stop()` waits for functions that are running, in seconds.
_GRACE_SECONDS = 10.0
# How often the clock is looked at, in seconds: it may be set, or the machine may have slept.
_TICK = 0.2

# The filters of https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html that the
# matcher knows. What it does not know it would let pass.
_FILTERS = {"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"}


class Invoke(Protocol):
    """Calls a function by logical id, as `Runtime.invoke` does."""

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any: ...


# --- Rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A function of the stack, by logical id, and the constant `input` (JSON) that it gets in the event's place."""

    function: str
    input: str | None

    def payload(self, event: Mapping[str, Any]) -> Any:
        return dict(event) if self.input is None else json.loads(self.input)


@dataclass(frozen=True)
class Rule:
    """One AWS::Events::Rule. It has a pattern or a schedule, or both.

    One that is not the template's goes by its name for a logical id.
    """

    logical_id: str
    arn: str
    enabled: bool
    pattern: EventPattern | None
    schedule: Schedule | None
    targets: tuple[Target, ...]

    def matches(self, event: Mapping[str, Any]) -> bool:
        return self.enabled and self.pattern is not None and bool(self.pattern.matches_event(event))


def rules(stack: Stack, start: datetime) -> dict[str, Rule]:
    """The rules of a template, by logical id, as made at `start`. TemplateError for what is not known locally."""
    found = {}
    for logical_id, properties in stack.of_type("AWS::Events::Rule").items():
        try:
            found[logical_id] = _rule(logical_id, stack.physical_name(logical_id), properties, _functions(stack), start)
        except TemplateError as error:
            raise TemplateError(f"{logical_id}: {error}") from None
    return found


def _functions(stack: Stack) -> dict[str, str]:
    """The functions' logical ids, by ARN."""
    return {function.arn: function.logical_id for function in stack.functions.values()}


def _rule(
    logical_id: str, name: str, properties: Mapping[str, Any], functions: Mapping[str, str], start: datetime
) -> Rule:
    pattern, expression = properties.get("EventPattern"), properties.get("ScheduleExpression")
    return Rule(
        logical_id=logical_id,
        arn=f"arn:{PARTITION}:events:{REGION}:{ACCOUNT_ID}:rule/{name}",
        enabled=properties.get("State") != "DISABLED",
        pattern=None if pattern is None else matcher(pattern),
        schedule=None if expression is None else _schedule(expression, start),
        targets=tuple(_target(target, functions) for target in properties.get("Targets", [])),
    )


def _schedule(expression: str, start: datetime) -> Schedule:
    try:
        return schedule(expression, start)
    except ValueError as error:
        raise TemplateError(str(error)) from None


def matcher(pattern: Mapping[str, Any]) -> EventPattern:
    """The matcher of an event pattern. It knows nothing of arrays of objects. TemplateError."""
    _check_filters(pattern)
    return EventPattern.load(json.dumps(pattern))


def _check_filters(node: Any) -> None:
    """TemplateError for what is neither a list of values and known filters nor an object of such."""
    if not isinstance(node, Mapping):
        raise TemplateError("an event pattern holds objects and lists only")
    for name, value in node.items():
        if name == "$or":
            for alternative in value:
                _check_filters(alternative)
        elif not isinstance(value, list):
            _check_filters(value)
        elif unknown := {key for item in value if isinstance(item, Mapping) for key in item} - _FILTERS:
            raise TemplateError(f"the filter {', '.join(sorted(unknown))} is not known locally")


def _target(target: Mapping[str, Any], functions: Mapping[str, str]) -> Target:
    if unknown := target.keys() - {"Id", "Arn", "Input", "DeadLetterConfig", "RetryPolicy"}:
        raise TemplateError(f"a target's {', '.join(sorted(unknown))} is not known locally")
    if target["Arn"] not in functions:
        raise TemplateError(f"the target {target['Arn']} is no function of this stack")
    constant = target.get("Input")
    if constant is not None:
        try:
            json.loads(constant)
        except ValueError:
            raise TemplateError("a target's Input is not JSON") from None
    return Target(functions[target["Arn"]], constant)


# --- Asynchronous invocations -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeadLetter:
    """An event that its function, by logical id, could not handle in so many attempts, and the last error."""

    function: str
    event: Any
    attempts: int
    error_type: str
    message: str


@dataclass(frozen=True)
class _Delivery:
    function: str
    event: Any
    request_id: str
    attempts: int = 0


class Invocations:
    """Lambda's queue of asynchronous invocations, worked through by threads of its own."""

    def __init__(
        self,
        invoke: Invoke,
        retries: Mapping[str, int] | None = None,
        delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        """`retries` are the functions' MaximumRetryAttempts; `delays` (seconds) come before each."""
        self._invoke = invoke
        self._retries = dict(retries or {})
        self._delays = delays
        # (when it is due, order of entry, what)
        self._waiting: list[tuple[float, int, _Delivery]] = []
        self._entries = itertools.count()
        self._running = 0
        self._stopping = True
        lock = threading.Lock()
        self._something_to_do = threading.Condition(lock)
        self._idle = threading.Condition(lock)
        self._threads: list[threading.Thread] = []
        self.dead_letters: list[DeadLetter] = []

    def start(self) -> None:
        """Begin to work. What is sent before that, or after `stop`, is lost."""
        self._stopping = False
        # Daemons: a function that hangs must not keep the process.
        self._threads = [
            threading.Thread(target=self._work, name=f"local-events-{number}", daemon=True)
            for number in range(_WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is running. What waits is lost."""
        with self._something_to_do:
            self._stopping = True
            self._waiting.clear()
            self._something_to_do.notify_all()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            LOG.warning("a function that was invoked asynchronously is running still")
        self._threads = []

    def send(self, function: str, event: Any) -> None:
        """Invoke a function, by logical id, some time soon."""
        self._enter(_Delivery(function, event, str(uuid.uuid4())), 0.0)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is waiting or running, retries included; False when it is not so in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._waiting and not self._running, seconds)

    def _enter(self, delivery: _Delivery, delay: float) -> None:
        with self._something_to_do:
            if not self._stopping:
                heapq.heappush(self._waiting, (time.monotonic() + delay, next(self._entries), delivery))
                self._something_to_do.notify()

    def _work(self) -> None:
        while (delivery := self._take()) is not None:
            try:
                self._deliver(delivery)
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

    def _take(self) -> _Delivery | None:
        """The next delivery when it is due; None at the end."""
        with self._something_to_do:
            while not self._stopping:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    self._running += 1
                    taken = heapq.heappop(self._waiting)[2]
                    # Somebody else has to watch for what is due next.
                    self._something_to_do.notify()
                    return taken
                self._something_to_do.wait(self._waiting[0][0] - now if self._waiting else None)
        return None

    def _deliver(self, delivery: _Delivery) -> None:
        attempts = delivery.attempts + 1
        try:
            self._invoke(delivery.function, delivery.event, request_id=delivery.request_id)
        except FunctionError as error:
            error_type, message = error.error_type, error.message
        except FunctionTimeoutError:
            error_type, message = "Sandbox.Timedout", "The function did not answer in time"
        except Exception as error:  # whatever it is, this thread has others to deliver
            LOG.exception("%s could not be invoked", delivery.function)
            error_type, message = type(error).__name__, str(error)
        else:
            return
        if delivery.attempts < self._retries.get(delivery.function, _RETRIES):
            delay = self._delays[min(delivery.attempts, len(self._delays) - 1)]
            again = _Delivery(delivery.function, delivery.event, delivery.request_id, attempts)
            self._enter(again, delay)
            return
        LOG.error("dead letter: %s failed %d times, last with %s", delivery.function, attempts, error_type)
        self.dead_letters.append(DeadLetter(delivery.function, delivery.event, attempts, error_type, message))


# --- The bus ----------------------------------------------------------------------------------------------------------


class EventBridge:
    """The rules of a stack on one bus, and a thread that fires those with a schedule."""

    def __init__(
        self,
        stack: Stack,
        invoke: Invoke,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rules_now: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
    ) -> None:
        """`now` is the clock of the schedules, in UTC. TemplateError.

        `rules_now` gives the rules as they are at any time, each as the properties of an AWS::Events::Rule; without it
        they are the template's for good.
        """
        self._now = now
        self._rules = rules(stack, now())
        self._changing = None if rules_now is None else _ChangingRules(stack, self._rules, rules_now, now)
        self._grants = list(stack.of_type("AWS::Lambda::Permission").values())
        self._invoke = invoke
        self._functions = {function.name: function.logical_id for function in stack.functions.values()}
        retries = {
            self._functions[properties["FunctionName"]]: int(properties["MaximumRetryAttempts"])
            for properties in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
            if "MaximumRetryAttempts" in properties
        }
        self.invocations = Invocations(invoke, retries)
        self._stopping = threading.Event()
        self._clock: threading.Thread | None = None
        self._losing = 0

    def start(self) -> None:
        """Begin to deliver."""
        self.invocations.start()

    def start_schedules(self) -> None:
        """Begin to fire the rules that have a schedule."""
        self._stopping.clear()
        self._clock = threading.Thread(target=self._tick, name="local-schedules", daemon=True)
        self._clock.start()

    def stop(self) -> None:
        """Fire and deliver nothing more, and wait for what is running."""
        self._stopping.set()
        if self._clock is not None:
            self._clock.join()
            self._clock = None
        self.invocations.stop()

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What failed for good, the oldest first."""
        return self.invocations.dead_letters

    def put(self, event: Mapping[str, Any]) -> int:
        """Send an event to the targets of every rule that matches it. Returns how many those are."""
        if self._losing:
            return 0
        return sum(self._send(rule, event) for rule in self._current().values() if rule.matches(event))

    def fire(self, rule: str) -> int:
        """Do now what the clock would make a rule do, by logical id or name. Returns the number of targets; KeyError.

        A disabled rule does nothing.
        """
        found = self._current()[rule]
        return self._send(found, _scheduled_event(found, self._now())) if found.enabled else 0

    @contextmanager
    def losing_events(self) -> Iterator[None]:
        """While open, every event that is put is lost. Schedules fire."""
        self._losing += 1
        try:
            yield
        finally:
            self._losing -= 1

    def next_firings(self) -> dict[str, datetime | None]:
        """When each enabled rule with a schedule fires next, by logical id or name."""
        now = self._now()
        return {name: schedule.next_after(now) for name, schedule in self._schedules().items()}

    def answer_invoke(self, function: str, payload: bytes, asynchronous: bool) -> InvokeAnswer:
        """Answer lambda:Invoke. `function` is a name or an ARN. AwsError."""
        # A name, `account:function:name` or an ARN, each with or without `:qualifier`.
        name = re.sub(r"^(.*:)?function:", "", function).partition(":")[0]
        logical_id = self._functions.get(name)
        if logical_id is None:
            raise AwsError("ResourceNotFoundException", f"Function not found: {function}", 404)
        try:
            event = json.loads(payload or b"{}")
        except ValueError:
            raise AwsError("InvalidRequestContentException", "Could not parse request body into json.") from None
        if asynchronous:
            if len(payload) > ASYNC_PAYLOAD_LIMIT:
                raise AwsError("RequestTooLargeException", "The payload is larger than 256 KB.", 413)
            self.invocations.send(logical_id, event)
            return InvokeAnswer()
        try:
            return InvokeAnswer(json.dumps(self._invoke(logical_id, event)))
        except FunctionError as error:
            failure = {"errorMessage": error.message, "errorType": error.error_type}
        except FunctionTimeoutError:
            failure = {"errorMessage": "The function did not answer in time", "errorType": "Sandbox.Timedout"}
        except PayloadTooLargeError:
            raise AwsError("RequestTooLargeException", "The payload is larger than 6 MB.", 413) from None
        return InvokeAnswer(json.dumps(failure), failed=True)

    def _current(self) -> Mapping[str, Rule]:
        return self._rules if self._changing is None else self._changing.current()

    def _schedules(self) -> dict[str, Schedule]:
        return {name: rule.schedule for name, rule in self._current().items() if rule.enabled and rule.schedule}

    def _send(self, rule: Rule, event: Mapping[str, Any]) -> int:
        permitted = [target for target in rule.targets if self._may_invoke(rule, target)]
        for target in permitted:
            self.invocations.send(target.function, target.payload(event))
        return len(permitted)

    def _may_invoke(self, rule: Rule, target: Target) -> bool:
        """Whether the function's own policy lets the rule in: EventBridge has no other right to invoke it."""
        for grant in self._grants:
            function = grant["FunctionName"].rpartition(":")[2]
            if self._functions.get(function) == target.function and fnmatchcase(rule.arn, grant.get("SourceArn", "*")):
                return True
        LOG.warning("rule %s may not invoke %s", rule.logical_id, target.function)
        return False

    def _tick(self) -> None:
        waiting: dict[str, tuple[Schedule, datetime | None]] = {}
        while True:
            now = self._now()
            still: dict[str, tuple[Schedule, datetime | None]] = {}
            for name, found in self._schedules().items():
                known, at = waiting.get(name, (None, None))
                if known is found and at is not None and at <= now:
                    self.fire(name)
                    known = None
                # Firings that were missed while the machine slept are not made up for.
                still[name] = (found, at if known is found else found.next_after(now))
            waiting = still
            if self._stopping.wait(_TICK):
                return


class _ChangingRules:
    """The rules as they are now. Reads anew only what has changed."""

    def __init__(
        self,
        stack: Stack,
        template: Mapping[str, Rule],
        rules_now: Callable[[], Iterable[Mapping[str, Any]]],
        now: Callable[[], datetime],
    ) -> None:
        self._ids = {stack.physical_name(logical_id): logical_id for logical_id in template}
        self._functions = _functions(stack)
        self._rules_now = rules_now
        self._now = now
        self._lock = threading.Lock()
        # By logical id or name; None for what is not known locally.
        self._known: dict[str, tuple[Mapping[str, Any], Rule | None]] = {}

    def current(self) -> dict[str, Rule]:
        with self._lock:
            self._known = {key: self._read(key, properties) for key, properties in self._all()}
            return {key: rule for key, (_, rule) in self._known.items() if rule is not None}

    def _all(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(self._ids.get(each["Name"], each["Name"]), each) for each in self._rules_now()]

    def _read(self, key: str, properties: Mapping[str, Any]) -> tuple[Mapping[str, Any], Rule | None]:
        before, known = self._known.get(key, ({}, None))
        if before == properties:
            return before, known
        # Rules may have other targets too, which are nothing to this stack.
        targets = [target for target in properties.get("Targets", []) if target["Arn"] in self._functions]
        try:
            rule = _rule(key, properties["Name"], {**properties, "Targets": targets}, self._functions, self._now())
        except TemplateError as error:
            LOG.warning("rule %s does nothing here: %s", key, error)
            return properties, None
        if known is not None and before.get("ScheduleExpression") == properties.get("ScheduleExpression"):
            # Its intervals go on from when they began.
            rule = replace(rule, schedule=known.schedule)
        return properties, rule


def instance_state_change(ec2_instance_id: str, state: str, at: datetime) -> dict[str, Any]:
    """The event that EC2 sends when an instance changes its state.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html
    """
    arn = f"arn:{PARTITION}:ec2:{REGION}:{ACCOUNT_ID}:instance/{ec2_instance_id}"
    detail = {"instance-id": ec2_instance_id, "state": state}
    return _event("EC2 Instance State-change Notification", "aws.ec2", arn, detail, at)


def _scheduled_event(rule: Rule, at: datetime) -> dict[str, Any]:
    return _event("Scheduled Event", "aws.events", rule.arn, {}, at)


def _event(detail_type: str, source: str, resource: str, detail: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT_ID,
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [resource],
        "detail": dict(detail),
    }
