"""Validation of the values that operators specify."""

import os
import re
import time
from collections.abc import Iterable

from longshore.domain.changes import LONGEST_NAME

from admin.errors import AdminError

_ID = re.compile(r"[0-9a-f]{24}")


def new_container_id() -> str:
    """Return 24 hexadecimal characters: the time in seconds, followed by random digits."""
    return f"{int(time.time()):08x}{os.urandom(8).hex()}"


def is_id(value: str) -> bool:
    """Return whether the value is a valid id: 24 characters of 0-9a-f."""
    return _ID.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    """Return the value if it is a valid id.

    Args:
        value: The id to check.
        what: The name of the value in the error message, such as "the project".

    Raises:
        AdminError: The value is not a valid id.
    """
    if not is_id(value):
        raise AdminError(f"{what[0].upper()}{what[1:]} must be 24 characters of 0-9a-f, not {value!r}.")
    return value


def check_ids(values: Iterable[str], what: str) -> list[str]:
    """Return the distinct values if all are valid ids. See `check_id`."""
    return [check_id(value, what) for value in dict.fromkeys(values)]


def check_name(name: str) -> str:
    """Return the name if the API accepts it as the name of a container or project.

    Raises:
        AdminError: The name is empty, too long, or has characters that cannot be printed.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise AdminError(f"The name must have 1 to {LONGEST_NAME} printable characters.")
    return name


def check_pattern(values: Iterable[str], pattern: str, what: str) -> list[str]:
    """Return the values if all match the regular expression.

    Args:
        values: The values to check.
        pattern: A prefix that is followed by a character class, such as `i-[0-9a-f]{8,17}`.
        what: The name of the value in the error message, such as "A subnet".

    Raises:
        AdminError: A value does not match.
    """
    found = list(values)
    for value in found:
        if not re.fullmatch(pattern, value):
            raise AdminError(f"{what} must look like {_example(pattern)}, not {value!r}.")
    return found


def _example(pattern: str) -> str:
    return f"{pattern.partition('[')[0]}0a1b2c3d4e5f60718"
