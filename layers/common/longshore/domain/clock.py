"""The clock that operations use, and the API's format of times: UTC with milliseconds and `Z`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """The clock that operations use. The simulation replaces it with a virtual clock."""

    def now(self) -> datetime:
        """Return the current time in UTC, without microseconds."""

    def sleep(self, seconds: float) -> None:
        """Wait for the given time."""


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> datetime:
        return to_milliseconds(datetime.now(UTC))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def to_milliseconds(moment: datetime) -> datetime:
    """Convert a time to UTC and round it down to the millisecond."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_text(moment: datetime) -> str:
    """Format a time as `2025-01-15T10:30:00.000Z`. The texts sort in the same order as the times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
