"""The local EventBridge: patterns, schedules, and asynchronous invocations as Lambda makes them."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local import template
from local.emulator import Emulator, InvokeAnswer
from local.eventbridge import (
    ASYNC_PAYLOAD_LIMIT,
    EventBridge,
    Invocations,
    instance_state_change,
    matcher,
)
from local.expressions import schedule
from local.runtime import FunctionError, FunctionTimeoutError
from local.stack import LocalStack, _Environment
from local.template import TemplateError

PATIENCE = 20.0

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, Handler: app.handler}
Resources:
  Listener:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: listener
      EventInvokeConfig: {MaximumRetryAttempts: 1}
      Events:
        Instances:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.ec2], detail: {state: [terminated, {prefix: shutting}]}}}
        Deaf:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.ec2]}, State: DISABLED}
  Clockwork:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: clockwork
      Events:
        Often: {Type: Schedule, Properties: {Schedule: rate(5 minutes), Input: '{"constant": [1]}'}}
        Nightly: {Type: Schedule, Properties: {Schedule: 'cron(0 20 ? * MON-FRI *)'}}
        Never: {Type: Schedule, Properties: {Schedule: rate(1 minute), State: DISABLED}}
  # MORE
"""

START = datetime(2025, 1, 10, 19, 0, tzinfo=UTC)  # a Friday


def stack_of(folder: Path, text: str = TEMPLATE) -> template.Stack:
    path = folder / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return template.load(path)


