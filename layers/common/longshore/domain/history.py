"""The arithmetic of a container's history: where a row stands in each order, and where a page lies. Pure.

A row has a dense number `seq` (1, 2, ...), and its rank among the rows with the same `to_status` and with the same
`from_status`. The container's counters say how many there are of each, so a page is a closed interval of an index:

    order by time     by-seq            seq     BETWEEN 21 AND 30
    order by status   by-to-status      to_rank BETWEEN "running#0000001203" AND "stopped#0000000002"

Created_at never decreases from row to row, so the order by it is the order by seq.
"""

from datetime import datetime
from itertools import accumulate
from typing import NamedTuple, Protocol

from longshore.domain.clock import MILLISECOND, to_text
from longshore.domain.lifecycle import Status
from longshore.domain.models import NO_STATUS, Change, Container, StatusLog, StatusLogsQuery


class Counted(Protocol):
    """What a page has to know of its container: a `Container` does, and so do the store's `Counters`."""

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
    """Sorts by status, then by rank. A null status comes first, as nothing does before any letter."""
    return f"{status or ''}#{rank:010d}"


def span(container: Counted, query: StatusLogsQuery) -> Span | None:
    """Where the page lies, or None when it is past the end."""
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
    """The rank key of the row at a position, counted from 0 in ascending order."""
    ordered = sorted(("" if status == NO_STATUS else status, count) for status, count in counts.items())
    for (status, count), end in zip(ordered, accumulate(count for _, count in ordered), strict=True):
        if position < end:
            return rank_key(status, position - (end - count) + 1)
    raise ValueError(f"the counters {counts} have no row {position}")


class Entry(NamedTuple):
    """A row with its place in each order."""

    log: StatusLog
    seq: int
    to_rank: str
    from_rank: str


def append(container: Container, change: Change, log_id: str, now: datetime) -> tuple[Container, Entry]:
    """The container after the change, and the row that says so. Leaves the pending operation as it is.

    Times of one container strictly increase: a change that was observed before the last row's time (clocks differ) is
    moved to a millisecond after it, and its row's metadata then holds `observed_at`.
    """
    at = change.observed_at
    metadata = {name: value for name, value in change.metadata.items() if value is not None}
    if container.last_transition_time is not None and at <= container.last_transition_time:
        metadata["observed_at"] = to_text(at)
        at = container.last_transition_time + MILLISECOND
    created_at = max(now, at, *([container.last_created_at] if container.last_created_at else []))
    # The very first row comes from nothing.
    from_status = container.status if container.log_count else None
    from_name = from_status or NO_STATUS
    to_counts = {**container.to_counts, change.to_status: container.to_counts.get(change.to_status, 0) + 1}
    from_counts = {**container.from_counts, from_name: container.from_counts.get(from_name, 0) + 1}
    log = StatusLog(
        id=log_id,
        container_id=container.id,
        from_status=from_status,
        to_status=change.to_status,
        transition_time=at,
        created_at=created_at,
        duration_ms=change.duration_ms,
        triggered_by=change.triggered_by,
        metadata=metadata or None,
    )
    another_task = change.task_arn not in (None, container.task_arn)
    was_paused = container.status is Status.PAUSED if container.is_live else container.was_paused
    after = container.model_copy(
        update={
            "status": change.to_status,
            "status_since": at,
            "absent_since": None,
            "task_arn": change.task_arn or container.task_arn,
            "task_version": container.task_version if change.task_version is None else change.task_version,
            "was_paused": was_paused and not another_task,
            "task_ended": container.task_ended if change.task_ended is None else change.task_ended,
            "log_count": container.log_count + 1,
            "to_counts": to_counts,
            "from_counts": from_counts,
            "last_transition_time": at,
            "last_created_at": created_at,
            "updated_at": created_at,
        }
    )
    entry = Entry(
        log,
        after.log_count,
        rank_key(change.to_status, to_counts[change.to_status]),
        rank_key(from_status, from_counts[from_name]),
    )
    return after, entry
