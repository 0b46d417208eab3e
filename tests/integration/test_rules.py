"""Tests of the rules of the local EventBridge: patterns, schedule expressions and input transformers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from buses import START

from local.expressions import schedule
from local.rules import matcher
from local.template import TemplateError
from local.transformer import InputTransformer, TransformError

# --- Patterns ---------------------------------------------------------------------------------------------------------

EVENT = {
    "source": "aws.ecs",
    "detail": {"state": "RUNNING", "count": 5, "ratio": -1.5, "nothing": None, "tags": ["a", "b"]},
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"state": ["STOPPED", "RUNNING"]}, True),
        ({"state": ["running"]}, False),
        ({"absent": ["x"]}, False),
        ({"tags": ["b"]}, True),
        ({"nothing": [None]}, True),
        ({"absent": [None]}, False),
        ({"state": [{"prefix": "RUN"}]}, True),
        ({"state": [{"prefix": "UN"}]}, False),
        ({"state": [{"anything-but": "STOPPED"}]}, True),
        ({"state": [{"anything-but": ["STOPPED", "RUNNING"]}]}, False),
        ({"state": [{"anything-but": {"prefix": "RUN"}}]}, False),
        ({"absent": [{"anything-but": "x"}]}, False),
        ({"state": [{"exists": True}]}, True),
        ({"nothing": [{"exists": True}]}, True),
        ({"absent": [{"exists": True}]}, False),
        ({"absent": [{"exists": False}]}, True),
        ({"state": [{"exists": False}]}, False),
        ({"count": [{"numeric": [">", 0, "<=", 5]}]}, True),
        ({"count": [{"numeric": [">", 0, "<", 5]}]}, False),
        ({"ratio": [{"numeric": ["=", -1.5]}]}, True),
        ({"state": [{"numeric": [">", 0]}]}, False),
        ({"state": ["STOPPED"], "count": [5]}, False),
        ({"$or": [{"state": ["STOPPED"]}, {"count": [5]}]}, True),
    ],
)
def test_pattern(pattern: dict[str, Any], matches: bool) -> None:
    assert matcher({"source": ["aws.ecs"], "detail": pattern}).matches_event(EVENT) is matches
    assert matcher({"source": ["aws.ec2"], "detail": pattern}).matches_event(EVENT) is False


@pytest.mark.parametrize("pattern", [{"source": "aws.ecs"}, {"detail": {"state": [{"like": "x"}]}}])
def test_an_invalid_pattern_is_rejected(pattern: dict[str, Any]) -> None:
    with pytest.raises(TemplateError):
        matcher(pattern)


# --- Schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "after", "next_one"),
    [
        ("rate(1 minute)", "2025-01-10T19:00:00", "2025-01-10T19:01:00"),
        ("rate(15 minutes)", "2025-01-10T19:15:00", "2025-01-10T19:30:00"),
        ("rate(2 hours)", "2025-01-10T21:30:00", "2025-01-10T23:00:00"),
        ("rate(1 day)", "2025-01-10T19:00:01", "2025-01-11T19:00:00"),
        ("cron(0 20 ? * MON-FRI *)", "2025-01-10T19:59:59.999999", "2025-01-10T20:00:00"),
        ("cron(0 20 ? * MON-FRI *)", "2025-01-10T20:00:00", "2025-01-13T20:00:00"),
        ("cron(0/15 8-10 * * ? *)", "2025-01-10T10:50:00", "2025-01-11T08:00:00"),
        ("cron(5-20/5 * * * ? *)", "2025-01-10T10:20:00", "2025-01-10T11:05:00"),
        ("cron(0 8 L * ? *)", "2024-02-01T00:00:00", "2024-02-29T08:00:00"),
        ("cron(0 8 L-3 * ? *)", "2025-01-01T00:00:00", "2025-01-28T08:00:00"),
        ("cron(0 8 1W * ? *)", "2025-02-01T00:00:00", "2025-02-03T08:00:00"),
        ("cron(0 8 31W * ? *)", "2025-05-01T00:00:00", "2025-05-30T08:00:00"),
        ("cron(0 8 ? * 6L *)", "2025-02-01T00:00:00", "2025-02-28T08:00:00"),
        ("cron(0 8 ? * L *)", "2025-01-01T00:00:00", "2025-01-04T08:00:00"),
        ("cron(0 8 ? * TUE#2 *)", "2025-01-01T00:00:00", "2025-01-14T08:00:00"),
        ("cron(0 8 ? * 6#5 *)", "2025-02-01T00:00:00", "2025-05-30T08:00:00"),
        ("cron(0 0 ? * SAT-MON *)", "2025-01-06T00:00:00", "2025-01-11T00:00:00"),
        ("cron(0 0 1 JAN,JUL ? 2025-2026)", "2025-01-01T00:00:00", "2025-07-01T00:00:00"),
        ("cron(0 0 29 2 ? *)", "2025-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("cron(0 0 1 1 ? 2024)", "2025-01-01T00:00:00", None),
    ],
)
def test_schedule(expression: str, after: str, next_one: str | None) -> None:
    found = schedule(expression, START).next_after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(next_one).replace(tzinfo=UTC) if next_one else None)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(0 minutes)",
        "rate(5 minute)",
        "rate(1 minutes)",
        "rate(1 week)",
        "cron(0 20 * * MON *)",
        "cron(0 20 ? * ? *)",
        "cron(0 20 * * ?)",
        "cron(60 20 * * ? *)",
        "cron(0 20 ? * 8 *)",
        "at(2025-01-01T00:00:00)",
    ],
)
def test_an_invalid_schedule_is_rejected(expression: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        schedule(expression, START)


# --- Input transformers -----------------------------------------------------------------------------------------------

RULE_ARN = "arn:aws:events:us-east-1:123456789012:rule/longshore-r"
# The event, and most of the templates, are those of
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
INSTANCE_EVENT = {
    "source": "aws.ec2",
    "time": "2015-11-11T21:29:54Z",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
    "detail": {"instance-id": "i-0123456789", "state": "RUNNING", "count": 3, "more": {"a": [1, "b"]}},
}
PATHS = {
    "timestamp": "$.time",
    "instance": "$.detail.instance-id",
    "state": "$.detail.state",
    "count": "$.detail.count",
    "more": "$.detail.more",
    "resource": "$.resources[0]",
    "absent": "$.detail.absent.deeper",
    "whole": "$",
}


@pytest.mark.parametrize(
    ("template", "received"),
    [
        ('"instance <instance> is in <state>"', "instance i-0123456789 is in RUNNING"),
        ('"instance \\"<instance>\\" is in <state>"', 'instance "i-0123456789" is in RUNNING'),
        ('{"instance" : <instance>, "state": <state>}', {"instance": "i-0123456789", "state": "RUNNING"}),
        ('{"state": [9, <state>, true], "state2": "<state>"}', {"state": [9, "RUNNING", True], "state2": "RUNNING"}),
        ('{"count": <count>, "text": "<count>"}', {"count": 3, "text": "3"}),
        ('{"more": <more>, "text": "it has <more>"}', {"more": {"a": [1, "b"]}, "text": "it has {a:[1,b]}"}),
        ("<resource>", "arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"),
        ("<whole>", INSTANCE_EVENT),
        ('"nothing: <absent>"', "nothing: "),
        ('{"time": <timestamp>, "input": {"all": true}}', {"time": "2015-11-11T21:29:54Z", "input": {"all": True}}),
        ('"<aws.events.rule-name> triggered"', "longshore-r triggered"),
        ("<aws.events.rule-arn>", RULE_ARN),
        ("<aws.events.event.json>", INSTANCE_EVENT),
        ("<aws.events.event>", {key: value for key, value in INSTANCE_EVENT.items() if key != "detail"}),
    ],
)
def test_an_input_transformer(template: str, received: Any) -> None:
    transformer = InputTransformer.of({"InputPathsMap": PATHS, "InputTemplate": template})
    assert transformer.apply(INSTANCE_EVENT, RULE_ARN) == received


@pytest.mark.parametrize(
    ("template", "event"),
    [('{"a": <absent>}', INSTANCE_EVENT), ('"it is <state>"', {"detail": {"state": 'a "quoted" one'}})],
)
def test_a_transformed_event_that_is_not_json_cannot_be_delivered(template: str, event: dict[str, Any]) -> None:
    transformer = InputTransformer.of({"InputPathsMap": PATHS, "InputTemplate": template})
    with pytest.raises(TransformError, match="is not JSON"):
        transformer.apply(event, RULE_ARN)
