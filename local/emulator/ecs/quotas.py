"""The quotas of ECS for calls per second, as token buckets.

Source: "Request throttling for the Amazon ECS API" in the ECS API reference. A request that exceeds a quota takes no
token.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from local.emulator.ecs.providers import FARGATE


class Limit(NamedTuple):
    """A quota: calls per second, and the size of the bucket."""

    rate: float
    burst: float


DEFAULTS = {"actions": Limit(40, 100), "fargate": Limit(20, 20), "reads": Limit(20, 100)}
"""The default quotas of an account and region. RunTask on Fargate has no burst beyond one second."""

_OF_OPERATION = {"RunTask": "actions", "StopTask": "actions", "DescribeTasks": "reads", "ListTasks": "reads"}


class Quotas:
    """Decides which requests ECS throttles.

    Args:
        limits: The quotas by name: `actions`, `fargate` and `reads`. Those that are not given are not limited.
        now: Returns the time.
    """

    def __init__(self, limits: Mapping[str, Limit], now: Callable[[], datetime]) -> None:
        self._limits = limits
        self._now = now
        self._left: dict[str, tuple[datetime, float]] = {}

    def allow(self, operation: str, parameters: Mapping[str, Any]) -> bool:
        """Return whether the quotas allow a request, and count it if they do."""
        names = [_OF_OPERATION[operation]] if operation in _OF_OPERATION else []
        strategy = parameters.get("capacityProviderStrategy") or []
        on_fargate = any(item["capacityProvider"] in FARGATE for item in strategy)
        if operation == "RunTask" and (on_fargate or parameters.get("launchType") == "FARGATE"):
            names.append("fargate")
        left = {name: self._tokens(name) for name in names if name in self._limits}
        allowed = all(tokens >= 1 for tokens in left.values())
        for name, tokens in left.items():
            self._left[name] = (self._now(), tokens - 1 if allowed else tokens)
        return allowed

    def _tokens(self, name: str) -> float:
        limit, now = self._limits[name], self._now()
        filled, left = self._left.get(name, (now, float(limit.burst)))
        return min(limit.burst, left + limit.rate * (now - filled).total_seconds())
