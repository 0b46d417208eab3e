"""Calls of HTTP handlers through `longshore.edge.http.endpoint`, and the log lines that they write."""

import io
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Outcome, OutcomeKind
from longshore.edge.http import Answer, Request, endpoint

ID = "507f1f77bcf86cd799439011"
PROJECT = "507f1f77bcf86cd799439033"
ORIGIN = "https://console.example.com"


class Log:
    """The log lines that a test has caused."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def event(**more: Any) -> dict[str, Any]:
    return {
        "pathParameters": {"id": ID},
        "requestContext": {
            "requestId": "request-1",
            "authorizer": {"user_id": "ada", "expires_at": str(int(time.time()) + 3600)},
        },
    } | more


CONTEXT = SimpleNamespace(aws_request_id="lambda-1", function_name="longshore-Start")


def call(handler: Callable[[Request], Answer], given: dict[str, Any] | None = None) -> dict[str, Any]:
    response = endpoint(handler)(event() if given is None else given, CONTEXT)
    assert response["isBase64Encoded"] is False
    body: dict[str, Any] = json.loads(response["body"])
    assert body["statusCode"] == response["statusCode"]
    return response


def body_of(response: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response["body"])
    return body


def raising(error: BaseException) -> Callable[[Request], Answer]:
    def handler(request: Request) -> Answer:
        raise error

    return handler


def never(request: Request) -> Answer:
    raise AssertionError("the handler was called")


def fine(request: Request) -> Answer:
    return Answer("Fine", {"user": request.user_id, "id": request.id, "container": request.container_id})


def outcome(kind: OutcomeKind, **more: Any) -> Outcome:
    return Outcome(
        kind=kind,
        operation=Operation.FORCE_STOP,
        container_id=ID,
        project_id=PROJECT,
        message="Container force-stopped successfully",
        status=Status.STOPPED,
        **more,
    )
