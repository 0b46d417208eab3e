"""The edge: what a handler's answer or exception becomes, and what is logged of it."""

import importlib
import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from longshore.domain.errors import (
    AccountBannedError,
    ContainerExpiredError,
    ContainerNotFoundError,
    ErrorCode,
    ExternalServiceError,
    InsufficientPermissionsError,
    InternalError,
    InvalidIdError,
    InvalidInputError,
    InvalidTokenError,
    LongshoreError,
    MissingTokenError,
    StateConflictError,
    TokenExpiredError,
)
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Outcome, OutcomeKind, Pagination, StatusLogsPage
from longshore.edge import http, logs, metrics
from longshore.edge.http import STATUS_CODES, Answer, Request, endpoint, operation_answer, unknown_operation
from longshore.edge.logs import logger

ID = "507f1f77bcf86cd799439011"
PROJECT = "507f1f77bcf86cd799439033"
ORIGIN = "https://console.example.com"
FAULTS = [{"instancePath": "/limit", "message": "must be <= 100"}]
EXTERNAL = "A required external service is unavailable or returned an error"

# From the contract: class, status, its phrase, code, message.
ERRORS: list[tuple[type[LongshoreError], int, str, str, str]] = [
    (MissingTokenError, 401, "Unauthorized", "MISSING_TOKEN", "Authentication token required"),
    (InvalidTokenError, 401, "Unauthorized", "INVALID_TOKEN", "Invalid authentication token"),
    (TokenExpiredError, 401, "Unauthorized", "TOKEN_EXPIRED", "Authentication token has expired"),
    (InvalidIdError, 400, "Bad Request", "INVALID_ID_FORMAT", "Invalid ID format"),
    (InvalidInputError, 400, "Bad Request", "VALIDATION_ERROR", "limit must be <= 100"),
    (AccountBannedError, 403, "Forbidden", "ACCOUNT_BANNED", "Account has been banned"),
    (ContainerNotFoundError, 404, "Not Found", "CONTAINER_NOT_FOUND", "Container not found"),
    (InsufficientPermissionsError, 403, "Forbidden", "INSUFFICIENT_PERMISSIONS", "Insufficient permissions"),
    (
        ContainerExpiredError,
        403,
        "Forbidden",
        "OPERATION_NOT_PERMITTED_ON_EXPIRED",
        "Operation not permitted on expired container",
    ),
    (StateConflictError, 400, "Bad Request", "OPERATION_STATE_CONFLICT", "Container is already running"),
    (ExternalServiceError, 500, "Internal Server Error", "EXTERNAL_SERVICE_ERROR", EXTERNAL),
    (InternalError, 500, "Internal Server Error", "INTERNAL_SERVER_ERROR", "An unexpected error occurred"),
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


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGIN", ORIGIN)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Longshore")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "longshore")
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)


