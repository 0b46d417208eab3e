"""Counters of a history, and ranges of its rows. Pure.

A row carries the counters as they stand after it. The counters before the first row of a range and after its last row
state how many rows of each status the range has, and which ranks they have:

    row        41        42   ...   90        91
    time             from |              | to
    counters   before: 41 rows           after: 90 rows      the range has rows 42 to 90

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from longshore.domain.lifecycle import Status

NO_STATUS = "none"
"""Stands for a null `from_status` where a name is needed: DynamoDB has no null key."""

_BY_LETTER = {status[0]: str(status) for status in (*Status, NO_STATUS)}


class Counted(Protocol):
    """Counters of a history up to a row. Containers have those of their last row."""

    @property
    def log_count(self) -> int: ...
    @property
    def to_counts(self) -> Mapping[str, int]: ...
    @property
    def from_counts(self) -> Mapping[str, int]: ...


class Counts(NamedTuple):
    """Counters of a history up to a row: the number of rows, and of rows with each `to_status` and `from_status`."""

    log_count: int
    to_counts: Mapping[str, int]
    from_counts: Mapping[str, int]


NO_ROWS = Counts(0, {}, {})


class Edge(NamedTuple):
    """The first or last row of a range of time. `after` are the counters after the row."""

    after: Counts
    to_status: str
    from_status: str | None

    @property
    def seq(self) -> int:
        return self.after.log_count

    @property
    def before(self) -> Counts:
        """The counters before the row."""
        own_from = self.from_status or NO_STATUS
        return Counts(
            self.seq - 1,
            {status: count - (status == self.to_status) for status, count in self.after.to_counts.items()},
            {status: count - (status == own_from) for status, count in self.after.from_counts.items()},
        )


class Range(NamedTuple):
    """Consecutive rows of a history, by the counters before its first row and after its last row."""

    before: Counted
    after: Counted

    @property
    def size(self) -> int:
        return max(self.after.log_count - self.before.log_count, 0)

    def counts_of(self, column: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the counters of a status column, `to_status` or `from_status`, before and after the range."""
        if column == "to_status":
            return self.before.to_counts, self.after.to_counts
        return self.before.from_counts, self.after.from_counts


EMPTY = Range(NO_ROWS, NO_ROWS)


def last_in(current: Counted, last: Edge | None) -> Edge | None:
    """Return the last row of a range, or None if it is the container's last row or newer.

    The rows of a page are those that existed when the container's counters were read. The row may be newer.
    """
    return None if last is None or last.seq >= current.log_count else last


def between(current: Counted, first: Edge | None, last: Edge | None, hidden: Counted = NO_ROWS) -> Range:
    """Return a range of a history.

    Args:
        current: The container's counters.
        first: The first row of the range; None: the first row of the history.
        last: The last row of the range; None: the last row of the history.
        hidden: The counters of the rows at the beginning of the history that are never shown.
    """
    before = first.before if first else NO_ROWS
    rows = Range(before if before.log_count > hidden.log_count else hidden, last.after if last else current)
    return rows if rows.size else EMPTY


def shortened(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counters with the first letter of each status, as rows store them: a row is stored five times."""
    return {status[:1]: count for status, count in counts.items()}


def expanded(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counters that `shortened` was given. Statuses of later versions are left out."""
    return {_BY_LETTER[letter]: count for letter, count in counts.items() if letter in _BY_LETTER}
