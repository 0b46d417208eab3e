"""Runs independent requests at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

# One function handles one request at a time. The local stack handles several in one process.
_executor = ThreadPoolExecutor(max_workers=32, thread_name_prefix="together")


@overload
def together(first: Callable[[], A], second: Callable[[], B], /) -> tuple[A, B]: ...
@overload
def together(first: Callable[[], A], second: Callable[[], B], third: Callable[[], C], /) -> tuple[A, B, C]: ...
@overload
def together(*calls: Callable[[], A]) -> tuple[A, ...]: ...
def together(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Call all functions at the same time and return their results in order.

    All calls but the first run on other threads; clients of botocore may be shared by threads. They must not call
    `together` themselves.

    Raises:
        BaseException: What the first call that failed, in the order of the arguments, raises. None is running any more
            then.
    """
    if not calls:
        return ()
    others = [_executor.submit(call) for call in calls[1:]]
    try:
        return (calls[0](), *(other.result() for other in others))
    except BaseException:
        for other in others:
            other.cancel()
        wait(others)
        raise
