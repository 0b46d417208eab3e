"""The local gateway, template, runtime and server: what AWS does to a request, done to it here."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import template, tokens
from local.gateway import BODY_LIMIT, Gateway, GatewayError, Request, Response
from local.provision import ProvisionError, provision
from local.runtime import FunctionError, FunctionTimeoutError, Runtime, RuntimeConfigurationError
from local.server import ListenError, Server, listen
from local.stack import LocalStack

AUTH = ("Authorization", "Bearer secret-token")

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Ttl: {Type: Number, Default: 60}
  Rate: {Type: Number, Default: 10000}
  Burst: {Type: Number, Default: 5000}
Globals:
  Function: {Runtime: python3.13, Handler: app.handler, Timeout: 5}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: live
      OpenApiVersion: "3.0.1"
      MethodSettings:
        - {ResourcePath: "/*", HttpMethod: "*", ThrottlingRateLimit: !Ref Rate, ThrottlingBurstLimit: !Ref Burst}
      Cors: {AllowOrigin: "'https://example.com'", AllowMethods: "'GET,POST'", AllowHeaders: "'Authorization'"}
      Auth:
        DefaultAuthorizer: Token
        AddDefaultAuthorizerToCorsPreflight: false
        Authorizers:
          Token:
            FunctionPayloadType: REQUEST
            FunctionArn: !GetAtt AuthFunction.Arn
            Identity: {Headers: [Authorization], ReauthorizeEvery: !Ref Ttl}
      # RESPONSES
  AuthFunction:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: auth}
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: echo
      Events:
        One: {Type: Api, Properties: {RestApiId: !Ref Api, Method: get, Path: "/things/{id}"}}
        Two: {Type: Api, Properties: {RestApiId: !Ref Api, Method: post, Path: "/things/{id}/{verb}"}}
        Three: {Type: Api, Properties: {RestApiId: !Ref Api, Method: post, Path: "/things/{id}/run"}}
        Rest: {Type: Api, Properties: {RestApiId: !Ref Api, Method: any, Path: "/files/{path+}"}}
        Open:
          Type: Api
          Properties: {RestApiId: !Ref Api, Method: get, Path: /open, Auth: {Authorizer: NONE}}
"""

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

AUTHORIZED: dict[str, Any] = {
    "principalId": "u1",
    "policyDocument": {
        "Version": "2012-10-17",
        "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}],
    },
    "context": {"user": "u1", "expires": 12, "root": False},
}


def policy(effect: str, resource: str | list[str], action: str | list[str] = "execute-api:Invoke") -> Any:
    return {"Effect": effect, "Resource": resource, "Action": action}


def verdict(*statements: Any, **context: Any) -> dict[str, Any]:
    return {"principalId": "u1", "policyDocument": {"Statement": list(statements)}, "context": context}


class Functions:
    """Stands for the runtime: answers are set by a test, and calls are kept."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.authorizer: Any = AUTHORIZED
        self.answer: Any = None

    def __call__(self, function: str, event: Any, wait: float | None = None) -> Any:  # noqa: ARG002
        self.calls.append((function, event))
        answer = self.authorizer if function == "AuthFunction" else self.answer
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return {"statusCode": 200, "body": json.dumps(event)}
        return answer

    def count(self, function: str) -> int:
        return sum(1 for name, _ in self.calls if name == function)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Gateway]


@pytest.fixture
def make(tmp_path: Path, functions: Functions, clock: Clock) -> Make:
    def build(responses: str = "", **parameters: str) -> Gateway:
        path = tmp_path / "template.yaml"
        path.write_text(TEMPLATE.replace("      # RESPONSES", responses))
        stack = template.load(path, parameters)
        assert stack.api is not None
        return Gateway(stack.api, functions, clock)

    return build


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


# --- The template ---------------------------------------------------------------------------------------------------

CONDITIONAL = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Mode: {Type: String, Default: b, AllowedValues: [a, b]}
  Names: {Type: CommaDelimitedList, Default: "x,y"}
  Size: {Type: Number, Default: 3, MinValue: 1, MaxValue: 9}
Conditions:
  IsA: !Equals [!Ref Mode, a]
  NotA: !Not [!Condition IsA]
  Both: !And [!Condition IsA, !Condition NotA]
  Either: !Or [!Condition IsA, !Condition NotA]
Resources:
  Gone: {Type: AWS::DynamoDB::Table, Condition: IsA, Properties: {}}
  Never: {Type: AWS::DynamoDB::Table, Condition: Both, Properties: {}}
  Kept:
    Type: AWS::DynamoDB::Table
    Condition: Either
    Properties:
      Joined: !Join ["-", !Ref Names]
      Sub: !Sub "${Mode}/${AWS::Region}/${Named.Arn}/${Named}/${!literal}"
      SubWith: !Sub ["${a}${Mode}", {a: !Ref Size}]
      Arn: !GetAtt Named.Arn
      Choice: !If [IsA, 1, 2]
      Absent: !If [IsA, 1, !Ref AWS::NoValue]
      List: [1, !If [IsA, 2, !Ref AWS::NoValue], 3]
      First: !Select [0, !Ref Names]
  Named: {Type: AWS::DynamoDB::Table, Properties: {TableName: given}}
"""


