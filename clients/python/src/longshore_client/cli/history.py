"""The subcommand `history`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from longshore_client._filters import LogFilters
from longshore_client.cli import targets
from longshore_client.cli.app import Session, command
from longshore_client.cli.fleet import Order
from longshore_client.cli.follow import follow, follow_project
from longshore_client.cli.history_view import print_csv, print_page, print_rows
from longshore_client.cli.operations import Project
from longshore_client.cli.targets import StatusName
from longshore_client.cli.text import parse_time
from longshore_client.models import Status

_ROWS = 10


class SortBy(StrEnum):
    """The fields that the history can be sorted by."""

    TRANSITION_TIME = "transition_time"
    CREATED_AT = "created_at"
    TO_STATUS = "to_status"
    FROM_STATUS = "from_status"


@dataclass(frozen=True, slots=True)
class Query:
    """The rows to show.

    Attributes:
        limit: The number of rows, or None if it is not given.
        page: The number of the page, or None if it is not given.
    """

    since: datetime | None
    until: datetime | None
    status: StatusName | None
    sort_by: SortBy
    order: Order
    page: int | None
    limit: int | None

    @property
    def to_status(self) -> Status | None:
        """The status to filter by."""
        return self.status.value if self.status else None

    @property
    def is_latest(self) -> bool:
        """Whether the rows are the latest, in the default order."""
        return (self.until, self.sort_by, self.order, self.page) == (None, SortBy.TRANSITION_TIME, Order.DESC, None)


@command("history")
def history(
    session: Session,
    container: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTAINER",
            help="Name or id of the container. Without it: the history of --project.",
            autocompletion=targets.complete_container,
        ),
    ] = None,
    project: Project = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Only rows at or after this time (RFC 3339), or since 2h or 7d ago."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only rows at or before this time.")] = None,
    status: Annotated[StatusName | None, typer.Option(help="Only rows with this new status.")] = None,
    sort_by: Annotated[SortBy, typer.Option(help="Sort field of a container's history.")] = SortBy.TRANSITION_TIME,
    order: Annotated[Order, typer.Option(help="Sort order.")] = Order.DESC,
    page: Annotated[int | None, typer.Option(min=1, help="Page of a container's history.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Number of rows, 10 by default. With --follow: rows to start with."),
    ] = None,
    follows: Annotated[
        bool, typer.Option("--follow", "-f", help="Print the latest rows and then new rows until Ctrl-C.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV. Without --limit and --page: all rows that match.")
    ] = False,
) -> None:
    """Show the status changes of a container or of a project."""
    query = Query(_time("--from", since), _time("--to", until), status, sort_by, order, page, limit)
    if follows and (as_csv or not query.is_latest):
        raise typer.BadParameter("--follow cannot be combined with --to, --sort-by, --order, --page or --csv")
    if as_csv and session.output.as_json:
        raise typer.BadParameter("--csv cannot be combined with --json")
    project_id = targets.project_id(session.client, project)
    if container is not None:
        _container_history(session, targets.container_id(session.client, container, project_id), query, follows, as_csv)
    elif project_id is None:
        raise typer.BadParameter("specify a container or --project")
    elif page is not None or sort_by is not SortBy.TRANSITION_TIME:
        raise typer.BadParameter("--page and --sort-by require a container")
    else:
        _project_history(session, project_id, query, follows, as_csv)


def _container_history(session: Session, container_id: str, query: Query, follows: bool, as_csv: bool) -> None:
    output, containers = session.output, session.client.api.containers
    if follows:
        limit, start = query.limit or _ROWS, query.since
        parts = follow(session.client, container_id, limit, output.note, since=start, to_status=query.to_status)
        for number, rows in enumerate(parts):
            print_rows(output, rows, header=number == 0)
        return
    filters: LogFilters = {
        "since": query.since,
        "until": query.until,
        "to_status": query.to_status,
        "sort_by": query.sort_by.value,
        "sort_order": query.order.value,
    }
    if as_csv and query.limit is None and query.page is None:
        print_csv(containers.iter_status_logs(container_id, **filters))
        return
    page = containers.get_status_logs(container_id, page=query.page or 1, limit=query.limit or _ROWS, **filters)
    if as_csv:
        print_csv(page.logs)
    else:
        print_page(output, page)


def _project_history(session: Session, project_id: str, query: Query, follows: bool, as_csv: bool) -> None:
    output, client = session.output, session.client
    if follows:
        limit, start = query.limit or _ROWS, query.since
        parts = follow_project(client, project_id, limit, output.note, since=start, to_status=query.to_status)
        for number, rows in enumerate(parts):
            print_rows(output, rows, header=number == 0, names=True)
        return
    found = client.api.projects.iter_status_logs(
        project_id,
        since=query.since,
        until=query.until,
        to_status=query.to_status,
        sort_order=query.order.value,
    )
    if as_csv:
        print_csv(islice(found, query.limit))
    elif output.as_json:
        output.json({"logs": [row.raw for row in islice(found, query.limit or _ROWS)]})
    else:
        print_rows(output, list(islice(found, query.limit or _ROWS)), header=True, names=True)


def _time(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_time(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from error
