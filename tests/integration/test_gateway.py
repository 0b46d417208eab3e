"""Routes, proxy events, and the API of the template in the local gateway."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from small_api import AUTH, Functions, ask, event_of, policy, verdict

from local import template
from local.gateway import Gateway, Response
from local.runtime import Runtime


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
    assert context["path"] == "/things/a%20b/jump"
    assert (context["httpMethod"], context["stage"], context["apiId"]) == ("POST", "live", "local")
    assert context["accountId"] == "123456789012"
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert isinstance(context["requestTimeEpoch"], int)
    assert context["requestId"]
    assert context["extendedRequestId"]
    assert context["authorizer"] == {"principalId": "u1", "user": "u1", "expires": "12", "root": "false"}


def test_empty_values_are_null(gateway: Gateway) -> None:
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
def test_unknown_routes(gateway: Gateway, functions: Functions, method: str, target: str) -> None:
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


@pytest.fixture(scope="module")
def real() -> template.Stack:
    return template.load()


def test_the_routes_of_the_template(real: template.Stack, functions: Functions) -> None:
    assert real.api is not None
    routes = Gateway(real.api, functions).routes
    container = "/api/v1/containers/{id}"
    schedules = "/api/v1/projects/{project_id}/schedules"
    assert {route for route in routes if route[0] != "OPTIONS"} == {
        ("GET", "/"),
        ("GET", "/api/v1"),
        ("GET", container),
        ("PATCH", container),
        ("GET", "/api/v1/containers"),
        ("GET", "/api/v1/projects"),
        ("GET", "/api/v1/projects/{project_id}/containers"),
        ("GET", "/api/v1/projects/{project_id}/status-logs"),
        ("GET", f"{container}/status-logs"),
        ("GET", schedules),
        *((method, f"{schedules}/{{name}}") for method in ("GET", "PUT", "DELETE")),
        *(
            ("POST", f"{container}/{operation}")
            for operation in (
                *("start", "stop", "force-stop", "restart", "pause", "resume", "{operation}"),
                "keep-alive",
            )
        ),
        *product(("GET", "HEAD"), ("/console", "/console/{path+}", "/docs", "/docs/{path+}", "/openapi.yaml")),
    }
    assert {path for method, path in routes if method == "OPTIONS"} == {path for _, path in routes}


def test_the_root_needs_no_token(real: template.Stack, functions: Functions) -> None:
    assert real.api is not None
    gateway = Gateway(real.api, functions)
    for target in ("/", "/api/v1"):
        response = ask(gateway, "GET", target)
        assert (response.status, response.context["resourcePath"]) == (200, target)
    assert [name for name, _ in functions.calls] == ["IndexFunction"] * 2
    for method, target in (("GET", "//"), ("POST", "/"), ("GET", "/api")):
        assert ask(gateway, method, target).status == 404


def test_the_gateway_responses_of_the_template(real: template.Stack, functions: Functions) -> None:
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
    assert environment["WAIT_SECONDS"] == "8"
    assert [layer.name for layer in real.layers] == ["common"]
