"""Lists of containers for members of projects."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from longshore.aws.access import Access
from longshore.aws.listing import ContainerListing
from longshore.domain.listing import ContainersQuery, Entry, arranged
from longshore.domain.views import ContainerView
from longshore.engine.concurrency import together


class ContainerLists:
    """Reads pages of lists of containers for a user.

    Membership and order come from an index, which may lag by about a second. The containers in a page are then read
    consistently. A container that has been deleted, or moved to a project that the list does not cover, is left out.

    Every method returns JSON values: `containers`, each in the shape of `ContainerView`, and `pagination`.
    """

    def __init__(self, listing: ContainerListing, access: Access) -> None:
        self._listing = listing
        self._access = access

    def of_project(self, user_id: str, project_id: str, query: ContainersQuery) -> dict[str, Any]:
        """Read a page of the containers of a project. The index and the user's grants are read at the same time.

        Raises:
            AccountBannedError: The user is banned.
            ProjectNotFoundError: The user is not a member of the project.
            ExternalServiceError: DynamoDB failed.
        """
        read = self._walked if query.walks else self._listed
        entries, grants = together(lambda: read(project_id, query), lambda: self._access.all_grants(user_id))
        projects = self._access.admit_to_list(grants, project_id)
        if query.walks:
            return self._walk(entries, projects, query)
        return self._page(arranged(entries, query), projects, query)

    def of_user(self, user_id: str, query: ContainersQuery) -> dict[str, Any]:
        """Read a page of the containers of all projects of the user.

        Raises:
            AccountBannedError: The user is banned.
            ExternalServiceError: DynamoDB failed.
        """
        projects = self._access.admit_to_list(self._access.all_grants(user_id))
        read = together(*(partial(self._listed, project, query=query) for project in projects))
        # A container that has just been moved may have an entry in both projects.
        entries = {entry.id: entry for entries in read for entry in entries}
        return self._page(arranged(entries.values(), query), projects, query)

    def _listed(self, project_id: str, query: ContainersQuery) -> list[Entry]:
        return self._listing.entries(project_id, query.attributes)

    def _walked(self, project_id: str, query: ContainersQuery) -> list[Entry]:
        """Read the entries of a cursor's page, and one more if there is a next page."""
        return self._listing.entries_after(project_id, query.after, query.limit + 1, ascending=query.ascending)

    def _walk(self, entries: list[Entry], projects: Collection[str], query: ContainersQuery) -> dict[str, Any]:
        shown = entries[: query.limit]
        more = len(entries) > query.limit
        return {
            "containers": self._views(shown, projects),
            "pagination": {"limit": query.limit, "next_cursor": query.next_cursor(shown[-1]) if more else None},
        }

    def _page(self, entries: list[Entry], projects: Collection[str], query: ContainersQuery) -> dict[str, Any]:
        first = (query.page - 1) * query.limit
        shown = entries[first : first + query.limit]
        more = first + query.limit < len(entries)
        return {
            "containers": self._views(shown, projects),
            "pagination": {
                "total": len(entries),
                "page": query.page,
                "limit": query.limit,
                "totalPages": -(-len(entries) // query.limit),
                "next_cursor": query.next_cursor(shown[-1]) if more else None,
            },
        }

    def _views(self, entries: Sequence[Entry], projects: Collection[str]) -> list[dict[str, Any]]:
        """Read the containers of the entries, and leave out those that no longer belong to the projects."""
        found = self._listing.containers([entry.id for entry in entries])
        containers = [found[entry.id] for entry in entries if entry.id in found]
        return [
            ContainerView.of(container).model_dump(mode="json")
            for container in containers
            if container.project_id in projects
        ]
