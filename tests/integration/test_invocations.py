"""Tests of the local Lambda: asynchronous invocations, retries, dead letters, and the Invoke API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from buses import START, Recorder, stack_of
from emulated import client
from settling import PATIENCE

from local.emulator import Emulator, InvokeAnswer
from local.eventbridge import ASYNC_PAYLOAD_LIMIT, EventBridge, instance_state_change
from local.invocations import Invocations
from local.runtime import FunctionError, FunctionTimeoutError


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def bus(tmp_path: Path, recorder: Recorder) -> Iterator[EventBridge]:
    made = EventBridge(stack_of(tmp_path), recorder, lambda: START)
    made.start()
    yield made
    made.stop()


# --- Asynchronous invocations -----------------------------------------------------------------------------------------


def failure() -> FunctionError:
    return FunctionError("Listener", "ValueError", "no")


def invoked(recorder: Recorder, **options: Any) -> Invocations:
    """Send one event, and return the invocations once they are idle."""
    invocations = Invocations(recorder, delays=(0.02, 0.04), **options)
    invocations.start()
    invocations.send("Listener", {"n": 1})
    assert invocations.wait_idle(PATIENCE)
    invocations.stop()
    return invocations


def test_an_error_is_retried_twice_with_the_same_request_id() -> None:
    recorder = Recorder(failure(), FunctionTimeoutError("Listener"))
    assert invoked(recorder).dead_letters == []
    assert [call[:2] for call in recorder.calls] == [("Listener", {"n": 1})] * 3
    assert len({request_id for _, _, request_id in recorder.calls}) == 1


def test_an_event_that_fails_three_times_becomes_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(failure(), failure(), failure())
    (letter,) = invoked(recorder).dead_letters
    assert (letter.function, letter.event, letter.attempts) == ("Listener", {"n": 1}, 3)
    assert (letter.error_type, letter.message) == ("ValueError", "no")
    assert len(recorder.calls) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "dead letter: Listener failed 3 times, last with ValueError"
    ]


def test_retries_are_configured_per_function() -> None:
    recorder = Recorder(failure(), failure())
    assert len(invoked(recorder, retries={"Listener": 0}).dead_letters) == 1
    assert len(recorder.calls) == 1


def test_retries_are_read_from_the_template(tmp_path: Path) -> None:
    recorder = Recorder(*[failure() for _ in range(4)])
    bus = EventBridge(stack_of(tmp_path), recorder)
    bus.start()
    bus.put(instance_state_change("i-0a1b2c3d4e5f60718", "terminated", START))
    assert bus.invocations.wait_idle(PATIENCE)
    bus.stop()
    assert [letter.attempts for letter in bus.dead_letters] == [2]


def test_concurrent_events_are_delivered_once_each(recorder: Recorder) -> None:
    invocations = Invocations(recorder)
    invocations.start()
    for number in range(500):
        invocations.send("Listener", number)
    assert invocations.wait_idle(PATIENCE)
    invocations.stop()
    assert sorted(event for _, event, _ in recorder.calls) == list(range(500))


def test_stop_ends_all_threads_and_deliveries(bus: EventBridge, recorder: Recorder) -> None:
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
        functions = client(emulator, "lambda", config=Config(retries={"total_max_attempts": 1}))
        functions.emulator = emulator
        yield functions
        functions.close()


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


def test_an_asynchronous_invocation_returns_immediately(bus: EventBridge, functions: Any, recorder: Recorder) -> None:
    answer = functions.invoke(FunctionName=ARN, InvocationType="Event", Payload=b'{"n": 2}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert bus.invocations.wait_idle(PATIENCE)
    assert [call[:2] for call in recorder.calls] == [("Listener", {"n": 2})]


def test_an_invocation_returns_the_error_of_the_function(tmp_path: Path) -> None:
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
def test_an_invalid_invocation_is_rejected(functions: Any, parameters: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        functions.invoke(**parameters)
    assert refused.value.response["Error"]["Code"] == code
