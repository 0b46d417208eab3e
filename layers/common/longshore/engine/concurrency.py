"""Runs two independent requests at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

# One function handles one request at a time. The local stack handles several in one process.
_executor = ThreadPoolExecutor(max_workers=32, thread_name_prefix="together")


def together(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call both functions at the same time and return both results.

    `second` runs on another thread; clients of botocore may be shared by threads. It must not call `together` itself.

    Raises:
        BaseException: Whatever `first` raises, else whatever `second` raises. Neither is running any more then.
    """
    other = _executor.submit(second)
    try:
        result = first()
    except BaseException:
        other.cancel()
        wait([other])
        raise
    return result, other.result()
