"""Further scheduled stops: EventBridge rules whose target is the stack's function.

A rule's name is the stack's, a hyphen, and the schedule's; a tag marks the rules that `schedule add` made. A rule is
created disabled, given its target, and enabled last, so that it never fires without a target, and running the same
command again completes what a crash has left.

The target's input transformer passes the scheduled time with the input. Rules that older versions made pass the input
alone; `migrate` changes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longshore.engine.schedules import StopInput
from pydantic import ValidationError

from admin.errors import AdminError
from admin.target import Target
from local.expressions import Cron, schedule

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient
    from types_boto3_events.type_defs import InputTransformerTypeDef, TargetTypeDef

TAG = "longshore:stack"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_RULE = 64  # EventBridge's
_TARGET_ID = "scheduled-stop"
_INPUT_LIMIT = 8192  # characters, EventBridge's
_TEMPLATE = '{{"time": <time>, "input": {}}}'


@dataclass(frozen=True)
class Listed:
    """One of the function's rules. `what` is its input, None when it has no target, or one with another input."""

    name: str
    rule: str
    expression: str
    enabled: bool
    what: dict[str, Any] | None
    next_at: datetime | None  # None for a rate, whose beginning EventBridge does not tell
    ours: bool  # made by `schedule add`, not by the template
    passes_time: bool  # by an input transformer

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rule": self.rule,
            "expression": self.expression,
            "enabled": self.enabled,
            "input": self.what,
            "next": self.next_at.isoformat().replace("+00:00", "Z") if self.next_at else None,
            "passes_time": self.passes_time,
            "removable": self.ours,
        }


