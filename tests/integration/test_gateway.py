"""The local gateway: what AWS does to a request, done to it here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_api import AUTH, AUTHORIZED, Clock, Functions, make_gateway, policy, verdict

from local import template
from local.gateway import BODY_LIMIT, Gateway, GatewayError, Request, Response
from local.runtime import FunctionError, FunctionTimeoutError, Runtime

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


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Gateway]


@pytest.fixture
def make(tmp_path: Path, functions: Functions, clock: Clock) -> Make:
    return lambda *given, **parameters: make_gateway(tmp_path, functions, clock, *given, **parameters)


@pytest.fixture
def gateway(make: Make) -> Gateway:
    return make()


def ask(gateway: Gateway, method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> Response:
    path, _, query = target.partition("?")
    return gateway.handle(Request(method, path, query, headers, body))


def event_of(response: Response) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)


# --- Routes and the event -------------------------------------------------------------------------------------------


def test_a_proxy_event_has_the_shape_that_api_gateway_gives(gateway: Gateway) -> None:
    response = ask(
        gateway,
        "POST",
        "/things/a%20b/jump?x=1&x=2&y=&z=%C3%A9+e",
        AUTH,
        ("X-Twice", "one"),
        ("x-twice", "two"),
        body=b'{"a": 1}',
    )
    event = event_of(response)
    context = event.pop("requestContext")
    assert event == {
        "resource": "/things/{id}/{verb}",
        "path": "/things/a%20b/jump",
        "httpMethod": "POST",
        "headers": {"Authorization": AUTH[1], "X-Twice": "two"},
        "multiValueHeaders": {"Authorization": [AUTH[1]], "X-Twice": ["one", "two"]},
        "queryStringParameters": {"x": "2", "y": "", "z": "é e"},
        "multiValueQueryStringParameters": {"x": ["1", "2"], "y": [""], "z": ["é e"]},
        "pathParameters": {"id": "a b", "verb": "jump"},
        "stageVariables": None,
        "body": '{"a": 1}',
        "isBase64Encoded": False,
    }
    assert context["resourcePath"] == "/things/{id}/{verb}"
    assert context["path"] == "/live/things/a%20b/jump"
    assert (context["httpMethod"], context["stage"], context["apiId"]) == ("POST", "live", "local")
    assert context["accountId"] == "123456789012"
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert isinstance(context["requestTimeEpoch"], int)
    assert context["requestId"]
    assert context["extendedRequestId"]
    assert context["authorizer"] == {"principalId": "u1", "user": "u1", "expires": "12", "root": "false"}


def test_what_is_empty_is_null(gateway: Gateway) -> None:
    event = event_of(ask(gateway, "GET", "/open"))
    for name in ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body"):
        assert event[name] is None
    assert "authorizer" not in event["requestContext"]


@pytest.mark.parametrize(
    ("target", "resource", "parameters"),
    [
        ("/things/1/run", "/things/{id}/run", {"id": "1"}),
        ("/things/1/run/", "/things/{id}/run", {"id": "1"}),
        ("/things/1/runs", "/things/{id}/{verb}", {"id": "1", "verb": "runs"}),
        ("/things/a%2Fb/run", "/things/{id}/run", {"id": "a/b"}),
        ("/things/%E2%82%AC/run", "/things/{id}/run", {"id": "€"}),
        ("/things/\xe2\x82\xac/run", "/things/{id}/run", {"id": "€"}),
        ("/things/%ff%zz/run", "/things/{id}/run", {"id": "\ufffd%zz"}),
        ("/things/%00/run", "/things/{id}/run", {"id": "\0"}),
        ("/files/a/b/c", "/files/{path+}", {"path": "a/b/c"}),
    ],
)
def test_paths_are_split_and_then_decoded(
    gateway: Gateway, target: str, resource: str, parameters: dict[str, str]
) -> None:
    event = event_of(ask(gateway, "POST", target, AUTH))
    assert (event["resource"], event["pathParameters"]) == (resource, parameters)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "*"),
        ("GET", "/things"),
        ("GET", "/things/"),
        ("GET", "//things/1"),
        ("GET", "/things//run"),
        ("GET", "/things/1//"),
        ("GET", "/live/things/1"),
        ("DELETE", "/things/1"),
        ("GET", "/things/1/run"),
        ("HEAD", "/open"),
        ("BREW", "/open"),
        ("GET", "/files"),
        ("GET", "/../things/1"),
    ],
)
def test_what_does_not_exist(gateway: Gateway, functions: Functions, method: str, target: str) -> None:
    response = ask(gateway, method, target)
    assert response.status == 403
    assert json.loads(response.body) == {"message": "Missing Authentication Token"}
    assert response.context["error.responseType"] == "MISSING_AUTHENTICATION_TOKEN"
    # With the header, the gateway takes the request for a badly signed one.
    response = ask(gateway, method, target, AUTH)
    assert response.status == 403
    assert response.context["error.responseType"] == "DEFAULT_4XX"
    assert b"secret-token" not in response.body
    assert functions.calls == []


def test_a_preflight_needs_no_token(gateway: Gateway, functions: Functions) -> None:
    response = ask(gateway, "OPTIONS", "/things/1")
    assert response.status == 200
    assert response.header("access-control-allow-origin") == "https://example.com"
    assert response.header("access-control-allow-methods") == "GET,POST"
    assert functions.calls == []


# --- The authorizer -------------------------------------------------------------------------------------------------


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
def test_the_policy_is_judged(gateway: Gateway, functions: Functions, statements: list[Any], status: int) -> None:
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
def test_an_authorizer_that_fails_closes_the_door(gateway: Gateway, functions: Functions, answer: Any) -> None:
    functions.authorizer = [] if answer is None else answer
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert response.status == 500
    assert response.context["error.responseType"] == "AUTHORIZER_CONFIGURATION_ERROR"
    assert functions.count("EchoFunction") == 0


def test_an_authorizer_may_raise_unauthorized_or_be_late(gateway: Gateway, functions: Functions) -> None:
    functions.authorizer = FunctionError("AuthFunction", "Exception", "Unauthorized")
    assert ask(gateway, "GET", "/things/1", AUTH).status == 401
    functions.authorizer = FunctionTimeoutError("AuthFunction")
    response = ask(gateway, "GET", "/things/1", AUTH)
    assert (response.status, response.context["error.responseType"]) == (500, "AUTHORIZER_FAILURE")


def test_the_verdict_is_kept_by_token_and_judged_for_each_request(
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


def test_a_failure_is_not_kept_and_a_ttl_of_zero_keeps_nothing(make: Make, functions: Functions) -> None:
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


# --- Answers --------------------------------------------------------------------------------------------------------


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


def test_a_function_that_is_late(gateway: Gateway, functions: Functions) -> None:
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


# --- Gateway responses ----------------------------------------------------------------------------------------------


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


def test_a_gateway_response_that_aws_does_not_have(make: Make) -> None:
    with pytest.raises(GatewayError, match="TEAPOT"):
        make("      GatewayResponses: {TEAPOT: {StatusCode: 418}}")


# --- The real template ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> template.Stack:
    return template.load()


def test_the_routes_of_the_template(real: template.Stack, functions: Functions) -> None:
    assert real.api is not None
    routes = Gateway(real.api, functions).routes
    container = "/api/v1/containers/{id}"
    assert {route for route in routes if route[0] != "OPTIONS"} == {
        ("GET", container),
        ("GET", f"{container}/status-logs"),
        *(
            ("POST", f"{container}/{operation}")
            for operation in ("start", "stop", "force-stop", "restart", "pause", "resume", "{operation}")
        ),
    }
    assert {path for method, path in routes if method == "OPTIONS"} == {path for _, path in routes}


def test_the_templates_own_answers(real: template.Stack, functions: Functions) -> None:
    assert real.api is not None
    gateway = Gateway(real.api, functions)
    path = "/api/v1/containers/507f1f77bcf86cd799439011"

    def answer(response: Response) -> tuple[int, Any]:
        assert response.header("X-Request-Id") == response.context["requestId"]
        assert response.header("Access-Control-Allow-Origin") == "*"
        return response.status, json.loads(response.body)["code"]

    assert answer(ask(gateway, "GET", path)) == (401, "MISSING_TOKEN")
    assert answer(ask(gateway, "GET", "/nowhere")) == (404, "ROUTE_NOT_FOUND")
    assert answer(ask(gateway, "GET", "/nowhere", AUTH)) == (404, "ROUTE_NOT_FOUND")
    functions.answer = verdict(policy("Deny", "*"), code="TOKEN_EXPIRED", message="Expired")
    assert answer(ask(gateway, "GET", path, AUTH)) == (401, "TOKEN_EXPIRED")
    functions.answer = "malformed"
    assert answer(ask(gateway, "GET", path, ("Authorization", "other"))) == (500, "INTERNAL_SERVER_ERROR")
    assert ask(gateway, "OPTIONS", path).header("Access-Control-Max-Age") == "600"


def test_the_templates_environment(real: template.Stack) -> None:
    environment = Runtime(real.functions, real.layers).environment
    assert environment["CONTAINERS_TABLE"] == real.physical_name("ContainersTable")
    assert environment["TOKEN_SECRET_ARN"].endswith(":secret:longshore-TokenSecret")
    assert environment["WAIT_SECONDS"] == "20"
    assert [layer.name for layer in real.layers] == ["common"]
