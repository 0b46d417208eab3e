"""How calls become httpx requests and responses answers."""

from collections.abc import Mapping
from importlib.metadata import version

import httpx

from longshore_client._calls import Answer, Call
from longshore_client.errors import TransportError

TIMEOUT = 35.0
"""Seconds in which an answer has to begin: more than the API takes for any."""

_CONNECT_TIMEOUT = 10.0
_API = "/api/v1"
_AGENT = f"longshore-client/{version('longshore-client')}"


def api_url(base_url: str) -> str:
    """The URL that the paths are below, from a base URL with or without `/api/v1` at its end. ValueError."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the base URL is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or url.userinfo:
        raise ValueError("the base URL must be like https://host/stage")
    text = str(url).rstrip("/")
    return text if text.endswith(_API) else text + _API


def timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT))


def checked(value: str, name: str = "token") -> str:
    """The value, when it can be sent in a header. ValueError, which does not show it."""
    if not value or not all("!" <= character <= "~" for character in value):
        raise ValueError(f"the {name} must be visible ASCII characters, without a space or a line break")
    return value


def headers(call: Call, token: str) -> dict[str, str]:
    given = {"Authorization": f"Bearer {checked(token)}", "Accept": "application/json", "User-Agent": _AGENT}
    if call.idempotency_key is not None:
        given["Idempotency-Key"] = checked(call.idempotency_key, "idempotency key")
    return given


def answer(response: httpx.Response) -> Answer:
    found: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, found, response.content)


def lost(call: Call, error: httpx.HTTPError) -> TransportError:
    what = str(error) or type(error).__name__
    failure = TransportError(f"no answer to {call.method} {call.path}: {what}")
    failure.__cause__ = error
    return failure
