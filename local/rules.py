"""EventBridge rules: patterns, schedules, targets and their input."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from moto.events.models import EventPattern

from local.expressions import Schedule, schedule
from local.template import ACCOUNT_ID, PARTITION, REGION, Stack, TemplateError
from local.transformer import InputTransformer

LOG = logging.getLogger("local.rules")

# The filters of https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html that the
# matcher supports. It would ignore other filters.
_DEFAULT_BUS = "default"
_FILTERS = {"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"}


_SUPPORTED = {"Id", "Arn", "Input", "InputTransformer", "DeadLetterConfig", "RetryPolicy", "RoleArn"}


@dataclass(frozen=True)
class Target:
    """A target: its input is the event, a constant or a transformed event.

    Attributes:
        receiver: A function by logical id, or an API destination by ARN.
        input: The constant, as JSON.
    """

    receiver: str
    input: str | None
    transformer: InputTransformer | None = None

    def payload(self, event: Mapping[str, Any], rule_arn: str) -> Any:
        """Return the input of the receiver for an event. Raises TransformError."""
        if self.transformer is not None:
            return self.transformer.apply(event, rule_arn)
        return dict(event) if self.input is None else json.loads(self.input)


@dataclass(frozen=True)
class Rule:
    """An AWS::Events::Rule with a pattern, a schedule or both.

    The logical id of a rule that is not in the template is its name.
    """

    logical_id: str
    arn: str
    bus: str
    enabled: bool
    pattern: EventPattern | None
    schedule: Schedule | None
    targets: tuple[Target, ...]

    def matches(self, event: Mapping[str, Any], bus: str) -> bool:
        if not self.enabled or self.bus != bus or self.pattern is None:
            return False
        return bool(self.pattern.matches_event(event))


def rules(stack: Stack, start: datetime) -> dict[str, Rule]:
    """Return the rules of a template by logical id, created at `start`. Raises TemplateError if unsupported."""
    found = {}
    for logical_id, properties in stack.of_type("AWS::Events::Rule").items():
        try:
            found[logical_id] = _rule(logical_id, stack.physical_name(logical_id), properties, _functions(stack), start)
        except TemplateError as error:
            raise TemplateError(f"{logical_id}: {error}") from None
    return found


def _functions(stack: Stack) -> dict[str, str]:
    """Return the logical ids of the functions, by ARN."""
    return {function.arn: function.logical_id for function in stack.functions.values()}


def _rule(
    logical_id: str, name: str, properties: Mapping[str, Any], functions: Mapping[str, str], start: datetime
) -> Rule:
    pattern, expression = properties.get("EventPattern"), properties.get("ScheduleExpression")
    bus = str(properties.get("EventBusName", _DEFAULT_BUS))
    return Rule(
        logical_id=logical_id,
        arn=f"arn:{PARTITION}:events:{REGION}:{ACCOUNT_ID}:rule/{_name_on(bus, name)}",
        bus=bus,
        enabled=properties.get("State") != "DISABLED",
        pattern=None if pattern is None else matcher(json.loads(pattern) if isinstance(pattern, str) else pattern),
        schedule=None if expression is None else _schedule(expression, start),
        targets=tuple(_target(target, functions) for target in properties.get("Targets", [])),
    )


def _name_on(bus: str, name: str) -> str:
    """Return the name of a rule, after that of its bus unless that is the default bus."""
    return name if bus == _DEFAULT_BUS else f"{bus}/{name}"


def _schedule(expression: str, start: datetime) -> Schedule:
    try:
        return schedule(expression, start)
    except ValueError as error:
        raise TemplateError(str(error)) from None


def is_api_destination(arn: str) -> bool:
    """Return whether this is the ARN of an API destination, as opposed to the logical id of a function."""
    return ":api-destination/" in arn


def matcher(pattern: Mapping[str, Any]) -> EventPattern:
    """Return the matcher of an event pattern. It does not support arrays of objects. Raises TemplateError."""
    _check_filters(pattern)
    return EventPattern.load(json.dumps(pattern))


def _check_filters(node: Any) -> None:
    """Raise TemplateError unless a pattern consists of objects and of lists of values and supported filters."""
    if not isinstance(node, Mapping):
        raise TemplateError("an event pattern contains only objects and lists")
    for name, value in node.items():
        if name == "$or":
            for alternative in value:
                _check_filters(alternative)
        elif not isinstance(value, list):
            _check_filters(value)
        elif unknown := {key for item in value if isinstance(item, Mapping) for key in item} - _FILTERS:
            raise TemplateError(f"the filter {', '.join(sorted(unknown))} is not supported locally")


def _target(target: Mapping[str, Any], functions: Mapping[str, str]) -> Target:
    if unknown := target.keys() - _SUPPORTED:
        raise TemplateError(f"a target's {', '.join(sorted(unknown))} is not supported locally")
    if target["Arn"] not in functions and not is_api_destination(target["Arn"]):
        raise TemplateError(f"the target {target['Arn']} is not a function of this stack")
    constant, transformer = target.get("Input"), target.get("InputTransformer")
    if constant is not None and transformer is not None:
        raise TemplateError("a target has either an Input or an InputTransformer")
    if constant is not None:
        try:
            json.loads(constant)
        except ValueError:
            raise TemplateError("a target's Input is not JSON") from None
    transformed = None if transformer is None else InputTransformer.of(transformer)
    return Target(functions.get(target["Arn"], target["Arn"]), constant, transformed)


class ChangingRules:
    """The current rules. Only changed rules are parsed again."""

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
        # By logical id or name; None for rules with unsupported features.
        self._known: dict[str, tuple[Mapping[str, Any], Rule | None]] = {}

    def current(self) -> dict[str, Rule]:
        with self._lock:
            self._known = {key: self._read(key, properties) for key, properties in self._all()}
            return {key: rule for key, (_, rule) in self._known.items() if rule is not None}

    def _all(self) -> list[tuple[str, Mapping[str, Any]]]:
        named = [(_name_on(each.get("EventBusName", _DEFAULT_BUS), each["Name"]), each) for each in self._rules_now()]
        return [(self._ids.get(name, name), each) for name, each in named]

    def _read(self, key: str, properties: Mapping[str, Any]) -> tuple[Mapping[str, Any], Rule | None]:
        before, known = self._known.get(key, ({}, None))
        if before == properties:
            return before, known
        # The emulated AWS delivers to other targets, such as queues.
        targets = [
            target
            for target in properties.get("Targets", [])
            if target["Arn"] in self._functions or is_api_destination(target["Arn"])
        ]
        try:
            rule = _rule(key, properties["Name"], {**properties, "Targets": targets}, self._functions, self._now())
        except TemplateError as error:
            LOG.warning("Rule %s is ignored: %s", key, error)
            return properties, None
        if known is not None and before.get("ScheduleExpression") == properties.get("ScheduleExpression"):
            # The intervals of the schedule continue.
            rule = replace(rule, schedule=known.schedule)
        return properties, rule
