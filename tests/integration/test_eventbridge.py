"""Tests of the local EventBridge: rules of the template, and rules that are created while the stack runs."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from buses import START, TEMPLATE, Clock, Recorder, stack_of, transformed
from settling import PATIENCE, eventually

from local import template
from local.environment import Environment
from local.eventbridge import EventBridge, instance_state_change
from local.runtime import FunctionError
from local.stack import LocalStack
from local.template import TemplateError


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def bus(tmp_path: Path, recorder: Recorder) -> Iterator[EventBridge]:
    made = EventBridge(stack_of(tmp_path), recorder, lambda: START)
    made.start()
    yield made
    made.stop()


def test_the_clock_fires_due_rules_once(tmp_path: Path, recorder: Recorder) -> None:
    clock = Clock()
    bus = EventBridge(stack_of(tmp_path), recorder, clock)
    assert bus.next_firings() == {
        "ClockworkOften": START + timedelta(minutes=5),
        "ClockworkNightly": START + timedelta(hours=1),
    }
    bus.start()
    bus.start_schedules()
    try:
        # The machine sleeps for most of an hour: missed times are skipped.
        clock.now = START + timedelta(minutes=52)
        eventually(lambda: len(recorder.calls) == 1)
        clock.now = START + timedelta(minutes=55)
        eventually(lambda: len(recorder.calls) == 2)
        clock.now = START + timedelta(hours=1)
        eventually(lambda: len(recorder.calls) == 4)
    finally:
        bus.stop()
    (nightly,) = [event for _, event, _ in recorder.calls if event != {"constant": [1]}]
    assert (nightly["source"], nightly["detail-type"], nightly["detail"]) == ("aws.events", "Scheduled Event", {})
    assert nightly["time"] == "2025-01-10T20:00:00Z"
    assert len(recorder.calls) == 4


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_an_event_reaches_the_targets_of_matching_rules(bus: EventBridge, recorder: Recorder) -> None:
    event = instance_state_change("i-0a1b2c3d4e5f60718", "terminated", START)
    assert bus.put(event) == 1
    assert bus.put(instance_state_change("i-0a1b2c3d4e5f60718", "stopped", START)) == 0
    assert bus.put(event | {"source": "aws.other"}) == 0
    assert bus.invocations.wait_idle(PATIENCE)
    assert [(function, given) for function, given, _ in recorder.calls] == [("Listener", event)]


def test_a_rule_is_fired_with_its_input(bus: EventBridge, recorder: Recorder) -> None:
    assert bus.fire("ClockworkOften") == 1
    assert bus.invocations.wait_idle(PATIENCE)
    assert [(function, given) for function, given, _ in recorder.calls] == [("Clockwork", {"constant": [1]})]


def test_a_disabled_rule_does_not_fire(bus: EventBridge, recorder: Recorder) -> None:
    assert bus.fire("ClockworkNever") == 0
    assert bus.invocations.wait_idle(PATIENCE)
    assert recorder.calls == []


def test_a_rule_that_does_not_exist_cannot_be_fired(bus: EventBridge) -> None:
    with pytest.raises(KeyError):
        bus.fire("Missing")


def test_events_can_be_lost(bus: EventBridge, recorder: Recorder) -> None:
    with bus.losing_events():
        assert bus.put(instance_state_change("i-0a1b2c3d4e5f60718", "terminated", START)) == 0
    assert bus.invocations.wait_idle(PATIENCE)
    assert recorder.calls == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("Targets: [{Id: a, Arn: 'arn:aws:sqs:us-east-1:123456789012:q'}]", "is not a function of this stack"),
        ("Targets: [{Id: a, Arn: !GetAtt Listener.Arn, Input: 'not JSON'}]", "not JSON"),
        ("Targets: [{Id: a, Arn: !GetAtt Listener.Arn, InputPath: $.detail}]", "InputPath is not supported"),
        ("Targets: []\n      ScheduleExpression: rate(2 weeks)", "is no schedule"),
        (transformed("not JSON <a>", a="$.time"), "InputTemplate is not JSON"),
        (transformed('{"a": <b>}', a="$.time"), "names b, which the InputPathsMap does not have"),
        (transformed('{"a": <a>}', a="$.detail[*]"), "the path $.detail[*] is not supported"),
        (transformed('{"a": <a>}', a="time"), "the path time is not supported"),
        (transformed('{"a": <AWS.a>}', **{"AWS-a": "$.time"}), "AWS-a is not a name"),
        (transformed('{"a": "' + "b" * 8192 + '"}'), "at most 8192 characters"),
        (transformed("{}")[:-2] + ", Input: '{}'}]", "either an Input or an InputTransformer"),
    ],
)
def test_an_unsupported_feature_is_named_in_the_error(tmp_path: Path, rule: str, message: str) -> None:
    more = f"Odd:\n    Type: AWS::Events::Rule\n    Properties:\n      EventPattern: {{source: [x]}}\n      {rule}"
    stack = stack_of(tmp_path, TEMPLATE.replace("# MORE", more))
    with pytest.raises(TemplateError, match=f"Odd: .*{re.escape(message)}"):
        EventBridge(stack, Recorder())


TIMED = (
    "ScheduleExpression: rate(5 minutes)\n      "
    + transformed('{"time": <at>, "input": {"all": true}, "text": "at <at>"}', at="$.time")
    + """
  TimedPermission:
    Type: AWS::Lambda::Permission
    Properties: {Action: 'lambda:InvokeFunction', FunctionName: !Ref Listener, Principal: events.amazonaws.com}
