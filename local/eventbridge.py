"""An emulation of EventBridge rules, and of asynchronous Lambda invocations.

        event         put()  -> patterns ------.
        schedule      clock, or fire() --------+-> Invocations -> function or URL, up to two retries, then a dead letter
    lambda:Invoke, InvocationType Event ---'

Rules, schedules, inputs and the number of retries come from the translated template. Rules can also be created and
changed while the stack runs. Unlike on AWS, an event is delivered again only after an error.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from local.concurrency import ThrottledError
from local.emulator import AwsError, InvokeAnswer
from local.expressions import Schedule
from local.invocations import DeadLetter, Invocations, Invoke
from local.rules import ChangingRules, Rule, Target, is_api_destination, rules
from local.runtime import FunctionError, FunctionTimeoutError, PayloadTooLargeError
from local.template import ACCOUNT_ID, PARTITION, REGION, Stack
from local.transformer import TransformError

LOG = logging.getLogger("local.eventbridge")

# The limit of every region for asynchronous invocations, in bytes of JSON.
ASYNC_PAYLOAD_LIMIT = 262_144

# Seconds between two looks at the clock, which can change when it is set or when the machine has slept.
_TICK = 0.2


class EventBridge:
    """The rules of a stack, and a thread that fires scheduled rules."""

    def __init__(
        self,
        stack: Stack,
        invoke: Invoke,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rules_now: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
        send: Callable[[str, Any], None] | None = None,
    ) -> None:
        """Create the event buses of a stack.

        Args:
            stack: The translated template.
            invoke: Invokes a function.
            now: The clock of the schedules, in UTC.
            rules_now: Returns the current rules, each as the properties of an AWS::Events::Rule; by default those of
                the template.
            send: Sends an event to an API destination, by ARN. Raises FunctionError.

        Raises:
            TemplateError: A rule uses a feature that is not supported.
        """
        self._now = now
        self._rules = rules(stack, now())
        self._changing = None if rules_now is None else ChangingRules(stack, self._rules, rules_now, now)
        self._grants = list(stack.of_type("AWS::Lambda::Permission").values())
        self.invoke = invoke
        self._functions = {function.name: function.logical_id for function in stack.functions.values()}
        retries = {
            self._functions[properties["FunctionName"]]: int(properties["MaximumRetryAttempts"])
            for properties in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
            if "MaximumRetryAttempts" in properties
        }
        self._send_to_url = send
        self.invocations = Invocations(self._receive, retries)
        self._stopping = threading.Event()
        self._clock: threading.Thread | None = None
        self._losing = 0

    def start(self) -> None:
        """Start to deliver events."""
        self.invocations.start()

    def start_schedules(self) -> None:
        """Start to fire scheduled rules."""
        self._stopping.clear()
        self._clock = threading.Thread(target=self._tick, name="local-schedules", daemon=True)
        self._clock.start()

    def stop(self) -> None:
        """Stop to fire rules and deliver events, and wait for running functions."""
        self._stopping.set()
        if self._clock is not None:
            self._clock.join()
            self._clock = None
        self.invocations.stop()

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The events whose last delivery failed, oldest first."""
        return self.invocations.dead_letters

    def put(self, event: Mapping[str, Any], bus: str = "default") -> int:
        """Send an event to the targets of all matching rules of a bus, and return the number of targets."""
        if self._losing:
            return 0
        return sum(self._send(rule, event) for rule in self._current().values() if rule.matches(event, bus))

    def fire(self, rule: str, at: datetime | None = None) -> int:
        """Fire a rule like its schedule. A disabled rule does nothing.

        Args:
            rule: The rule's logical id or name.
            at: The scheduled time (UTC). None is the next whole second, so that all earlier requests precede the
                scheduled time.

        Returns:
            The number of targets.

        Raises:
            KeyError: There is no such rule.
        """
        found = self._current()[rule]
        scheduled_at = self._now() + timedelta(microseconds=999_999) if at is None else at
        return self._send(found, _scheduled_event(found, scheduled_at)) if found.enabled else 0

    @contextmanager
    def losing_events(self) -> Iterator[None]:
        """Lose all events while the context is open. Schedules still fire."""
        self._losing += 1
        try:
            yield
        finally:
            self._losing -= 1

    def next_firings(self) -> dict[str, datetime | None]:
        """Return the next time of each enabled scheduled rule, by logical id or name."""
        now = self._now()
        return {name: schedule.next_after(now) for name, schedule in self._schedules().items()}

    def answer_invoke(self, function: str, payload: bytes, asynchronous: bool) -> InvokeAnswer:
        """Handle lambda:Invoke. `function` is a name or an ARN. Raises AwsError."""
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
            return InvokeAnswer(json.dumps(self.invoke(logical_id, event)))
        except FunctionError as error:
            failure = {"errorMessage": error.message, "errorType": error.error_type}
        except FunctionTimeoutError:
            failure = {"errorMessage": "The function did not respond in time", "errorType": "Sandbox.Timedout"}
        except ThrottledError:
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429) from None
        except PayloadTooLargeError:
            raise AwsError("RequestTooLargeException", "The payload is larger than 6 MB.", 413) from None
        return InvokeAnswer(json.dumps(failure), failed=True)

    def _current(self) -> Mapping[str, Rule]:
        return self._rules if self._changing is None else self._changing.current()

    def _schedules(self) -> dict[str, Schedule]:
        return {name: rule.schedule for name, rule in self._current().items() if rule.enabled and rule.schedule}

    def _send(self, rule: Rule, event: Mapping[str, Any]) -> int:
        return sum(self._deliver(rule, target, event) for target in rule.targets if self._may_invoke(rule, target))

    def _deliver(self, rule: Rule, target: Target, event: Mapping[str, Any]) -> bool:
        try:
            payload = target.payload(event, rule.arn)
        except TransformError as error:
            LOG.warning("Rule %s cannot be delivered to %s: %s", rule.logical_id, target.receiver, error)
            return False
        self.invocations.send(target.receiver, payload)
        return True

    def _receive(self, function: str, event: Any, *, request_id: str | None = None) -> Any:
        """Invoke a function, or send the event to an API destination."""
        if self._send_to_url is not None and is_api_destination(function):
            return self._send_to_url(function, event)
        return self.invoke(function, event, request_id=request_id)

    def _may_invoke(self, rule: Rule, target: Target) -> bool:
        """Return whether the rule may invoke the target: the policy of a function has to allow it."""
        if is_api_destination(target.receiver):
            return self._send_to_url is not None
        for grant in self._grants:
            function = grant["FunctionName"].rpartition(":")[2]
            if self._functions.get(function) == target.receiver and fnmatchcase(rule.arn, grant.get("SourceArn", "*")):
                return True
        LOG.warning("Rule %s is not allowed to invoke %s", rule.logical_id, target.receiver)
        return False

    def _tick(self) -> None:
        waiting: dict[str, tuple[Schedule, datetime | None]] = {}
        while True:
            now = self._now()
            still: dict[str, tuple[Schedule, datetime | None]] = {}
            for name, found in self._schedules().items():
                known, at = waiting.get(name, (None, None))
                if known is found and at is not None and at <= now:
                    self.fire(name, at)
                    known = None
                # Times that passed while the machine slept are skipped.
                still[name] = (found, at if known is found else found.next_after(now))
            waiting = still
            if self._stopping.wait(_TICK):
                return


def instance_state_change(ec2_instance_id: str, state: str, at: datetime) -> dict[str, Any]:
    """Return the event that EC2 sends when an instance changes its state.

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
