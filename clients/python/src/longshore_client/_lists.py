"""Plans for lists of containers and for projects."""

from collections.abc import Iterator
from typing import Unpack

from longshore_client._calls import Call, Plan, fetch, segment
from longshore_client._containers import PAGE
from longshore_client._filters import (
    ContainerFilters,
    ProjectLogFilters,
    Query,
    container_query,
    has_cursor,
    project_log_query,
)
from longshore_client._parsing import Json
from longshore_client.models import Container, ContainersPage, Project, ProjectLogsPage
from longshore_client.retries import Retries


def containers_page(
    project_id: str | None,
    page: int,
    limit: int,
    cursor: str | None,
    retries: Retries,
    **filters: Unpack[ContainerFilters],
) -> Plan[ContainersPage]:
    """Get a page of the containers of a project, or of all projects of the caller."""
    position = {"page": str(page)} if cursor is None else {"cursor": cursor}
    query = container_query(**filters) | position | {"limit": str(limit)}
    return (yield from _containers(project_id, query, retries))


def projects(retries: Retries) -> Plan[tuple[Project, ...]]:
    """Get the projects of the caller."""
    success = yield from fetch(Call("GET", "/projects"), retries)
    return success.parsed(_projects)


def project_logs_page(
    project_id: str, limit: int, cursor: str | None, retries: Retries, **filters: Unpack[ProjectLogFilters]
) -> Plan[ProjectLogsPage]:
    """Get a page of a project's history."""
    query = project_log_query(**filters) | {"limit": str(limit)}
    if cursor is not None:
        query["cursor"] = cursor
    success = yield from fetch(Call("GET", f"/projects/{segment(project_id)}/status-logs", query), retries)
    return success.parsed(ProjectLogsPage.of)


class ContainerWalk:
    """Iterates over the pages of a list of containers, and returns each container at most once.

    Uses the cursor where the API has one. A page by number may repeat containers if the list changes.
    """

    def __init__(self, project_id: str | None, retries: Retries, **filters: Unpack[ContainerFilters]) -> None:
        self.done = False
        self._project_id = project_id
        self._retries = retries
        self._query = container_query(**filters) | {"limit": str(PAGE)}
        self._position = {"cursor": ""} if has_cursor(project_id, self._query) else {"page": "1"}
        self._seen: set[str] = set()

    def next_page(self) -> Plan[ContainersPage]:
        """Get the next page."""
        return (yield from _containers(self._project_id, self._query | self._position, self._retries))

    def take(self, page: ContainersPage) -> Iterator[Container]:
        """Return the containers of the page that were not on earlier pages."""
        if "cursor" in self._position:
            self._position = {"cursor": page.next_cursor or ""}
            self.done = page.next_cursor is None
        else:
            number = int(self._position["page"])
            self._position = {"page": str(number + 1)}
            self.done = number >= (page.total_pages or 0)
        for container in page.containers:
            if container.id not in self._seen:
                self._seen.add(container.id)
                yield container


def _containers(project_id: str | None, query: Query, retries: Retries) -> Plan[ContainersPage]:
    path = "/containers" if project_id is None else f"/projects/{segment(project_id)}/containers"
    success = yield from fetch(Call("GET", path, query), retries)
    return success.parsed(ContainersPage.of)


def _projects(data: Json) -> tuple[Project, ...]:
    return tuple(Project.of(each) for each in data["projects"])
