"""Values in the JSON of responses. Each function raises KeyError, TypeError or ValueError if a value is malformed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


def text(data: Json, name: str) -> str:
    value = data[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    return value


def text_or_none(data: Json, name: str) -> str | None:
    return None if data.get(name) is None else text(data, name)


def whole(data: Json, name: str) -> int:
    value = data[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is not an integer")
    return value


def whole_or_none(data: Json, name: str) -> int | None:
    return None if data.get(name) is None else whole(data, name)


def boolean(data: Json, name: str) -> bool:
    value = data[name]
    if not isinstance(value, bool):
        raise TypeError(f"{name} is not a boolean")
    return value


def time(data: Json, name: str) -> datetime:
    return time_of(text(data, name))


def time_or_none(data: Json, name: str) -> datetime | None:
    return None if data.get(name) is None else time(data, name)


def time_of(given: str) -> datetime:
    """Parse a time of the API, such as `2025-01-15T10:30:00.000Z`. Raise ValueError if it is malformed."""
    moment = datetime.fromisoformat(given)
    if moment.tzinfo is None:
        raise ValueError(f"{given} has no time zone")
    return moment
