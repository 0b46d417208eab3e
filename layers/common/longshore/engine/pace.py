"""The pace of sweeps and scheduled runs: the rates at which they call ECS, below its quotas.

A pace starts at its limits. If ECS throttles a call, because other workers use the same quota, the rate is halved, and
then rises to the limit again within RECOVERY. Workers that do not know of each other thereby share a quota.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from longshore.aws.ecs import EcsError, Quota
from longshore.domain.clock import Clock

T = TypeVar("T")

RECOVERY = timedelta(seconds=20)
"""How long a rate takes to rise from 0 to its limit."""

_SLOWEST = 0.05  # of the limit
_BETWEEN_CUTS = timedelta(seconds=0.5)  # calls that were sent before a cut may still be throttled
_CATCH_UP = timedelta(seconds=0.5)  # unused calls of this time may be sent later at once
_READ_TRIES = 6
_READ_PAUSE = 0.2  # seconds; doubled after each try


class Pace:
    """Limits the calls of the threads of one worker.

    Args:
        clock: Waits.
        limits: The highest rate of each quota, in calls per second. Quotas that are not given are not limited.
    """

    def __init__(self, clock: Clock, limits: Mapping[Quota, float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rates = {quota: _Rate(limit, clock.now()) for quota, limit in limits.items()}

    def wait(self, *quotas: Quota) -> None:
        """Wait until a call may be sent that counts towards these quotas."""
        with self._lock:
            now = self._clock.now()
            turns = [self._rates[quota].next_turn(now) for quota in quotas if quota in self._rates]
        pause = (max(turns, default=now) - now).total_seconds()
        if pause > 0:
            self._clock.sleep(pause)

    def slow_down(self, *quotas: Quota) -> None:
        """Halve the rates of these quotas, because ECS has throttled a call."""
        with self._lock:
            now = self._clock.now()
            for quota in quotas:
                if quota in self._rates:
                    self._rates[quota].cut(now)


class _Rate:
    """The rate of one quota."""

    def __init__(self, limit: float, now: datetime) -> None:
        self._limit = limit
        self._rate = limit
        self._cut_at = now - RECOVERY
        self._turn = now  # of the next call

    def next_turn(self, now: datetime) -> datetime:
        """Take the next turn. Returns when it is."""
        turn = max(self._turn, now - _CATCH_UP)
        self._turn = turn + timedelta(seconds=1 / self._current(now))
        return max(turn, now)

    def cut(self, now: datetime) -> None:
        if now - self._cut_at >= _BETWEEN_CUTS:
            self._rate = max(self._current(now) / 2, self._limit * _SLOWEST)
            self._cut_at = now
            self._turn = max(self._turn, now + timedelta(seconds=1 / self._rate))

    def _current(self, now: datetime) -> float:
        return min(self._limit, self._rate + self._limit * ((now - self._cut_at) / RECOVERY))


def read(clock: Clock, call: Callable[[], T]) -> T:
    """Call ECS to read something. Repeats the call if ECS throttles it or does not answer.

    Raises:
        EcsError: ECS refused the request, or the last try has failed.
    """
    for number in range(_READ_TRIES - 1):
        try:
            return call()
        except EcsError as error:
            if error.no_effect:
                raise
            clock.sleep(_READ_PAUSE * 2**number)
    return call()


class ClusterReads:
    """Reads from several clusters. While a cluster fails, its calls are not repeated, so that they delay no other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing: set[str] = set()  # clusters whose last call failed

    def read(self, cluster: str, call: Callable[[], T]) -> T:
        """Call ECS to read something from a cluster, as `read` does.

        Raises:
            EcsError: ECS refused the request, or the last try has failed.
        """
        try:
            result = call() if cluster in self._failing else read(self._clock, call)
        except EcsError as error:
            if not error.invalid:
                self._failing.add(cluster)
            raise
        self._failing.discard(cluster)
        return result
