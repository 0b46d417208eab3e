"""Further scheduled stops: EventBridge rules whose target is the stack's function, with a constant input.

A rule's name is the stack's, a hyphen, and the schedule's; a tag says that it was made here. A rule is made disabled,
given its target, and enabled last: at no time does it fire half made, and whatever a crash leaves behind is completed
by the same command once more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longshore.schedules import StopInput
from pydantic import ValidationError

from admin.errors import AdminError
from admin.target import Target
from local.expressions import Cron, schedule

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

TAG = "longshore:stack"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_RULE = 64  # EventBridge's
_TARGET_ID = "scheduled-stop"
_INPUT_LIMIT = 8192  # characters, EventBridge's


@dataclass(frozen=True)
class Listed:
    """One of the function's rules. `what` is its input, None when it has no target yet."""

    name: str
    rule: str
    expression: str
    enabled: bool
    what: dict[str, Any] | None
    next_at: datetime | None  # None for a rate, whose beginning EventBridge does not tell
    ours: bool  # made here, not by the template

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rule": self.rule,
            "expression": self.expression,
            "enabled": self.enabled,
            "input": self.what,
            "next": self.next_at.isoformat().replace("+00:00", "Z") if self.next_at else None,
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
        rule, constant = self._rule_name(name), _input(stops.model_copy(update={"rule": name}))
        present = self._described(rule)
        if present is not None:
            self._check_ours(name, present)
            target = self._target(rule)
            same = target is not None and (present["ScheduleExpression"], json.loads(target["Input"])) == (
                expression,
                json.loads(constant),
            )
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
        answer = self._events.put_targets(
            Rule=rule,
            Targets=[
                {
                    "Id": _TARGET_ID,
                    "Arn": self._function,
                    "Input": constant,
                    "DeadLetterConfig": {"Arn": self._dead_letters},
                }
            ],
        )
        if answer["FailedEntryCount"]:
            failure = answer["FailedEntries"][0]
            raise AdminError(
                f"EventBridge did not take the rule's target: {failure.get('ErrorMessage', 'no reason given')}"
            )
        if enabled:
            self._events.enable_rule(Name=rule)
        return self._listed(rule)

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
            what=json.loads(target["Input"]) if target and target.get("Input") else None,
            next_at=_next(expression) if enabled and target else None,
            ours=self._is_ours(described["Arn"]),
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
    try:
        return StopInput(project_id=project, container_ids=containers or None, all=everything)
    except ValidationError as error:
        if any("exactly one" in fault["msg"] for fault in error.errors()):
            raise AdminError("Give just one of --all, --project and --container.") from None
        raise AdminError("A project and a container are named by 24 characters of 0-9a-f.") from None


def _input(stops: StopInput) -> str:
    constant = stops.model_dump_json(exclude_defaults=True)
    if len(constant) > _INPUT_LIMIT:
        raise AdminError("A schedule's input has 8,192 characters at most, about 290 containers: use more schedules.")
    return constant


def _next(expression: str) -> datetime | None:
    now = datetime.now(UTC)
    try:
        found = schedule(expression, now)
    except ValueError:
        return None
    return found.next_after(now) if isinstance(found, Cron) else None
