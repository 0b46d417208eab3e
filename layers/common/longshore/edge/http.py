"""Requests and responses of API Gateway. Only this package knows HTTP.

A handler takes a `Request` and returns an `Answer`. Errors become the contract's error bodies: a 4xx is logged at INFO
with its code, and only a 5xx at ERROR with its traceback.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from longshore.domain.changes import stop_at_of
from longshore.domain.errors import (
    ErrorCode,
    InternalError,
    InvalidIdError,
    InvalidInputError,
    InvalidTokenError,
    LongshoreError,
    RateLimitedError,
    TokenExpiredError,
)
from longshore.domain.lifecycle import BEGINNING, Operation
from longshore.domain.unchanged import UNCHANGED
from longshore.edge.logs import logger
from longshore.edge.metrics import Metric, publish
from longshore.edge.preferences import NO_PREFERENCES, PREFER, Preferences

if TYPE_CHECKING:
    # The models take a third of a cold start, and reading a page of history needs none of them.
    from longshore.domain.models import OperationRequest, Outcome

STATUS_CODES: dict[ErrorCode, HTTPStatus] = {
    ErrorCode.MISSING_TOKEN: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INVALID_TOKEN: HTTPStatus.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INVALID_ID_FORMAT: HTTPStatus.BAD_REQUEST,
    ErrorCode.VALIDATION_ERROR: HTTPStatus.BAD_REQUEST,
    ErrorCode.ACCOUNT_BANNED: HTTPStatus.FORBIDDEN,
    ErrorCode.CONTAINER_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PROJECT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.INSUFFICIENT_PERMISSIONS: HTTPStatus.FORBIDDEN,
    ErrorCode.SCHEDULE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.OPERATION_NOT_PERMITTED_ON_EXPIRED: HTTPStatus.FORBIDDEN,
    ErrorCode.CONTAINER_PROTECTED: HTTPStatus.BAD_REQUEST,
    ErrorCode.OPERATION_STATE_CONFLICT: HTTPStatus.BAD_REQUEST,
    ErrorCode.EXTERNAL_SERVICE_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.INTERNAL_SERVER_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.ROUTE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
}

# Headers of every response; GatewayResponses in template.yaml repeats them. Browsers ignore the first over plain HTTP.
SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Strict-Transport-Security": "max-age=63072000",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
)

IDEMPOTENCY_KEY = "Idempotency-Key"

ID_FORMAT = re.compile(r"[0-9a-f]{24}")
SCHEDULE_NAME_FORMAT = re.compile(r"[a-z0-9-]{1,32}")
KEY_FORMAT = re.compile(r"[\x21-\x7e]{1,128}")
_IDS = ("project_id", "id")  # path parameters

T = TypeVar("T")
LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Request(NamedTuple):
    """A request of an authenticated user.

    Attributes:
        event: The gateway's proxy event.
        id: The gateway's id of the request, which the caller gets as `X-Request-Id`.
        user_id: The user, from the token.
    """

    event: Mapping[str, Any]
    id: str
    user_id: str

    @property
    def container_id(self) -> str:
        """The container in the path.

        Raises:
            InvalidIdError: It is not a valid id.
        """
        return _id_in_path(self.event, "id")

    @property
    def project_id(self) -> str:
        """The project in the path.

        Raises:
            InvalidIdError: It is not a valid id.
        """
        return _id_in_path(self.event, "project_id")

    @property
    def schedule_name(self) -> str:
        """The name of a schedule in the path.

        Raises:
            InvalidInputError: It is not a valid name.
        """
        name = _path(self.event).get("name") or ""
        if not SCHEDULE_NAME_FORMAT.fullmatch(name):
            raise invalid_schedule_name()
        return name

    def query(self, parse: Callable[[Mapping[str, Sequence[str]]], tuple[T, Mapping[str, str]]]) -> T:
        """Read the query string.

        Args:
            parse: Takes all values by parameter, and returns the query and the faults by parameter.

        Raises:
            InvalidInputError: It lists everything that is wrong.
        """
        query, faults = parse(self.event.get("multiValueQueryStringParameters") or {})
        if faults:
            raise InvalidInputError(
                [{"instancePath": f"/{name}", "message": message} for name, message in faults.items()]
            )
        return query

    def body(self, parse: Callable[[str | None], tuple[T, Sequence[Mapping[str, str]]]]) -> T:
        """Read the body.

        Args:
            parse: Takes the text of the body, or None, and returns what the body says and its faults.

        Raises:
            InvalidInputError: It lists everything that is wrong.
        """
        # The API declares no binary media types, so the body is never encoded.
        content, faults = parse(self.event.get("body"))
        if faults:
            raise InvalidInputError(faults)
        return content

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key; None if the caller sent none.

        Raises:
            InvalidInputError: The key is malformed, or was sent more than once.
        """
        values = header_values(self.event, IDEMPOTENCY_KEY)
        if len(values) > 1:
            raise InvalidInputError([{"instancePath": f"/{IDEMPOTENCY_KEY}", "message": "must be given once"}])
        if values and not KEY_FORMAT.fullmatch(values[0]):
            raise InvalidInputError(
                [{"instancePath": f"/{IDEMPOTENCY_KEY}", "message": "must be 1 to 128 visible ASCII characters"}]
            )
        return values[0] if values else None

    @property
    def preferences(self) -> Preferences:
        """The preferences of the header `Prefer`."""
        return Preferences.parse(header_values(self.event, PREFER))

    def to_perform(self, operation: Operation) -> "OperationRequest":
        """Return the operation that the caller requests.

        Raises:
            InvalidInputError: The Idempotency-Key or the body is not valid.
        """
        from longshore.domain.models import OperationRequest

        return OperationRequest(
            container_id=self.container_id,
            operation=operation,
            actor=self.user_id,
            request_id=self.id,
            idempotency_key=self.idempotency_key,
            wait=self.preferences.longest_wait,
            stop_at=self.body(stop_at_of) if operation in BEGINNING else UNCHANGED,
        )


