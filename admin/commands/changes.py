"""Commands that change and unregister containers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated

import typer
from longshore.domain.lifecycle import LaunchType
from typer import Argument, Option

from admin.capacity import how_to_run
from admin.changes import Changes, RuntimeChange
from admin.commands.options import CapacityProviders, Context, Id, Json
from admin.output import remark, report
from admin.registry import Registry

app = typer.Typer()


def warn_of_same_name(name: str, others: Collection[str]) -> None:
    """Warn the operator of other containers that have the same name."""
    if others:
        remark(f"warning: {', '.join(sorted(others))} of the same project also has the name {name}.")


@app.command()
def rename(
    context: Context,
    id: Id,  # noqa: A002
    name: Annotated[str, Argument(help="New display name.")],
    json: Json = False,
) -> None:
    """Change the name of a container, also while an operation is pending."""
    found = context.obj.target()
    before = Changes(found).rename(id, name)
    values = {"id": id, "name": name, "previous_name": before.name}
    report(f"The container {id} has the name {name}, and had the name {before.name}.", values, json=json)
    warn_of_same_name(name, Registry.of(found).named(before.project_id, name) - {id})


@app.command()
def move(
    context: Context,
    id: Id,  # noqa: A002
    project: Annotated[str, Argument(help="Id of the new project.")],
    json: Json = False,
) -> None:
    """Move a container to another project. Rows that exist stay in the history of the previous project."""
    found = context.obj.target()
    before = Changes(found).move(id, project)
    was = "already belonged to it" if before.project_id == project else f"belonged to the project {before.project_id}"
    values = {"id": id, "project_id": project, "previous_project_id": before.project_id}
    report(f"The container {id} belongs to the project {project}, and {was}.", values, json=json)
    warn_of_same_name(before.name, Registry.of(found).named(project, before.name) - {id})


@app.command()
def change(
    context: Context,
    id: Id,  # noqa: A002
    task_definition: Annotated[str | None, Option(help="Family, family:revision or ARN.")] = None,
    launch_type: Annotated[LaunchType | None, Option(case_sensitive=False, help="Launch type of the tasks.")] = None,
    capacity_provider: CapacityProviders = None,
    subnet: Annotated[list[str] | None, Option(help="Subnet of the tasks. Repeatable; replaces all.")] = None,
    security_group: Annotated[list[str] | None, Option(help="Security group. Repeatable; replaces all.")] = None,
    no_network: Annotated[bool, Option("--no-network", help="Remove subnets, security groups and address.")] = False,
    assign_public_ip: Annotated[
        bool | None, Option("--assign-public-ip/--no-public-ip", help="Assign a public IP address (Fargate only).")
    ] = None,
    placement_constraint: Annotated[
        list[str] | None, Option(help="Expression of the ECS cluster query language. Repeatable; replaces all.")
    ] = None,
    no_placement_constraints: Annotated[
        bool, Option("--no-placement-constraints", help="Remove all placement constraints.")
    ] = False,
    server: Annotated[str | None, Option(help="Bind the container to another instance.")] = None,
    no_server: Annotated[bool, Option("--no-server", help="Do not bind the container to an instance.")] = False,
    json: Json = False,
) -> None:
    """Change the task definition or the placement of a container. The next start uses the new values."""
    if launch_type is not None and capacity_provider:
        raise typer.BadParameter("--launch-type and --capacity-provider cannot be combined")
    if no_network and (subnet or security_group or assign_public_ip):
        raise typer.BadParameter("--no-network cannot be combined with other options of the network")
    if (no_server and server) or (no_placement_constraints and placement_constraint):
        raise typer.BadParameter("an option and its negation cannot be combined")
    wanted = RuntimeChange(
        task_definition=task_definition,
        subnets=[] if no_network else subnet,
        security_groups=[] if no_network else security_group,
        assign_public_ip=False if no_network else assign_public_ip,
        placement_constraints=[] if no_placement_constraints else placement_constraint,
        server="" if no_server else server,
    )
    if wanted == RuntimeChange() and launch_type is None and not capacity_provider:
        raise typer.BadParameter("specify what to change")
    found = context.obj.target()
    changes = Changes(found)
    cluster = changes.existing(id).runtime.cluster
    wanted = replace(wanted, **how_to_run(found.ecs(), cluster, launch_type, capacity_provider))
    before = changes.change_runtime(id, wanted)
    runtime, bound = wanted.of(before)
    differs = (runtime, bound) != (before.runtime, before.server_instance_id)
    values = {"id": id, "changed": differs, "runtime": runtime.model_dump(mode="json"), "server_id": bound}
    said = "was changed: its next start uses the new values" if differs else "already has these values"
    report(f"The container {id} {said}.", values, json=json)


@app.command()
def unregister(
    context: Context,
    id: Id,  # noqa: A002
    yes: Annotated[bool, Option("--yes", help="Unregister it. Without it, only show what would be done.")] = False,
    json: Json = False,
) -> None:
    """Remove a container that has no task. Its history stays in the table."""
    changes = Changes(context.obj.target())
    if not yes:
        found = changes.existing(id)
        text = f"The container {id} ({found.name}, {found.status.value}) would be unregistered"
        report(f"{text}. Nothing was changed: add --yes.", {"id": id, "unregistered": False}, json=json)
        return
    changes.unregister(id)
    report(f"Unregistered the container {id}. Its history stays.", {"id": id, "unregistered": True}, json=json)
