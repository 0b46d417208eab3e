"""Requests that do not depend on each other, at the same time."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def together(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call both at once and return both results. What either raises is raised here, the first's before the second's.

    A helping thread calls the second while the first waits for its answer. Where the first has no wait in it, the
    second has not begun when it returns, and this thread calls that too: handing it over would take longer. botocore's
    clients may be shared by threads. After an error of the first, the second may not be called at all.
    """
    call = _Call(second)
    _helper().take(call)
    try:
        one = first()
    except BaseException:
        call.drop()
        raise
    return one, call.result()


class _Call:
    """A call that whoever comes first makes: a helper, or the one who wants its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = [function]
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
            return self._function.pop()  # one thread's only
        except IndexError:
            return None


class _Helper:
    """A thread that makes calls for others, and waits in between."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        Thread(target=self._serve, name="together", daemon=True).start()

    def take(self, call: _Call) -> None:
        self._calls.put(call)

    def _serve(self) -> None:
        while True:
            self._calls.get().run()
            _idle.append(self)


_idle: list[_Helper] = []
"""Those who wait. Handlers may run in many threads of one process, and calls in calls: as many are made as it takes."""


def _helper() -> _Helper:
    try:
        return _idle.pop()
    except IndexError:
        return _Helper()
