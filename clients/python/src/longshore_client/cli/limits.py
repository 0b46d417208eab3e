"""The subcommands that limit and scale containers.

They are `stop-at`, `hold`, `idle-timeout`, `keep-alive`, `protect`, `unprotect` and `scale`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from longshore_client.cli import targets
from longshore_client.cli.app import Session, command
from longshore_client.cli.exits import Exit
from longshore_client.cli.fleet_view import print_container, print_containers
from longshore_client.cli.moments import For, Until, moment_of
from longshore_client.cli.operations import ContainerName, Project
from longshore_client.cli.text import parse_duration
from longshore_client.errors import LongshoreError
from longshore_client.models import Container

Off = Annotated[bool, typer.Option("--off", help="Remove the limit.")]


@command("stop-at")
def stop_at(
    session: Session,
    container: ContainerName,
    duration: For = None,
    until: Until = None,
    off: Off = False,
    project: Project = None,
) -> None:
    """Stop a container at a later time. Requires the role `operator`."""
    moment = _moment(duration, until, off)
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), stop_at=moment)
    )


@command("hold")
def hold(
    session: Session,
    container: ContainerName,
    duration: For = None,
    until: Until = None,
    off: Off = False,
    project: Project = None,
) -> None:
    """Let schedules skip a container for some time. Requires the role `operator`."""
    moment = _moment(duration, until, off)
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), hold_until=moment)
    )


@command("idle-timeout")
def idle_timeout(
    session: Session,
    container: ContainerName,
    timeout: Annotated[str, typer.Argument(metavar="DURATION|off", help="5 minutes to 7 days: such as 30m, 2h or 3d.")],
    project: Project = None,
) -> None:
    """Stop a container when it has not been kept alive for some time. Requires the role `operator`."""
    try:
        seconds = None if timeout == "off" else int(parse_duration(timeout).total_seconds())
    except ValueError as error:
        raise typer.BadParameter(f"the timeout {error}, or off") from error
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), idle_timeout=seconds)
    )


@command("keep-alive")
def keep_alive(
    session: Session,
    containers: Annotated[
        list[str],
        typer.Argument(
            metavar="CONTAINER",
            help="Names or ids of the containers.",
            autocompletion=targets.complete_container,
        ),
    ],
    project: Project = None,
) -> Exit:
    """Count the idle timeouts of running containers anew. Requires the role `operator`."""
    project_id = targets.project_id(session.client, project)
    ids = list(dict.fromkeys(targets.container_id(session.client, text, project_id) for text in containers))
    if len(ids) == 1:
        print_container(session.output, session.client.api.containers.keep_alive(ids[0]))
        return Exit.DONE
    kept = _kept_alive(session, ids)
    print_containers(session.output, kept)
    return Exit.DONE if len(kept) == len(ids) else Exit.PARTIAL


@command("protect")
def protect(
    session: Session,
    container: ContainerName,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: 1 to 256 characters.")],
    project: Project = None,
) -> None:
    """Refuse stop, force-stop, restart and pause of a container by anyone. Requires the role `owner`."""
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), protection=reason)
    )


@command("unprotect")
def unprotect(session: Session, container: ContainerName, project: Project = None) -> None:
    """Remove the protection of a container. Requires the role `owner`."""
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), protection=None)
    )


@command("scale")
def scale(
    session: Session,
    container: ContainerName,
    count: Annotated[int, typer.Argument(metavar="COUNT", min=1, help="The number of tasks.")],
    project: Project = None,
) -> None:
    """Change the number of tasks of a service, also for its next start. Requires the role `owner`."""
    print_container(
        session.output, session.client.api.containers.update(_id(session, container, project), desired_count=count)
    )


def _id(session: Session, container: str, project: str | None) -> str:
    return targets.container_id(session.client, container, targets.project_id(session.client, project))


def _moment(duration: str | None, until: str | None, off: bool) -> datetime | None:
    """Return the time of a limit, or None to remove it."""
    moment = moment_of(duration, until)
    if (moment is None) is not off:
        raise typer.BadParameter("specify one of --for, --until and --off")
    return moment


def _kept_alive(session: Session, ids: Sequence[str]) -> list[Container]:
    """Keep containers alive. Print the errors, and return the containers that were kept alive."""
    kept = []
    for identity in ids:
        try:
            kept.append(session.client.api.containers.keep_alive(identity))
        except LongshoreError as error:
            session.output.error(error, identity)
    return kept