class Recorder:
    """Stands for `Runtime.invoke`: records the invocations, and fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[tuple[str, Any, str | None]] = []
        self._failures = list(failures)

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any:
        self.calls.append((function, event, request_id))
        if self._failures:
            raise self._failures.pop(0)
        return {"got": event}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def bus(tmp_path: Path, recorder: Recorder) -> Iterator[EventBridge]:
    made = EventBridge(stack_of(tmp_path), recorder, lambda: START)
    made.start()
    yield made
    made.stop()


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


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
def test_a_pattern_that_would_match_by_mistake_is_refused(pattern: dict[str, Any]) -> None:
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
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        schedule(expression, START)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_the_clock_fires_what_is_due_once(tmp_path: Path, recorder: Recorder) -> None:
    clock = Clock()
    bus = EventBridge(stack_of(tmp_path), recorder, clock)
    assert bus.next_firings() == {
        "ClockworkOften": START + timedelta(minutes=5),
        "ClockworkNightly": START + timedelta(hours=1),
    }
    bus.start()
    bus.start_schedules()
    try:
        # The machine sleeps for most of an hour: what was missed is not made up for.
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


def test_an_event_reaches_the_targets_of_the_rules_that_match(bus: EventBridge, recorder: Recorder) -> None:
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
        ("Targets: [{Id: a, Arn: 'arn:aws:sqs:us-east-1:123456789012:q'}]", "no function of this stack"),
        ("Targets: [{Id: a, Arn: !GetAtt Listener.Arn, Input: 'not JSON'}]", "not JSON"),
        ("Targets: [{Id: a, Arn: !GetAtt Listener.Arn, InputPath: $.detail}]", "InputPath is not known"),
        ("Targets: []\n      ScheduleExpression: rate(2 weeks)", "is no schedule"),
    ],
)
def test_what_is_not_known_locally_is_an_error_that_names_it(tmp_path: Path, rule: str, message: str) -> None:
    more = f"Odd:\n    Type: AWS::Events::Rule\n    Properties:\n      EventPattern: {{source: [x]}}\n      {rule}"
    stack = stack_of(tmp_path, TEMPLATE.replace("# MORE", more))
    with pytest.raises(TemplateError, match=f"Odd: .*{re.escape(message)}"):
        EventBridge(stack, Recorder())


# --- Rules that are made and changed while the stack runs ------------------------------------------------------------


class Rules:
    """Rules as EventBridge holds them, which a test changes."""

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


def test_a_rule_that_is_added_comes_until_it_is_removed(
    changing: EventBridge, rules: Rules, clock: Clock, recorder: Recorder
) -> None:
    assert changing.next_firings() == {}
    changing.start_schedules()
    rules.put("longshore-soon", "rate(1 minute)")
    eventually(lambda: changing.next_firings() == {"longshore-soon": START + timedelta(minutes=1)})
    time.sleep(0.5)  # until the clock's thread has seen it too: a firing before that would not be made up for
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


def test_a_rule_is_as_it_was_last_put(changing: EventBridge, rules: Rules, clock: Clock) -> None:
    rules.put("longshore-r", "rate(10 minutes)")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=10)}
    clock.now = START + timedelta(minutes=4)
    # Another input leaves the intervals as they are, another expression begins anew.
    rules.put("longshore-r", "rate(10 minutes)", Description="another")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=10)}
    rules.put("longshore-r", "rate(20 minutes)")
    assert changing.next_firings() == {"longshore-r": START + timedelta(minutes=24)}
    rules.put("longshore-r", "rate(20 minutes)", State="DISABLED")
    assert changing.next_firings() == {}
    assert changing.fire("longshore-r") == 0


def test_the_templates_rules_go_by_their_logical_ids(changing: EventBridge, rules: Rules, recorder: Recorder) -> None:
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
    assert [record.getMessage() for record in caplog.records] == ["rule another-rule may not invoke Clockwork"]


def test_what_is_not_known_locally_does_nothing(
    changing: EventBridge, rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    rules.put("longshore-odd", "at(2030-01-01T00:00:00)")
    rules.put("longshore-queue", "rate(1 minute)", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:1:q"}])
    assert list(changing.next_firings()) == ["longshore-queue"]
    assert changing.next_firings()
    assert changing.fire("longshore-queue") == 0
    (told,) = caplog.records
    assert told.getMessage().startswith("rule longshore-odd does nothing here: at(2030-01-01T00:00:00) is no schedule")


def test_an_event_reaches_a_rule_that_was_added(changing: EventBridge, rules: Rules, recorder: Recorder) -> None:
    target = {"Id": "1", "Arn": rules.arn}
    rules.now.append({"Name": "longshore-p", "EventPattern": {"source": ["aws.ec2"]}, "Targets": [target]})
    event = instance_state_change("i-0a1b2c3d4e5f60718", "stopped", START)
    assert changing.put(event) == 1
    assert changing.invocations.wait_idle(PATIENCE)
    assert [call[:2] for call in recorder.calls] == [("Clockwork", event)]


# --- Asynchronous invocations -----------------------------------------------------------------------------------------


def failure() -> FunctionError:
    return FunctionError("Listener", "ValueError", "no")


def invoked(recorder: Recorder, **options: Any) -> Invocations:
    """What became of one event, once nothing is under way."""
    invocations = Invocations(recorder, delays=(0.02, 0.04), **options)
    invocations.start()
    invocations.send("Listener", {"n": 1})
    assert invocations.wait_idle(PATIENCE)
    invocations.stop()
    return invocations


def test_an_error_is_tried_again_twice_as_the_same_request() -> None:
    recorder = Recorder(failure(), FunctionTimeoutError("Listener"))
    assert invoked(recorder).dead_letters == []
    assert [call[:2] for call in recorder.calls] == [("Listener", {"n": 1})] * 3
    assert len({request_id for _, _, request_id in recorder.calls}) == 1


def test_what_fails_three_times_is_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(failure(), failure(), failure())
    (letter,) = invoked(recorder).dead_letters
    assert (letter.function, letter.event, letter.attempts) == ("Listener", {"n": 1}, 3)
    assert (letter.error_type, letter.message) == ("ValueError", "no")
    assert len(recorder.calls) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "dead letter: Listener failed 3 times, last with ValueError"
    ]


def test_a_function_says_how_often_it_is_tried_again() -> None:
    recorder = Recorder(failure(), failure())
    assert len(invoked(recorder, retries={"Listener": 0}).dead_letters) == 1
    assert len(recorder.calls) == 1


def test_the_template_says_how_often_a_function_is_tried_again(tmp_path: Path) -> None:
    recorder = Recorder(*[failure() for _ in range(4)])
    bus = EventBridge(stack_of(tmp_path), recorder)
    bus.start()
    bus.put(instance_state_change("i-0a1b2c3d4e5f60718", "terminated", START))
    assert bus.invocations.wait_idle(PATIENCE)
    bus.stop()
    assert [letter.attempts for letter in bus.dead_letters] == [2]


def test_many_are_delivered_at_a_time_and_each_once(recorder: Recorder) -> None:
    invocations = Invocations(recorder)
    invocations.start()
    for number in range(500):
        invocations.send("Listener", number)
    assert invocations.wait_idle(PATIENCE)
    invocations.stop()
    assert sorted(event for _, event, _ in recorder.calls) == list(range(500))


def test_after_the_stop_no_thread_is_left_and_nothing_is_delivered(bus: EventBridge, recorder: Recorder) -> None:
    bus.start_schedules()
    assert bus.fire("ClockworkOften") == 1
    bus.stop()
    delivered = len(recorder.calls)
    bus.fire("ClockworkOften")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("local-events", "local-sched"))]
    assert len(recorder.calls) == delivered


# --- lambda:Invoke ----------------------------------------------------------------------------------------------------


@pytest.fixture
def functions(bus: EventBridge) -> Iterator[Any]:
    with Emulator(on_invoke=bus.answer_invoke) as emulator:
        client: Any = boto3.client(
            "lambda",
            endpoint_url=emulator.url,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.emulator = emulator
        yield client
        client.close()


ARN = "arn:aws:lambda:us-east-1:123456789012:function:longshore-Listener"


@pytest.mark.parametrize(
    "name", ["longshore-Listener", ARN, f"{ARN}:$LATEST", "123456789012:function:longshore-Listener"]
)
def test_a_function_is_invoked_by_its_name_or_arn(functions: Any, name: str) -> None:
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"n": 1}))
    assert (answer["StatusCode"], answer.get("FunctionError")) == (200, None)
    assert json.load(answer["Payload"]) == {"got": {"n": 1}}
    (call,) = functions.emulator.calls.list("lambda", "Invoke")
    assert call.parameters == {
        "FunctionName": name,
        "InvocationType": "RequestResponse",
        "Payload": {"n": 1},
    }


def test_an_asynchronous_invocation_answers_before_it_is_done(
    bus: EventBridge, functions: Any, recorder: Recorder
) -> None:
    answer = functions.invoke(FunctionName=ARN, InvocationType="Event", Payload=b'{"n": 2}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert bus.invocations.wait_idle(PATIENCE)
    assert [call[:2] for call in recorder.calls] == [("Listener", {"n": 2})]


def test_a_function_that_raises_says_so(tmp_path: Path) -> None:
    bus = EventBridge(stack_of(tmp_path), Recorder(failure()))
    answer = bus.answer_invoke("longshore-Listener", b"{}", False)
    assert answer == InvokeAnswer('{"errorMessage": "no", "errorType": "ValueError"}', failed=True)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"FunctionName": "missing"}, "ResourceNotFoundException"),
        ({"FunctionName": ARN, "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": ARN, "InvocationType": "DryRun"}, "InvalidParameterValueException"),
        (
            {"FunctionName": ARN, "InvocationType": "Event", "Payload": json.dumps("x" * ASYNC_PAYLOAD_LIMIT)},
            "RequestTooLargeException",
        ),
    ],
)
def test_an_invocation_may_be_refused(functions: Any, parameters: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        functions.invoke(**parameters)
    assert refused.value.response["Error"]["Code"] == code


# --- In the stack -----------------------------------------------------------------------------------------------------


def test_the_stack_has_the_rules_of_the_template(stack: LocalStack) -> None:
    assert stack.eventbridge.next_firings().keys() == {"RecoverFunctionOperations", "RecoverFunctionDrift"}
    assert stack.fire("ScheduledStopFunctionNightly") == 0
    assert stack.fire("RecoverFunctionOperations") == 1
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    assert stack.dead_letters == []


def test_metrics_are_printed_only_when_they_are_asked_for(
    stack: LocalStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = instance_state_change("i-0123456789abcdef0", "terminated", START)
    assert stack.invoke("ServerTerminatedFunction", event) == {"expired": 0}
    assert "CloudWatchMetrics" not in capsys.readouterr().out
    monkeypatch.setenv("LONGSHORE_METRICS", "1")
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED")
    stack.invoke("ServerTerminatedFunction", event)
    assert "CloudWatchMetrics" in capsys.readouterr().out
    with _Environment():
        assert "POWERTOOLS_METRICS_DISABLED" not in os.environ
