"""Tests of the emulation of Lambda's concurrency: quota, reserved concurrency, and what callers of functions see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PARAMETERS, QUICK

from local import template
from local.concurrency import ACCOUNT_QUOTA, Concurrency, ThrottledError
from local.event_source import Batches, Mapped
from local.invocations import Invocations
from local.runtime import Runtime, RuntimeConfigurationError
from local.seed import container_id
from local.stack import LocalStack

RESERVED = {"OperationConcurrency": "120", "AuthorizerConcurrency": "100", "BackgroundConcurrency": "10"}


def function(name: str, reserved: int | None = None) -> template.Function:
    return template.Function(name, name, f"arn:{name}", Path(), "app.handler", {}, 3, 128, reserved)


def begun(concurrency: Concurrency, name: str) -> int:
    """Begin executions until the function is throttled, and return how many there were."""
    for number in range(10_000):
        try:
            concurrency.begin(name)
        except ThrottledError:
            return number
    raise AssertionError


def test_functions_share_what_none_reserves() -> None:
    concurrency = Concurrency([function("a"), function("b"), function("own", 30)], 150)
    assert begun(concurrency, "own") == 30
    assert begun(concurrency, "a") == 120
    assert begun(concurrency, "b") == 0
    concurrency.end("a")
    assert begun(concurrency, "own") == 0
    assert begun(concurrency, "b") == 1


def test_a_function_without_executions() -> None:
    assert begun(Concurrency([function("off", 0)]), "off") == 0


@pytest.mark.parametrize(("quota", "reserved"), [(1000, 901), (100, 1), (10, 1)])
def test_lambda_keeps_a_hundred_executions_for_all(quota: int, reserved: int) -> None:
    with pytest.raises(RuntimeConfigurationError, match=f"{quota} does not permit"):
        Runtime({"a": function("a", reserved)}, quota=quota)


def test_the_reservations_of_the_template() -> None:
    """They are those of docs/operate.md for a quota of 1,000, which leave 160 executions."""
    functions = template.load(parameters=RESERVED).functions
    assert functions["AuthorizerFunction"].reserved == 100
    assert functions["GetContainerFunction"].reserved is None
    assert begun(Concurrency(functions.values(), ACCOUNT_QUOTA), "GetContainerFunction") == 160
    assert {each.reserved for each in template.load().functions.values()} == {None}


# --- What callers see -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    reserved = {"AuthorizerConcurrency": "1"}
    with LocalStack(
        port=0, parameters=PARAMETERS | reserved, emulator_options=QUICK, events=False, concurrency=101
    ) as local:
        yield local


@contextmanager
def occupied(stack: LocalStack, name: str, number: int) -> Iterator[None]:
    assert stack._runtime is not None
    with ExitStack() as running:
        for _ in range(number):
            stack._runtime._concurrency.begin(name)
            running.callback(stack._runtime._concurrency.end, name)
        yield


@pytest.mark.parametrize(
    ("name", "number", "user"), [("GetContainerFunction", 100, "viewer"), ("AuthorizerFunction", 1, "owner")]
)
def test_the_gateway_answers_500(stack: LocalStack, api: Any, name: str, number: int, user: str) -> None:
    """API Gateway does not pass on Lambda's 429."""
    path = f"/containers/{container_id(11)}"
    assert api.call("GET", path).status_code == 200
    with occupied(stack, name, number):
        # A user whose token the gateway has not seen.
        response: httpx.Response = api.call("GET", path, user)
        assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert api.call("GET", path).status_code == 200


def test_the_invoke_api_answers_429(stack: LocalStack) -> None:
    assert stack.template is not None
    client = stack.client("lambda")
    with (
        occupied(stack, "IndexFunction", 100),
        pytest.raises(client.exceptions.TooManyRequestsException) as caught,
    ):
        client.invoke(FunctionName=stack.template.functions["IndexFunction"].name, Payload=b"{}")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_events_wait_until_there_is_an_execution() -> None:
    """A throttle is not an attempt."""
    outcomes = [ThrottledError("Listener")] * 10
    done = threading.Event()

    def invoke(function: str, event: Any, *, request_id: str | None = None) -> None:
        if outcomes:
            raise outcomes.pop()
        done.set()

    invocations = Invocations(invoke, {"Listener": 0}, delays=(0.01,))
    invocations.start()
    invocations.send("Listener", {})
    assert done.wait(30)
    invocations.stop()
    assert invocations.dead_letters == []


def test_batches_of_a_stream_are_repeated_as_they_are() -> None:
    outcomes: list[Any] = [ThrottledError("Publisher"), None]
    sizes = []

    def invoke(function: str, event: Any, *, request_id: str | None = None) -> Any:
        sizes.append(len(event["Records"]))
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return None

    batches = Batches(Mapped("Publisher", "table", 10, True, ()), invoke)
    batches.add({"dynamodb": {"SequenceNumber": str(number)}} for number in range(4))
    assert [batches.step(), batches.step()] == [False, True]
    assert sizes == [4, 4]