"""
)


def timed(folder: Path) -> template.Stack:
    more = f"Timed:\n    Type: AWS::Events::Rule\n    Properties:\n      {TIMED}"
    return stack_of(folder, TEMPLATE.replace("# MORE", more))


def at_time(moment: str) -> dict[str, Any]:
    return {"time": moment, "input": {"all": True}, "text": f"at {moment}"}


def test_a_late_rule_passes_its_scheduled_time(tmp_path: Path, recorder: Recorder) -> None:
    clock = Clock()
    bus = EventBridge(timed(tmp_path), recorder, clock)
    bus.start()
    bus.start_schedules()
    try:
        clock.now = START + timedelta(minutes=5, seconds=50)
        eventually(lambda: ("Listener", at_time("2025-01-10T19:05:00Z")) in [call[:2] for call in recorder.calls])
    finally:
        bus.stop()


def test_a_manually_fired_rule_passes_the_given_time_or_the_next_second(tmp_path: Path, recorder: Recorder) -> None:
    clock = Clock()
    clock.now = START + timedelta(milliseconds=1)
    bus = EventBridge(timed(tmp_path), recorder, clock)
    bus.start()
    try:
        assert bus.fire("Timed", datetime(2025, 1, 9, tzinfo=UTC)) == 1
        assert bus.invocations.wait_idle(PATIENCE)
        assert bus.fire("Timed") == 1
        assert bus.invocations.wait_idle(PATIENCE)
    finally:
        bus.stop()
    assert [call[1] for call in recorder.calls] == [at_time("2025-01-09T00:00:00Z"), at_time("2025-01-10T19:00:01Z")]


def test_an_event_that_cannot_be_transformed_is_not_delivered(
    tmp_path: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    odd = transformed('{"a": <a>}', a="$.detail.absent") + TIMED[TIMED.index("\n  TimedPermission") :]
    more = f"Odd:\n    Type: AWS::Events::Rule\n    Properties:\n      EventPattern: {{source: [x]}}\n      {odd}"
    bus = EventBridge(stack_of(tmp_path, TEMPLATE.replace("# MORE", more)), recorder)
    assert bus.put({"source": "x", "detail": {}}) == 0
    (record,) = caplog.records
    assert record.getMessage() == 'Rule Odd cannot be delivered to Listener: the transformed event is not JSON: {"a": }'


# --- Rules that are created and changed while the stack runs ----------------------------------------------------------


class Rules:
    """The rules in EventBridge, which tests change."""

    def __init__(self, stack: template.Stack) -> None:
        self.arn = stack.functions["Clockwork"].arn
        self.now: list[dict[str, Any]] = []

    def put(self, name: str, expression: str, **properties: Any) -> None:
        self.remove(name)
        target = {"Id": "1", "Arn": self.arn, "Input": json.dumps({"rule": name})}
        self.now.append({"Name": name, "ScheduleExpression": expression, "Targets": [target], **properties})

    def remove(self, name: str) -> None:
        self.now = [rule for rule in self.now if rule["Name"] != name]


GRANT = """
  Grant:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref Clockwork
      Principal: events.amazonaws.com
      SourceArn: !Sub "arn:aws:events:${AWS::Region}:${AWS::AccountId}:rule/longshore-*"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(stack_of(tmp_path, TEMPLATE + GRANT))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changing(tmp_path: Path, recorder: Recorder, rules: Rules, clock: Clock) -> Iterator[EventBridge]:
    bus = EventBridge(stack_of(tmp_path, TEMPLATE + GRANT), recorder, clock, rules_now=lambda: list(rules.now))
    bus.start()
    yield bus
    bus.stop()


