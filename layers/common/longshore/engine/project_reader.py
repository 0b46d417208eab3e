"""Reading the history of a project for a member of the project."""

from typing import Any

from longshore.aws.access import Access
from longshore.aws.project_history import Found, Part, ProjectHistory
from longshore.domain.clock import Clock
from longshore.domain.project_pages import Position, ProjectLogsQuery
from longshore.domain.retention import oldest
from longshore.domain.times import EARLIEST
from longshore.engine.concurrency import together

_DELETED = Found(None, EARLIEST)


class ProjectReader:
    """Reads pages of projects' histories for a user."""

    def __init__(self, history: ProjectHistory, access: Access, clock: Clock, retention: int) -> None:
        """Create the reader.

        Args:
            history: Reads the rows.
            access: Reads the roles.
            clock: The clock, which determines the rows that are still shown.
            retention: The retention of the stack in days; 0 keeps everything.
        """
        self._history = history
        self._access = access
        self._clock = clock
        self._retention = retention

    def page(self, user_id: str, query: ProjectLogsQuery) -> dict[str, Any]:
        """Read a page: the rows and the user's grants at the same time, then the containers of the rows.

        A page with a filter takes up to three reads of rows, and may be short or empty although more rows match. So may
        a page with rows of a container whose own retention is shorter than the stack's.

        Returns:
            JSON values in the shape of `ProjectStatusLogsPage`.

        Raises:
            AccountBannedError: The user is banned.
            ProjectNotFoundError: The project does not exist, or the user is not a member of it.
            ExternalServiceError: DynamoDB failed.
        """
        query = query._replace(floor=oldest(self._clock.now(), self._retention))
        part, grants = together(lambda: self._first(query), lambda: self._access.grants(user_id))
        self._access.admit_to_project(grants, query.project_id)
        rows, last = list(part.rows), part.last
        for most in query.reads[1:]:
            if last is None or len(rows) > query.limit:
                break
            part = self._history.rows(query, last, most)
            rows, last = rows + part.rows, part.last
        if len(rows) > query.limit:
            rows = rows[: query.limit]
            last = Position(rows[-1]["transition_time"], rows[-1]["container_id"])
        found = self._history.containers(query.project_id, (row["container_id"] for row in rows))
        of_rows = ((row, found.get(row["container_id"], _DELETED)) for row in rows)
        return {
            "logs": [row | {"container_name": of.name} for row, of in of_rows if row["transition_time"] >= of.floor],
            "pagination": {"limit": query.limit, "next_cursor": query.cursor(last) if last else None},
        }

    def _first(self, query: ProjectLogsQuery) -> Part:
        return Part([], None) if query.is_over else self._history.rows(query, query.start, query.reads[0])
