"""Tests of two concurrent calls: their threads, results and errors."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from longshore.engine.concurrency import together

PATIENCE = 30


def raising(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_both_calls_run_at_the_same_time() -> None:
    barrier = threading.Barrier(2, timeout=PATIENCE)

    def meet() -> int:
        barrier.wait()
        return threading.get_ident()

    first, second = together(meet, meet)
    assert first == threading.get_ident() != second


def test_many_requests_at_the_same_time() -> None:
    handlers = 12
    barrier = threading.Barrier(2 * handlers, timeout=PATIENCE)
    results: list[tuple[str, str]] = []

    def meet(name: str) -> str:
        barrier.wait()
        return name

    def handle(number: int) -> None:
        results.append(together(lambda: meet(f"first {number}"), lambda: meet(f"second {number}")))

    threads = [threading.Thread(target=handle, args=(number,)) for number in range(handlers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    assert sorted(results) == sorted((f"first {number}", f"second {number}") for number in range(handlers))


def test_an_error_of_either_call_is_raised() -> None:
    with pytest.raises(KeyError, match="second"):
        together(lambda: 1, raising(KeyError("second")))
    with pytest.raises(KeyError, match="first"):
        together(raising(KeyError("first")), raising(KeyError("second")))
    with pytest.raises(KeyboardInterrupt):
        together(lambda: 1, raising(KeyboardInterrupt()))


def test_an_error_of_the_first_call_waits_for_the_second() -> None:
    started, released, ended = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        started.set()
        assert released.wait(PATIENCE)
        ended.set()

    def first() -> None:
        assert started.wait(PATIENCE)
        threading.Timer(0.05, released.set).start()
        raise KeyError("first")

    with pytest.raises(KeyError):
        together(first, second)
    assert ended.is_set()
