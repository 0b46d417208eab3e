"""Two calls at once: who makes them, in which order, and what their errors become."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from longshore import concurrency
from longshore.concurrency import before_waiting, together

PATIENCE = 30


@pytest.fixture(autouse=True)
def _helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(concurrency, "_helpers", concurrency._Helpers())
    yield
    assert concurrency._helpers._open == 0
    assert concurrency._own.calls == []


def thread() -> int:
    return threading.get_ident()


def waiting_for(event: threading.Event) -> Callable[[], int]:
    """A call that waits, as for an answer, until the event is set by another call."""

    def call() -> int:
        before_waiting()
        assert event.wait(PATIENCE)
        return thread()

    return call


def setting(event: threading.Event) -> Callable[[], int]:
    def call() -> int:
        event.set()
        return thread()

    return call


def raising(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_the_second_is_made_while_the_first_waits() -> None:
    event = threading.Event()
    first, second = together(waiting_for(event), setting(event))
    assert first == thread() != second


def test_without_a_wait_one_is_made_after_the_other() -> None:
    made: list[str] = []
    assert together(lambda: made.append("first"), lambda: made.append("second")) == (None, None)
    assert made == ["first", "second"]
    assert together(thread, thread) == (thread(), thread())
    assert concurrency._helpers._threads == 0


def test_threads_are_kept() -> None:
    seen = set()
    for _ in range(50):
        event = threading.Event()
        seen.add(together(waiting_for(event), setting(event))[1])
    assert len(seen) == 1


def test_a_call_within_a_call() -> None:
    """All three at once: each waits for the other two."""
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def meet() -> int:
        before_waiting()
        barrier.wait()
        return thread()

    (one, two), three = together(lambda: together(meet, meet), meet)
    assert len({one, two, three}) == 3


def test_many_handlers_at_once() -> None:
    """No call of one waits for another's end: all of them are under way at the same time."""
    handlers = 12
    barrier = threading.Barrier(2 * handlers, timeout=PATIENCE)
    results: list[tuple[str, str]] = []

    def meet(name: str) -> str:
        before_waiting()
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
    assert concurrency._helpers._threads == handlers


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_of_either_is_raised_here(waits: bool) -> None:
    def fine() -> int:
        if waits:
            before_waiting()
        return 1

    with pytest.raises(KeyError, match="second"):
        together(fine, raising(KeyError("second")))
    with pytest.raises(KeyError, match="first"):
        together(raising(KeyError("first")), raising(KeyError("second")))
    with pytest.raises(KeyboardInterrupt):
        together(fine, raising(KeyboardInterrupt()))


def test_after_an_error_of_the_first_the_second_has_ended_or_is_not_made() -> None:
    begun, going_on, ended = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        begun.set()
        assert going_on.wait(PATIENCE)
        ended.set()

    def first() -> None:
        before_waiting()
        assert begun.wait(PATIENCE)
        threading.Timer(0.05, going_on.set).start()
        raise KeyError("first")

    with pytest.raises(KeyError):
        together(first, second)
    assert ended.is_set()
    made: list[int] = []
    with pytest.raises(KeyError):
        together(raising(KeyError("first")), lambda: made.append(1))
    assert made == []


def test_a_call_is_made_once() -> None:
    """Also when the helper and the one who wants its result come at the same time."""
    for _ in range(500):
        made: list[int] = []

        def first() -> None:
            before_waiting()

        together(first, lambda: made.append(1))  # noqa: B023  (called before the next turn)
        assert made == [1]