class PublicRequest(NamedTuple):
    """A request that takes no token. `event` is the gateway's proxy event."""

    event: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The path below the API's base path, decoded, with a slash at its end if the request has one."""
        prefix, greedy, _ = str(self.event["resource"]).partition("{path+}")
        path = prefix + _path(self.event)["path"] if greedy else prefix
        return f"{path}/" if str(self.event["path"]).endswith("/") and not path.endswith("/") else path

    @property
    def base_path(self) -> str:
        """The API's base path without a slash at its end: the stage, or the base path of a custom domain name.

        Only for a route without path parameters.
        """
        path = str(self.event["requestContext"]["path"]).rstrip("/")
        return path.removesuffix(str(self.event["resource"]).rstrip("/"))


class Answer(NamedTuple):
    """A successful response: the envelope's message, its data as JSON values, the status, and further headers."""

    message: str
    data: dict[str, Any]
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = MappingProxyType({})


class Document(NamedTuple):
    """A response without the envelope: its text, its headers, and its status."""

    text: str
    headers: Mapping[str, str]
    status: HTTPStatus = HTTPStatus.OK


class _Reply(NamedTuple):
    """A response with its error code, or `OK`."""

    code: str
    status: HTTPStatus
    text: str
    headers: Mapping[str, str]


def endpoint(handler: Callable[[Request], Answer]) -> LambdaHandler:
    """Turn a handler into a Lambda function for proxy events of a REST API with the token authorizer.

    The function always answers with the contract's envelope. It fails closed: it rejects an event without the
    authorizer's context, and an event whose token has expired since the gateway cached the authorizer's result.
    """
    return wraps(handler)(_lambda_handler(lambda event, request_id: handler(_request(event, request_id))))


def public_endpoint(handler: Callable[[PublicRequest], Answer | Document]) -> LambdaHandler:
    """Turn a handler into a Lambda function for proxy events of a REST API without an authorizer."""
    return wraps(handler)(_lambda_handler(lambda event, _request_id: handler(PublicRequest(event))))


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """Return all values of a header. Its name is not case-sensitive."""
    headers: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def operation_answer(outcome: "Outcome", preferences: Preferences = NO_PREFERENCES) -> Answer:
    """Return 200 if the operation's effect was observed, and 202 if the operation is pending.

    Args:
        outcome: The outcome of the operation.
        preferences: The caller's preferences that were applied.
    """
    data = outcome.model_dump(mode="json", include={"operation", "container_id", "project_id", "message", "status"})
    if outcome.kind == "completed":
        message, status = "Container operation completed successfully", HTTPStatus.OK
    else:
        message, status = "Container operation accepted", HTTPStatus.ACCEPTED
        data["pending_operation"] = outcome.pending_operation
    headers = preferences.applied(accepted=status is HTTPStatus.ACCEPTED)
    return Answer(message, {"error": False} | data, status, headers)