class Log:
    """What was logged."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    before = handler.setStream(stream)
    yield Log(stream)
    handler.setStream(before)


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


# --- errors -----------------------------------------------------------------------------------------------------------


def descendants(kind: type[LongshoreError]) -> Iterator[type[LongshoreError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_code_has_a_status() -> None:
    assert STATUS_CODES.keys() == set(ErrorCode)


def test_the_codes_of_the_gateway() -> None:
    assert STATUS_CODES[ErrorCode.ROUTE_NOT_FOUND] == 404
    assert STATUS_CODES[ErrorCode.RATE_LIMITED] == 429


def test_every_error_is_one_of_the_contract_s() -> None:
    library = Path(http.__file__).parents[1]
    for path in library.glob("*/[a-z]*.py"):
        importlib.import_module(f"longshore.{path.parent.name}.{path.stem}")
    table = {kind: code for kind, _, _, code, _ in ERRORS}
    # The gateway's own two have no class.
    assert {*table.values(), "ROUTE_NOT_FOUND", "RATE_LIMITED"} == set(ErrorCode)
    found = list(descendants(LongshoreError))
    assert set(table) <= set(found)
    for kind in found:
        if kind not in table and "code" in vars(kind):
            pytest.fail(f"{kind.__name__} is not in the table")
        if not kind.__subclasses__():
            bases = [base for base in kind.__mro__ if base in table]
            assert len(bases) == 1, kind
            assert kind.code == table[bases[0]]


@pytest.mark.parametrize(("kind", "status", "phrase", "code", "message"), ERRORS)
def test_an_error_s_answer(
    kind: type[LongshoreError], status: int, phrase: str, code: str, message: str, log: Log
) -> None:
    response = call(raising(kind(*ARGUMENTS.get(kind, ()))))

    expected = {"statusCode": status, "error": phrase, "code": code, "message": message}
    assert body_of(response) == expected | ({"data": DATA[kind]} if kind in DATA else {})
    levels = [(line["level"], line["message"]) for line in log.lines]
    assert levels == ([("ERROR", "failed")] if status >= 500 else []) + [("INFO", "answered")]
    assert ("Traceback" in log.text) == (status >= 500)
    assert all("exception" not in line for line in log.lines if line["level"] == "INFO")
    answered = log.lines[-1]
    assert (answered["status"], answered["code"]) == (status, code)
    assert (answered["container_id"], answered["user_id"]) == (ID, "ada")
    assert {line["correlation_id"] for line in log.lines} == {"request-1"}


def test_a_list_of_faults_is_one_message() -> None:
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
def test_what_is_unexpected_stays_inside(error: Exception, log: Log) -> None:
    response = call(raising(error))

    assert body_of(response) == UNEXPECTED
    assert "hidden" not in json.dumps(response)
    failed, answered = log.lines
    assert failed["level"] == "ERROR"
    assert failed["code"] == "INTERNAL_SERVER_ERROR"
    assert failed["exception_name"] == type(error).__name__
    assert re.search(rf"Traceback.*test_http.*{type(error).__name__}.*hidden", failed["exception"], re.DOTALL)
    assert (answered["level"], answered["status"]) == ("INFO", 500)


def test_an_answer_that_is_no_json_is_unexpected_too(log: Log) -> None:
    assert body_of(call(lambda _: Answer("Fine", {"metadata": object()}))) == UNEXPECTED
    assert [line["level"] for line in log.lines] == ["ERROR", "INFO"]


def test_one_request_s_log_says_nothing_of_another(log: Log) -> None:
    call(fine)
    other = event(requestContext={**event()["requestContext"], "requestId": "request-2"})
    call(fine, other)
    assert [line["correlation_id"] for line in log.lines] == ["request-1", "request-2"]
    logger.info("later")
    assert "correlation_id" not in log.lines[-1]


# --- who calls --------------------------------------------------------------------------------------------------------


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
def test_no_entry_without_the_authorizer_s_word(context: dict[str, Any]) -> None:
    response = call(never, event(requestContext={"requestId": "request-1"} | context))
    body = body_of(response)
    assert (response["statusCode"], body["code"]) == (401, "INVALID_TOKEN")


def test_no_entry_for_an_event_of_nothing() -> None:
    response = call(never, {})
    assert body_of(response)["code"] == "INVALID_TOKEN"
    # There is always an id to ask about.
    assert response["headers"]["X-Request-Id"] == "lambda-1"


@pytest.mark.parametrize("ago", [0, 1, 3600])
def test_a_token_that_expired_while_the_gateway_kept_its_answer(ago: int) -> None:
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
def test_a_bad_id(identity: str | None) -> None:
    body = body_of(call(never, event(pathParameters={"id": identity})))
    assert (body["statusCode"], body["code"], body["message"]) == (400, "INVALID_ID_FORMAT", "Invalid ID format")


@pytest.mark.parametrize("parameters", [None, {}, {"operation": "start"}])
def test_no_id(parameters: Any) -> None:
    assert body_of(call(never, event(pathParameters=parameters)))["code"] == "INVALID_ID_FORMAT"


def test_who_calls_is_checked_before_what_is_asked() -> None:
    assert body_of(call(never, event(requestContext={}, pathParameters={"id": "x"})))["code"] == "INVALID_TOKEN"


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_success(log: Log) -> None:
    response = call(fine)
    assert body_of(response) == {
        "statusCode": 200,
        "message": "Fine",
        "data": {"user": "ada", "id": "request-1", "container": ID},
    }
    (line,) = log.lines
    assert (line["level"], line["message"], line["status"], line["code"]) == ("INFO", "answered", 200, "OK")
    assert (line["container_id"], line["user_id"], line["function"]) == (ID, "ada", "longshore-Start")


@pytest.mark.parametrize("handler", [fine, raising(AccountBannedError()), raising(RuntimeError("x"))])
def test_the_headers(handler: Callable[[Request], Answer]) -> None:
    assert call(handler)["headers"] == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Request-Id": "request-1",
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Expose-Headers": "X-Request-Id,Retry-After",
    }


def test_a_model_as_data() -> None:
    page = StatusLogsPage(logs=[], pagination=Pagination(total=15, page=3, limit=10, totalPages=2))
    assert body_of(call(lambda _: Answer("Fine", page)))["data"] == {
        "logs": [],
        "pagination": {"total": 15, "page": 3, "limit": 10, "totalPages": 2},
    }


def test_text_is_not_escaped() -> None:
    assert '"name":"é名"' in call(lambda _: Answer("Fine", {"name": "é名"}))["body"]


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


def test_an_operation_that_is_completed() -> None:
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


def test_an_operation_that_is_under_way() -> None:
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


def test_an_unknown_operation_is_told_which_there_are() -> None:
    body = body_of(call(raising(unknown_operation())))
    message = "must be one of: start, stop, force-stop, restart, pause, resume"
    assert body == {
        "statusCode": 400,
        "error": "Bad Request",
        "code": "VALIDATION_ERROR",
        "message": f"operation {message}",
        "data": [{"instancePath": "/operation", "message": message}],
    }


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "counted"),
    [
        (fine, set()),
        (lambda _: operation_answer(outcome(OutcomeKind.ACCEPTED)), {"Accepted"}),
        (raising(AccountBannedError()), {"Refusals"}),
        (raising(StateConflictError()), {"Refusals", "Conflicts"}),
        (raising(ExternalServiceError("x")), {"Faults"}),
        (raising(RuntimeError("x")), {"Faults"}),
    ],
    ids=["fine", "accepted", "refused", "conflict", "external", "unexpected"],
)
def test_what_is_counted(
    handler: Callable[[Request], Answer], counted: set[str], log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    call(handler)
    line = log.lines[-1]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Longshore"
    assert {metric["Name"] for metric in directive["Metrics"]} == {"Requests", "Duration"} | counted
    assert directive["Dimensions"] == [["function", "service"]]
    assert (line["function"], line["message"]) == ("longshore-Start", "answered")
    assert all(line[name] == 1.0 for name in counted)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    # It is the only line that holds metrics.
    assert "_aws" not in "".join(log.text.splitlines()[:-1]) + capsys.readouterr().out


def test_requests_are_counted_whatever_is_logged(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger._logger, "level", logging.ERROR)
    call(fine)
    assert log.lines == []
    (line,) = capsys.readouterr().out.splitlines()
    published = json.loads(line)
    (directive,) = published["_aws"]["CloudWatchMetrics"]
    assert (published["function"], published["Requests"]) == ("longshore-Start", [1.0])
    assert directive["Namespace"] == "Longshore"


def test_metrics_can_be_switched_off(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    metrics._described.cache_clear()
    try:
        call(fine)
    finally:
        metrics._described.cache_clear()
    assert log.lines[-1]["status"] == 200
    assert "_aws" not in log.text


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_request_s_line_is_as_powertools_would_write_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its place in the code, which is always the same."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=x;Sampled=1")
    fields = {"number": 7, "nothing": None, "text": "é\n", "more": {"a": [1, None]}, "operation": Operation.STOP}
    logger.thread_safe_append_keys(correlation_id="request-1")
    assert logs.tell("said", fields)
    logger.info("said", extra=fields)
    logger.thread_safe_clear_keys()
    ours, theirs = log.lines
    for line in (ours, theirs):
        assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert theirs.pop("location").startswith("test_a_request_s_line")
    assert ours == theirs
    assert (ours["xray_trace_id"], ours["text"]) == ("1-5759e988-bd862e3fe1be46a994272793", "é\n")
    assert len(log.text.splitlines()) == 2


def test_the_time_of_a_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1736937000.0999, 1736937000.9999, 1736937001.0, 1767225599.5]
    for moment in moments:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda moment=moment: moment)
            logs.tell("said", {})
    assert [line["timestamp"] for line in log.lines] == [
        "2025-01-15T10:30:00.099+00:00",
        "2025-01-15T10:30:00.999+00:00",
        "2025-01-15T10:30:01.000+00:00",
        "2025-12-31T23:59:59.500+00:00",
    ]


def test_what_is_no_json_is_told_as_text(log: Log) -> None:
    assert logs.tell("said", {"it": CONTEXT})
    assert log.lines[0]["it"] == str(CONTEXT)


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:  # noqa: ARG002
        raise OSError("no space left")


def test_a_request_is_answered_also_when_it_cannot_be_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(Broken())
    try:
        assert call(fine)["statusCode"] == 200
    finally:
        handler.setStream(before)
    assert "no space left" in capsys.readouterr().err
    # Half a surrogate pair is no text that could be written.
    authorizer = {"user_id": "\ud800", "expires_at": str(int(time.time()) + 3600)}
    other = event(requestContext={"requestId": "request-1", "authorizer": authorizer})
    assert call(lambda _: Answer("Fine", {}), other)["statusCode"] == 200
