"""Times that callers send: RFC 3339 with an offset, compared exactly and rounded to the milliseconds of history rows.

Reading a page of history needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from longshore.domain.clock import MILLISECOND, to_text

EARLIEST = "0001-01-01T00:00:00.000Z"
LATEST = "9999-12-31T23:59:59.999Z"

_RFC_3339 = re.compile(
    r"(?P<second>\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d+))?(?P<offset>[Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)


class Moment(NamedTuple):
    """A time of any precision. Moments compare in the order of time.

    Attributes:
        second: The time in UTC, rounded down to the second.
        fraction: The digits after the decimal point, without trailing zeros.
    """

    second: datetime
    fraction: str

    @classmethod
    def parse(cls, text: str) -> "Moment | None":
        """Return the time, or None if the text is not an RFC 3339 time with an offset.

        A time outside the years 1 to 9999 becomes the first or last time of these years. Leap seconds are not
        supported.
        """
        match = _RFC_3339.fullmatch(text)
        if match is None:
            return None
        # Python has no year 0. Year 4 has the same days.
        text, is_year_0 = re.subn("^0000", "0004", match["second"].upper())
        try:
            local = datetime.fromisoformat(text)
            offset = timedelta(0) if match["offset"] in "Zz" else _offset(match["offset"])
        except ValueError:
            return None
        try:
            second = local - offset
        except OverflowError:
            return cls(_second_of(LATEST), "999") if offset < timedelta(0) else cls(_second_of(EARLIEST), "")
        if is_year_0:
            return cls(_second_of(EARLIEST), "")
        return cls(second.replace(tzinfo=UTC), (match["fraction"] or "").rstrip("0"))

    def floor(self) -> str:
        """Return the last millisecond that is not after this time, in the API's format."""
        return to_text(self.second.replace(microsecond=int(self.fraction[:3].ljust(3, "0")) * 1000))

    def ceiling(self) -> str:
        """Return the first millisecond that is not before this time, in the API's format."""
        floor = self.floor()
        if len(self.fraction) <= 3 or floor == LATEST:
            return floor
        return to_text(datetime.fromisoformat(floor) + MILLISECOND)


def _offset(text: str) -> timedelta:
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if text[0] == "-" else offset


def _second_of(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(microsecond=0)
