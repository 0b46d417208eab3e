"""Reading for a member of a project: containers, and pages of their history."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from longshore.aws.access import Access, Grants
from longshore.domain.clock import Clock
from longshore.domain.pages import StatusLogsQuery, span
from longshore.domain.roles import Role
from longshore.domain.waiting import WaitQuery
from longshore.engine.concurrency import together

if TYPE_CHECKING:
    # Reading a page must not import the models, which take a third of a cold start.
    from longshore.aws.history_pages import HistoryPages
    from longshore.aws.store import Store
    from longshore.domain.models import Container


_FIRST_PAUSE = 0.2  # seconds between reads of a container, increased by half each time
_LONGEST_PAUSE = 1.0  # seconds


class ContainerReader:
    """Reads containers for a user. The container and the user's grants are read at the same time."""

    def __init__(self, store: "Store", access: Access, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._clock = clock

    def container(self, user_id: str, container_id: str, query: WaitQuery) -> "Container":
        """Read a container, and wait until it is in the state that the query names, or the query's timeout has passed.

        The user's grants are read once. If the container is moved to another project meanwhile, the user must be a
        member of that project too.

        Returns:
            The container as last read.

        Raises:
            LongshoreError: What `Access.admit` raises.
            ExternalServiceError: DynamoDB failed.
        """
        until = self._clock.now() + timedelta(seconds=query.timeout)
        found, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        container = self._access.admit(grants, found, needs=Role.VIEWER)
        pause = _FIRST_PAUSE
        while not query.is_met_by(container):
            left = (until - self._clock.now()).total_seconds()
            if left <= 0:
                break
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            container = self._again(container, grants)
        return container

    def _again(self, before: "Container", grants: Grants) -> "Container":
        container = self._store.container(before.id)
        if container is not None and container.project_id == before.project_id:
            return container
        return self._access.admit(grants, container, needs=Role.VIEWER)


class HistoryReader:
    """Reads pages of containers' histories for a user."""

    def __init__(self, pages: "HistoryPages", access: Access) -> None:
        self._pages = pages
        self._access = access

    def page(self, user_id: str, container_id: str, query: StatusLogsQuery) -> dict[str, Any]:
        """Read a page with one Query, however deep it lies. The total and the rows are of the same moment.

        Returns:
            JSON values in the shape of `StatusLogsPage`. Rows were validated when they were written, and never change.

        Raises:
            LongshoreError: What `Access.admit` raises.
            ExternalServiceError: DynamoDB failed.
        """
        counters, grants = together(lambda: self._pages.counters(container_id), lambda: self._access.grants(user_id))
        admitted = self._access.admit(grants, counters, needs=Role.VIEWER)
        where = span(admitted, query)
        return {
            "logs": self._pages.page(admitted, where) if where else [],
            "pagination": {
                "total": admitted.log_count,
                "page": query.page,
                "limit": query.limit,
                "totalPages": -(-admitted.log_count // query.limit),
            },
        }
