"""The check of the Host header, which protects servers on this machine from DNS rebinding.

A web page can let its own domain name resolve to 127.0.0.1. The browser then treats a local server as the page's own
server, but the Host header still contains the page's domain name.
"""

from __future__ import annotations

import re
from collections.abc import Collection

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of this machine's loopback addresses in URLs."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:]+)(?::(\d+))?")


def is_allowed(header: str, names: Collection[str], port: int | None = None) -> bool:
    """Return whether a Host header contains one of the names.

    Args:
        header: The value of the header.
        names: The allowed names and addresses; IPv6 addresses are in brackets.
        port: The required port; None allows any port, so that a port can be forwarded.
    """
    match = _HOST.fullmatch(header.lower())
    return match is not None and match[1] in names and (port is None or match[2] == str(port))
