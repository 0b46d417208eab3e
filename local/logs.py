"""The log of `make up`. Text from outside, such as the path of a request, cannot control the terminal."""

from __future__ import annotations

import io
import logging
import sys
from types import TracebackType


class EscapingFormatter(logging.Formatter):
    """Escapes control, bidirectional and other unprintable characters. Only the lines of a traceback are separated."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, the name of logging
        return _escaped(super().formatMessage(record))

    def formatException(  # noqa: N802, the name of logging
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(map(_escaped, super().formatException(ei).split("\n")))


def configure() -> None:
    """Send the log to stderr, and escape characters outside of ASCII in everything that the functions print."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EscapingFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("local").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The functions log JSON. It escapes the control characters of ASCII, but no others.
            stream.reconfigure(encoding="ascii", errors="backslashreplace")


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
