"""The formatter of the local stack's log: text from outside cannot control the terminal."""

import logging
import sys

import pytest

from local.logs import EscapingFormatter


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("GET /containers 200", "GET /containers 200"),
        ("Müller", "Müller"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nforged line\t\x00\x7f", r"a\r\nforged line\t\x00\x7f"),
        ("\u202egpj.exe\u2066\u200b\u2028", r"\u202egpj.exe\u2066\u200b\u2028"),
        ("\U000e0001", r"\U000e0001"),
        ("\ud800", r"\ud800"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, escaped: str) -> None:
    record = logging.LogRecord("local", logging.INFO, __file__, 1, "%s", (text,), None)
    assert EscapingFormatter("%(message)s").format(record) == escaped


def test_a_traceback_keeps_its_lines() -> None:
    def fail() -> None:
        raise ValueError("\x1b[2J\u202eevil")

    try:
        fail()
    except ValueError:
        record = logging.LogRecord("local", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    first, *_, last = EscapingFormatter("%(message)s").format(record).split("\n")
    assert (first, last) == ("failed", r"ValueError: \x1b[2J\u202eevil")
