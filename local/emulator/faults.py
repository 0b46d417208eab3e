"""Faults to order at the HTTP edge, and the record of the calls that reached it."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DROP = "drop"
"""The `error` that closes the connection without an answer."""


class Call(NamedTuple):
    """One request: the signing name of the service, the operation and its parameters as sent."""

    service: str
    operation: str
    parameters: dict[str, Any]


class Calls:
    """The requests so far, in order of arrival; those that a fault answered are among them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def record(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def list(self, service: str | None = None, operation: str | None = None) -> list[Call]:
        """A copy of the calls, of one service and operation when given."""
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
    """What `Faults.add` ordered. `remaining` counts down; None means for ever. `seen` counts the uses."""

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
    """The faults on order. The first that fits a call is used up by it."""

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
        """Order a fault for the next `times` calls (None: for every call until `clear`).

        service, operation: None fits all.
        error: the error's code, "drop" to close the connection without an answer, or None for a mere delay.
        after_effect: perform the call, then answer with the error: a lost reply.
        delay: seconds to wait; before the call, or with after_effect between its effect and the answer.
        match: takes the parameters and says whether the fault is for this call. `extra` joins the body.
        probability: how likely a call that fits meets the fault, the same sequence of chances in every run.
        """
        body = dict(extra or {})
        fault = Fault(service, operation, error, status, message, times, after_effect, delay, body, match, probability)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, call: Call) -> Fault | None:
        """The fault for this call, one use of it spent."""
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
