"""Tests of the recipes for consumers of events: their templates are valid, and their rules select the right events."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from jsonschema import Draft202012Validator

from local import template
from local.rules import matcher
from local.transformer import InputTransformer

PAGE = template.ROOT / "docs" / "events.md"
SCHEMA = template.ROOT / "docs" / "status-change.schema.json"
RECIPES = sorted((template.ROOT / "docs" / "recipes").glob("*.yaml"))
CONSOLE = "https://abc.execute-api.us-east-1.amazonaws.com/live/console/"
PARAMETERS = {
    "slack": {"WebhookUrl": "https://hooks.slack.com/services/T0/B0/x", "ConsoleUrl": CONSOLE},
    "mail": {"Address": "oncall@example.com", "ConsoleUrl": CONSOLE},
    "queue": {},
    "archive": {},
}


def documented() -> dict[str, Any]:
    """Return the example of docs/events.md."""
    (block,) = re.findall(r"```json\n(\{\n  \"version\".*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    event: dict[str, Any] = json.loads(block)
    return event


def event(**changes: Any) -> dict[str, Any]:
    """Return the example with a changed detail."""
    changed = copy.deepcopy(documented())
    changed["detail"] |= changes
    return changed


def load(recipe: str) -> template.Stack:
    return template.load(template.ROOT / "docs" / "recipes" / f"{recipe}.yaml", PARAMETERS[recipe])


def rule(recipe: str) -> Mapping[str, Any]:
    (properties,) = load(recipe).of_type("AWS::Events::Rule").values()
    return properties


def matches(recipe: str, sent: Mapping[str, Any]) -> bool:
    return bool(matcher(rule(recipe)["EventPattern"]).matches_event(sent))


def message(recipe: str, sent: Mapping[str, Any]) -> Any:
    """Return the message that the target of a recipe receives."""
    (target,) = rule(recipe)["Targets"]
    return InputTransformer.of(target["InputTransformer"]).apply(sent, "arn:aws:events:us-east-1:123456789012:rule/r")


def test_every_recipe_is_tested() -> None:
    assert {path.stem for path in RECIPES} == PARAMETERS.keys()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_cfn_lint_reports_nothing(path: Path) -> None:
    found = lint(path.read_text(encoding="utf-8"), config=ManualArgs(regions=[template.REGION]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_page_describes_the_recipe(path: Path) -> None:
    assert f"](recipes/{path.name})" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_a_rule_selects_the_events_of_its_stack(recipe: str) -> None:
    assert matches(recipe, documented())
    assert not matches(recipe, documented() | {"source": "aws.ecs"})
    assert not matches(recipe, documented() | {"detail-type": "Another"})
    for other in ("longshore-dev", "long"):
        arn = f"arn:aws:cloudformation:us-east-1:123456789012:stack/{other}/51af3dc0-da77-11e4-872e-1234567db123"
        assert not matches(recipe, documented() | {"resources": [arn]})


@pytest.mark.parametrize(
    ("recipe", "statuses"),
    [
        ("slack", {"failed"}),
        ("mail", {"failed", "expired"}),
        ("queue", {"stopped", "running", "paused", "failed", "expired"}),
        ("archive", {"stopped", "running", "paused", "failed", "expired"}),
    ],
)
def test_a_rule_selects_statuses(recipe: str, statuses: set[str]) -> None:
    known = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]["Status"]["enum"]
    assert {status for status in known if matches(recipe, event(to_status=status))} == statuses


@pytest.mark.parametrize("changes", [{"container_name": None}, {"metadata": None}, {"metadata": {"exit_code": 1}}])
def test_slack_receives_only_complete_messages(changes: dict[str, Any]) -> None:
    assert not matches("slack", event(**changes))


@pytest.mark.parametrize("text", ["orders", 'a "quoted" name', "back\\slash", "two\nlines", "<to>", "Größe"])
def test_the_message_to_slack(text: str) -> None:
    sent = event(container_name=text, metadata={"reason": text})
    posted = message("slack", sent)
    header, change, reason, actions = posted["blocks"]
    assert (header["text"]["text"], reason["text"]["text"]) == (text, text)
    assert change["text"]["text"] == "*running* to *failed* at 2025-01-15T10:30:05.012Z, cause: system"
    assert actions["elements"][0]["url"] == f"{CONSOLE}#507f1f77bcf86cd799439012"


def test_the_mail() -> None:
    assert message("mail", documented()) == (
        "Container 507f1f77bcf86cd799439012 of project 507f1f77bcf86cd799439033 changed from running to failed at"
        f" 2025-01-15T10:30:05.012Z. Cause: system. History: {CONSOLE}#507f1f77bcf86cd799439012"
    )


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_undelivered_events_are_kept(recipe: str) -> None:
    stack = load(recipe)
    (target,) = rule(recipe)["Targets"]
    assert target["DeadLetterConfig"]["Arn"].endswith("-Undelivered")
    (statement,) = stack.of_type("AWS::SQS::QueuePolicy")["UndeliveredPolicy"]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == target["DeadLetterConfig"]["Arn"]


# --- The documented event ---------------------------------------------------------------------------------------------


def test_the_documented_event_is_valid() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(documented()["detail"])
    assert documented()["detail"].keys() == schema["properties"].keys()


@pytest.mark.parametrize(
    "changes", [{"seq": 0}, {"seq": None}, {"to_status": "melted"}, {"container_id": "1"}, {"labels": None}]
)
def test_the_schema_refuses_other_events(changes: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert not Draft202012Validator(schema).is_valid(event(**changes)["detail"])
