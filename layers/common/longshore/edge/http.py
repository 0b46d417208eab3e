"""The edge towards API Gateway: one decorator parses, checks, logs, counts and maps errors. Only here is HTTP known.

A handler gets a `Request` and returns the `Answer`. Whatever it raises becomes the contract's error: 4xx is logged as
INFO with its code, and only an error of ours (5xx) as ERROR with its traceback.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from longshore.domain.errors import (
    ErrorCode,
    InternalError,
    InvalidIdError,
    InvalidInputError,
    InvalidTokenError,
    LongshoreError,
    TokenExpiredError,
)
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest, Outcome, OutcomeKind, StatusLogsQuery
from longshore.edge.logs import logger, tell
from longshore.edge.metrics import Metric, embedded, publish

STATUS_CODES: dict[ErrorCode, HTTPStatus] = {
    ErrorCode.MISSING_TOKEN: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INVALID_TOKEN: HTTPStatus.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INVALID_ID_FORMAT: HTTPStatus.BAD_REQUEST,
    ErrorCode.VALIDATION_ERROR: HTTPStatus.BAD_REQUEST,
    ErrorCode.ACCOUNT_BANNED: HTTPStatus.FORBIDDEN,
    ErrorCode.CONTAINER_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.INSUFFICIENT_PERMISSIONS: HTTPStatus.FORBIDDEN,
    ErrorCode.OPERATION_NOT_PERMITTED_ON_EXPIRED: HTTPStatus.FORBIDDEN,
    ErrorCode.OPERATION_STATE_CONFLICT: HTTPStatus.BAD_REQUEST,
    ErrorCode.EXTERNAL_SERVICE_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.INTERNAL_SERVER_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.ROUTE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
}

IDEMPOTENCY_KEY = "Idempotency-Key"

CONTAINER_ID = re.compile(r"[0-9a-f]{24}")
KEY_FORMAT = re.compile(r"[\x21-\x7e]{1,128}")
_QUERY = frozenset(StatusLogsQuery.model_fields)


class Request(NamedTuple):
    """A request whose caller is known. `id` is the gateway's, and the one that the caller is told."""

    event: Mapping[str, Any]
    id: str
    user_id: str
    container_id: str

    @property
    def query(self) -> StatusLogsQuery:
        """The query of status-logs. Raises InvalidInputError with every fault."""
        given: Mapping[str, list[str]] = self.event.get("multiValueQueryStringParameters") or {}
        single, faults = {}, []
        for name, values in given.items():
            if name in _QUERY and values:
                single[name] = values[0]
                if len(values) > 1:
                    faults.append({"instancePath": f"/{name}", "message": "must be given once"})
        try:
            query = _parsed(tuple(single.items()))
        except ValidationError as error:
            faults += [{"instancePath": f"/{fault['loc'][0]}", "message": _fault(fault)} for fault in error.errors()]
        if faults:
            raise InvalidInputError(faults)
        return query

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, if one was sent. Raises InvalidInputError."""
        values = header_values(self.event, IDEMPOTENCY_KEY)
        if len(values) > 1:
            raise InvalidInputError([{"instancePath": f"/{IDEMPOTENCY_KEY}", "message": "must be given once"}])
        if values and not KEY_FORMAT.fullmatch(values[0]):
            raise InvalidInputError(
                [{"instancePath": f"/{IDEMPOTENCY_KEY}", "message": "must be 1 to 128 visible ASCII characters"}]
            )
        return values[0] if values else None

    def to_perform(self, operation: Operation) -> OperationRequest:
        """The operation that this request asks for. Raises InvalidInputError."""
        return OperationRequest(
            container_id=self.container_id,
            operation=operation,
            actor=self.user_id,
            request_id=self.id,
            idempotency_key=self.idempotency_key,
        )


class Answer(NamedTuple):
    """A success: the status, the envelope's message, and its data."""

    message: str
    data: BaseModel | dict[str, Any]
    status: HTTPStatus = HTTPStatus.OK


