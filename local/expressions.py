"""EventBridge schedule expressions: `rate(...)` and `cron(...)`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # without types

_RATE = re.compile(r"rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)")
_CRON = re.compile(r"cron\((.+)\)")


class Schedule(Protocol):
    """The times at which a rule fires."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment` (UTC), or None if there is none."""


@dataclass(frozen=True)
class Rate:
    """A schedule with equal intervals, which start when the rule is created."""

    interval: timedelta
    start: datetime

    def next_after(self, moment: datetime) -> datetime:
        passed = max(0, (moment - self.start) // self.interval)
        return self.start + (passed + 1) * self.interval


class Cron:
    """A schedule of AWS's six cron fields: minutes, hours, day of month, month, day of week, year.

    aws-croniter parses AWS's syntax. croniter does not: it has no `L-3`, and other numbers for weekdays.
    """

    def __init__(self, fields: str) -> None:
        """Parse the fields. Raises ValueError."""
        minutes, hours, day, month, weekday, year = fields.split()
        # aws-croniter does not support `L` alone, which means Saturday.
        weekday = "7" if weekday == "L" else weekday
        try:
            self._cron = AwsCroniter(f"{minutes} {hours} {day} {month} {weekday} {year}")
        except Exception as error:  # aws-croniter's exceptions are not subclasses of ValueError
            raise ValueError(str(error)) from error

    def next_after(self, moment: datetime) -> datetime | None:
        # aws-croniter may round fractions of a second up into the next minute.
        following: list[datetime | None] = self._cron.get_next(moment.astimezone(UTC).replace(microsecond=0), 1)
        return following[0]


def schedule(expression: str, start: datetime) -> Schedule:
    """Parse a schedule expression of a rule that is created at `start`. Raises ValueError."""
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
