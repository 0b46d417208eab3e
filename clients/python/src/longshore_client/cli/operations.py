"""The subcommands that operate containers: `start`, `stop`, `force-stop`, `restart`, `pause` and `resume`."""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex
from typing import Annotated, get_args

import typer

from longshore_client.cli import report, targets
from longshore_client.cli.app import Session, command
from longshore_client.cli.bulk import Bulk, idempotency_key
from longshore_client.cli.exits import Exit
from longshore_client.cli.fleet_view import print_result
from longshore_client.cli.moments import moment_of
from longshore_client.cli.targets import Filters, StatusName
from longshore_client.errors import LongshoreError
from longshore_client.models import Container, Operation

_HELP: dict[Operation, str] = {
    "start": "Run the tasks of containers.",
    "stop": "Stop the tasks gracefully.",
    "force-stop": "Kill the tasks immediately and supersede any pending operation.",
    "restart": "Stop the tasks and run new tasks.",
    "pause": "Freeze the tasks' processes. They keep their memory and use no CPU.",
    "resume": "Unfreeze the tasks' processes.",
}

_BEGINNING: tuple[Operation, ...] = ("start", "restart", "resume")

ContainerName = Annotated[
    str,
    typer.Argument(metavar="CONTAINER", help="Name or id of the container.", autocompletion=targets.complete_container),
]
Project = Annotated[str | None, typer.Option(metavar="PROJECT", help="Name or id of the project.")]
Statuses = Annotated[
    list[StatusName] | None, typer.Option("--status", help="Only containers with this status. May be repeated.")
]
NamePart = Annotated[
    str | None, typer.Option("--name", metavar="TEXT", help="Only containers whose name contains this text.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY[:VALUE]", help="Only containers with this label. May be repeated."),
]


def _add(operation: Operation) -> None:
    @command(operation, _HELP[operation], without=() if operation in _BEGINNING else ("duration", "until"))
    def manage(
        session: Session,
        containers: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="CONTAINER",
                help="Names or ids of the containers.",
                autocompletion=targets.complete_container,
            ),
        ] = None,
        project: Project = None,
        statuses: Statuses = None,
        labels: Labels = None,
        name: NamePart = None,
        wait: Annotated[
            bool | None,
            typer.Option(
                "--wait/--no-wait",
                help="Wait until the operation has ended. Default: --wait for several containers.",
                show_default=False,
            ),
        ] = None,
        timeout: Annotated[float, typer.Option(min=0, help="Maximum seconds to wait.")] = 300,
        duration: Annotated[
            str | None,
            typer.Option("--for", metavar="DURATION", help="Stop again after this time: such as 90s, 30m, 2h or 3d."),
        ] = None,
        until: Annotated[
            str | None, typer.Option("--until", metavar="TIME", help="Stop again at this time (RFC 3339).")
        ] = None,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for a confirmation.")] = False,
        run_id: Annotated[
            str | None,
            typer.Option(
                help="Repeat an interrupted run. Operations that were requested in the last 24 hours do not run again."
            ),
        ] = None,
    ) -> Exit:
        given = list(containers or [])
        filters = bool(statuses or labels or name)
        if given and filters:
            raise typer.BadParameter("--status, --label and --name cannot be combined with containers")
        if not given and not filters and project is None:
            raise typer.BadParameter("specify containers, or select them with --project, --status, --label or --name")
        if run_id is not None and not re.fullmatch("[!-~]{1,64}", run_id):
            raise typer.BadParameter("--run-id must consist of 1 to 64 visible ASCII characters")
        stop_at = moment_of(duration, until)
        run = run_id or token_hex(8)
        project_id = targets.project_id(session.client, project)
        if len(given) == 1:
            container_id = targets.container_id(session.client, given[0], project_id)
            return _manage_single(session, operation, container_id, run, timeout, bool(wait), stop_at)
        if given:
            selected = targets.containers(session.client, given, project_id)
        else:
            matching = Filters(project_id, statuses or (), name, labels or ()).select(session.client)
            selected = _operable(session, operation, list(matching), repeated=run_id is not None)
        if selected and not yes:
            report.confirm(session.output, operation, selected)
        return _manage_several(session, Bulk(operation, selected, run, wait is not False, timeout, stop_at))


for _operation in get_args(Operation):
    _add(_operation)


def _manage_single(
    session: Session,
    operation: Operation,
    container_id: str,
    run_id: str,
    timeout: float,
    wait: bool,
    stop_at: datetime | None,
) -> Exit:
    message = f"interrupted; the {operation} may continue: longshore status {container_id}"
    session.on_interrupt = lambda: (f"{message}; {report.repeat_hint(run_id)}", {"run_id": run_id})
    with session.output.err.status(f"{operation} …"):
        result = session.client.api.containers.manage(
            container_id,
            operation,
            wait=wait,
            timeout=timeout,
            idempotency_key=idempotency_key(run_id, container_id),
            stop_at=stop_at,
        )
    print_result(session.output, result)
    return Exit.DONE


def _manage_several(session: Session, bulk: Bulk) -> Exit:
    session.on_interrupt = lambda: report.interrupted(bulk)

    async def run() -> None:
        async with session.async_client() as client:
            with report.progress(session.output, bulk) as progressed:
                await bulk.run(client, progressed)

    try:
        asyncio.run(run())
    except LongshoreError:
        report.print_report(session.output, bulk)
        raise
    return report.print_report(session.output, bulk)


def _operable(session: Session, operation: Operation, found: Sequence[Container], *, repeated: bool) -> list[Container]:
    """Return the containers that allow the operation. In a repeated run, also those on which it is pending."""
    selected = [
        container
        for container in found
        if operation in container.allowed_operations
        or (repeated and container.pending_operation and container.pending_operation.operation == operation)
    ]
    if len(selected) < len(found):
        session.output.note(
            f"{len(found) - len(selected)} of {len(found)} matching containers do not allow {operation} and are skipped"
        )
    return selected
