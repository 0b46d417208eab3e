"""An emulation of Lambda's asynchronous invocations: a queue, retries after errors, and dead letters.

Unlike on AWS, retries follow after seconds rather than minutes, and the dead-letter queue is a list.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local.concurrency import ThrottledError
from local.runtime import FunctionError, FunctionTimeoutError

LOG = logging.getLogger("local.invocations")

# Lambda waits one minute before the first retry, and two before the second.
RETRY_DELAYS = (0.5, 1.0)
# Lambda's default for functions without an EventInvokeConfig.
_RETRIES = 2
_WORKERS = 16
# The maximum time that `stop()` waits for running functions, in seconds.
_GRACE_SECONDS = 10.0


class Invoke(Protocol):
    """Invokes a function by logical id, like `Runtime.invoke`."""

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any: ...


@dataclass(frozen=True)
class DeadLetter:
    """An event that its function (by logical id) failed to process, the number of attempts, and the last error."""

    function: str
    event: Any
    attempts: int
    error_type: str
    message: str


@dataclass(frozen=True)
class _Delivery:
    function: str
    event: Any
    request_id: str
    attempts: int = 0


class Invocations:
    """Lambda's queue of asynchronous invocations, and the threads that process it."""

    def __init__(
        self,
        invoke: Invoke,
        retries: Mapping[str, int] | None = None,
        delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        """Create the queue.

        Args:
            invoke: Invokes a function.
            retries: MaximumRetryAttempts by function.
            delays: Seconds before each retry.
        """
        self._invoke = invoke
        self._retries = dict(retries or {})
        self._delays = delays
        # (due time, sequence number, delivery)
        self._waiting: list[tuple[float, int, _Delivery]] = []
        self._entries = itertools.count()
        self._running = 0
        self._stopping = True
        lock = threading.Lock()
        self._something_to_do = threading.Condition(lock)
        self._idle = threading.Condition(lock)
        self._threads: list[threading.Thread] = []
        self.dead_letters: list[DeadLetter] = []

    def start(self) -> None:
        """Start to process the queue. Events that are sent before `start` or after `stop` are lost."""
        self._stopping = False
        # Daemon threads, so that a function that hangs does not keep the process alive.
        self._threads = [
            threading.Thread(target=self._work, name=f"local-events-{number}", daemon=True)
            for number in range(_WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Start no more invocations, and wait for running functions. Waiting events are lost."""
        with self._something_to_do:
            self._stopping = True
            self._waiting.clear()
            self._something_to_do.notify_all()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            LOG.warning("An asynchronously invoked function is still running")
        self._threads = []

    def send(self, function: str, event: Any) -> None:
        """Add an invocation of a function, by logical id, to the queue."""
        self._enter(_Delivery(function, event, str(uuid.uuid4())), 0.0)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no invocation, including retries, is waiting or running. Returns False after the timeout."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._waiting and not self._running, seconds)

    def _enter(self, delivery: _Delivery, delay: float) -> None:
        with self._something_to_do:
            if not self._stopping:
                heapq.heappush(self._waiting, (time.monotonic() + delay, next(self._entries), delivery))
                self._something_to_do.notify()

    def _work(self) -> None:
        while (delivery := self._take()) is not None:
            try:
                self._deliver(delivery)
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

    def _take(self) -> _Delivery | None:
        """Wait for the next delivery that is due. Returns None when the queue stops."""
        with self._something_to_do:
            while not self._stopping:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    self._running += 1
                    taken = heapq.heappop(self._waiting)[2]
                    # Another thread waits for the next delivery.
                    self._something_to_do.notify()
                    return taken
                self._something_to_do.wait(self._waiting[0][0] - now if self._waiting else None)
        return None

    def _deliver(self, delivery: _Delivery) -> None:
        attempts = delivery.attempts + 1
        try:
            self._invoke(delivery.function, delivery.event, request_id=delivery.request_id)
        except ThrottledError:
            # Lambda keeps the event for up to six hours. It does not count as an attempt.
            self._enter(delivery, self._delays[0])
            return
        except FunctionError as error:
            error_type, message = error.error_type, error.message
        except FunctionTimeoutError:
            error_type, message = "Sandbox.Timedout", "The function did not respond in time"
        except Exception as error:  # any error: the thread must continue with other deliveries
            LOG.exception("Invocation of %s failed", delivery.function)
            error_type, message = type(error).__name__, str(error)
        else:
            return
        if delivery.attempts < self._retries.get(delivery.function, _RETRIES):
            delay = self._delays[min(delivery.attempts, len(self._delays) - 1)]
            again = _Delivery(delivery.function, delivery.event, delivery.request_id, attempts)
            self._enter(again, delay)
            return
        LOG.error("dead letter: %s failed %d times, last with %s", delivery.function, attempts, error_type)
        self.dead_letters.append(DeadLetter(delivery.function, delivery.event, attempts, error_type, message))
