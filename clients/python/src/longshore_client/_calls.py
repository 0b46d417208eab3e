"""Requests and responses without I/O, shared by the sync and the async client.

A plan is a generator. It yields commands (a `Call` to make or a `Pause` to wait), is sent the reply to each command and
returns its result. A driver runs a plan in a loop.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import loads
from typing import Any, TypeVar
from urllib.parse import quote

from longshore_client.errors import (
    BY_CODE,
    GATEWAY_STATUSES,
    ApiError,
    LongshoreError,
    RateLimitedError,
    TransportError,
    UnexpectedAnswerError,
)
from longshore_client.retries import Retries

T = TypeVar("T")


Query = Mapping[str, str | Sequence[str]]
"""Query parameters. A parameter with several values is repeated."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        path: The path, relative to the API's URL.
        body: The JSON body, or None for a request without a body.
        prefer: The value of the header `Prefer`, or None.
        waits: The seconds for which the API may delay its response, in addition to the client's timeout.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    idempotency_key: str | None = None
    body: Mapping[str, Any] | None = None
    prefer: str | None = None
    waits: float = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait between two calls, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Response:
    """The HTTP response to a call. The names of headers are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


Command = Call | Pause
Reply = Response | TransportError | None
"""The reply to a command: a response, an error without a response, or None after a pause."""

Plan = Generator[Command, Reply, T]


@dataclass(frozen=True, slots=True)
class Success:
    """The `data` of a 2xx response."""

    data: Mapping[str, Any]
    request_id: str | None
    status_code: int
    preference_applied: str | None = None

    def parsed(self, build: Callable[[Mapping[str, Any]], T]) -> T:
        """Build a typed result from the data.

        Raises:
            UnexpectedAnswerError: The data does not have the expected form.
        """
        try:
            return build(self.data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswerError(
                f"the response has a form that this client does not know: {error!r}",
                self.status_code,
                self.request_id,
            ) from error


def segment(text: str) -> str:
    """Encode the text as a single path segment, so that no text can change the rest of the path."""
    return quote(text, safe="").replace(".", "%2E")


def send_once(call: Call) -> Plan[Success | LongshoreError]:
    """Make a call once. An error is returned, not raised."""
    reply = yield call
    if isinstance(reply, TransportError):
        return reply
    assert reply is not None
    return read(reply)


def fetch(call: Call, retries: Retries) -> Plan[Success]:
    """Make a call that may safely be repeated, and retry it on transient errors. Raise the last error."""
    attempts = 0
    while True:
        attempts += 1
        outcome = yield from send_once(call)
        if isinstance(outcome, Success):
            return outcome
        pause = retries.delay(attempts, outcome)
        if pause is None:
            raise outcome
        yield Pause(pause)


def read(response: Response) -> Success | LongshoreError:
    """Parse a response into a success or an error."""
    request_id = response.headers.get("x-request-id")
    try:
        body = loads(response.body)
    except ValueError:
        body = None
    if isinstance(body, dict):
        if 200 <= response.status_code < 300 and isinstance(body.get("data"), dict):
            applied = response.headers.get("preference-applied")
            return Success(body["data"], request_id, response.status_code, applied)
        if response.status_code >= 400 and isinstance(body.get("code"), str):
            return _error(response, body, request_id)
    if response.status_code in GATEWAY_STATUSES:
        message = f"HTTP {response.status_code} from a proxy or load balancer: the Longshore API is not available"
    else:
        message = f"HTTP {response.status_code} is not a response of the Longshore API: check the URL"
    return UnexpectedAnswerError(message, response.status_code, request_id)


def _error(response: Response, body: Mapping[str, Any], request_id: str | None) -> ApiError:
    code = body["code"]
    make = BY_CODE.get(code, ApiError)
    error = make(code, response.status_code, str(body.get("message", code)), body.get("data"), request_id)
    if isinstance(error, RateLimitedError):
        error.retry_after = _retry_after(response.headers.get("retry-after"))
    return error


def _retry_after(value: str | None) -> float | None:
    """Return the seconds in a Retry-After header, which contains seconds or an HTTP date."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
