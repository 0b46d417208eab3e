"""What a member may read: a container, and the pages of its history."""

from longshore.access import Access
from longshore.concurrency import together
from longshore.history import span
from longshore.models import Container, Pagination, StatusLogsPage, StatusLogsQuery
from longshore.store import Store


class Reader:
    """Reads for a user. Raises the errors of `Access.admit`, and ExternalServiceError."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def container(self, user_id: str, container_id: str) -> Container:
        """The container as it is now. Its item and the user's grants are read at the same time."""
        container, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        return self._access.admit(grants, container, operates=False)

    def status_logs(self, user_id: str, container_id: str, query: StatusLogsQuery) -> StatusLogsPage:
        """A page of the container's history: one Query, however deep. Total and rows are of the same moment."""
        container = self.container(user_id, container_id)
        where = span(container, query)
        return StatusLogsPage(
            logs=self._store.page(container, where) if where else [],
            pagination=Pagination(
                total=container.log_count,
                page=query.page,
                limit=query.limit,
                totalPages=-(-container.log_count // query.limit),
            ),
        )
