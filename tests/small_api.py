"""A small API with an authorizer and throttling, for tests of the local gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import template
from local.gateway import Gateway, Request, Response
from local.gateway.exchange import Invoke

Make = Callable[..., Gateway]

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
    """A fake runtime: tests set its responses, and it records calls."""

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
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_gateway(folder: Path, functions: Invoke, clock: Clock, responses: str = "", **parameters: str) -> Gateway:
    """Create the gateway of the small API. `responses` are inserted into its template."""
    path = folder / "template.yaml"
    path.write_text(TEMPLATE.replace("      # RESPONSES", responses))
    stack = template.load(path, parameters)
    assert stack.api is not None
    return Gateway(stack.api, functions, clock)


def ask(gateway: Gateway, method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> Response:
    path, _, query = target.partition("?")
    return gateway.handle(Request(method, path, query, headers, body))


def event_of(response: Response) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)
