"""Commands that manage the stack's schedules: scheduled stops, which are rules, and the schedules of the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument, Option

from admin.commands.options import Context, Json
from admin.errors import AdminError
from admin.output import as_json, remark, report, table
from admin.registry import Registry
from admin.scheduler import ApiSchedule, ApiSchedules, api_schedules, is_of_the_api
from admin.schedules import Listed, Schedules, expression_of, stop_input

app = typer.Typer(
    help="Manage the stack's schedules: scheduled stops (EventBridge rules), and the schedules of the API.",
    no_args_is_help=True,
)

Name = Annotated[str, Argument(help="Name of the schedule. History rows show it as `rule`.")]
AnyName = Annotated[str, Argument(help="Name of the schedule, as `schedule list` shows it.")]


@app.command("list")
def schedule_list(context: Context, json: Json = False) -> None:
    """List the stack's schedules with their next run time (UTC)."""
    target = context.obj.target()
    rules, saved = Schedules.of(target).all(), api_schedules(target)
    found: list[Listed | ApiSchedule] = [*rules, *saved]
    known = Registry.of(target).known([identity for each in found for identity in each.container_ids])
    unknown = [[identity for identity in each.container_ids if identity not in known] for each in found]
    if json:
        shown = zip(found, unknown, strict=True)
        as_json([each.as_json() | {"unknown_containers": missing} for each, missing in shown])
    else:
        table(["NAME", "WHEN", "DOES", "STATE", "NEXT"], [_listed(each) for each in found])
    for each, missing in zip(found, unknown, strict=True):
        if missing:
            remark(f"warning: the schedule {each.name} names unknown containers: {', '.join(missing)}.")


def _listed(each: Listed | ApiSchedule) -> list[str]:
    does = (
        "no target: add it again" if each.input is None else f"{each.input.get('operation', 'stop')} {_of(each.input)}"
    )
    following = each.next_at.strftime("%Y-%m-%d %H:%M") if each.next_at else "-"
    zone = f" {each.timezone}" if isinstance(each, ApiSchedule) and each.timezone != "UTC" else ""
    return [each.name, f"{each.expression}{zone}", does, "enabled" if each.enabled else "disabled", following]


def _of(given: dict[str, Any]) -> str:
    """Return the containers that the input of a schedule selects, for people."""
    match given:
        case {"container_ids": list(ids)}:
            return " ".join(map(str, ids))
        case {"project_id": str(project), "labels": dict(labels)}:
            return f"{' '.join(f'{key}:{value}' for key, value in labels.items())} in project {project}"
        case {"project_id": str(project)}:
            return f"project {project}"
        case _:
            return "all"


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


@app.command("pause")
def schedule_pause(context: Context, name: AnyName, json: Json = False) -> None:
    """Disable a schedule that `schedule add` or the API created. Safe to repeat."""
    _manager(context, name).set_enabled(name, enabled=False)
    report(f"Paused the schedule {name}.", {"name": name, "enabled": False}, json=json)


@app.command("resume")
def schedule_resume(context: Context, name: AnyName, json: Json = False) -> None:
    """Enable a schedule that `schedule add` or the API created. Safe to repeat."""
    _manager(context, name).set_enabled(name, enabled=True)
    report(f"Resumed the schedule {name}.", {"name": name, "enabled": True}, json=json)


@app.command("remove")
def schedule_remove(context: Context, name: AnyName, json: Json = False) -> None:
    """Remove a schedule that `schedule add` or the API created."""
    _manager(context, name).remove(name)
    report(f"Removed the schedule {name}.", {"name": name, "removed": True}, json=json)


def _manager(context: Context, name: str) -> ApiSchedules | Schedules:
    target = context.obj.target()
    return ApiSchedules.of(target) if is_of_the_api(name) else Schedules.of(target)