def test_an_added_rule_fires_until_it_is_removed(
    changing: EventBridge, rules: Rules, clock: Clock, recorder: Recorder
) -> None:
    assert changing.next_firings() == {}
    changing.start_schedules()
    rules.put("longshore-soon", "rate(1 minute)")
    eventually(lambda: changing.next_firings() == {"longshore-soon": START + timedelta(minutes=1)})
    time.sleep(0.5)  # until the clock's thread has read the rule; an earlier time would be skipped
    clock.now = START + timedelta(minutes=1)
    eventually(lambda: recorder.calls)
    clock.now = START + timedelta(minutes=2)
    eventually(lambda: len(recorder.calls) == 2)
    assert [call[:2] for call in recorder.calls] == [("Clockwork", {"rule": "longshore-soon"})] * 2
    rules.remove("longshore-soon")
    assert changing.next_firings() == {}
    clock.now = START + timedelta(minutes=9)
    time.sleep(0.5)
    assert len(recorder.calls) == 2


def test_a_changed_rule(changing: EventBridge, rules: Rules, clock: Clock) -> None:
    rules.put("longshore-r", "rate(10 minutes)")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=10)}
    clock.now = START + timedelta(minutes=4)
    # The intervals restart only if the expression changes.
    rules.put("longshore-r", "rate(10 minutes)", Description="another")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=10)}
    rules.put("longshore-r", "rate(20 minutes)")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=24)}
    rules.put("longshore-r", "rate(20 minutes)", State="DISABLED")
    assert changing.next_firings() == {}
    assert changing.fire("longshore-r") == 0


def test_rules_of_the_template_have_their_logical_ids(changing: EventBridge, rules: Rules, recorder: Recorder) -> None:
    rules.put("longshore-ClockworkOften", "rate(7 minutes)")
    assert changing.next_firings() == {"ClockworkOften": START + timedelta(minutes=7)}
    assert changing.fire("ClockworkOften") == 1
    assert changing.invocations.wait_idle(PATIENCE)
    assert recorder.calls[0][:2] == ("Clockwork", {"rule": "longshore-ClockworkOften"})


