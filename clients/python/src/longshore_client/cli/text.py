"""Text of the output: escaped values, JSON, times and durations.

Names and metadata are written by other users. Characters that are not printable, such as control characters and
bidirectional controls, could change what a terminal shows. They are printed as escape sequences.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

NOTHING = "-"
"""An empty field."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def escaped(text: str) -> str:
    """Replace characters that are not printable with escape sequences, such as `\\x1b` and `\\u202e`."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Return the data as JSON in which characters that are not printable are escaped."""
    # They can only occur within strings, apart from the line breaks of the indentation.
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]
        for character in json.dumps(data, ensure_ascii=False, indent=indent)
    )


def moment_text(moment: datetime) -> str:
    """Format a time as the API does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def labels_text(labels: Mapping[str, str]) -> str:
    """Format labels as `key:value`, separated by commas."""
    return ",".join(f"{key}:{value}" for key, value in sorted(labels.items())) or NOTHING


def parse_time(text: str, now: datetime) -> datetime:
    """Parse an RFC 3339 time with an offset, or a time before now, such as `90s`, `30m`, `2h`, `7d` or `1w`.

    Raises:
        ValueError: The text has another form. The message describes the forms.
    """
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be a time with an offset, such as 2026-03-02T09:00:00Z, or a time ago, such as 2h or 7d")
    return moment


def parse_duration(text: str) -> timedelta:
    """Parse a duration, such as `90s`, `30m`, `2h`, `3d` or `1w`.

    Raises:
        ValueError: The text has another form. The message describes the forms.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})([smhdw])", text)
    if found is None:
        raise ValueError("must be a duration, such as 90s, 30m, 2h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def duration_text(duration: timedelta) -> str:
    """Format a duration with at most two units, such as `40 s`, `2 min 4 s`, `1 h 40 min` and `3 d 4 h`."""
    seconds = max(0, int(duration.total_seconds()))
    for unit, name, next_unit, next_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit:
            rest = seconds % unit // next_unit
            return f"{seconds // unit} {name}" + (f" {rest} {next_name}" if rest else "")
    return f"{seconds} s"


def parse_label(text: str) -> tuple[str, str | None]:
    """Split `key:value` or `key=value` into key and value, and return `key` with the value None."""
    # A key contains neither of the characters.
    key, *value = re.split("[:=]", text, maxsplit=1)
    return key, value[0] if value else None
