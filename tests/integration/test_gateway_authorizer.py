"""Authorizers in the local gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_api import AUTH, AUTHORIZED, Clock, Functions, Make, ask, policy, verdict

from local.gateway import Gateway
from local.runtime import FunctionError, FunctionTimeoutError


@pytest.mark.parametrize("headers", [(), (("Authorization", ""),), (("Authorization", "  "),)])
def test_without_an_identity_the_authorizer_is_not_called(
    gateway: Gateway, functions: Functions, headers: tuple[tuple[str, str], ...]
) -> None:
    response = ask(gateway, "GET", "/things/1", *headers)
    assert (response.status, json.loads(response.body)) == (401, {"message": "Unauthorized"})
    assert functions.calls == []


def test_a_request_authorizer_gets_its_event(gateway: Gateway, functions: Functions) -> None:
    ask(gateway, "GET", "/things/1?x=1", AUTH)
    name, event = functions.calls[0]
    assert name == "AuthFunction"
    assert event["type"] == "REQUEST"
    assert event["methodArn"] == "arn:aws:execute-api:us-east-1:123456789012:local/live/GET/things/1"
    assert event["headers"] == {"Authorization": AUTH[1]}
    assert event["queryStringParameters"] == {"x": "1"}
    assert event["stageVariables"] == {}
    assert "body" not in event


@pytest.mark.parametrize(
    ("statements", "status"),
    [
        ([policy("Allow", "*")], 200),
        ([policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:local/live/GET/things/*")], 200),
        ([policy("Allow", ["x", "arn:*:local/live/GET/things/?"])], 200),
        ([policy("Allow", "*", ["s3:*", "execute-api:*"])], 200),
        ([policy("Allow", "*", "EXECUTE-API:invoke")], 200),
        ([policy("Allow", "*"), policy("Deny", "*/GET/*")], 403),
        ([policy("Deny", "*/POST/*"), policy("Allow", "*")], 200),
        ([policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:local/live/POST/things/1")], 403),
        ([policy("Allow", "*", "execute-api:ManageConnections")], 403),
        ([policy("Allow", "arn:.*")], 403),
    ],
)
def test_the_policy_is_evaluated(gateway: Gateway, functions: Functions, statements: list[Any], status: int) -> None:
    functions.authorizer = verdict(*statements)
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert response.status == status
    if status == 403:
        assert response.context["error.responseType"] == "ACCESS_DENIED"
        assert functions.count("EchoFunction") == 0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "no",
        {},
        {"principalId": "u"},
        {**AUTHORIZED, "principalId": None},
        {**AUTHORIZED, "context": {"a": {"b": 1}}},
        {**AUTHORIZED, "context": {"a": None}},
        {**AUTHORIZED, "context": "x"},
        verdict(),
        verdict({"Effect": "Maybe", "Action": "*", "Resource": "*"}),
        verdict({"Effect": "Allow", "Action": "*"}),
        verdict({**policy("Allow", "*"), "Condition": {}}),
        FunctionError("AuthFunction", "ValueError", "boom"),
    ],
)
def test_a_failed_authorizer_rejects_the_request(gateway: Gateway, functions: Functions, answer: Any) -> None:
    functions.authorizer = [] if answer is None else answer
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert response.status == 500
    assert response.context["error.responseType"] == "AUTHORIZER_CONFIGURATION_ERROR"
    assert functions.count("EchoFunction") == 0


def test_an_authorizer_may_raise_unauthorized_or_time_out(gateway: Gateway, functions: Functions) -> None:
    functions.authorizer = FunctionError("AuthFunction", "Exception", "Unauthorized")
    assert ask(gateway, "GET", "/things/1", AUTH).status == 401
    functions.authorizer = FunctionTimeoutError("AuthFunction")
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert (response.status, response.context["error.responseType"]) == (500, "AUTHORIZER_FAILURE")


def test_the_policy_is_cached_by_token_and_evaluated_for_each_request(
    make: Make, functions: Functions, clock: Clock
) -> None:
    gateway = make(Ttl="60")
    functions.authorizer = verdict(policy("Allow", "*/GET/*"))
    assert ask(gateway, "GET", "/things/1", AUTH).status == 200
    clock.now += 59
    assert ask(gateway, "GET", "/things/2", AUTH).status == 200
    assert ask(gateway, "POST", "/things/2/run", AUTH).status == 403
    assert functions.count("AuthFunction") == 1
    assert ask(gateway, "GET", "/things/1", ("Authorization", "another")).status == 200
    assert functions.count("AuthFunction") == 2
    clock.now += 1
    ask(gateway, "GET", "/things/1", AUTH)
    assert functions.count("AuthFunction") == 3


def test_a_failure_is_not_cached_and_a_ttl_of_zero_disables_the_cache(make: Make, functions: Functions) -> None:
    gateway = make()
    functions.authorizer = FunctionError("AuthFunction", "E", "boom")
    ask(gateway, "GET", "/things/1", AUTH)
    functions.authorizer = AUTHORIZED
    assert ask(gateway, "GET", "/things/1", AUTH).status == 200
    gateway = make(Ttl="0")
    functions.calls.clear()
    ask(gateway, "GET", "/things/1", AUTH)
    ask(gateway, "GET", "/things/1", AUTH)
    assert functions.count("AuthFunction") == 2
