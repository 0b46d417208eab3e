"""Requests that do not depend on each other, at the same time.

    together   begins the first -- sends it, waits ---------------- has both
    a helper                          begins the second -- waits --

A thread is woken for the second only when the first has been made ready and begins to wait: until then it would get in
the first one's way, on the fraction of a processor that there is.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread, local
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def together(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call both at once and return both results. What either raises is raised here, the first's before the second's.

    A helping thread makes the second call while the first waits; if it never tells that it does (`before_waiting`), one
    is made after the other. After an error of the first, the second may not be made at all. botocore's clients may be
    shared by threads.
    """
    call = _Call(second)
    _own.calls.append(call)
    try:
        one = first()
    except BaseException:
        _withdraw(call)
        call.drop()
        raise
    _withdraw(call)
    return one, call.result()


def before_waiting(**_: object) -> None:
    """This thread is about to wait for an answer: helpers take the calls that it has to make besides."""
    calls = _own.calls
    while calls:
        _helpers.ask(calls.pop())


class _Own(local):
    """The calls that a thread has not begun yet, the innermost last."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []


def _withdraw(call: "_Call") -> None:
    """Have no helper take the call from now on."""
    calls = _own.calls
    if calls and calls[-1] is call:
        calls.pop()
    else:
        _helpers.release()


class _Call:
    """A call that is made by whoever comes first: a helper, or the one who wants its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._unclaimed = [function]
        self._ended = Lock()
        self._ended.acquire()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call, unless somebody does already."""
        function = self._claim()
        if function is None:
            return
        try:
            self._result = function()
        except BaseException as error:  # raised again by the one who wants the result
            self._error = error
        self._ended.release()

    def result(self) -> Any:
        function = self._claim()
        if function is not None:
            return function()
        self._ended.acquire()
        if self._error is not None:
            raise self._error
        return self._result

    def drop(self) -> None:
        """Nobody wants the result: on return the call has ended, or will never be made."""
        if self._claim() is None:
            self._ended.acquire()

    def _claim(self) -> Callable[[], Any] | None:
        try:
            return self._unclaimed.pop()  # only one thread gets it
        except IndexError:
            return None


class _Helpers:
    """Threads that wait for calls to make. They are kept: to make one takes longer than all the rest of a warm request.

    There are as many as were ever asked for at the same time, be it by many handlers or for a call within a call: no
    call waits for another's end.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._lock = Lock()
        self._open = 0
        self._threads = 0

    def ask(self, call: _Call) -> None:
        with self._lock:
            self._open += 1
            more = self._open > self._threads
            self._threads += more
        if more:
            Thread(target=self._serve, name="together", daemon=True).start()
        self._calls.put(call)

    def release(self) -> None:
        with self._lock:
            self._open -= 1

    def _serve(self) -> None:
        while True:
            self._calls.get().run()


_own = _Own()
_helpers = _Helpers()