def unknown_operation() -> InvalidInputError:
    """Return the error for an operation that does not exist. It lists those that exist."""
    return InvalidInputError([{"instancePath": "/operation", "message": f"must be one of: {', '.join(Operation)}"}])


def invalid_schedule_name() -> InvalidInputError:
    """Return the error for a name that a schedule cannot have."""
    return InvalidInputError([{"instancePath": "/name", "message": "must be 1 to 32 characters of a-z, 0-9 and -"}])


def _lambda_handler(answer_to: Callable[[dict[str, Any], str], Answer | Document]) -> LambdaHandler:
    """Return a Lambda function.

    Args:
        answer_to: Takes an event and the id of its request, and returns the answer.
    """

    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        began = time.perf_counter()
        request_id = str(event.get("requestContext", {}).get("requestId") or context.aws_request_id)
        common = {"correlation_id": request_id, "function": context.function_name}
        reply = _reply(answer_to, event, request_id, common)
        code, status = reply.code, reply.status
        fields = {"status": int(status), "code": code, "container_id": _path(event).get("id"), "user_id": _user(event)}
        logger.info("request answered", extra={**common, **fields})
        publish(context.function_name, _metrics(code, status, time.perf_counter() - began))
        return {
            "statusCode": int(status),
            "headers": {**SECURITY_HEADERS, **reply.headers, "X-Request-Id": request_id},
            "body": reply.text,
            "isBase64Encoded": False,
        }

    return lambda_handler


def _reply(
    answer_to: Callable[[dict[str, Any], str], Answer | Document],
    event: dict[str, Any],
    request_id: str,
    common: dict[str, Any],
) -> _Reply:
    """Return the response. Never raises."""
    try:
        answer = answer_to(event, request_id)
        if isinstance(answer, Document):
            return _Reply("OK", answer.status, answer.text, answer.headers)
        body = {"statusCode": int(answer.status), "message": answer.message, "data": answer.data}
        return _Reply("OK", answer.status, _text(body), {**_headers(), **answer.headers})
    except LongshoreError as error:
        if STATUS_CODES[error.code] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.exception("request failed", extra={**common, "code": error.code})
        return _error_reply(error)
    except Exception:
        logger.exception("request failed", extra={**common, "code": ErrorCode.INTERNAL_SERVER_ERROR})
        return _error_reply(InternalError())


def _error_reply(error: LongshoreError) -> _Reply:
    status = STATUS_CODES[error.code]
    body = {"statusCode": int(status), "error": status.phrase, "code": error.code.value, "message": error.message}
    text = _text(body if error.data is None else {**body, "data": error.data})
    later = {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimitedError) else {}
    return _Reply(error.code, status, text, {**_headers(), **later})


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _request(event: Mapping[str, Any], request_id: str) -> Request:
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if not authorizer.get("user_id") or not str(authorizer.get("expires_at", "")).isdecimal():
        raise InvalidTokenError
    if time.time() >= int(authorizer["expires_at"]):
        raise TokenExpiredError
    for name in _IDS:
        if name in _path(event):
            _id_in_path(event, name)
    return Request(event, request_id, authorizer["user_id"])


def _id_in_path(event: Mapping[str, Any], name: str) -> str:
    value = _path(event).get(name) or ""
    if not ID_FORMAT.fullmatch(value):
        raise InvalidIdError
    return value


def _path(event: Mapping[str, Any]) -> Mapping[str, str]:
    return event.get("pathParameters") or {}


def _user(event: Mapping[str, Any]) -> str | None:
    return (event.get("requestContext", {}).get("authorizer") or {}).get("user_id")


def _headers() -> Mapping[str, str]:
    """Return the headers of a response with the envelope."""
    return {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Access-Control-Allow-Origin": os.environ.get("ALLOWED_ORIGIN", ""),
        "Access-Control-Expose-Headers": "X-Request-Id,Retry-After,Preference-Applied",
    }


def _metrics(code: str, status: HTTPStatus, seconds: float) -> dict[Metric, float]:
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
