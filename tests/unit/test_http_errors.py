"""Tests of the response and the log for each error that a handler can raise."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore.domain.errors import (
    AccountBannedError,
    ContainerExpiredError,
    ContainerNotFoundError,
    ContainerProtectedError,
    ErrorCode,
    ExternalServiceError,
    InsufficientPermissionsError,
    InternalError,
    InvalidIdError,
    InvalidInputError,
    InvalidTokenError,
    LongshoreError,
    MissingTokenError,
    ProjectNotFoundError,
    RateLimitedError,
    RouteNotFoundError,
    ScheduleNotFoundError,
    StateConflictError,
    TokenExpiredError,
)
from longshore.edge import http
from longshore.edge.http import STATUS_CODES, Answer
from longshore.edge.logs import logger
from unit.http_calls import ID, Log, body_of, call, event, fine, raising

pytestmark = pytest.mark.usefixtures("function_environment")

FAULTS = [{"instancePath": "/limit", "message": "must be <= 100"}]
EXTERNAL = "A required external service is unavailable or returned an error"

# From the contract: class, status, reason phrase, code, message.
ERRORS: list[tuple[type[LongshoreError], int, str, str, str]] = [
    (MissingTokenError, 401, "Unauthorized", "MISSING_TOKEN", "Authentication token required"),
    (InvalidTokenError, 401, "Unauthorized", "INVALID_TOKEN", "Invalid authentication token"),
    (TokenExpiredError, 401, "Unauthorized", "TOKEN_EXPIRED", "Authentication token has expired"),
    (InvalidIdError, 400, "Bad Request", "INVALID_ID_FORMAT", "Invalid ID format"),
    (InvalidInputError, 400, "Bad Request", "VALIDATION_ERROR", "limit must be <= 100"),
    (AccountBannedError, 403, "Forbidden", "ACCOUNT_BANNED", "Account has been banned"),
    (ContainerNotFoundError, 404, "Not Found", "CONTAINER_NOT_FOUND", "Container not found"),
    (ProjectNotFoundError, 404, "Not Found", "PROJECT_NOT_FOUND", "Project not found"),
    (InsufficientPermissionsError, 403, "Forbidden", "INSUFFICIENT_PERMISSIONS", "Insufficient permissions"),
    (
        ContainerExpiredError,
        403,
        "Forbidden",
        "OPERATION_NOT_PERMITTED_ON_EXPIRED",
        "Operation not permitted on expired container",
    ),
    (ScheduleNotFoundError, 404, "Not Found", "SCHEDULE_NOT_FOUND", "Schedule not found"),
    (ContainerProtectedError, 400, "Bad Request", "CONTAINER_PROTECTED", "Container is protected"),
    (StateConflictError, 400, "Bad Request", "OPERATION_STATE_CONFLICT", "Container is already running"),
    (ExternalServiceError, 500, "Internal Server Error", "EXTERNAL_SERVICE_ERROR", EXTERNAL),
    (InternalError, 500, "Internal Server Error", "INTERNAL_SERVER_ERROR", "An unexpected error occurred"),
    (RouteNotFoundError, 404, "Not Found", "ROUTE_NOT_FOUND", "Route not found"),
    (RateLimitedError, 429, "Too Many Requests", "RATE_LIMITED", "Too many requests"),
]
ARGUMENTS: dict[type[LongshoreError], tuple[Any, ...]] = {
    InvalidInputError: (FAULTS,),
    StateConflictError: ("Container is already running", {"error": True}),
    ExternalServiceError: ("The database failed",),
}
DATA: dict[type[LongshoreError], Any] = {
    InvalidInputError: FAULTS,
    StateConflictError: {"error": True},
    ExternalServiceError: {"reason": "The database failed"},
}
UNEXPECTED = {
    "statusCode": 500,
    "error": "Internal Server Error",
    "code": "INTERNAL_SERVER_ERROR",
    "message": "An unexpected error occurred",
}


def subclasses(kind: type[LongshoreError]) -> Iterator[type[LongshoreError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_code_has_a_status() -> None:
    assert STATUS_CODES.keys() == set(ErrorCode)


def test_the_statuses_of_gateway_errors() -> None:
    assert STATUS_CODES[ErrorCode.ROUTE_NOT_FOUND] == 404
    assert STATUS_CODES[ErrorCode.RATE_LIMITED] == 429


def test_every_error_class_has_a_code_of_the_contract() -> None:
    library = Path(http.__file__).parents[1]
    for path in library.glob("*/[a-z]*.py"):
        importlib.import_module(f"longshore.{path.parent.name}.{path.stem}")
    table = {kind: code for kind, _, _, code, _ in ERRORS}
    assert set(table.values()) == set(ErrorCode)
    found = list(subclasses(LongshoreError))
    assert set(table) <= set(found)
    for kind in found:
        if kind not in table and "code" in vars(kind):
            pytest.fail(f"{kind.__name__} is not in the table")
        if not kind.__subclasses__():
            bases = [base for base in kind.__mro__ if base in table]
            assert len(bases) == 1, kind
            assert kind.code == table[bases[0]]


@pytest.mark.parametrize(("kind", "status", "phrase", "code", "message"), ERRORS)
def test_the_response_to_an_error(
    kind: type[LongshoreError], status: int, phrase: str, code: str, message: str, log: Log
) -> None:
    response = call(raising(kind(*ARGUMENTS.get(kind, ()))))

    expected = {"statusCode": status, "error": phrase, "code": code, "message": message}
    assert body_of(response) == expected | ({"data": DATA[kind]} if kind in DATA else {})
    levels = [(line["level"], line["message"]) for line in log.lines]
    assert response["headers"].get("Retry-After") == ("5" if status == 429 else None)
    assert levels == ([("ERROR", "request failed")] if status >= 500 else []) + [("INFO", "request answered")]
    assert ("Traceback" in log.text) == (status >= 500)
    assert all("exception" not in line for line in log.lines if line["level"] == "INFO")
    answered = log.lines[-1]
    assert (answered["status"], answered["code"]) == (status, code)
    assert (answered["container_id"], answered["user_id"]) == (ID, "ada")
    assert {line["correlation_id"] for line in log.lines} == {"request-1"}


def test_the_message_joins_all_faults() -> None:
    faults = [{"instancePath": "/page", "message": "must be >= 1"}, *FAULTS]
    body = body_of(call(raising(InvalidInputError(faults))))
    assert body["message"] == "page must be >= 1; limit must be <= 100"
    assert body["data"] == faults


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("arn:aws:dynamodb:us-east-1:123456789012:table/hidden"),
        KeyError("hidden"),
        AssertionError("hidden"),
        RecursionError("hidden"),
        ConnectionError("hidden"),
        MemoryError("hidden"),
    ],
)
def test_an_unexpected_error_is_not_disclosed(error: Exception, log: Log) -> None:
    response = call(raising(error))

    assert body_of(response) == UNEXPECTED
    assert "hidden" not in json.dumps(response)
    failed, answered = log.lines
    assert failed["level"] == "ERROR"
    assert failed["code"] == "INTERNAL_SERVER_ERROR"
    assert failed["exception_name"] == type(error).__name__
    assert re.search(rf"Traceback.*http_calls.*{type(error).__name__}.*hidden", failed["exception"], re.DOTALL)
    assert (answered["level"], answered["status"]) == ("INFO", 500)


def test_a_response_that_cannot_be_serialized(log: Log) -> None:
    assert body_of(call(lambda _: Answer("Fine", {"metadata": object()}))) == UNEXPECTED
    assert [line["level"] for line in log.lines] == ["ERROR", "INFO"]


def test_each_request_has_its_own_correlation_id(log: Log) -> None:
    call(fine)
    other = event(requestContext={**event()["requestContext"], "requestId": "request-2"})
    call(fine, other)
    assert [line["correlation_id"] for line in log.lines] == ["request-1", "request-2"]
    logger.info("later")
    assert "correlation_id" not in log.lines[-1]
