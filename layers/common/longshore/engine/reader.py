"""What a member may read: a container, and the pages of its history."""

from typing import Any

from longshore.aws.access import Access
from longshore.aws.history_pages import HistoryPages
from longshore.aws.store import Store
from longshore.domain.history import span
from longshore.domain.models import Container, StatusLogsQuery
from longshore.engine.concurrency import together


class Reader:
    """Reads for a user. Raises the errors of `Access.admit`, and ExternalServiceError."""

    def __init__(self, store: Store, pages: HistoryPages, access: Access) -> None:
        self._store = store
        self._pages = pages
        self._access = access

    def container(self, user_id: str, container_id: str) -> Container:
        """The container as it is now. Its item and the user's grants are read at the same time."""
        container, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        return self._access.admit(grants, container, operates=False)

    def status_logs(self, user_id: str, container_id: str, query: StatusLogsQuery) -> dict[str, Any]:
        """A page of the container's history: one Query, however deep. Total and rows are of the same moment.

        What `StatusLogsPage` describes, as JSON values. Rows were checked when they were written, and never change: to
        make models of them once more would be most of the work of a page.
        """
        counters, grants = together(lambda: self._pages.counters(container_id), lambda: self._access.grants(user_id))
        admitted = self._access.admit(grants, counters, operates=False)
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