def load(tmp_path: Path, text: str, **parameters: str) -> template.Stack:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return template.load(path, parameters)


def test_intrinsics_and_conditions(tmp_path: Path) -> None:
    stack = load(tmp_path, CONDITIONAL)
    arn = "arn:aws:dynamodb:us-east-1:123456789012:table/given"
    assert sorted(stack.tables) == ["Kept", "Named"]
    assert stack.tables["Kept"] == {
        "Joined": "x-y",
        "Sub": f"b/us-east-1/{arn}/given/${{literal}}",
        "SubWith": "3b",
        "Arn": arn,
        "Choice": 2,
        "List": [1, 3],
        "First": "x",
    }
    assert stack.physical_name("Kept") == "longshore-Kept"
    assert stack.physical_name("Named") == "given"
    assert "Gone" in load(tmp_path, CONDITIONAL, Mode="a").tables


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!ImportValue other", "Fn::ImportValue"),
        ("!FindInMap [a, b, c]", "Fn::FindInMap"),
        ("!GetAtt Named.StreamArn", "StreamArn"),
        ("!Ref Nothing", "Nothing"),
        ("!Ref Gone", "Gone.*IsA"),
        ("'{{resolve:ssm:x}}'", "dynamic reference"),
    ],
)
def test_what_cannot_be_resolved_is_named(tmp_path: Path, value: str, message: str) -> None:
    text = CONDITIONAL.replace('!Join ["-", !Ref Names]', value)
    with pytest.raises(template.TemplateError, match=f"Kept: .*{message}"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Mode": "c"}, "one of a, b"),
        ({"Size": "10"}, "range"),
        ({"Size": "x"}, "number"),
        ({"No": "1"}, "No"),
    ],
)
def test_parameters_are_checked(tmp_path: Path, parameters: Mapping[str, str], message: str) -> None:
    with pytest.raises(template.TemplateError, match=message):
        load(tmp_path, CONDITIONAL, **parameters)


# --- The runtime ----------------------------------------------------------------------------------------------------


def function(tmp_path: Path, name: str, code: str, timeout: int = 5, **environment: str) -> template.Function:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "app.py").write_text(textwrap.dedent(code))
    return template.Function(name, f"longshore-{name}", f"arn:{name}", folder, "app.handler", environment, timeout, 256)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    started: list[Runtime] = []

    def start(*functions: template.Function, layers: tuple[Path, ...] = ()) -> Runtime:
        runtime = Runtime({f.logical_id: f for f in functions}, layers)
        runtime.start()
        started.append(runtime)
        return runtime

    yield start
    for runtime in reversed(started):
        runtime.stop()


def test_a_handler_runs_as_in_lambda(tmp_path: Path, run: Callable[..., Runtime]) -> None:
    code = """
        import os
        seen = []
        def handler(event, context):
            seen.append(event)
            return {
                "event": event, "calls": len(seen), "env": os.environ["COLOUR"], "tuple": (1, 2),
                "name": context.function_name, "arn": context.invoked_function_arn,
                "memory": context.memory_limit_in_mb, "left": context.get_remaining_time_in_millis(),
                "id": context.aws_request_id,
            }
    """
    runtime = run(function(tmp_path, "One", code, COLOUR="blue", A="1"), function(tmp_path, "Two", code, COLOUR="blue"))
    first = runtime.invoke("One", {"x": 1})
    assert first["event"] == {"x": 1}
    assert (first["env"], first["tuple"]) == ("blue", [1, 2])
    assert (first["name"], first["arn"], first["memory"]) == ("longshore-One", "arn:One", "256")
    assert 0 < first["left"] <= 5000
    second = runtime.invoke("One", {})
    assert second["calls"] == 2
    assert second["id"] != first["id"]
    # Two functions share no module, though both are called app.
    assert runtime.invoke("Two", {})["calls"] == 1


