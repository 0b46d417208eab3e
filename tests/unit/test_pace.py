"""The pace of calls to ECS."""

from datetime import UTC, datetime, timedelta

import pytest
from longshore.aws.ecs import Quota
from longshore.engine.pace import RECOVERY, Pace

LIMIT = 10.0  # calls per second


class Clock:
    """A clock that advances only when code sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 15, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock, {Quota.READS: LIMIT, Quota.ACTIONS: LIMIT})


def seconds_of(pace: Pace, clock: Clock, calls: int, *quotas: Quota) -> float:
    """Wait for the turns of some calls. Returns how long that took."""
    began = clock.now()
    for _ in range(calls):
        pace.wait(*quotas)
    return (clock.now() - began).total_seconds()


def test_calls_are_sent_at_the_limit(pace: Pace, clock: Clock) -> None:
    assert seconds_of(pace, clock, 11, Quota.READS) == pytest.approx(1.0)


def test_quotas_are_counted_separately(pace: Pace, clock: Clock) -> None:
    assert seconds_of(pace, clock, 11, Quota.READS) == pytest.approx(1.0)
    assert seconds_of(pace, clock, 5, Quota.ACTIONS) == pytest.approx(0.0)  # it catches up with half a second


def test_a_call_waits_for_all_its_quotas(pace: Pace, clock: Clock) -> None:
    pace = Pace(clock, {Quota.ACTIONS: LIMIT, Quota.FARGATE: LIMIT / 2})
    assert seconds_of(pace, clock, 6, Quota.ACTIONS, Quota.FARGATE) == pytest.approx(1.0)


def test_a_quota_without_a_limit_does_not_wait(pace: Pace, clock: Clock) -> None:
    pace.slow_down(Quota.SERVICE_READS)
    assert seconds_of(pace, clock, 1000, Quota.SERVICE_READS) == 0


def test_a_throttled_call_halves_the_rate_of_its_quota(pace: Pace, clock: Clock) -> None:
    pace.slow_down(Quota.READS)
    half = 2 / LIMIT
    # The rate rises while the calls wait.
    assert half * 0.9 < seconds_of(pace, clock, 1, Quota.READS) <= half
    assert half * 0.9 < seconds_of(pace, clock, 1, Quota.READS) <= half
    assert seconds_of(pace, clock, 1, Quota.ACTIONS) == 0


@pytest.mark.parametrize(("seconds", "cut_again"), [(0.4, False), (0.5, True)])
def test_calls_that_were_sent_before_a_cut_do_not_cut_again(
    pace: Pace, clock: Clock, seconds: float, cut_again: bool
) -> None:
    pace.slow_down(Quota.READS)
    clock.sleep(seconds)
    pace.slow_down(Quota.READS)
    seconds_of(pace, clock, 1, Quota.READS)
    assert (seconds_of(pace, clock, 1, Quota.READS) > 2 / LIMIT) == cut_again


def test_the_rate_is_never_below_a_twentieth_of_the_limit(pace: Pace, clock: Clock) -> None:
    for _ in range(100):
        clock.sleep(0.5)
        pace.slow_down(Quota.READS)
    assert seconds_of(pace, clock, 1, Quota.READS) == pytest.approx(20 / LIMIT)


def test_the_rate_recovers(pace: Pace, clock: Clock) -> None:
    pace.slow_down(Quota.READS)
    clock.sleep(RECOVERY.total_seconds() / 2)
    seconds_of(pace, clock, 6, Quota.READS)  # the calls that catch up
    assert seconds_of(pace, clock, 10, Quota.READS) == pytest.approx(1.0)
