"""Pages of a container's history: the query that asks for a page, and the page's position in an index. Pure.

A row has a dense number `seq` (1, 2, ...), and its rank among the rows with the same `to_status` and with the same
`from_status`. The container's counters say how many rows there are of each status, so a page is a closed interval of an
index:

    order by time     by-seq            seq     BETWEEN 21 AND 30
    order by status   by-to-status      to_rank BETWEEN "running#0000001203" AND "stopped#0000000002"

`created_at` never decreases from row to row, so the order by it is the order by `seq`.

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from longshore.domain.parameters import LARGEST_INTEGER, Parameters

NO_STATUS = "none"
"""Stands for a null `from_status` where a name is needed: DynamoDB has no null key."""

LARGEST_LIMIT = 100
SORT_COLUMNS = ("transition_time", "created_at", "to_status", "from_status")
SORT_ORDERS = ("asc", "desc")


class StatusLogsQuery(NamedTuple):
    """The query of GET /containers/{id}/status-logs."""

    page: int = 1
    limit: int = 10
    sort_by: str = "transition_time"
    sort_order: str = "desc"

    @classmethod
    def parse(cls, given: Mapping[str, Sequence[str]]) -> "tuple[StatusLogsQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            given: All values by parameter.

        Returns:
            The query, and the faults by parameter. The query must not be used if there are faults.
        """
        parameters = Parameters(given)
        query = cls(
            page=parameters.integer("page", 1, LARGEST_INTEGER),
            limit=parameters.integer("limit", 10, LARGEST_LIMIT),
            sort_by=parameters.choice("sort_by", "transition_time", SORT_COLUMNS),
            sort_order=parameters.choice("sort_order", "desc", SORT_ORDERS),
        )
        return query, parameters.faults


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
