"""What goes in and out: requests and responses, as on the wire, and how their parts are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote


@dataclass(frozen=True)
class Request:
    """One HTTP request. `raw_path` and `raw_query` are as on the wire, percent-encoded, bytes read as Latin-1."""

    method: str
    raw_path: str
    raw_query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"

    def header(self, name: str) -> str:
        """The last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


@dataclass(frozen=True)
class Response:
    """One HTTP response. `context` holds the `$context` variables that are known at its end, for access logs."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    context: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


def segments(raw_path: str) -> list[str]:
    """The decoded segments of a path.

    It is split before it is decoded, so that an encoded slash stays inside its segment; what is not UTF-8 is
    replaced. One slash at the end is ignored (by observation).
    """
    path = raw_path.removeprefix("/")
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    return [_decode(segment) for segment in path.split("/")]


def _decode(text: str) -> str:
    """Percent-decode what came over the wire as Latin-1, and read it as UTF-8."""
    # unquote() decodes escapes alone, and would leave raw bytes beside them as Latin-1.
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in text)
    return unquote(encoded, "utf-8", "replace")


def query_pairs(raw_query: str) -> list[tuple[str, str]]:
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in raw_query)
    return parse_qsl(encoded, keep_blank_values=True, encoding="utf-8", errors="replace")


def single_and_multi(
    pairs: Sequence[tuple[str, str]], *, ignore_case: bool
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Last values and all values by name, under a name's first spelling."""
    spelling: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    for name, value in pairs:
        key = spelling.setdefault(name.lower() if ignore_case else name, name)
        multi.setdefault(key, []).append(value)
    return {name: values[-1] for name, values in multi.items()}, multi
