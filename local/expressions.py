"""EventBridge's schedule expressions: what `rate(...)` and `cron(...)` mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # it has no types

_RATE = re.compile(r"rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)")
_CRON = re.compile(r"cron\((.+)\)")


class Schedule(Protocol):
    """When a rule fires."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment` (UTC); None when there is none any more."""


@dataclass(frozen=True)
class Rate:
    """At equal intervals, the first one after the rule was made."""

    interval: timedelta
    start: datetime

    def next_after(self, moment: datetime) -> datetime:
        passed = max(0, (moment - self.start) // self.interval)
        return self.start + (passed + 1) * self.interval


class Cron:
    """At the times of AWS's six fields: minutes, hours, day of month, month, day of week, year."""

    def __init__(self, fields: str) -> None:
        """ValueError."""
        minutes, hours, day, month, weekday, year = fields.split()
        # The library takes it for the last of no day. The week's last day is Saturday.
        weekday = "7" if weekday == "L" else weekday
        try:
            self._cron = AwsCroniter(f"{minutes} {hours} {day} {month} {weekday} {year}")
        except Exception as error:  # the library's own, which are of no class in common with ValueError
            raise ValueError(str(error)) from error

    def next_after(self, moment: datetime) -> datetime | None:
        # Whole seconds: the library rounds the fraction, at times into the minute that is to come.
        following: list[datetime | None] = self._cron.get_next(moment.astimezone(UTC).replace(microsecond=0), 1)
        return following[0]


def schedule(expression: str, start: datetime) -> Schedule:
    """The schedule of `rate(...)` or `cron(...)`, for a rule that is made at `start`. ValueError."""
    if match := _RATE.fullmatch(expression):
        number, unit, plural = match.groups()
        if (number == "1") == (plural == ""):
            return Rate(timedelta(**{f"{unit}s": int(number)}), start)
    elif match := _CRON.fullmatch(expression):
        try:
            return Cron(match[1])
        except ValueError as error:
            raise ValueError(f"{expression} is no schedule: {error}") from None
    raise ValueError(f"{expression} is no schedule")
