"""Following a history: new rows as they are added."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TypeVar

from longshore_client._filters import LogFilters
from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import Status, StatusLog
from longshore_client.retries import is_transient

T = TypeVar("T")
Note = Callable[[str], None]

_POLL = 1.0  # seconds
_SLOWEST = 15.0
# Rows of a project may appear this much later than rows with a later time: their containers are written independently.
_LATE = timedelta(seconds=60)
_REMEMBERED = 10_000


def follow(
    client: Longshore,
    container_id: str,
    last: int,
    note: Note,
    *,
    since: datetime | None = None,
    to_status: Status | None = None,
) -> Iterator[list[StatusLog]]:
    """Yield the latest rows of a container, oldest first, and then each new row, without end.

    Rows are only added, so the position of a row in ascending order never changes: with a page size of 1, the row after
    the n-th row is on page n+1. While it does not exist, the API reads no rows. Transient errors are retried without
    end.

    Args:
        client: The client.
        container_id: The id of the container.
        last: The number of rows to start with.
        note: Called with a message when a transient error occurs.
        since: Only rows at or after this time.
        to_status: Only rows with this new status.

    Raises:
        LongshoreError: An error that is not transient.
    """
    logs = client.api.containers
    first = logs.get_status_logs(container_id, limit=last, since=since, to_status=to_status)
    seen = first.total
    yield list(reversed(first.logs))
    while True:
        filters: LogFilters = {"since": since, "to_status": to_status, "sort_order": "asc"}
        page = _persistently(partial(logs.get_status_logs, container_id, page=seen + 1, limit=1, **filters), note)
        seen += len(page.logs)
        if page.logs:
            yield list(page.logs)
        if seen >= page.total:
            time.sleep(_POLL)


def follow_project(
    client: Longshore,
    project_id: str,
    last: int,
    note: Note,
    *,
    since: datetime | None = None,
    to_status: Status | None = None,
) -> Iterator[list[StatusLog]]:
    """Yield the latest rows of a project, oldest first, and then each new row, without end.

    Each poll reads the rows of the last minute again, because a row may appear after rows with a later time. Rows that
    were already returned are left out. Takes the same arguments as `follow` and raises the same errors.
    """
    projects = client.api.projects
    latest = list(islice(projects.iter_status_logs(project_id, since=since, to_status=to_status), last))
    yield latest[::-1]
    newest = latest[0].transition_time if latest else datetime.now(UTC)
    begin = newest + timedelta(milliseconds=1)
    shown = deque((row.id for row in latest), _REMEMBERED)
    while True:
        time.sleep(_POLL)
        start = max(begin, newest - _LATE)
        rows = _persistently(partial(_rows_since, client, project_id, start, to_status), note)
        new = [row for row in rows if row.id not in shown]
        if new:
            shown.extend(row.id for row in new)
            newest = max(newest, new[-1].transition_time)
            yield new


def _rows_since(client: Longshore, project_id: str, since: datetime, to_status: Status | None) -> list[StatusLog]:
    rows = client.api.projects.iter_status_logs(project_id, since=since, to_status=to_status, sort_order="asc")
    return list(rows)


def _persistently(read: Callable[[], T], note: Note) -> T:
    """Return what a function reads. Retry it on transient errors without end."""
    pause = _POLL
    while True:
        try:
            return read()
        except LongshoreError as error:
            if not is_transient(error):
                raise
            if pause == _POLL:
                note(f"{error}; retrying")
            pause = min(pause * 2, _SLOWEST)
            time.sleep(pause)
