"""Throttling of a stage and its methods."""

from __future__ import annotations

import threading
from collections.abc import Callable

from local.gateway.errors import RefusedError
from local.template import Api


class Throttle:
    """The throttling limits of an API. `clock` returns seconds."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        for setting in api.method_settings:
            if "ThrottlingRateLimit" not in setting and "ThrottlingBurstLimit" not in setting:
                continue
            path = str(setting["ResourcePath"]).replace("~1", "/")
            rate = float(setting.get("ThrottlingRateLimit", 10_000))
            burst = float(setting.get("ThrottlingBurstLimit", 5_000))
            self._buckets[(str(setting["HttpMethod"]).upper(), path)] = _Bucket(rate, burst, clock)

    def check(self, method: str, resource: str) -> None:
        """Count a request. Raises RefusedError if it exceeds the limit."""
        # Only the most specific setting applies.
        for key in ((method, resource), ("*", resource), ("*", "/*")):
            bucket = self._buckets.get(key)
            if bucket is not None:
                if not bucket.take():
                    raise RefusedError("THROTTLED", "Too Many Requests")
                return


class _Bucket:
    """A token bucket with `rate` tokens per second, and at most `burst` tokens."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
