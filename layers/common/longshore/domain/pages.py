"""Pages of a container's history: the query that asks for a page, and the page's position in an index. Pure.

A row has a dense number `seq` (1, 2, ...), and its rank among the rows with the same `to_status` and with the same
`from_status`. The container's counters say how many rows there are of each status, so a page is a closed interval of an
index:

    order by time     by-seq            seq     BETWEEN 21 AND 30
    order by status   by-to-status      to_rank BETWEEN "running#0000001203" AND "stopped#0000000002"

`created_at` never decreases from row to row, so the order by it is the order by `seq`.

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

NO_STATUS = "none"
"""Stands for a null `from_status` where a name is needed: DynamoDB has no null key."""

LARGEST_PAGE = 2**53 - 1  # the largest integer that every JSON parser can represent
LARGEST_LIMIT = 100
SORT_COLUMNS = ("transition_time", "created_at", "to_status", "from_status")
SORT_ORDERS = ("asc", "desc")

# The usual spelling of an integer: no plus sign, no leading zero, no fraction, no exponent.
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


class StatusLogsQuery(NamedTuple):
    """The query of GET /containers/{id}/status-logs."""

    page: int = 1
    limit: int = 10
    sort_by: str = "transition_time"
    sort_order: str = "desc"

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "tuple[StatusLogsQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            given: Values by field. Fields that are missing take their defaults.

        Returns:
            The query, and the faults by field. The query must not be used if there are faults.
        """
        values: dict[str, Any] = {}
        faults: dict[str, str] = {}
        for name, largest in (("page", LARGEST_PAGE), ("limit", LARGEST_LIMIT)):
            if name in given:
                values[name] = number = _number(given[name])
                if fault := _fault_of_number(number, largest):
                    faults[name] = fault
        for name, choices in (("sort_by", SORT_COLUMNS), ("sort_order", SORT_ORDERS)):
            if name in given:
                values[name] = given[name]
                if given[name] not in choices:
                    faults[name] = f"must be one of: {', '.join(choices)}"
        return cls(**values), faults


def _number(text: str) -> int | None:
    # Longer numbers are above every limit anyway, and Python refuses to read thousands of digits.
    return int(text[:30]) if _INTEGER.fullmatch(text) else None


def _fault_of_number(number: int | None, largest: int) -> str | None:
    if number is None:
        return "must be integer"
    if number < 1:
        return "must be >= 1"
    return f"must be <= {largest}" if number > largest else None


class Counted(Protocol):
    """The attributes of a container that a page needs. `Container` and `Counters` have them."""

    @property
    def id(self) -> str: ...
    @property
    def log_count(self) -> int: ...
    @property
    def to_counts(self) -> dict[str, int]: ...
    @property
    def from_counts(self) -> dict[str, int]: ...


class Span(NamedTuple):
    """A page as one Query: the closed interval `low` to `high` of `attribute` on an index."""

    index_name: str
    attribute: str
    low: int | str
    high: int | str
    ascending: bool


def rank_key(status: str | None, rank: int) -> str:
    """Return a key that sorts by status, then by rank. A null status sorts first."""
    return f"{status or ''}#{rank:010d}"


def span(container: Counted, query: StatusLogsQuery) -> Span | None:
    """Return the position of the page, or None if it is past the end."""
    total = container.log_count
    first = (query.page - 1) * query.limit
    if first >= total:
        return None
    last = min(first + query.limit, total) - 1
    ascending = query.sort_order == "asc"
    low, high = (first, last) if ascending else (total - 1 - last, total - 1 - first)
    match query.sort_by:
        case "to_status":
            counts = container.to_counts
            return Span("by-to-status", "to_rank", _key_at(counts, low), _key_at(counts, high), ascending)
        case "from_status":
            counts = container.from_counts
            return Span("by-from-status", "from_rank", _key_at(counts, low), _key_at(counts, high), ascending)
        case _:
            return Span("by-seq", "seq", low + 1, high + 1, ascending)


def _key_at(counts: dict[str, int], position: int) -> str:
    """Return the rank key of the row at a position, counted from 0 in ascending order."""
    ordered = sorted(("" if status == NO_STATUS else status, count) for status, count in counts.items())
    for (status, count), end in zip(ordered, accumulate(count for _, count in ordered), strict=True):
        if position < end:
            return rank_key(status, position - (end - count) + 1)
    raise ValueError(f"the counters {counts} have no row {position}")
