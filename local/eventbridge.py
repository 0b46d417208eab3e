"""What runs without a caller: EventBridge's rules, and Lambda's asynchronous invocations.

    an event      put()  -> patterns ------.
    a schedule    the clock, or fire() ----+-> Invocations -> the function; on an error twice more; a dead letter
    lambda:Invoke, InvocationType Event ---'

Rules, schedules, inputs and the number of retries are the translated template's. What differs from AWS: a retry comes
after seconds, not minutes; no event is delivered twice unless it failed; and a queue of dead letters is a list.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # it has no types
from moto.events.models import EventPattern

from local.emulator import AwsError, InvokeAnswer
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
_RATE = re.compile(r"rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)")
_CRON = re.compile(r"cron\((.+)\)")


class Invoke(Protocol):
    """Calls a function by logical id, as `Runtime.invoke` does."""

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any: ...


# --- Schedules --------------------------------------------------------------------------------------------------------


class Schedule(Protocol):
    """When a rule fires."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment` (UTC); None when there is none any more."""


@dataclass(frozen=True)
class Rate:
    """At equal intervals, the first one after the rule was made."""

    interval: timedelta
    start: datetime

    def next_after(self, moment: datetime) -> datetime:
        passed = max(0, (moment - self.start) // self.interval)
        return self.start + (passed + 1) * self.interval


class Cron:
    """At the times of AWS's six fields: minutes, hours, day of month, month, day of week, year."""

    def __init__(self, fields: str) -> None:
        """ValueError."""
        minutes, hours, day, month, weekday, year = fields.split()
        # The library takes it for the last of no day. The week's last day is Saturday.
        weekday = "7" if weekday == "L" else weekday
        try:
            self._cron = AwsCroniter(f"{minutes} {hours} {day} {month} {weekday} {year}")
        except Exception as error:  # the library's own, which are of no class in common with ValueError
            raise ValueError(str(error)) from error

    def next_after(self, moment: datetime) -> datetime | None:
        # Whole seconds: the library rounds the fraction, at times into the minute that is to come.
        following: list[datetime | None] = self._cron.get_next(moment.astimezone(UTC).replace(microsecond=0), 1)
        return following[0]


def schedule(expression: str, start: datetime) -> Schedule:
    """The schedule of `rate(...)` or `cron(...)`, for a rule that is made at `start`. TemplateError."""
    if match := _RATE.fullmatch(expression):
        number, unit, plural = match.groups()
        if (number == "1") == (plural == ""):
            return Rate(timedelta(**{f"{unit}s": int(number)}), start)
    elif match := _CRON.fullmatch(expression):
        try:
            return Cron(match[1])
        except ValueError as error:
            raise TemplateError(f"{expression} is no schedule: {error}") from None
    raise TemplateError(f"{expression} is no schedule")


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
    """One AWS::Events::Rule. It has a pattern or a schedule, or both."""

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
    functions = {function.arn: function.logical_id for function in stack.functions.values()}
    found = {}
    for logical_id, properties in stack.of_type("AWS::Events::Rule").items():
        try:
            found[logical_id] = _rule(logical_id, stack.physical_name(logical_id), properties, functions, start)
        except TemplateError as error:
            raise TemplateError(f"{logical_id}: {error}") from None
    return found


def _rule(
    logical_id: str, name: str, properties: Mapping[str, Any], functions: Mapping[str, str], start: datetime
) -> Rule:
    pattern, expression = properties.get("EventPattern"), properties.get("ScheduleExpression")
    return Rule(
        logical_id=logical_id,
        arn=f"arn:{PARTITION}:events:{REGION}:{ACCOUNT_ID}:rule/{name}",
        enabled=properties.get("State") != "DISABLED",
        pattern=None if pattern is None else matcher(pattern),
        schedule=None if expression is None else schedule(expression, start),
        targets=tuple(_target(target, functions) for target in properties.get("Targets", [])),
    )


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

    def __init__(self, stack: Stack, invoke: Invoke, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`now` is the clock of the schedules, in UTC. TemplateError."""
        self._now = now
        self._rules = rules(stack, now())
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
        return sum(self._send(rule, event) for rule in self._rules.values() if rule.matches(event))

    def fire(self, rule: str) -> int:
        """Do now what the clock would make a rule do, by logical id. Returns the number of targets; KeyError.

        A disabled rule does nothing.
        """
        found = self._rules[rule]
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
        """When each enabled rule with a schedule fires next, by logical id."""
        now = self._now()
        return {
            rule.logical_id: rule.schedule.next_after(now)
            for rule in self._rules.values()
            if rule.enabled and rule.schedule is not None
        }

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

    def _send(self, rule: Rule, event: Mapping[str, Any]) -> int:
        for target in rule.targets:
            self.invocations.send(target.function, target.payload(event))
        return len(rule.targets)

    def _tick(self) -> None:
        firings = self.next_firings()
        while not self._stopping.wait(_TICK):
            now = self._now()
            due = [rule for rule, at in firings.items() if at is not None and at <= now]
            for rule in due:
                self.fire(rule)
            if due:
                # Firings that were missed while the machine slept are not made up for.
                firings |= {rule: at for rule, at in self.next_firings().items() if rule in due}


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
