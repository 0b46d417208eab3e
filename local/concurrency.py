"""An emulation of Lambda's concurrency: the quota of the account, and the reserved concurrency of functions.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html

A function with reserved concurrency has its own executions. All others share those that no function reserves, of which
Lambda keeps at least 100.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from local.template import Function

ACCOUNT_QUOTA = 1000
"""Lambda's default quota of concurrent executions per account and region."""

_NEVER_RESERVED = 100
_SHARED = ""  # the name of the pool of functions without reserved concurrency


class ThrottledError(Exception):
    """Lambda rejects the invocation, because there is no execution left: TooManyRequestsException."""


class Concurrency:
    """The executions of an account."""

    def __init__(self, functions: Iterable[Function], quota: int = ACCOUNT_QUOTA) -> None:
        """Raise ValueError if the functions reserve more than the quota permits."""
        self._limits = {each.logical_id: each.reserved for each in functions if each.reserved is not None}
        reserved = sum(self._limits.values())
        if reserved and quota - reserved < _NEVER_RESERVED:
            raise ValueError(f"a quota of {quota} does not permit to reserve {reserved} executions")
        self._limits[_SHARED] = quota - reserved
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, function: str) -> None:
        """Occupy an execution of a function, by logical id. Raises ThrottledError."""
        pool = self._pool(function)
        with self._lock:
            if self._running[pool] >= self._limits[pool]:
                raise ThrottledError(function)
            self._running[pool] += 1

    def end(self, function: str) -> None:
        """Release an execution of a function."""
        with self._lock:
            self._running[self._pool(function)] -= 1

    def _pool(self, function: str) -> str:
        return function if function in self._limits else _SHARED
