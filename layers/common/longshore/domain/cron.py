"""Cron expressions in the dialect of EventBridge, in local time. Pure.

    minutes   hours   day-of-month       month              day-of-week       year
    0-59      0-23    1-31               1-12 or JAN-DEC    1-7 or SUN-SAT    1970-2199
    , - * /   , - * / , - * ? / L L-3    , - * /            , - * ? / L 6L    , - * /
                      15W LW                                6#3

One of the two fields for days is `?`, and the other selects the days. `L` is the last day of the month, or Saturday as
the last day of the week; `6L` is the last Friday of the month, and `6#3` the third. `15W` is the weekday closest to the
15th in the same month. A range that ends before it begins continues at the beginning of its field (`FRI-MON`).

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

_MONTHS = dict(
    zip(("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), range(1, 13), strict=True)
)
_WEEKDAYS = dict(zip(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), range(1, 8), strict=True))
_NO_NAMES: Mapping[str, int] = MappingProxyType({})
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_SATURDAY = 7

_ITEM = re.compile(r"(?:\*|([A-Z]{3}|[0-9]{1,4})(?:-([A-Z]{3}|[0-9]{1,4}))?)(?:/([0-9]{1,4}))?")
_BEFORE_LAST = re.compile(r"L-([0-9]{1,2})")
_NEAREST = re.compile(r"([0-9]{1,2})W")
_LAST_OF_WEEKDAY = re.compile(r"([A-Z]{3}|[0-9])L")
_NTH_OF_WEEKDAY = re.compile(r"([A-Z]{3}|[0-9])#([1-5])")

Days = Callable[[int, int], Iterable[int]]
"""Returns the selected days of a month, in order. Takes the year and the month."""


class Cron(NamedTuple):
    """The local times that a cron expression selects. All values of a field are in order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    @classmethod
    def parse(cls, fields: str) -> "Cron":
        """Parse the six fields.

        Raises:
            ValueError: The expression is not valid.
        """
        minutes, hours, day, month, weekday, year = fields.upper().split()
        if (day == "?") is (weekday == "?"):
            raise ValueError("one of day-of-month and day-of-week must be ?")
        return cls(
            minutes=_values(minutes, 0, 59),
            hours=_values(hours, 0, 23),
            days=_days_of_weekdays(weekday) if day == "?" else _days_of_month(day),
            months=_values(month, 1, 12, _MONTHS),
            years=_values(year, _FIRST_YEAR, _LAST_YEAR, wraps=False),
        )

    def times_from(self, moment: datetime) -> Iterator[datetime]:
        """Yield the selected times at or after a time, in order. All times are local and have no time zone."""
        for first in self._days_from(moment.date()):
            for hour in self.hours:
                for minute in self.minutes:
                    time = datetime(first.year, first.month, first.day, hour, minute)  # noqa: DTZ001  (local time)
                    if time >= moment:
                        yield time

    def _days_from(self, first: date) -> Iterator[date]:
        for year in self.years:
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in self.days(year, month):
                    if (found := date(year, month, day)) >= first:
                        yield found


def _values(
    text: str, low: int, high: int, names: Mapping[str, int] = _NO_NAMES, *, wraps: bool = True
) -> tuple[int, ...]:
    """Parse a field: items, separated by commas, each a value, a range or all values, with or without an increment."""
    size = high - low + 1
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"{item} is not valid")
        first, last, step = match.groups()
        start = low if first is None else _value(first, low, high, names)
        default = high if first is None or step else start
        end = default if last is None else _value(last, low, high, names)
        if end < start:
            if not wraps:
                raise ValueError(f"{item} ends before it begins")
            end += size
        increment = 1 if step is None else int(step)
        if not 1 <= increment <= size:
            raise ValueError(f"{item} has an increment out of range")
        found.update(low + (value - low) % size for value in range(start, end + 1, increment))
    return tuple(sorted(found))


def _value(text: str, low: int, high: int, names: Mapping[str, int]) -> int:
    number = names.get(text) if text.isalpha() else int(text)
    if number is None or not low <= number <= high:
        raise ValueError(f"{text} is out of range")
    return number


def _days_of_month(text: str) -> Days:
    if text == "L":
        return lambda year, month: (_last_day(year, month),)
    if text == "LW":
        return lambda year, month: _nearest_weekday(_last_day(year, month), year, month)
    if match := _BEFORE_LAST.fullmatch(text):
        before = _value(match[1], 1, 30, _NO_NAMES)
        return lambda year, month: filter(None, (max(0, _last_day(year, month) - before),))
    if match := _NEAREST.fullmatch(text):
        return partial(_nearest_weekday, _value(match[1], 1, 31, _NO_NAMES))
    days = _values(text, 1, 31)
    return lambda year, month: (day for day in days if day <= _last_day(year, month))


def _days_of_weekdays(text: str) -> Days:
    if text == "L":
        return lambda year, month: _days_on({_SATURDAY}, year, month)
    if match := _LAST_OF_WEEKDAY.fullmatch(text):
        last = {_value(match[1], 1, 7, _WEEKDAYS)}
        return lambda year, month: _days_on(last, year, month)[-1:]
    if match := _NTH_OF_WEEKDAY.fullmatch(text):
        wanted, nth = {_value(match[1], 1, 7, _WEEKDAYS)}, int(match[2])
        return lambda year, month: _days_on(wanted, year, month)[nth - 1 : nth]
    weekdays = set(_values(text, 1, 7, _WEEKDAYS))
    return lambda year, month: _days_on(weekdays, year, month)


def _last_day(year: int, month: int) -> int:
    return monthrange(year, month)[1]


def _days_on(weekdays: set[int], year: int, month: int) -> list[int]:
    """Return the days of the month on these weekdays: 1 is Sunday, 7 is Saturday."""
    monday_based, last = monthrange(year, month)
    first = (monday_based + 1) % 7 + 1
    return [day for day in range(1, last + 1) if (first + day - 2) % 7 + 1 in weekdays]


def _nearest_weekday(day: int, year: int, month: int) -> tuple[int, ...]:
    """Return the day from Monday to Friday of the month that is closest to a day; none if the month lacks the day."""
    last = _last_day(year, month)
    if day > last:
        return ()
    match date(year, month, day).isoweekday():
        case 6:
            return (day - 1 if day > 1 else day + 2,)
        case 7:
            return (day + 1 if day < last else day - 2,)
        case _:
            return (day,)
