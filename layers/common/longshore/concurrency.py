"""Requests that do not depend on each other, at the same time."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def together(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call both at once and return both results. What either raises is raised here, the first's before the second's.

    The second runs in a thread of its own. boto3's clients may be shared by threads.
    """
    results: list[Any] = [None, None]

    def run() -> None:
        try:
            results[0] = second()
        except BaseException as error:  # raised again by the caller's thread
            results[1] = error

    thread = threading.Thread(target=run, name="together")
    thread.start()
    try:
        one = first()
    finally:
        thread.join()
    if results[1] is not None:
        raise results[1]
    return one, results[0]
