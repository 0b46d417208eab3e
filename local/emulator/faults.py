"""Injected faults, and the record of the calls that the emulator received."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DROP = "drop"
"""The `error` that closes the connection without a response."""


class Call(NamedTuple):
    """One request: the signing name of the service, the operation and its parameters as sent."""

    service: str
    operation: str
    parameters: dict[str, Any]


class Calls:
    """The received requests, in order of arrival, including those that a fault answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def record(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def list(self, service: str | None = None, operation: str | None = None) -> list[Call]:
        """Return a copy of the calls, optionally of one service and operation."""
        with self._lock:
            return [
                call for call in self._calls if service in (None, call.service) and operation in (None, call.operation)
            ]

    def count(self, service: str | None = None, operation: str | None = None) -> int:
        return len(self.list(service, operation))

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Call]:
        return iter(self.list())


@dataclass
class Fault:
    """An injected fault. `remaining` is the number of uses left (None: unlimited); `seen` counts uses."""

    service: str | None
    operation: str | None
    error: str | None
    status: int
    message: str
    remaining: int | None
    after_effect: bool
    delay: float
    extra: dict[str, Any]
    match: Callable[[dict[str, Any]], bool] | None = field(repr=False, default=None)
    probability: float = 1.0
    seen: int = 0

    def fits(self, call: Call) -> bool:
        return (
            self.remaining != 0
            and self.service in (None, call.service)
            and self.operation in (None, call.operation)
            and (self.match is None or self.match(call.parameters))
        )


class Faults:
    """The injected faults. A call uses the first fault that matches it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._chance = random.Random(0)

    def add(
        self,
        service: str | None = None,
        operation: str | None = None,
        error: str | None = None,
        status: int = 500,
        times: int | None = 1,
        after_effect: bool = False,
        delay: float = 0.0,
        message: str = "An injected fault.",
        match: Callable[[dict[str, Any]], bool] | None = None,
        extra: dict[str, Any] | None = None,
        probability: float = 1.0,
    ) -> Fault:
        """Inject a fault into the next `times` matching calls (None: every matching call until `clear`).

        service, operation: None matches all.
        error: the error code, "drop" to close the connection without a response, or None to only delay the call.
        after_effect: perform the call before returning the error, as if the reply was lost.
        delay: seconds to wait before the call; with after_effect, between the call and the response.
        match: takes the parameters, and returns whether the fault applies to the call. `extra` is added to the body.
        probability: the probability that a matching call gets the fault; the sequence is the same in every run.
        """
        body = dict(extra or {})
        fault = Fault(service, operation, error, status, message, times, after_effect, delay, body, match, probability)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, call: Call) -> Fault | None:
        """Return the fault for a call, and count its use."""
        with self._lock:
            for fault in self._faults:
                if fault.fits(call) and (fault.probability >= 1 or self._chance.random() < fault.probability):
                    fault.seen += 1
                    if fault.remaining is not None:
                        fault.remaining -= 1
                    return fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._chance.seed(0)
