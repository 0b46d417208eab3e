"""Additional scheduled stops: EventBridge rules whose target is the stack's function.

A rule is named `<stack>.<schedule>`, and rules that `schedule add` creates have a tag. A stack name contains no dot, so
the function's permission for `<stack>.*` does not extend to the rules of another stack. `add` creates a rule disabled,
adds the target, and then enables the rule. A rule therefore never fires without a target, and repeating the command
completes a rule that an interrupted command left unfinished.

The target's input transformer passes the scheduled time together with the input. The rule of the stack's own schedule
is named `<stack>-<logical id>`. It is listed, but changed only by a deployment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longshore.engine.schedules import ScheduleInput
from pydantic import ValidationError

from admin.errors import AdminError
from admin.scheduler import is_of_the_api
from admin.target import Target
from local.expressions import Cron, schedule

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient
    from types_boto3_events.type_defs import InputTransformerTypeDef, TargetTypeDef

TAG = "longshore:stack"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_RULE = 64  # EventBridge's limit
_TARGET_ID = "scheduled-stop"
_INPUT_LIMIT = 8192  # characters, EventBridge's limit
_TEMPLATE = '{{"time": <time>, "input": {}}}'


@dataclass(frozen=True)
class Listed:
    """A rule that invokes the scheduled stop function.

    Attributes:
        name: The name of the schedule.
        rule: The name of the rule.
        input: The function's input, or None if the rule has no target or its input cannot be read.
        next_at: The next run time (UTC). None for a disabled rule, and for a rate, because EventBridge does not return
            its start time.
        ours: Whether `schedule add` created the rule.
        passes_time: Whether the target passes the scheduled time.
        invokes: Whether the stack permits a rule with this name to invoke its function.
    """

    name: str
    rule: str
    expression: str
    enabled: bool
    input: dict[str, Any] | None
    next_at: datetime | None
    ours: bool
    passes_time: bool
    invokes: bool

    @property
    def container_ids(self) -> list[str]:
        """The ids of the containers that the schedule names."""
        return list(map(str, (self.input or {}).get("container_ids") or []))

    def as_json(self) -> dict[str, Any]:
        """Return the rule as printed by `schedule list --json`."""
        return {
            "name": self.name,
            "rule": self.rule,
            "expression": self.expression,
            "enabled": self.enabled,
            "input": self.input,
            "next": self.next_at.isoformat().replace("+00:00", "Z") if self.next_at else None,
            "passes_time": self.passes_time,
            "invokes": self.invokes,
            "removable": self.ours,
        }


class Schedules:
    """Manages the rules of a stack's scheduled stops. Methods raise botocore's errors if EventBridge fails."""

    def __init__(self, events: EventBridgeClient, *, stack: str, function_arn: str, dead_letters_arn: str) -> None:
        self._events = events
        self._stack = stack
        self._function = function_arn
        self._dead_letters = dead_letters_arn

    @classmethod
    def of(cls, target: Target) -> Schedules:
        """Create the schedules of a stack."""
        return cls(
            target.events(),
            stack=target.name,
            function_arn=target.output("ScheduledStopFunctionArn"),
            dead_letters_arn=target.output("DeadLettersArn"),
        )

    def add(self, name: str, expression: str, stops: ScheduleInput, *, enabled: bool, replace: bool) -> Listed:
        """Create a rule, or complete a rule that an interrupted command left unfinished.

        Args:
            name: The name of the schedule.
            expression: An EventBridge cron or rate expression.
            stops: The containers to stop.
            enabled: Whether to enable the rule.
            replace: Whether to change an existing schedule with the same name.

        Raises:
            AdminError: The name or input is invalid, or the name belongs to another schedule or rule.
        """
        rule, wanted = self._rule_name(name), stops.model_copy(update={"rule": name}).model_dump(exclude_defaults=True)
        transformer = _transformer(wanted)
        for existing in filter(None, (rule, self._of_stack(name))):
            self._check_same(name, existing, expression, wanted, replace=replace)
        target: TargetTypeDef = {
            "Id": _TARGET_ID,
            "Arn": self._function,
            "InputTransformer": transformer,
            "DeadLetterConfig": {"Arn": self._dead_letters},
        }
        self._write(rule, name, expression, target, enabled=enabled)
        return self._listed(rule)

    def _check_same(self, name: str, rule: str, expression: str, wanted: Any, *, replace: bool) -> None:
        """Raise AdminError if the rule exists and has other settings, unless they may be replaced."""
        present = self._described(rule)
        if present is None:
            return
        self._check_ours(rule, present)
        target = self._target(rule)
        same = (present.get("ScheduleExpression"), _input_of(target)) == (expression, wanted)
        if target is not None and not same and not replace:
            raise AdminError(f"The schedule {name} already exists with other settings: specify --replace to change it.")

    def _write(self, rule: str, name: str, expression: str, target: TargetTypeDef, *, enabled: bool) -> None:
        self._events.put_rule(
            Name=rule,
            ScheduleExpression=expression,
            State="DISABLED",
            Description=f"Longshore scheduled stop {name}",
            # EventBridge ignores the tags of an existing rule.
            Tags=[{"Key": TAG, "Value": self._stack}],
        )
        self._put_target(rule, target)
        if enabled:
            self._events.enable_rule(Name=rule)

    def _put_target(self, rule: str, target: TargetTypeDef) -> None:
        answer = self._events.put_targets(Rule=rule, Targets=[target])
        if answer["FailedEntryCount"]:
            failure = answer["FailedEntries"][0]
            raise AdminError(
                f"EventBridge rejected the rule's target: {failure.get('ErrorMessage', 'no reason given')}"
            )

    def remove(self, name: str) -> None:
        """Remove the rule of a schedule.

        Raises:
            AdminError: The schedule does not exist, or its rule was not created by `schedule add`.
        """
        self._delete(self._existing(name))

    def _existing(self, name: str) -> str:
        """Return the name of the rule of a schedule that `schedule add` created."""
        rule = self._of_stack(name) or self._rule_name(name)
        present = self._described(rule)
        if present is None:
            raise AdminError(f"The schedule {name} does not exist.")
        self._check_ours(rule, present)
        return rule

    def set_enabled(self, name: str, *, enabled: bool) -> None:
        """Enable or disable the rule of a schedule.

        Raises:
            AdminError: The schedule does not exist, or its rule was not created by `schedule add`.
        """
        rule = self._existing(name)
        if enabled:
            self._events.enable_rule(Name=rule)
        else:
            self._events.disable_rule(Name=rule)

    def _delete(self, rule: str) -> None:
        targets = self._events.list_targets_by_rule(Rule=rule)["Targets"]
        if targets:
            answer = self._events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
            if answer["FailedEntryCount"]:
                raise AdminError(f"EventBridge did not remove the target of the rule {rule}: try again.")
        self._events.delete_rule(Name=rule)

    def all(self) -> list[Listed]:
        """Return the rules that invoke the function, and rules of `schedule add` that have no target yet."""
        by_target = self._events.get_paginator("list_rule_names_by_target").paginate(TargetArn=self._function)
        names = {name for page in by_target for name in page["RuleNames"]}
        for page in self._events.get_paginator("list_rules").paginate(NamePrefix=self._rule_prefix):
            for described in page["Rules"]:
                rule = described["Name"]
                if rule not in names and self._is_ours(described["Arn"]) and self._target(rule) is None:
                    names.add(rule)
        return [self._listed(rule) for rule in sorted(names)]

    def _listed(self, rule: str) -> Listed:
        described = self._described(rule)
        if described is None:
            raise AdminError(f"The rule {rule} was removed in the meantime.")
        target = self._target(rule)
        invokes = rule.startswith(self._rule_prefix)
        expression, enabled = described.get("ScheduleExpression", ""), described["State"] != "DISABLED"
        return Listed(
            name=rule.removeprefix(self._rule_prefix if invokes else self._stack_prefix),
            rule=rule,
            expression=expression,
            enabled=enabled,
            input=_input_of(target),
            next_at=_next(expression) if enabled and target else None,
            ours=self._is_ours(described["Arn"]),
            passes_time=bool(target and target.get("InputTransformer")),
            invokes=invokes,
        )

    def _described(self, rule: str) -> Any:
        try:
            return self._events.describe_rule(Name=rule)
        except self._events.exceptions.ResourceNotFoundException:
            return None

    def _target(self, rule: str) -> Any:
        targets = self._events.list_targets_by_rule(Rule=rule)["Targets"]
        return next((target for target in targets if target["Arn"] == self._function), None)

    def _is_ours(self, rule_arn: str) -> bool:
        tags = self._events.list_tags_for_resource(ResourceARN=rule_arn)["Tags"]
        return {"Key": TAG, "Value": self._stack} in tags

    def _check_ours(self, rule: str, described: Any) -> None:
        if not self._is_ours(described["Arn"]):
            raise AdminError(f"The rule {rule} was not created by `schedule add` and cannot be changed here.")

    @property
    def _rule_prefix(self) -> str:
        return f"{self._stack}."

    @property
    def _stack_prefix(self) -> str:
        """The beginning of the names of the rules that CloudFormation creates."""
        return f"{self._stack}-"

    def _of_stack(self, name: str) -> str | None:
        """Return the name of the rule of the stack's own schedule, or None if it has another name."""
        rule = f"{self._stack_prefix}{name}"
        # The name may also be that of a rule of another stack, such as longshore-dev.
        return rule if self._described(rule) is not None and self._target(rule) else None

    def _rule_name(self, name: str) -> str:
        rule = f"{self._rule_prefix}{name}"
        if not _NAME.fullmatch(name):
            raise AdminError(
                f"A schedule name may contain only letters, digits, dots, hyphens and underscores, not {name!r}."
            )
        if is_of_the_api(name):
            raise AdminError("A schedule name may not consist of the id of a project, a dot and a name.")
        if len(rule) > _LONGEST_RULE:
            raise AdminError(f"A schedule name may have at most {_LONGEST_RULE - len(self._stack) - 1} characters.")
        return rule


