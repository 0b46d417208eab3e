"""The subcommands of `longshore schedule`: `ls`, `show`, `set`, `rm`, `pause` and `resume`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from longshore_client.cli import targets
from longshore_client.cli.app import Session, app, command
from longshore_client.cli.exits import Problem
from longshore_client.cli.operations import Project
from longshore_client.cli.schedules_view import print_deleted, print_schedule, print_schedules
from longshore_client.cli.text import parse_label
from longshore_client.models import Schedule, Targets

group = typer.Typer(help="List, save and delete the schedules of a project.", no_args_is_help=True)
app.add_typer(group, name="schedule")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the schedule: 1 to 32 characters of a-z, 0-9 and -.")
]


class OperationName(StrEnum):
    """The operations."""

    START = "start"
    STOP = "stop"
    FORCE_STOP = "force-stop"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"


@command("ls", group=group)
def ls(session: Session, project: Project = None) -> None:
    """List the schedules of a project, with their next runs."""
    print_schedules(session.output, session.client.api.schedules.get_all(_project(session, project)))


@command("show", group=group)
def show(session: Session, name: Name, project: Project = None) -> None:
    """Show a schedule and its next runs."""
    print_schedule(session.output, session.client.api.schedules.get(_project(session, project), name))


@command("set", group=group)
def set_(
    session: Session,
    name: Name,
    operation: Annotated[OperationName, typer.Option(help="The operation to run.")],
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS",
            help="Six fields as in EventBridge Scheduler: minutes hours day-of-month month day-of-week year, such as "
            "'0 20 ? * MON-FRI *'.",
        ),
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="INTERVAL", help="An interval, such as '12 hours'.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="A local time in the time zone, such as 2026-03-02T20:00:00.")
    ] = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="IANA name of the time zone, such as Europe/Berlin.")
    ] = "UTC",
    everything: Annotated[bool, typer.Option("--all", help="Operate all containers of the project.")] = False,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="KEY:VALUE", help="Operate the containers with this label. May be repeated: all match."
        ),
    ] = None,
    containers: Annotated[
        list[str] | None,
        typer.Option(
            "--container",
            metavar="CONTAINER",
            help="Operate the container with this name or id. May be repeated.",
            autocompletion=targets.complete_container,
        ),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Save the schedule, but do not run it.")] = False,
    project: Project = None,
) -> None:
    """Create a schedule, or replace the one with this name. Requires the role `operator`."""
    expressions = [f"{kind}({text})" for kind, text in (("cron", cron), ("rate", rate), ("at", at)) if text is not None]
    if len(expressions) != 1:
        raise typer.BadParameter("specify one of --cron, --rate and --at")
    if sum(map(bool, (everything, labels, containers))) != 1:
        raise typer.BadParameter("specify one of --all, --label and --container")
    wanted_labels = _labels(labels or ())
    project_id = _project(session, project)
    saved = session.client.api.schedules.save(
        project_id,
        name,
        operation=operation.value,
        expression=expressions[0],
        targets=_targets(session, project_id, wanted_labels, containers or ()),
        timezone=timezone,
        enabled=not disabled,
    )
    print_schedule(session.output, saved)


@command("rm", group=group)
def rm(session: Session, name: Name, project: Project = None) -> None:
    """Delete a schedule, if it exists. Requires the role `operator`."""
    session.client.api.schedules.delete(_project(session, project), name)
    print_deleted(session.output, name)


@command("pause", group=group)
def pause(session: Session, name: Name, project: Project = None) -> None:
    """Disable a schedule until it is resumed. Requires the role `operator`."""
    _switch(session, name, project, enabled=False)


@command("resume", group=group)
def resume(session: Session, name: Name, project: Project = None) -> None:
    """Enable a schedule that was paused. Requires the role `operator`.

    The schedule then runs with your role.
    """
    _switch(session, name, project, enabled=True)


def _switch(session: Session, name: str, project: str | None, *, enabled: bool) -> None:
    """Save a schedule as it was read, enabled or disabled, unless it already is."""
    project_id = _project(session, project)
    found = session.client.api.schedules.get(project_id, name)
    if found.enabled is not enabled:
        found = _saved(session, project_id, found, enabled)
    print_schedule(session.output, found)


def _saved(session: Session, project_id: str, schedule: Schedule, enabled: bool) -> Schedule:
    return session.client.api.schedules.save(
        project_id,
        schedule.name,
        operation=schedule.operation,
        expression=schedule.expression,
        targets=schedule.targets,
        timezone=schedule.timezone,
        enabled=enabled,
    )


def _project(session: Session, text: str | None) -> str:
    """Return the id of the project that is given, or of the only project of the user.

    Raises:
        Problem: No project is given, and the user is a member of none or several; or the name is unknown or ambiguous.
        LongshoreError: The API returned an error or did not respond.
    """
    given = targets.project_id(session.client, text)
    if given is not None:
        return given
    found = session.client.api.projects.get_all()
    if len(found) == 1:
        return found[0].id
    raise Problem(
        "PROJECT_REQUIRED",
        f"specify --project: you are a member of {len(found)} projects",
        advice=[f"{project.id}  {project.name or ''}".rstrip() for project in found],
        data={"candidates": [project.raw for project in found]},
    )


def _labels(given: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for key, value in map(parse_label, given):
        if not key or value is None or key in labels:
            raise typer.BadParameter("--label must have the form KEY:VALUE, each key once")
        labels[key] = value
    return labels


def _targets(session: Session, project_id: str, labels: dict[str, str], containers: Sequence[str]) -> Targets:
    if labels:
        return {"labels": labels}
    if not containers:
        return {"all": True}
    ids = [targets.container_id(session.client, text, project_id) for text in containers]
    return {"container_ids": list(dict.fromkeys(ids))}
