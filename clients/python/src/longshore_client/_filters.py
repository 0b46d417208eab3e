"""Filters of lists and histories, as keyword arguments of the clients and as query parameters of the API."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from longshore_client.models import ContainerSortBy, SortBy, SortOrder, Status, Trigger

Query = dict[str, str | Sequence[str]]


class ContainerFilters(TypedDict, total=False):
    """Filters and order of a list of containers.

    Attributes:
        status: A status or several statuses. A container matches if it has any of them.
        name: A part of the name; upper and lower case are equal.
        labels: Labels that must all match. The value None matches every value of the key.
        sort_by: The field to sort by, by default the name.
        sort_order: The sort order, by default ascending.
    """

    status: Status | Iterable[Status] | None
    name: str | None
    labels: Mapping[str, str | None] | None
    sort_by: ContainerSortBy
    sort_order: SortOrder


class LogFilters(TypedDict, total=False):
    """Filters and order of a container's history.

    Attributes:
        since: Only rows at or after this time, which must have a time zone.
        until: Only rows at or before this time, which must have a time zone.
        to_status: Only rows with this new status. Cannot be combined with `from_status`.
        from_status: Only rows with this previous status.
        sort_by: The field to sort by, by default the transition time.
        sort_order: The sort order, by default descending.
    """

    since: datetime | None
    until: datetime | None
    to_status: Status | None
    from_status: Status | None
    sort_by: SortBy
    sort_order: SortOrder


class ProjectLogFilters(TypedDict, total=False):
    """Filters and order of a project's history.

    Attributes:
        since: Only rows at or after this time, which must have a time zone.
        until: Only rows at or before this time, which must have a time zone.
        to_status: Only rows with this new status.
        triggered_by: Only rows with this trigger.
        actor: Only rows of this user.
        container_id: Only rows of this container.
        sort_order: The order of the times, by default descending.
    """

    since: datetime | None
    until: datetime | None
    to_status: Status | None
    triggered_by: Trigger | None
    actor: str | None
    container_id: str | None
    sort_order: SortOrder


def container_query(
    *,
    status: Status | Iterable[Status] | None = None,
    name: str | None = None,
    labels: Mapping[str, str | None] | None = None,
    sort_by: ContainerSortBy = "name",
    sort_order: SortOrder = "asc",
) -> Query:
    """Return the query parameters of `ContainerFilters`."""
    query: Query = {"sort_by": sort_by, "sort_order": sort_order}
    if status is not None:
        query["status"] = status if isinstance(status, str) else ",".join(status)
    if name is not None:
        query["name"] = name
    if labels:
        query["label"] = [key if value is None else f"{key}:{value}" for key, value in labels.items()]
    return query


def log_query(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    to_status: Status | None = None,
    from_status: Status | None = None,
    sort_by: SortBy = "transition_time",
    sort_order: SortOrder = "desc",
) -> Query:
    """Return the query parameters of `LogFilters`. Raise ValueError if a time has no time zone."""
    query: Query = {"sort_by": sort_by, "sort_order": sort_order}
    given = {"from": time_text(since), "to": time_text(until), "to_status": to_status, "from_status": from_status}
    return query | _without_none(given)


def project_log_query(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    to_status: Status | None = None,
    triggered_by: Trigger | None = None,
    actor: str | None = None,
    container_id: str | None = None,
    sort_order: SortOrder = "desc",
) -> Query:
    """Return the query parameters of `ProjectLogFilters`. Raise ValueError if a time has no time zone."""
    query: Query = {"sort_order": sort_order}
    given = {
        "from": time_text(since),
        "to": time_text(until),
        "to_status": to_status,
        "triggered_by": triggered_by,
        "actor": actor,
        "container_id": container_id,
    }
    return query | _without_none(given)


def has_cursor(project_id: str | None, query: Query) -> bool:
    """Return whether the API reads this list with a cursor: it requires a project, the sort by name and no filter."""
    return project_id is not None and query["sort_by"] == "name" and not query.keys() & {"status", "name", "label"}


def time_text(moment: datetime | None) -> str | None:
    """Return a time as the API takes it, and None for None. Raise ValueError if it has no time zone."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"the time {moment.isoformat()} has no time zone")
    return moment.isoformat()


def _without_none(given: Mapping[str, str | None]) -> Query:
    return {name: value for name, value in given.items() if value is not None}
