"""The subcommands of `longshore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version as version_of
from typing import Annotated, get_args

import typer

from longshore_client.cli.config import ConfigurationError, settings
from longshore_client.cli.exits import Exit, exit_code
from longshore_client.cli.follow import follow
from longshore_client.cli.render import Output
from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import Operation

app = typer.Typer(
    help="Start, stop, kill, pause and resume containers, and read their history.",
    epilog="Exit codes: 0 success, 1 unexpected response, 2 usage error, 3 conflict, 4 not found or not allowed, "
    "5 invalid token, 6 service unavailable, 7 still pending, 8 failed, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_HELP: dict[Operation, str] = {
    "start": "Run the container's task.",
    "stop": "Stop the task gracefully.",
    "force-stop": "Kill the task immediately and supersede any pending operation.",
    "restart": "Stop the task and run a new task.",
    "pause": "Freeze the task's processes. They keep their memory and use no CPU.",
    "resume": "Unfreeze the task's processes.",
}


class SortBy(StrEnum):
    """The fields that the history can be sorted by."""

    TRANSITION_TIME = "transition_time"
    CREATED_AT = "created_at"
    TO_STATUS = "to_status"
    FROM_STATUS = "from_status"


class Order(StrEnum):
    """The sort orders."""

    ASC = "asc"
    DESC = "desc"


Id = Annotated[str, typer.Argument(metavar="ID", help="Container id: 24 characters of 0-9 and a-f.")]
Url = Annotated[str | None, typer.Option(help="Base URL of the API. Default: LONGSHORE_URL or the configuration file.")]
Token = Annotated[
    str | None, typer.Option(help="Bearer token. Default (recommended): LONGSHORE_TOKEN or the configuration file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON of the API.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"longshore {version_of('longshore-client')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def options(version: Version = False) -> None:
    """Define the options that precede a subcommand."""


def _add(operation: Operation) -> None:
    @app.command(operation, help=_HELP[operation])
    def manage(
        container_id: Id,
        wait: Annotated[bool, typer.Option("--wait", help="Wait until the operation has ended.")] = False,
        timeout: Annotated[float, typer.Option(min=0, help="Maximum seconds to wait with --wait.")] = 300,
        as_json: AsJson = False,
        url: Url = None,
        token: Token = None,
    ) -> None:
        output = Output(as_json=as_json)
        interrupted = f"interrupted; the {operation} may continue: longshore status {container_id}"
        with _client(output, url, token, interrupted) as client, output.err.status(f"{operation} …"):
            result = client.api.containers.manage(container_id, operation, wait=wait, timeout=timeout)
        output.result(result)


for _operation in get_args(Operation):
    _add(_operation)


@app.command()
def status(container_id: Id, as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """Show a container's status, its allowed operations and its pending operation."""
    output = Output(as_json=as_json)
    with _client(output, url, token) as client:
        output.container(client.api.containers.get(container_id))


@app.command()
def logs(
    container_id: Id,
    sort_by: Annotated[SortBy, typer.Option(help="Sort field.")] = SortBy.TRANSITION_TIME,
    order: Annotated[Order, typer.Option(help="Sort order.")] = Order.DESC,
    page: Annotated[int, typer.Option(min=1, help="Page number.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Rows per page. With --follow: rows to start with.")] = 10,
    follows: Annotated[
        bool, typer.Option("--follow", "-f", help="Print the latest rows and then new rows until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show a container's history."""
    output = Output(as_json=as_json)
    if follows and (sort_by, order, page) != (SortBy.TRANSITION_TIME, Order.DESC, 1):
        raise typer.BadParameter("--follow cannot be combined with --sort-by, --order or --page")
    with _client(output, url, token) as client:
        if follows:
            for number, rows in enumerate(follow(client, container_id, limit, output.note)):
                output.rows(rows, header=number == 0)
        else:
            output.page(
                client.api.containers.get_status_logs(
                    container_id, sort_by=sort_by.value, sort_order=order.value, page=page, limit=limit
                )
            )


@contextmanager
def _client(output: Output, url: str | None, token: str | None, interrupted: str | None = None) -> Iterator[Longshore]:
    """Create a client from options, environment and configuration file. Errors are printed and set the exit code."""
    try:
        found = settings(url, token)
        made = Longshore(found.url, found.token)
    except (ConfigurationError, ValueError) as error:
        output.problem(str(error))
        raise typer.Exit(Exit.USAGE) from error
    try:
        with made as client:
            yield client
    except LongshoreError as error:
        output.error(error)
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt:
        if interrupted:
            output.note(interrupted)
        raise typer.Exit(Exit.INTERRUPTED) from None