def test_a_rule_without_permission_invokes_nothing(
    changing: EventBridge, rules: Rules, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    rules.put("another-rule", "rate(1 minute)")
    assert changing.fire("another-rule") == 0
    assert changing.invocations.wait_idle(PATIENCE)
    assert recorder.calls == []
    assert [record.getMessage() for record in caplog.records] == [
        "Rule another-rule is not allowed to invoke Clockwork"
    ]


def test_a_rule_with_unsupported_features_does_nothing(
    changing: EventBridge, rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    rules.put("longshore-odd", "at(2030-01-01T00:00:00)")
    rules.put("longshore-queue", "rate(1 minute)", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:1:q"}])
    assert list(changing.next_firings()) == ["longshore-queue"]
    assert changing.next_firings()
    assert changing.fire("longshore-queue") == 0
    (record,) = caplog.records
    assert record.getMessage().startswith("Rule longshore-odd is ignored: at(2030-01-01T00:00:00) is no schedule")


def test_an_added_rule_receives_events(changing: EventBridge, rules: Rules, recorder: Recorder) -> None:
    target = {"Id": "1", "Arn": rules.arn}
    rules.now.append({"Name": "longshore-p", "EventPattern": {"source": ["aws.ec2"]}, "Targets": [target]})
    event = instance_state_change("i-0a1b2c3d4e5f60718", "stopped", START)
    assert changing.put(event) == 1
    assert changing.invocations.wait_idle(PATIENCE)
    assert [call[:2] for call in recorder.calls] == [("Clockwork", event)]


def test_a_rule_receives_the_events_of_its_bus(changing: EventBridge, rules: Rules, recorder: Recorder) -> None:
    """Rules of two buses may have the same name."""
    target = {"Id": "1", "Arn": rules.arn}
    rule = {"Name": "longshore-p", "EventPattern": {"source": ["aws.ec2"]}, "Targets": [target]}
    rules.now += [rule | {"EventBusName": "longshore-one"}, rule | {"EventBusName": "longshore-two"}]
    event = instance_state_change("i-0a1b2c3d4e5f60718", "stopped", START)
    assert [changing.put(event, bus) for bus in ("longshore-one", "default", "three")] == [1, 0, 0]
    assert changing.invocations.wait_idle(PATIENCE)
    assert len(recorder.calls) == 1


def test_a_rule_sends_to_an_api_destination(tmp_path: Path) -> None:
    arn = "arn:aws:events:us-east-1:123456789012:api-destination/hook/1"
    rule = {"Name": "r", "EventPattern": {"source": ["aws.ec2"]}, "Targets": [{"Id": "1", "Arn": arn, "RoleArn": "r"}]}
    sent: list[tuple[str, Any]] = []

    def send(destination: str, event: Any) -> None:
        sent.append((destination, event))
        if len(sent) == 1:
            raise FunctionError(destination, "HTTPError", "503")

    recorder = Recorder()
    bus = EventBridge(stack_of(tmp_path), recorder, rules_now=lambda: [rule], send=send)
    bus.start()
    event = instance_state_change("i-0a1b2c3d4e5f60718", "stopped", START)
    assert bus.put(event) == 1
    assert bus.invocations.wait_idle(PATIENCE)
    bus.stop()
    assert sent == [(arn, event), (arn, event)]
    assert recorder.calls == []
    assert bus.dead_letters == []


# --- In the stack -----------------------------------------------------------------------------------------------------


def test_the_stack_has_the_rules_of_the_template(stack: LocalStack) -> None:
    assert stack.eventbridge.next_firings().keys() == {"RecoverFunctionOperations", "RecoverFunctionDrift"}
    assert stack.fire("ScheduledStopFunctionNightly") == 0
    assert stack.fire("RecoverFunctionOperations") == 1
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    assert stack.dead_letters == []


def test_metrics_are_printed_only_on_request(
    stack: LocalStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = instance_state_change("i-0123456789abcdef0", "terminated", START)
    assert stack.invoke("ServerTerminatedFunction", event) == {"expired": 0}
    assert "CloudWatchMetrics" not in capsys.readouterr().out
    monkeypatch.setenv("LONGSHORE_METRICS", "1")
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED")
    stack.invoke("ServerTerminatedFunction", event)
    assert "CloudWatchMetrics" in capsys.readouterr().out
    with Environment(stack.credentials):
        assert "POWERTOOLS_METRICS_DISABLED" not in os.environ
