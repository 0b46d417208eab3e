"""Reading for a member of a project: containers, and pages of their history."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from longshore.aws.access import Access
from longshore.domain.clock import Clock
from longshore.domain.pages import StatusLogsQuery, page_of
from longshore.domain.ranges import EMPTY, Edge, Range, between, last_in
from longshore.domain.retention import oldest
from longshore.domain.roles import Role
from longshore.domain.times import EARLIEST
from longshore.domain.waiting import WaitQuery
from longshore.engine.concurrency import together

if TYPE_CHECKING:
    # Reading a page must not import the models, which take a third of a cold start.
    from longshore.aws.history_pages import Counters, HistoryPages
    from longshore.aws.store import Store
    from longshore.aws.waiting import WaitingPlaces
    from longshore.domain.models import Container


_FIRST_PAUSE = 0.2  # seconds between reads of a container, increased by half each time
_LONGEST_PAUSE = 1.0  # seconds


class ContainerReader:
    """Reads containers for a user. The container and the user's grants are read at the same time."""

    def __init__(self, store: "Store", access: Access, places: "WaitingPlaces", clock: Clock) -> None:
        self._store = store
        self._access = access
        self._places = places
        self._clock = clock

    def container(self, user_id: str, container_id: str, query: WaitQuery) -> "Container":
        """Read a container, and wait until it is in the state that the query names, or the query's timeout has passed.

        Each look reads the grants as well: a ban or a revoked role ends the wait, and the answer is never older than
        the grants that allow it.

        Returns:
            The container as last read.

        Raises:
            LongshoreError: What `Access.admit` raises.
            RateLimitedError: The container is not in that state, and too many requests wait already.
            ExternalServiceError: DynamoDB failed.
        """
        until = self._clock.now() + timedelta(seconds=query.timeout)
        container = self._look(user_id, container_id)
        if query.is_met_by(container):
            return container
        with self._places.held(until):
            pause = _FIRST_PAUSE
            while (left := (until - self._clock.now()).total_seconds()) > 0 and not query.is_met_by(container):
                self._clock.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
                container = self._look(user_id, container_id)
        return container

    def _look(self, user_id: str, container_id: str) -> "Container":
        found, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        return self._access.admit(grants, found, needs=Role.VIEWER)


class HistoryReader:
    """Reads pages of containers' histories for a user."""

    def __init__(self, pages: "HistoryPages", access: Access, clock: Clock, retention: int) -> None:
        """Create the reader.

        Args:
            pages: Reads the rows.
            access: Reads the roles.
            clock: The clock, which determines the rows that are still shown.
            retention: The retention of the stack in days; 0 keeps everything.
        """
        self._pages = pages
        self._access = access
        self._clock = clock
        self._retention = retention

    def page(self, user_id: str, container_id: str, query: StatusLogsQuery) -> dict[str, Any]:
        """Read a page in two dependent round trips, however deep it lies.

        The total and the rows are those of the moment at which the container's counters are read. There is one more
        round trip if the stack's retention was lengthened and no administrator has applied it to the container yet.

        Returns:
            JSON values in the shape of `StatusLogsPage`. Rows were validated when they were written, and never change.

        Raises:
            LongshoreError: What `Access.admit` raises.
            ExternalServiceError: DynamoDB failed.
        """
        now = self._clock.now()
        since = max(query.since.ceiling() if query.since else EARLIEST, oldest(now, self._retention))
        edges, counters, grants = together(
            lambda: self._edges(container_id, since, query),
            lambda: self._pages.counters(container_id),
            lambda: self._access.grants(user_id),
        )
        admitted = self._access.admit(grants, counters, needs=Role.VIEWER)
        # Before the floor, DynamoDB may have deleted some of the rows.
        floor = oldest(now, admitted.retention)
        if floor > since:
            since, edges = floor, (self._pages.first_row(container_id, floor), edges[1])
        page = page_of(self._range(admitted, query, since, *edges), query)
        parts = together(*(partial(self._pages.page, container_id, span, admitted.log_count) for span in page.spans))
        return {
            "logs": [row for part in parts for row in part],
            "pagination": {
                "total": page.total,
                "page": query.page,
                "limit": query.limit,
                "totalPages": -(-page.total // query.limit),
            },
        }

    def _edges(self, container_id: str, since: str, query: StatusLogsQuery) -> tuple[Edge | None, Edge | None]:
        """Read the first row from `since` on, if it is a limit, and the last row of the query's range of time."""
        until = query.until
        if since == EARLIEST and until is None:
            return None, None
        return together(
            lambda: self._pages.first_row(container_id, since) if since != EARLIEST else None,
            lambda: self._pages.last_row(container_id, until.floor()) if until else None,
        )

    def _range(
        self, current: "Counters", query: StatusLogsQuery, since: str, first: Edge | None, last: Edge | None
    ) -> Range:
        """Return the rows in the query's range of time that are still shown."""
        if (since != EARLIEST and first is None) or (query.until and last is None):
            return EMPTY
        if first is not None and (first.seq > current.log_count or (last is not None and last.seq < first.seq)):
            return EMPTY
        return between(current, first, last_in(current, last), current.hidden)
