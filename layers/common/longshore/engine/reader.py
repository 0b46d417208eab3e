"""Reading for a member of a project: containers, and pages of their history."""

from typing import TYPE_CHECKING, Any

from longshore.aws.access import Access
from longshore.domain.pages import StatusLogsQuery, span
from longshore.engine.concurrency import together

if TYPE_CHECKING:
    # Reading a page must not import the models, which take a third of a cold start.
    from longshore.aws.history_pages import HistoryPages
    from longshore.aws.store import Store
    from longshore.domain.models import Container


class ContainerReader:
    """Reads containers for a user. The container and the user's grants are read at the same time."""

    def __init__(self, store: "Store", access: Access) -> None:
        self._store = store
        self._access = access

    def container(self, user_id: str, container_id: str) -> "Container":
        """Read a container.

        Raises:
            LongshoreError: What `Access.admit` raises.
            ExternalServiceError: DynamoDB failed.
        """
        container, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
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
