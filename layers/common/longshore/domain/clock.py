"""Time, as the API writes it: UTC, milliseconds, `Z`. And the clock that the operations wait on."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """What the operations know of time. A simulation puts a virtual one in its place."""

    def now(self) -> datetime:
        """The time in UTC, to the millisecond."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return to_milliseconds(datetime.now(UTC))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def to_milliseconds(moment: datetime) -> datetime:
    """The same moment in UTC without its microseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_text(moment: datetime) -> str:
    """`2025-01-15T10:30:00.000Z`. Such texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
