"""Runs independent requests at the same time."""

from collections.abc import Callable, Iterable
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


def each(function: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Call the function with all items, up to 32 at the same time, and return the results in the order of the items.

    `function` runs on other threads. It must not call `together` or `each` itself.

    Raises:
        BaseException: The first error, in the order of the items. No call is running any more then.
    """
    calls = [_executor.submit(function, item) for item in items]
    try:
        return [call.result() for call in calls]
    except BaseException:
        for call in calls:
            call.cancel()
        wait(calls)
        raise