class Schedules:
    """The rules of one stack's scheduled stops."""

    def __init__(self, events: EventBridgeClient, *, stack: str, function_arn: str, dead_letters_arn: str) -> None:
        self._events = events
        self._stack = stack
        self._function = function_arn
        self._dead_letters = dead_letters_arn

    @classmethod
    def of(cls, target: Target) -> Schedules:
        return cls(
            target.events(),
            stack=target.name,
            function_arn=target.output("ScheduledStopFunctionArn"),
            dead_letters_arn=target.output("DeadLettersArn"),
        )

    def add(self, name: str, expression: str, stops: StopInput, *, enabled: bool, replace: bool) -> Listed:
        """Make the rule, or complete one that was begun. AdminError when there is another one of the name already,
        unless it is to be replaced."""
        rule, wanted = self._rule_name(name), stops.model_copy(update={"rule": name}).model_dump(exclude_defaults=True)
        transformer = _transformer(wanted)
        present = self._described(rule)
        if present is not None:
            self._check_ours(name, present)
            target = self._target(rule)
            same = (present.get("ScheduleExpression"), _input_of(target)) == (expression, wanted)
            if target is not None and not same and not replace:
                raise AdminError(
                    f"There is a schedule {name} already, which is another one: give --replace to change it."
                )
        self._events.put_rule(
            Name=rule,
            ScheduleExpression=expression,
            State="DISABLED",
            Description=f"Longshore scheduled stop {name}",
            # Of a rule that is there already they are ignored.
            Tags=[{"Key": TAG, "Value": self._stack}],
        )
        self._put_target(
            rule,
            {
                "Id": _TARGET_ID,
                "Arn": self._function,
                "InputTransformer": transformer,
                "DeadLetterConfig": {"Arn": self._dead_letters},
            },
        )
        if enabled:
            self._events.enable_rule(Name=rule)
        return self._listed(rule)

    def migrate(self) -> tuple[list[str], dict[str, str]]:
        """Make every rule that `schedule add` made pass its scheduled time. Safe to repeat.

        A rule keeps its expression, its state and the other settings of its target.

        Returns:
            The names of the schedules that were changed, and the reasons of those that could not be changed, by name.
        """
        changed: list[str] = []
        refused: dict[str, str] = {}
        for listed in self.all():
            if listed.passes_time or listed.what is None:
                continue
            if not listed.ours:
                refused[listed.name] = "its rule was not made by `schedule add`"
                continue
            target: Any = {key: value for key, value in self._target(listed.rule).items() if key != "Input"}
            try:
                target["InputTransformer"] = _transformer(listed.what)
                self._put_target(listed.rule, target)
            except AdminError as error:
                refused[listed.name] = str(error).rstrip(".")
            else:
                changed.append(listed.name)
        return changed, refused

    def _put_target(self, rule: str, target: TargetTypeDef) -> None:
        answer = self._events.put_targets(Rule=rule, Targets=[target])
        if answer["FailedEntryCount"]:
            failure = answer["FailedEntries"][0]
            raise AdminError(
                f"EventBridge did not take the rule's target: {failure.get('ErrorMessage', 'no reason given')}"
            )

    def remove(self, name: str) -> None:
        """Remove the rule. AdminError when there is none, or when it was not made here."""
        rule = self._rule_name(name)
        present = self._described(rule)
        if present is None:
            raise AdminError(f"There is no schedule {name}.")
        self._check_ours(name, present)
        targets = self._events.list_targets_by_rule(Rule=rule)["Targets"]
        if targets:
            answer = self._events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
            if answer["FailedEntryCount"]:
                raise AdminError(f"EventBridge did not remove the target of the schedule {name}: try again.")
        self._events.delete_rule(Name=rule)

    def all(self) -> list[Listed]:
        """The rules that invoke the function, and those that were begun here and have no target yet."""
        names = set(self._names("list_rule_names_by_target", "RuleNames", TargetArn=self._function))
        for described in self._names("list_rules", "Rules", NamePrefix=f"{self._stack}-"):
            rule = described["Name"]
            if rule not in names and self._is_ours(described["Arn"]) and self._target(rule) is None:
                names.add(rule)
        return [self._listed(rule) for rule in sorted(names)]

    def _names(self, operation: str, key: str, **request: Any) -> Iterator[Any]:
        start: dict[str, str] = {}
        while True:
            answer = getattr(self._events, operation)(**request, **start)
            yield from answer[key]
            if not answer.get("NextToken"):
                return
            start = {"NextToken": answer["NextToken"]}

    def _listed(self, rule: str) -> Listed:
        described = self._described(rule)
        if described is None:
            raise AdminError(f"The rule {rule} has just been removed.")
        target = self._target(rule)
        expression, enabled = described.get("ScheduleExpression", ""), described["State"] != "DISABLED"
        return Listed(
            name=rule.removeprefix(f"{self._stack}-"),
            rule=rule,
            expression=expression,
            enabled=enabled,
            what=_input_of(target),
            next_at=_next(expression) if enabled and target else None,
            ours=self._is_ours(described["Arn"]),
            passes_time=bool(target and target.get("InputTransformer")),
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

    def _check_ours(self, name: str, described: Any) -> None:
        if not self._is_ours(described["Arn"]):
            raise AdminError(f"The rule {self._stack}-{name} was not made by `schedule add`, and is left as it is.")

    def _rule_name(self, name: str) -> str:
        rule = f"{self._stack}-{name}"
        if not _NAME.fullmatch(name):
            raise AdminError(
                f"A schedule's name has letters, digits, dots, hyphens and underscores only, not {name!r}."
            )
        if len(rule) > _LONGEST_RULE:
            raise AdminError(f"A schedule's name may have {_LONGEST_RULE - len(self._stack) - 1} characters at most.")
        return rule


def expression_of(cron: str | None, rate: str | None) -> str:
    """EventBridge's expression of one of the two, with or without its `cron(...)` or `rate(...)` around it.

    AdminError for what is none, or never comes.
    """
    if (cron is None) == (rate is None):
        raise AdminError("Give either --cron or --rate.")
    kind, given = ("cron", cron) if cron is not None else ("rate", rate)
    text = str(given).strip()
    expression = text if text.startswith(f"{kind}(") else f"{kind}({text})"
    now = datetime.now(UTC)
    try:
        following = schedule(expression, now).next_after(now)
    except ValueError:
        example = "'0 20 ? * MON-FRI *' (minutes hours day month weekday year)" if kind == "cron" else "'12 hours'"
        raise AdminError(f"{text!r} is no {kind} expression of EventBridge's; one is {example}.") from None
    if following is None:
        raise AdminError(f"{expression} never comes.")
    return expression


def stop_input(project: str | None, containers: list[str], *, everything: bool) -> StopInput:
    """What a schedule stops. AdminError unless it is just one of the three."""
    if (project is not None) + bool(containers) + everything != 1:
        raise AdminError("Give just one of --all, --project and --container.")
    try:
        return StopInput(project_id=project, container_ids=containers or None, all=everything)
    except ValidationError:
        raise AdminError("A project and a container are named by 24 characters of 0-9a-f.") from None


def _transformer(wanted: Mapping[str, Any]) -> InputTransformerTypeDef:
    """The transformer that passes the scheduled time with the input. AdminError when the input is too long."""
    template = _TEMPLATE.format(json.dumps(wanted, separators=(",", ":")))
    if len(template) > _INPUT_LIMIT:
        raise AdminError("A schedule's input has 8,192 characters at most, about 290 containers: use more schedules.")
    return {"InputPathsMap": {"time": "$.time"}, "InputTemplate": template}


def _input_of(target: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The input of a rule's target, with or without a scheduled time; None when it has none that can be read."""
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