def test_a_handler_that_fails(tmp_path: Path, run: Callable[..., Runtime], caplog: pytest.LogCaptureFixture) -> None:
    code = """
        def handler(event, context):
            if event == "exit":
                raise SystemExit(1)
            if event == "set":
                return {1, 2}
            raise ValueError("boom")
    """
    runtime = run(function(tmp_path, "Bad", code))
    with pytest.raises(FunctionError) as raised:
        runtime.invoke("Bad", None)
    assert (raised.value.error_type, raised.value.message) == ("ValueError", "boom")
    assert "Traceback" in caplog.text
    with pytest.raises(FunctionError):
        runtime.invoke("Bad", "exit")
    with pytest.raises(FunctionError):
        runtime.invoke("Bad", "set")


def test_a_handler_that_runs_over_its_time(tmp_path: Path, run: Callable[..., Runtime]) -> None:
    code = """
        import threading
        go_on = threading.Event()
        def handler(event, context):
            if event == "end":
                go_on.set()
            else:
                go_on.wait()
    """
    runtime = run(function(tmp_path, "Slow", code))
    with pytest.raises(FunctionTimeoutError):
        runtime.invoke("Slow", "wait", wait=0.01)
    runtime.invoke("Slow", "end")


def test_functions_must_agree_on_the_environment(tmp_path: Path) -> None:
    code = "def handler(event, context): ..."
    one = function(tmp_path, "One", code, SHARED="1", SAME="x")
    two = function(tmp_path, "Two", code, SHARED="2", SAME="x")
    with pytest.raises(RuntimeConfigurationError, match=r"Two and One .* SHARED"):
        Runtime({"One": one, "Two": two})


def test_a_start_is_cold_and_a_stop_leaves_no_trace(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "shelf_of_the_test.py").write_text("import os\nCOLOUR = os.environ['COLOUR']\n")
    code = """
        def handler(event, context):
            import shelf_of_the_test
            return shelf_of_the_test.COLOUR
    """
    before = (dict(os.environ), list(sys.path), set(sys.modules))
    for colour in ("red", "green"):
        folder = tmp_path / colour
        folder.mkdir()
        runtime = Runtime({"F": function(folder, "F", code, COLOUR=colour)}, [layer])
        runtime.start()
        try:
            assert runtime.invoke("F", {}) == colour
        finally:
            runtime.stop()
    assert (dict(os.environ), list(sys.path)) == before[:2]
    assert "shelf_of_the_test" not in sys.modules


def test_a_function_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    before = dict(os.environ)
    for name, code in (("Broken", "import nothing_of_that_name"), ("Empty", "x = 1")):
        runtime = Runtime({name: function(tmp_path, name, code, MARK="1")})
        with pytest.raises(RuntimeConfigurationError, match=name):
            runtime.start()
        assert dict(os.environ) == before


