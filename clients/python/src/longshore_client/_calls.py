"""Requests as data, and answers read: what the sync and the async client share. No I/O.

A plan is a generator: it yields what is to be done (a `Call` to make, a `Pause` to take), is sent what came of it, and
returns its result. A driver needs no more than a loop.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import loads
from typing import Any, TypeVar
from urllib.parse import quote

from longshore_client.errors import (
    BY_CODE,
    ApiError,
    LongshoreError,
    RateLimitedError,
    TransportError,
    UnexpectedAnswerError,
)
from longshore_client.retries import Retries

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, its path below the base URL."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """So many seconds in which nothing is done."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a call. Names of headers are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


Command = Call | Pause
Reply = Answer | TransportError | None
"""What came of a command: an answer, no answer, or nothing after a pause."""

Plan = Generator[Command, Reply, T]


@dataclass(frozen=True, slots=True)
class Success:
    """A 2xx answer's `data`."""

    data: Mapping[str, Any]
    request_id: str | None
    status_code: int

    def parsed(self, build: Callable[[Mapping[str, Any]], T]) -> T:
        """Build a typed answer from the data. UnexpectedAnswerError."""
        try:
            return build(self.data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswerError(
                f"the answer has another form than this client knows: {error!r}",
                self.status_code,
                self.request_id,
            ) from error


def segment(text: str) -> str:
    """One segment of a path, whatever the text: nothing in it can lead to another path."""
    return quote(text, safe="").replace(".", "%2E")


def send_once(call: Call) -> Plan[Success | LongshoreError]:
    """Make a call. An error is returned, not raised, for the caller to decide on."""
    reply = yield call
    if isinstance(reply, TransportError):
        return reply
    assert reply is not None
    return read(reply)


def fetch(call: Call, retries: Retries) -> Plan[Success]:
    """Make a call that changes nothing, again while there is hope. Raises the last error."""
    tries = 0
    while True:
        tries += 1
        outcome = yield from send_once(call)
        if isinstance(outcome, Success):
            return outcome
        pause = retries.delay(tries, outcome)
        if pause is None:
            raise outcome
        yield Pause(pause)


def read(answer: Answer) -> Success | LongshoreError:
    """The answer as what it says."""
    request_id = answer.headers.get("x-request-id")
    try:
        body = loads(answer.body)
    except ValueError:
        body = None
    if isinstance(body, dict):
        if 200 <= answer.status_code < 300 and isinstance(body.get("data"), dict):
            return Success(body["data"], request_id, answer.status_code)
        if answer.status_code >= 400 and isinstance(body.get("code"), str):
            return _error(answer, body, request_id)
    return UnexpectedAnswerError(
        f"HTTP {answer.status_code} that is not an answer of Longshore's API: is the URL right?",
        answer.status_code,
        request_id,
    )


def _error(answer: Answer, body: Mapping[str, Any], request_id: str | None) -> ApiError:
    code = body["code"]
    make = BY_CODE.get(code, ApiError)
    error = make(code, answer.status_code, str(body.get("message", code)), body.get("data"), request_id)
    if isinstance(error, RateLimitedError):
        error.retry_after = _retry_after(answer.headers.get("retry-after"))
    return error


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either of the header's two forms: seconds, or a date."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