def expression_of(cron: str | None, rate: str | None) -> str:
    """Return the EventBridge expression for a cron or a rate.

    Args:
        cron: The fields of a cron expression, with or without `cron(...)`.
        rate: A value and a unit, with or without `rate(...)`.

    Raises:
        AdminError: Both or none are specified, the expression is invalid, or it has no future run time.
    """
    if (cron is None) == (rate is None):
        raise AdminError("Specify either --cron or --rate.")
    kind, given = ("cron", cron) if cron is not None else ("rate", rate)
    text = str(given).strip()
    expression = text if text.startswith(f"{kind}(") else f"{kind}({text})"
    now = datetime.now(UTC)
    try:
        following = schedule(expression, now).next_after(now)
    except ValueError:
        example = "'0 20 ? * MON-FRI *' (minutes hours day month weekday year)" if kind == "cron" else "'12 hours'"
        raise AdminError(f"{text!r} is not an EventBridge {kind} expression. Example: {example}.") from None
    if following is None:
        raise AdminError(f"{expression} has no future run time.")
    return expression


def stop_input(project: str | None, containers: list[str], *, everything: bool) -> ScheduleInput:
    """Return the input of a scheduled stop.

    Raises:
        AdminError: Not exactly one of the three is specified, or an id is invalid.
    """
    if (project is not None) + bool(containers) + everything != 1:
        raise AdminError("Specify exactly one of --all, --project and --container.")
    try:
        return ScheduleInput(project_id=project, container_ids=containers or None, all=everything)
    except ValidationError:
        raise AdminError("A project or container id must be 24 characters of 0-9a-f.") from None


def _transformer(wanted: Mapping[str, Any]) -> InputTransformerTypeDef:
    """Return the transformer that passes the scheduled time with the input. Raise AdminError if it is too long."""
    template = _TEMPLATE.format(json.dumps(wanted, separators=(",", ":")))
    if len(template) > _INPUT_LIMIT:
        raise AdminError("A schedule is limited to 8,192 characters of input, about 290 containers: add several.")
    return {"InputPathsMap": {"time": "$.time"}, "InputTemplate": template}


def _input_of(target: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the input in a rule's target, with or without an input transformer, or None if it cannot be read."""
    if target is None:
        return None
    transformer = target.get("InputTransformer")
    text = transformer["InputTemplate"].replace("<time>", "null") if transformer else target.get("Input", "null")
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if transformer and isinstance(found, dict):
        found = found.get("input")
    return found if isinstance(found, dict) else None


def _next(expression: str) -> datetime | None:
    now = datetime.now(UTC)
    try:
        found = schedule(expression, now)
    except ValueError:
        return None
    return found.next_after(now) if isinstance(found, Cron) else None