# --- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(gateway: Gateway) -> Iterator[Server]:
    page = Response(200, [("Content-Type", "text/html")], b"<p>hello")
    server = Server(gateway, listen("127.0.0.1", 0), {"/docs": lambda: page})
    server.start()
    yield server
    server.stop()


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_request_reaches_the_function_as_it_was_on_the_wire(server: Server) -> None:
    answer = raw(
        server,
        b"POST /things/a%2Fb/run?x=1&x=%20 HTTP/1.1\r\nHost: h\r\nAuthorization: t\r\n"
        b"X-Two: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\nhi",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    event = json.loads(body)
    assert event["path"] == "/things/a%2Fb/run"
    assert event["pathParameters"] == {"id": "a/b"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", " "]}
    assert event["multiValueHeaders"]["X-Two"] == ["1", "2"]
    assert event["body"] == "hi"
    # http.server alone would merge the slashes.
    assert b" 403 " in raw(server, b"GET //open HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b" 200 " in raw(server, b"GET http://elsewhere/open HTTP/1.1\r\nHost: h\r\n\r\n")


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense",
        b"GET /open HTTP/9.9",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1",
        b"GET /open HTTP/1.1\r\n" + b"X-A: 1\r\n" * 200,
        b"GET /open HTTP/1.1\r\nX-Long: " + b"x" * 70_000,
        b"POST /open HTTP/1.1\r\nContent-Length: 99999999999",
    ],
)
def test_what_is_not_http_is_refused_in_the_gateways_form(server: Server, request_line: bytes) -> None:
    head, _, body = raw(server, request_line + b"\r\n\r\n").partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 4\d\d ", head)
    assert json.loads(body).keys() == {"message"}


def test_pages_and_head(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/docs?x").text == "<p>hello"
        assert client.get("/docs/more").status_code == 403
        response = client.head("/nothing")
        assert (response.status_code, response.content) == (403, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert client.post("/things/1/run", headers=dict([AUTH]), content=iter([b"a", b"b"])).json()["body"] == "ab"


def test_neither_token_nor_query_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        client.get("/things/1?token=hidden", headers=dict([AUTH]))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("local")]
    assert [line for line in ours if line.startswith("GET /things/1 200 ") and "user=u1" in line]
    assert not [line for line in ours if "secret-token" in line or "hidden" in line]


def test_64_clients_are_served_at_once(make: Make, functions: Functions) -> None:
    everyone = threading.Barrier(64)

    class Meeting(Functions):
        def __call__(self, function: str, event: Any, wait: float | None = None) -> Any:  # noqa: ARG002
            # Nobody leaves before all are in: fewer at a time would break the barrier.
            everyone.wait(timeout=30)
            return {"statusCode": 200, "body": "{}"}

    gateway = make()
    server = Server(Gateway(gateway._api, Meeting()), listen("127.0.0.1", 0))
    server.start()
    try:
        with ThreadPoolExecutor(64) as pool:
            request = b"GET /open HTTP/1.1\r\nHost: h\r\n\r\n"
            answers = list(pool.map(lambda _: raw(server, request), range(64)))
    finally:
        server.stop()
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


def test_a_port_in_use(server: Server) -> None:
    with pytest.raises(ListenError, match=str(server.port)):
        listen("127.0.0.1", server.port)


# --- The key --------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: tokens.key(path), range(8)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]


# --- The stack ------------------------------------------------------------------------------------------------------

WHOLE = """
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      DeletionProtectionEnabled: true
      AttributeDefinitions:
        - {AttributeName: id, AttributeType: S}
        - {AttributeName: at, AttributeType: N}
        - {AttributeName: kind, AttributeType: S}
      KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: at, KeyType: RANGE}]
      LocalSecondaryIndexes:
        - IndexName: local
          KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: kind, KeyType: RANGE}]
          Projection: {ProjectionType: ALL}
      GlobalSecondaryIndexes:
        - IndexName: global
          KeySchema: [{AttributeName: kind, KeyType: HASH}]
          Projection: {ProjectionType: KEYS_ONLY}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {GenerateSecretString: {}}}
  Document:
    Type: AWS::SSM::Document
    Properties: {DocumentType: Command, Content: {schemaVersion: "2.2", mainSteps: []}}
"""

WHOLE_HANDLER = """
import os
import boto3

def handler(event, context):
    name = boto3.client("dynamodb").list_tables()["TableNames"][0]
    return {"statusCode": 200, "body": name + " " + os.environ["AWS_ACCESS_KEY_ID"]}
"""


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokens, "KEY_FILE", tmp_path / "key")
    # What must not be seen while the stack runs, and must be there again afterwards.
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://192.0.2.1")
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE + WHOLE)
    for name in ("echo", "auth"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(WHOLE_HANDLER)
    return path


def test_a_stack_starts_serves_and_leaves_no_trace(whole: Path) -> None:
    before = dict(os.environ)
    for _ in range(2):
        with LocalStack(port=0, seed=False, template_path=whole) as stack:
            answer = httpx.get(f"{stack.url}/open", trust_env=False)
            assert answer.text == "longshore-Table longshorelocal"
            assert stack.invoke("EchoFunction", {})["statusCode"] == 200
            assert stack.table_name("Table") == "longshore-Table"
            assert "AWS_PROFILE" not in os.environ
        assert dict(os.environ) == before


def test_what_the_template_declares_is_made_and_kept(whole: Path) -> None:
    with LocalStack(port=0, seed=False, template_path=whole) as stack:
        dynamodb = stack.client("dynamodb")
        table = dynamodb.describe_table(TableName="longshore-Table")["Table"]
        assert [index["IndexName"] for index in table["LocalSecondaryIndexes"]] == ["local"]
        assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["global"]
        assert not table["DeletionProtectionEnabled"]
        ttl = dynamodb.describe_time_to_live(TableName="longshore-Table")["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
        secret = stack.client("secretsmanager").get_secret_value(
            SecretId="arn:aws:secretsmanager:us-east-1:123456789012:secret:longshore-Secret"
        )
        assert secret["SecretString"] == tokens.key()
        document = stack.client("ssm").get_document(Name="longshore-Document")
        assert json.loads(document["Content"]) == {"schemaVersion": "2.2", "mainSteps": []}

        clients = {name: stack.client(name) for name in ("dynamodb", "secretsmanager", "ssm", "ecs", "events")}
        dynamodb.put_item(TableName="longshore-Table", Item={"id": {"S": "a"}, "at": {"N": "1"}})
        provision(template.load(whole), token_key="another", **clients)
        assert dynamodb.scan(TableName="longshore-Table")["Count"] == 1
        whole.write_text(whole.read_text().replace("IndexName: global", "IndexName: renamed"))
        with pytest.raises(ProvisionError, match="longshore-Table"):
            provision(template.load(whole), token_key="another", **clients)


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
