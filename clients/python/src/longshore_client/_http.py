"""Conversion of calls to httpx requests, and of httpx responses and errors to replies."""

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from ipaddress import ip_address

import httpx

from longshore_client._calls import Call, Response
from longshore_client.errors import TransportError

TIMEOUT = 35.0
"""Seconds until the response must begin. Longer than any response of the API takes."""

_CONNECT_TIMEOUT = 10.0
_API = "/api/v1"
_AGENT = f"longshore-client/{version('longshore-client')}"


def api_url(base_url: str, *, allow_http: bool = False) -> str:
    """Return the API's URL.

    Args:
        base_url: The base URL, with or without `/api/v1` at the end.
        allow_http: Whether to accept a URL that sends the token unencrypted to another machine.

    Raises:
        ValueError: The base URL is not a valid HTTP or HTTPS URL, or it is an HTTP URL of another machine.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the base URL is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or url.userinfo:
        raise ValueError("the base URL must have the form https://host/stage")
    if url.scheme == "http" and not allow_http and not is_loopback(url.host):
        raise ValueError(f"http://{url.host} would receive the token unencrypted: use https")
    text = str(url).rstrip("/")
    return text if text.endswith(_API) else text + _API


def base_of(url: str) -> str:
    """Return the base URL of an API's URL, which is without `/api/v1`."""
    return url.removesuffix(_API)


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def timeouts(seconds: float) -> httpx.Timeout:
    """Return httpx timeouts for a request. The connect timeout is at most 10 seconds."""
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT))


def extended(timeout: httpx.Timeout, seconds: float) -> httpx.Timeout:
    """Return the timeouts with a longer time until the response begins."""
    read = None if timeout.read is None else timeout.read + seconds
    return httpx.Timeout(connect=timeout.connect, read=read, write=timeout.write, pool=timeout.pool)


def checked(value: str, name: str = "token") -> str:
    """Return the value if it can be sent in a header.

    Raises:
        ValueError: The value contains other characters. The message does not contain the value.
    """
    if not value or not all("!" <= character <= "~" for character in value):
        raise ValueError(f"the {name} must consist of visible ASCII characters without spaces or line breaks")
    return value


def headers(call: Call, token: str) -> dict[str, str]:
    """Return the request headers of a call. Raise ValueError if the token or the key is invalid."""
    given = {"Authorization": f"Bearer {checked(token)}", "Accept": "application/json", "User-Agent": _AGENT}
    if call.idempotency_key is not None:
        given["Idempotency-Key"] = checked(call.idempotency_key, "idempotency key")
    if call.prefer is not None:
        given["Prefer"] = call.prefer
    return given


def response(received: httpx.Response) -> Response:
    """Convert an httpx response."""
    found: Mapping[str, str] = {name.lower(): value for name, value in received.headers.items()}
    return Response(received.status_code, found, received.content)


def lost(call: Call, url: str, error: httpx.HTTPError) -> TransportError:
    """Convert an httpx error, after which no response was received. `url` is the API's URL."""
    reason = str(error) or type(error).__name__
    failure = TransportError(f"no response to {call.method} {url}{call.path}: {reason}")
    failure.__cause__ = error
    return failure
