"""HTTP requests and responses, and the parsing of paths and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote


@dataclass(frozen=True)
class Request:
    """An HTTP request. `raw_path` and `raw_query` are percent-encoded, with bytes decoded as Latin-1."""

    method: str
    raw_path: str
    raw_query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"

    def header(self, name: str) -> str:
        """Return the last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


@dataclass(frozen=True)
class Response:
    """An HTTP response. `context` contains the `$context` variables at the end of the request, for access logs."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    context: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return the last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


def segments(raw_path: str) -> list[str]:
    """Return the decoded segments of a path.

    The path is split before it is decoded, so that an encoded slash stays inside its segment. Invalid UTF-8 is
    replaced. One trailing slash is ignored (by observation).
    """
    path = raw_path.removeprefix("/")
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    return [_decode(segment) for segment in path.split("/")]


def _decode(text: str) -> str:
    """Percent-decode text whose bytes were decoded as Latin-1, and decode it as UTF-8."""
    # unquote() would leave unescaped bytes as Latin-1.
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in text)
    return unquote(encoded, "utf-8", "replace")


def query_pairs(raw_query: str) -> list[tuple[str, str]]:
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in raw_query)
    return parse_qsl(encoded, keep_blank_values=True, encoding="utf-8", errors="replace")


def single_and_multi(
    pairs: Sequence[tuple[str, str]], *, ignore_case: bool
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the last value and all values of each name, in the first spelling of the name."""
    spelling: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    for name, value in pairs:
        key = spelling.setdefault(name.lower() if ignore_case else name, name)
        multi.setdefault(key, []).append(value)
    return {name: values[-1] for name, values in multi.items()}, multi
