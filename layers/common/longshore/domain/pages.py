"""Pages of a container's history: the query that asks for a page, and the page's position in an index. Pure.

A row has a dense number `seq` (1, 2, ...), and its rank among the rows with the same `to_status` and with the same
`from_status`. Counters say how many rows there are of each status, so a page is a closed interval of an index:

    order by time     by-seq            seq     BETWEEN 21 AND 30
    order by status   by-to-status      to_rank BETWEEN "running#0000001203" AND "stopped#0000000002"

A page of a range of time is an interval of `seq`, or an interval of ranks for each status. `created_at` never decreases
from row to row, so the order by it is the order by `seq`.

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from longshore.domain.lifecycle import Status
from longshore.domain.parameters import LARGEST_INTEGER, Parameters
from longshore.domain.ranges import NO_STATUS, Range
from longshore.domain.times import Moment

LARGEST_LIMIT = 100
SORT_COLUMNS = ("transition_time", "created_at", "to_status", "from_status")
SORT_ORDERS = ("asc", "desc")
STATUS_COLUMNS = ("to_status", "from_status")


class StatusLogsQuery(NamedTuple):
    """The query of GET /containers/{id}/status-logs. `since` and `until` are its parameters `from` and `to`."""

    page: int = 1
    limit: int = 10
    sort_by: str = "transition_time"
    sort_order: str = "desc"
    since: Moment | None = None
    until: Moment | None = None
    to_status: str | None = None
    from_status: str | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Sequence[str]]) -> "tuple[StatusLogsQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            given: All values by parameter.

        Returns:
            The query, and the faults by parameter. The query must not be used if there are faults.
        """
        parameters = Parameters(given)
        since, until = parameters.period()
        query = cls(
            page=parameters.integer("page", 1, LARGEST_INTEGER),
            limit=parameters.integer("limit", 10, LARGEST_LIMIT),
            sort_by=parameters.choice("sort_by", "transition_time", SORT_COLUMNS),
            sort_order=parameters.choice("sort_order", "desc", SORT_ORDERS),
            since=since,
            until=until,
            to_status=parameters.optional_choice("to_status", list(Status)),
            from_status=parameters.optional_choice("from_status", list(Status)),
        )
        faults = parameters.faults
        if query.to_status and query.from_status:
            faults["from_status"] = "cannot be combined with to_status"
        elif query.status and query.sort_by in STATUS_COLUMNS and query.sort_by != query.column:
            faults["sort_by"] = f"must be transition_time, created_at or {query.column} with the filter {query.column}"
        return query, faults

    @property
    def status(self) -> str | None:
        """The status that the rows must have in `column`; None: any."""
        return self.to_status or self.from_status

    @property
    def column(self) -> str | None:
        """The status column that the query filters or sorts by; None: it only sorts by time."""
        if self.to_status:
            return "to_status"
        if self.from_status:
            return "from_status"
        return self.sort_by if self.sort_by in STATUS_COLUMNS else None

    @property
    def has_range(self) -> bool:
        return self.since is not None or self.until is not None


class Span(NamedTuple):
    """A part of a page as one Query: the closed interval `low` to `high` of `attribute` on an index."""

    index_name: str
    attribute: str
    low: int | str
    high: int | str
    ascending: bool


class Page(NamedTuple):
    """A page of a query.

    Attributes:
        total: The number of rows that match the query.
        spans: The parts of the page in order. A page past the end has none.
    """

    total: int
    spans: list[Span]


def rank_key(status: str | None, rank: int) -> str:
    """Return a key that sorts by status, then by rank. A null status sorts first."""
    return f"{status or ''}#{rank:010d}"


def page_of(rows: Range, query: StatusLogsQuery) -> Page:
    """Return the page that a query asks for.

    Args:
        rows: The rows in the query's range of time.
        query: The query.

    Raises:
        ValueError: The counters contradict each other.
    """
    total = _total(rows, query)
    first = (query.page - 1) * query.limit
    if first >= total:
        return Page(total, [])
    last = min(first + query.limit, total) - 1
    ascending = query.sort_order == "asc"
    low, high = (first, last) if ascending else (total - 1 - last, total - 1 - first)
    if query.column is None:
        start = rows.before.log_count + 1
        return Page(total, [Span("by-seq", "seq", start + low, start + high, ascending)])
    spans = _by_status(rows, query.column, query.status, low, high, ascending=ascending)
    if len(spans) > 1 and not query.has_range and not rows.before.log_count:
        # The ranks of the whole history are consecutive, unless its first rows are not shown.
        spans = [spans[0]._replace(high=spans[-1].high)]
    return Page(total, spans if ascending else spans[::-1])


def _total(rows: Range, query: StatusLogsQuery) -> int:
    if query.status is None or query.column is None:
        return rows.size
    before, after = rows.counts_of(query.column)
    return after.get(query.status, 0) - before.get(query.status, 0)


def _by_status(rows: Range, column: str, status: str | None, low: int, high: int, *, ascending: bool) -> list[Span]:
    """Return an interval of ranks for each status of a page, in ascending order.

    Args:
        rows: The rows in the range of time.
        column: The status column.
        status: The status that the rows must have; None: any.
        low: The position of the page's first row among the matching rows in ascending order, counted from 0.
        high: The position of the page's last row.
        ascending: The direction of the page.
    """
    index, attribute = ("by-to-status", "to_rank") if column == "to_status" else ("by-from-status", "from_rank")
    before, after = rows.counts_of(column)
    spans = []
    begin = 0
    for name in sorted(after if status is None else [status], key=_in_order):
        skipped = before.get(name, 0)
        end = begin + after[name] - skipped
        lowest, highest = max(low, begin), min(high, end - 1)
        if lowest <= highest:
            first_key, last_key = (rank_key(_in_order(name), skipped + at - begin + 1) for at in (lowest, highest))
            spans.append(Span(index, attribute, first_key, last_key, ascending))
        begin = end
    if high >= begin:
        raise ValueError(f"the counters {dict(after)} have no row {high}")
    return spans


def _in_order(name: str) -> str:
    """Return the name under which a status is sorted: a null status sorts first."""
    return "" if name == NO_STATUS else name
