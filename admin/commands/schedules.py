"""Commands that manage the stack's scheduled stops."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from admin.commands.options import Context, Json
from admin.errors import REFUSED, AdminError
from admin.output import as_json, remark, report, table
from admin.registry import Registry
from admin.schedules import Listed, Schedules, expression_of, stop_input

app = typer.Typer(help="Manage the stack's scheduled stops (EventBridge rules).", no_args_is_help=True)

Name = Annotated[str, Argument(help="Name of the schedule. History rows show it as `rule`.")]


@app.command("list")
def schedule_list(context: Context, json: Json = False) -> None:
    """List the stack's scheduled stops with their next run time (UTC)."""
    target = context.obj.target()
    found = Schedules.of(target).all()
    known = Registry.of(target).known([identity for each in found for identity in each.container_ids])
    unknown = {each.rule: [identity for identity in each.container_ids if identity not in known] for each in found}
    if json:
        as_json([each.as_json() | {"unknown_containers": unknown[each.rule]} for each in found])
    else:
        table(["NAME", "WHEN", "STOPS", "STATE", "NEXT"], [_listed(each) for each in found])
    for each in found:
        if unknown[each.rule]:
            remark(f"warning: the schedule {each.name} names unknown containers: {', '.join(unknown[each.rule])}.")
    old = sum(each.ours and each.input is not None and each.outdated for each in found)
    if old:
        remark(f"{old} schedules are of an older version: run `schedule migrate`.")


def _listed(each: Listed) -> list[str]:
    match each.input:
        case None:
            stops = "no target: add it again"
        case {"project_id": str(project)}:
            stops = f"project {project}"
        case {"container_ids": list(ids)}:
            stops = " ".join(map(str, ids))
        case _:
            stops = "all"
    following = each.next_at.strftime("%Y-%m-%d %H:%M") if each.next_at else "-"
    return [each.name, each.expression, stops, "enabled" if each.enabled else "disabled", following]


@app.command("add")
def schedule_add(
    context: Context,
    name: Name,
    cron: Annotated[str | None, Option(help="'minutes hours day month weekday year', in UTC.")] = None,
    rate: Annotated[str | None, Option(help="Interval, for example '12 hours'.")] = None,
    all: Annotated[bool, Option("--all", help="Stop all running containers.")] = False,  # noqa: A002
    project: Annotated[str | None, Option(help="Stop the running containers of this project.")] = None,
    container: Annotated[list[str] | None, Option(help="Stop this container. Repeatable.")] = None,
    disabled: Annotated[bool, Option("--disabled", help="Create the schedule disabled.")] = False,
    replace: Annotated[bool, Option("--replace", help="Replace an existing schedule with this name.")] = False,
    json: Json = False,
) -> None:
    """Add a scheduled stop. Safe to repeat."""
    expression = expression_of(cron, rate)
    stops = stop_input(project, container or [], everything=all)
    target = context.obj.target()
    known = Registry.of(target).known(container or [])
    unknown = [identity for identity in container or [] if identity not in known]
    if unknown:
        raise AdminError(f"These containers do not exist: {', '.join(unknown)}.")
    added = Schedules.of(target).add(name, expression, stops, enabled=not disabled, replace=replace)
    state = "disabled" if disabled else f"next at {added.next_at:%Y-%m-%d %H:%M} UTC" if added.next_at else "enabled"
    report(f"Schedule {name}: {expression}, {state}.", added.as_json(), json=json)


@app.command("migrate")
def schedule_migrate(context: Context, json: Json = False) -> None:
    """Update schedules that older versions added, after deploying this version. Safe to repeat."""
    changed, refused = Schedules.of(context.obj.target()).migrate()
    if not json:
        for name in changed:
            remark(f"Migrated the schedule {name}.")
    for name, reason in refused.items():
        remark(f"error: the schedule {name} was not migrated: {reason}.")
    report(f"{len(changed)} migrated, {len(refused)} failed.", {"migrated": changed, "failed": refused}, json=json)
    if refused:
        raise typer.Exit(REFUSED)


@app.command("remove")
def schedule_remove(context: Context, name: Name, json: Json = False) -> None:
    """Remove a scheduled stop that `schedule add` created."""
    Schedules.of(context.obj.target()).remove(name)
    report(f"Removed the schedule {name}.", {"name": name, "removed": True}, json=json)
