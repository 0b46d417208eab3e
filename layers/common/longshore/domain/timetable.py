"""The times at which a schedule of EventBridge Scheduler runs. Pure.

    at(2025-01-15T10:30:00)      once, in the local time of the schedule's time zone
    rate(2 hours)                at equal intervals; a day has 24 hours, also when the clocks change
    cron(0 8 ? * MON-FRI *)      at local times (see `cron`)

When the clocks are set forward, the local times that are skipped do not occur. When they are set back, the local times
that occur twice count only the first time.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#daylist-savings-time
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from longshore.domain.cron import Cron

LONGEST_EXPRESSION = 256
"""The limits of EventBridge Scheduler, in characters."""
LONGEST_ZONE = 50

_EXPRESSION = re.compile(r"(at|cron|rate)\((.+)\)")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_RATE = re.compile(r"([1-9][0-9]{0,7}) (minute|hour|day)s?")
_LONGEST_INTERVAL = timedelta(days=36_500)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
# Files beside the zones in the database of the operating system.
_NO_ZONES = re.compile(r"(posix|right)/.*|posixrules|localtime|Factory")


class Once(NamedTuple):
    """A schedule that runs once, at a time in UTC."""

    time: datetime

    def runs_after(self, moment: datetime, start: datetime | None = None) -> Iterator[datetime]:  # noqa: ARG002
        """Yield the time if it is after `moment`."""
        if self.time > moment:
            yield self.time


class Interval(NamedTuple):
    """A schedule that runs at equal intervals."""

    length: timedelta

    def runs_after(self, moment: datetime, start: datetime | None = None) -> Iterator[datetime]:
        """Yield the times after `moment`, in order. The first run is at `start`; None: one interval after `moment`."""
        first = moment + self.length if start is None else start
        passed = max(0, (moment - first) // self.length + 1)
        while True:
            yield first + passed * self.length
            passed += 1


class Repeated(NamedTuple):
    """A schedule that runs at the local times of a cron expression."""

    cron: Cron
    zone: tzinfo

    def runs_after(self, moment: datetime, start: datetime | None = None) -> Iterator[datetime]:  # noqa: ARG002
        """Yield the times after `moment`, in order."""
        # A local time that is earlier than that of `moment` occurred before `moment`, at least the first time.
        for local in self.cron.times_from(moment.astimezone(self.zone).replace(tzinfo=None)):
            run = _to_utc(local, self.zone)
            if run is not None and run > moment:
                yield run


Timetable = Once | Interval | Repeated


def timetable(expression: str, zone: tzinfo) -> Timetable:
    """Parse an expression.

    Raises:
        ValueError: The expression is not valid, or its time does not exist in the time zone.
    """
    match = _EXPRESSION.fullmatch(expression)
    if match is None or len(expression) > LONGEST_EXPRESSION:
        raise ValueError("neither at(...) nor cron(...) nor rate(...)")
    kind, content = match.groups()
    match kind:
        case "at":
            return Once(_time(content, zone))
        case "rate":
            return Interval(_interval(content))
        case _:
            return Repeated(Cron.parse(content), zone)


def zone_of(name: str) -> tzinfo | None:
    """Return the time zone with an IANA name, or None if there is none."""
    if name == "UTC":
        return UTC
    if len(name) > LONGEST_ZONE or not _ZONE.fullmatch(name) or _NO_ZONES.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    # ZoneInfoNotFoundError is a KeyError. A folder, such as Europe, raises an OSError.
    except (KeyError, OSError, ValueError):
        return None


def next_runs(found: Timetable, after: datetime, count: int, start: datetime | None = None) -> list[datetime]:
    """Return the next times of a schedule in UTC.

    Args:
        found: The times of the schedule.
        after: The time after which they are (UTC).
        count: The largest number of times.
        start: The first time of a schedule with equal intervals; None: one interval after `after`.
    """
    return list(islice(found.runs_after(after, start), count))


def _time(text: str, zone: tzinfo) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text} is not a time")
    run = _to_utc(datetime.fromisoformat(text), zone)
    if run is None:
        raise ValueError(f"{text} does not exist in the time zone")
    return run


def _interval(text: str) -> timedelta:
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is not an interval")
    length = timedelta(**{f"{match[2]}s": int(match[1])})
    if length > _LONGEST_INTERVAL:
        raise ValueError(f"{text} is too long")
    return length


def _to_utc(local: datetime, zone: tzinfo) -> datetime | None:
    """Convert a local time to UTC: the first one if it occurs twice, None if it does not occur."""
    try:
        moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        back = moment.astimezone(zone)
    except OverflowError:
        return None
    return moment if back.replace(tzinfo=None, fold=0) == local else None