def endpoint(handler: Callable[[Request], Answer]) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Make a Lambda function of the handler, for a REST API's proxy event behind the token authorizer.

    Answers with the contract's envelope whatever happens. Fails closed: an event without the authorizer's context is
    refused, and so is one whose token has expired since the gateway kept the authorizer's answer.
    """

    @wraps(handler)
    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        began = time.perf_counter()
        request_id = str(event.get("requestContext", {}).get("requestId") or context.aws_request_id)
        # In every line that the request logs. The logger is not told: it would take a while to learn and forget them.
        whose = {"correlation_id": request_id, "function": context.function_name}
        code, status, body = _answer(handler, event, request_id, whose)
        counted = _counted(code, status, time.perf_counter() - began)
        told = {
            **whose,
            "status": int(status),
            "code": code,
            "container_id": _path(event).get("id"),
            "user_id": _user(event),
            **embedded(context.function_name, counted),
        }
        if not tell("answered", told):
            publish(context.function_name, counted)
        return _response(status, body, request_id)

    return lambda_handler


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """All values of a header, whatever the case of its name."""
    headers: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def operation_answer(outcome: Outcome) -> Answer:
    """200 for an effect that was observed, 202 for one that is under way."""
    data = outcome.model_dump(mode="json", include={"operation", "container_id", "project_id", "message", "status"})
    if outcome.kind is OutcomeKind.COMPLETED:
        return Answer("Container operation completed successfully", {"error": False} | data)
    data["pending_operation"] = outcome.pending_operation
    return Answer("Container operation accepted", {"error": False} | data, HTTPStatus.ACCEPTED)


def unknown_operation() -> InvalidInputError:
    """The fault of an operation that does not exist, which lists those that do."""
    return InvalidInputError([{"instancePath": "/operation", "message": f"must be one of: {', '.join(Operation)}"}])


def _answer(
    handler: Callable[[Request], Answer], event: dict[str, Any], request_id: str, whose: dict[str, Any]
) -> tuple[str, HTTPStatus, str]:
    """The code, the status and the body as JSON text. Never raises."""
    try:
        answer = handler(_request(event, request_id))
        body = {"statusCode": int(answer.status), "message": answer.message, "data": answer.data}
        return "OK", answer.status, _text(body)
    except LongshoreError as error:
        if STATUS_CODES[error.code] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.exception("failed", extra={**whose, "code": error.code})
        return _error_answer(error)
    except Exception:
        logger.exception("failed", extra={**whose, "code": ErrorCode.INTERNAL_SERVER_ERROR})
        return _error_answer(InternalError())


def _error_answer(error: LongshoreError) -> tuple[str, HTTPStatus, str]:
    status = STATUS_CODES[error.code]
    body = {"statusCode": int(status), "error": status.phrase, "code": error.code.value, "message": error.message}
    return error.code, status, _text(body if error.data is None else {**body, "data": error.data})


def _text(body: dict[str, Any]) -> str:
    # pydantic's writer: it knows its own models, and is twice as fast as the standard library's.
    return to_json(body).decode()


@lru_cache(maxsize=128)
def _parsed(query: tuple[tuple[str, str], ...]) -> StatusLogsQuery:
    # Most ask for the same few.
    return StatusLogsQuery.model_validate(dict(query))


def _request(event: Mapping[str, Any], request_id: str) -> Request:
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if not authorizer.get("user_id") or not str(authorizer.get("expires_at", "")).isdecimal():
        raise InvalidTokenError
    if time.time() >= int(authorizer["expires_at"]):
        raise TokenExpiredError
    container_id = _path(event).get("id") or ""
    if not CONTAINER_ID.fullmatch(container_id):
        raise InvalidIdError
    return Request(event, request_id, authorizer["user_id"], container_id)


def _path(event: Mapping[str, Any]) -> Mapping[str, str]:
    return event.get("pathParameters") or {}


def _user(event: Mapping[str, Any]) -> str | None:
    return (event.get("requestContext", {}).get("authorizer") or {}).get("user_id")


def _fault(fault: Any) -> str:
    match fault["type"]:
        case "greater_than_equal":
            return f"must be >= {fault['ctx']['ge']}"
        case "less_than_equal":
            return f"must be <= {fault['ctx']['le']}"
        case "literal_error":
            return f"must be one of: {fault['ctx']['expected'].replace(chr(39), '').replace(' or ', ', ')}"
        case _:
            return str(fault["msg"])


def _response(status: HTTPStatus, body: str, request_id: str) -> dict[str, Any]:
    return {
        "statusCode": int(status),
        "headers": {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Request-Id": request_id,
            "Access-Control-Allow-Origin": os.environ.get("ALLOWED_ORIGIN", ""),
            "Access-Control-Expose-Headers": "X-Request-Id,Retry-After",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _counted(code: str, status: HTTPStatus, seconds: float) -> dict[Metric, float]:
    values: dict[Metric, float] = {Metric.REQUESTS: 1, Metric.DURATION: round(seconds * 1000, 3)}
    if status is HTTPStatus.ACCEPTED:
        values[Metric.ACCEPTED] = 1
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        values[Metric.FAULTS] = 1
    elif status >= HTTPStatus.BAD_REQUEST:
        values[Metric.REFUSALS] = 1
    if code == ErrorCode.OPERATION_STATE_CONFLICT:
        values[Metric.CONFLICTS] = 1
    return values
