"""Values that operators give, checked before anything is done with them."""

import os
import re
import time
from collections.abc import Iterable

from admin.errors import AdminError

_ID = re.compile(r"[0-9a-f]{24}")


def new_container_id() -> str:
    """24 hexadecimal characters: the time in seconds, then chance."""
    return f"{int(time.time()):08x}{os.urandom(8).hex()}"


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    if not is_id(value):
        raise AdminError(f"{what[0].upper()}{what[1:]} must be 24 characters of 0-9a-f, not {value!r}.")
    return value


def check_ids(values: Iterable[str], what: str) -> list[str]:
    return [check_id(value, what) for value in dict.fromkeys(values)]


def check_pattern(values: Iterable[str], pattern: str, what: str) -> list[str]:
    found = list(values)
    for value in found:
        if not re.fullmatch(pattern, value):
            raise AdminError(f"{what} must look like {_example(pattern)}, not {value!r}.")
    return found


def _example(pattern: str) -> str:
    return f"{pattern.partition('[')[0]}0a1b2c3d4e5f60718"
