"""Responses of functions, limits and gateway responses in the local gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_api import AUTH, Clock, Functions, Make, ask, event_of, policy, verdict

from local.gateway import BODY_LIMIT, Gateway, GatewayError, Request
from local.runtime import FunctionError, FunctionTimeoutError

RESPONSES = """
      GatewayResponses:
        ACCESS_DENIED:
          StatusCode: 401
          ResponseParameters: {Headers: {X-Request-Id: context.requestId, X-Fixed: "'yes'", X-None: context.nothing}}
          ResponseTemplates: {application/json: '{"code":"$context.authorizer.code","gone":"$context.nothing"}'}
        DEFAULT_4XX:
          StatusCode: 418
          ResponseTemplates: {application/json: '{"type":"$context.error.responseType"}'}
"""


def test_headers_are_merged_and_json_is_the_default_type(gateway: Gateway, functions: Functions) -> None:
    functions.answer = {
        "statusCode": "201",
        "headers": {"X-One": "1", "X-Two": "lost", "X-Flag": True},
        "multiValueHeaders": {"x-two": ["a", "b"]},
        "body": "é",
    }
    response = ask(gateway, "GET", "/open")
    assert response.status == 201
    assert response.body == "é".encode()
    assert sorted(response.headers) == [
        ("Content-Type", "application/json"),
        ("X-Flag", "true"),
        ("X-One", "1"),
        ("x-two", "a"),
        ("x-two", "b"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        [],
        {},
        {"body": "no status"},
        {"statusCode": "soon"},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"X": ["list"]}},
        {"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}},
        {"statusCode": 200, "multiValueHeaders": {"X": "text"}},
        {"statusCode": 200, "cookies": []},
        FunctionError("EchoFunction", "KeyError", "secret"),
    ],
)
def test_a_malformed_answer_is_a_bad_gateway(gateway: Gateway, functions: Functions, answer: Any) -> None:
    functions.answer = answer
    response = ask(gateway, "GET", "/open")
    assert (response.status, json.loads(response.body)) == (502, {"message": "Internal server error"})
    assert response.context["error.responseType"] == "API_CONFIGURATION_ERROR"


def test_a_function_that_times_out(gateway: Gateway, functions: Functions) -> None:
    functions.answer = FunctionTimeoutError("EchoFunction")
    response = ask(gateway, "GET", "/open")
    assert (response.status, json.loads(response.body)) == (504, {"message": "Endpoint request timed out"})


def test_sizes(gateway: Gateway, functions: Functions) -> None:
    response = ask(gateway, "POST", "/things/1/run", AUTH, body=b"x" * (BODY_LIMIT + 1))
    assert (response.status, response.context["error.responseType"]) == (413, "REQUEST_TOO_LARGE")
    for request in (
        Request("GET", "/open", "", [("X-Long", "x" * 10_240)]),
        Request("GET", "/open", "q=" + "x" * 10_240),
        Request("GET", "/" + "x" * 10_240),
    ):
        response = gateway.handle(request)
        assert (response.status, response.context["error.responseType"]) == (431, "DEFAULT_4XX")
    assert functions.calls == []
    assert gateway.handle(Request("GET", "/open", "", [("X-Long", "x" * 10_000)])).status == 200


def test_a_binary_body_arrives_as_text(gateway: Gateway) -> None:
    event = event_of(ask(gateway, "POST", "/things/1/run", AUTH, body=b"\xff\x00a"))
    assert event["body"] == "\ufffd\x00a"


def test_throttling(make: Make, functions: Functions, clock: Clock) -> None:
    gateway = make(Rate="1", Burst="2")
    assert [ask(gateway, "GET", "/things/1", AUTH).status for _ in range(3)] == [200, 200, 429]
    clock.now += 0.5
    assert ask(gateway, "GET", "/open").status == 429
    clock.now += 0.5
    assert ask(gateway, "GET", "/open").status == 200
    clock.now += 60
    assert [ask(gateway, "GET", "/open").status for _ in range(3)] == [200, 200, 429]


def test_a_gateway_response_is_filled_from_the_context(make: Make, functions: Functions) -> None:
    gateway = make(RESPONSES)
    functions.authorizer = verdict(policy("Deny", "*"), code="TOKEN_EXPIRED")
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert response.status == 401
    assert json.loads(response.body) == {"code": "TOKEN_EXPIRED", "gone": ""}
    assert response.header("X-Request-Id") == response.context["requestId"]
    assert response.header("X-Fixed") == "yes"
    assert "X-None" not in dict(response.headers)
    assert response.header("Content-Type") == "application/json"


def test_a_type_without_a_response_falls_back(make: Make, functions: Functions) -> None:
    gateway = make(RESPONSES)
    response = ask(gateway, "GET", "/things/1")
    assert (response.status, json.loads(response.body)) == (418, {"type": "UNAUTHORIZED"})
    functions.answer = "malformed"
    # There is no DEFAULT_5XX here, so AWS's own stands.
    response = ask(gateway, "GET", "/open")
    assert (response.status, json.loads(response.body)) == (502, {"message": "Internal server error"})


def test_an_unknown_gateway_response_type(make: Make) -> None:
    with pytest.raises(GatewayError, match="TEAPOT"):
        make("      GatewayResponses: {TEAPOT: {StatusCode: 418}}")
