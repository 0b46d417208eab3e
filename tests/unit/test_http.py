"""Tests of the requests that a handler accepts, and of its successful responses."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from longshore.domain.errors import AccountBannedError
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Outcome, OutcomeKind
from longshore.edge.http import Answer, Request, operation_answer, unknown_operation
from unit.http_calls import ID, ORIGIN, PROJECT, Log, body_of, call, event, fine, never, outcome, raising

pytestmark = pytest.mark.usefixtures("function_environment")

# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": None},
        {"authorizer": {}},
        {"authorizer": {"user_id": "ada"}},
        {"authorizer": {"expires_at": "9999999999"}},
        {"authorizer": {"user_id": "", "expires_at": "9999999999"}},
        {"authorizer": {"user_id": None, "expires_at": "9999999999"}},
        {"authorizer": {"user_id": "ada", "expires_at": ""}},
        {"authorizer": {"user_id": "ada", "expires_at": None}},
        {"authorizer": {"user_id": "ada", "expires_at": "never"}},
        {"authorizer": {"user_id": "ada", "expires_at": "-1"}},
        {"authorizer": {"user_id": "ada", "expires_at": "1e12"}},
        {"authorizer": {"user_id": "ada", "expires_at": "9999999999.5"}},
        {"authorizer": {"user_id": "ada", "expires_at": "inf"}},
        {"authorizer": {"principalId": "ada", "expires_at": "9999999999"}},
    ],
)
def test_a_request_without_a_valid_authorizer_context(context: dict[str, Any]) -> None:
    response = call(never, event(requestContext={"requestId": "request-1"} | context))
    body = body_of(response)
    assert (response["statusCode"], body["code"]) == (401, "INVALID_TOKEN")


def test_an_empty_event() -> None:
    response = call(never, {})
    assert body_of(response)["code"] == "INVALID_TOKEN"
    # Without a request id of the gateway, the response has that of Lambda.
    assert response["headers"]["X-Request-Id"] == "lambda-1"


@pytest.mark.parametrize("ago", [0, 1, 3600])
def test_a_token_that_expired_while_the_gateway_cached_its_result(ago: int) -> None:
    authorizer = {"user_id": "ada", "expires_at": str(int(time.time()) - ago)}
    body = body_of(call(never, event(requestContext={"requestId": "request-1", "authorizer": authorizer})))
    assert body == {
        "statusCode": 401,
        "error": "Unauthorized",
        "code": "TOKEN_EXPIRED",
        "message": "Authentication token has expired",
    }


@pytest.mark.parametrize(
    "identity",
    ["", "5" * 23, "5" * 25, ID.upper(), f"{ID} ", f"{ID}\n", f" {ID}", "g" * 24, "５" * 24, "0x" + "5" * 22, None],  # noqa: RUF001
)
def test_an_invalid_id(identity: str | None) -> None:
    body = body_of(call(never, event(pathParameters={"id": identity})))
    assert (body["statusCode"], body["code"], body["message"]) == (400, "INVALID_ID_FORMAT", "Invalid ID format")


@pytest.mark.parametrize("parameters", [None, {}, {"operation": "start"}])
def test_no_id(parameters: Any) -> None:
    assert body_of(call(fine, event(pathParameters=parameters)))["code"] == "INVALID_ID_FORMAT"


def test_the_caller_is_checked_before_the_id() -> None:
    assert body_of(call(never, event(requestContext={}, pathParameters={"id": "x"})))["code"] == "INVALID_TOKEN"


# --- responses --------------------------------------------------------------------------------------------------------


def test_a_success(log: Log) -> None:
    response = call(fine)
    assert body_of(response) == {
        "statusCode": 200,
        "message": "Fine",
        "data": {"user": "ada", "id": "request-1", "container": ID},
    }
    (line,) = log.lines
    assert (line["level"], line["message"], line["status"], line["code"]) == ("INFO", "request answered", 200, "OK")
    assert (line["container_id"], line["user_id"], line["function"]) == (ID, "ada", "longshore-Start")


@pytest.mark.parametrize("handler", [fine, raising(AccountBannedError()), raising(RuntimeError("x"))])
def test_the_headers(handler: Callable[[Request], Answer]) -> None:
    assert call(handler)["headers"] == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Request-Id": "request-1",
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Expose-Headers": "X-Request-Id,Retry-After,Preference-Applied",
        "Strict-Transport-Security": "max-age=63072000",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def test_text_is_not_escaped() -> None:
    assert '"name":"é名"' in call(lambda _: Answer("Fine", {"name": "é名"}))["body"]


def test_a_completed_operation() -> None:
    response = call(lambda _: operation_answer(outcome(OutcomeKind.COMPLETED)))
    assert body_of(response) == {
        "statusCode": 200,
        "message": "Container operation completed successfully",
        "data": {
            "error": False,
            "operation": "force-stop",
            "container_id": ID,
            "project_id": PROJECT,
            "message": "Container force-stopped successfully",
            "status": "stopped",
        },
    }


def test_an_accepted_operation() -> None:
    pending = {"operation": "start", "started_at": "2025-01-15T10:30:00.000Z", "triggered_by": "user"}
    accepted = Outcome(
        kind=OutcomeKind.ACCEPTED,
        operation=Operation.START,
        container_id=ID,
        project_id=PROJECT,
        message="Container is starting",
        status=Status.STOPPED,
        pending_operation=pending,
    )
    response = call(lambda _: operation_answer(accepted))
    assert body_of(response) == {
        "statusCode": 202,
        "message": "Container operation accepted",
        "data": {
            "error": False,
            "operation": "start",
            "container_id": ID,
            "project_id": PROJECT,
            "message": "Container is starting",
            "status": "stopped",
            "pending_operation": pending,
        },
    }


def test_an_unknown_operation_lists_the_operations() -> None:
    body = body_of(call(raising(unknown_operation())))
    message = "must be one of: start, stop, force-stop, restart, pause, resume"
    assert body == {
        "statusCode": 400,
        "error": "Bad Request",
        "code": "VALIDATION_ERROR",
        "message": f"operation {message}",
        "data": [{"instancePath": "/operation", "message": message}],
    }
