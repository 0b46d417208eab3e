"""Commands that grant roles, ban users and name projects."""

from __future__ import annotations

from typing import Annotated

import typer
from longshore.domain.roles import Role
from typer import Argument, Option

from admin.commands.options import Context, Json, ProjectArgument, User
from admin.grants import AccessList, ProjectNames
from admin.inventory import Inventory
from admin.output import as_json, report, table
from admin.values import check_id

app = typer.Typer()


@app.command()
def grant(
    context: Context,
    user: User,
    project: ProjectArgument,
    role: Annotated[Role, Argument(help="viewer: read. operator, owner: read and operate.")],
    json: Json = False,
) -> None:
    """Set a user's role in a project."""
    before = AccessList.of(context.obj.target()).grant(user, project, role)
    was = f", and was {before}" if before not in (None, role) else ""
    values = {"user": user, "project_id": project, "role": role.value, "previous_role": before}
    report(f"{user} is {role.value} of {project}{was}.", values, json=json)


@app.command()
def revoke(context: Context, user: User, project: ProjectArgument, json: Json = False) -> None:
    """Remove a user's role in a project."""
    had = AccessList.of(context.obj.target()).revoke(user, project)
    values = {"user": user, "project_id": project, "role": None, "changed": had}
    report(f"{user} has no role in {project} {'any more' if had else '(and had none before)'}.", values, json=json)


@app.command()
def ban(context: Context, user: User, json: Json = False) -> None:
    """Reject all requests of a user from now on."""
    AccessList.of(context.obj.target()).ban(user)
    report(f"{user} is banned.", {"user": user, "banned": True}, json=json)


@app.command()
def unban(context: Context, user: User, json: Json = False) -> None:
    """Lift a user's ban. The user's roles do not change."""
    was = AccessList.of(context.obj.target()).unban(user)
    values = {"user": user, "banned": False, "changed": was}
    report(f"{user} is not banned {'any more' if was else '(and was not banned before)'}.", values, json=json)


@app.command()
def members(
    context: Context,
    project: Annotated[str | None, Option(help="Only members of this project.")] = None,
    user: Annotated[str | None, Option(help="Only roles of this user.")] = None,
    json: Json = False,
) -> None:
    """List the roles of users in projects."""
    wanted = None if project is None else check_id(project, "the project")
    found = Inventory.of(context.obj.target()).members(wanted, user)
    if json:
        as_json([{"user": each.user, "project_id": each.project_id, "role": each.role} for each in found])
    else:
        table(["USER", "PROJECT", "ROLE"], [[each.user, each.project_id, each.role] for each in found])


@app.command()
def bans(context: Context, json: Json = False) -> None:
    """List the banned users."""
    found = Inventory.of(context.obj.target()).bans()
    if json:
        as_json([{"user": user} for user in found])
    else:
        table(["USER"], [[user] for user in found])


@app.command()
def projects(context: Context, json: Json = False) -> None:
    """List the projects with their numbers of containers and members."""
    found = Inventory.of(context.obj.target()).projects()
    if json:
        as_json(found)
    else:
        names = ("id", "name", "containers", "members")
        table([name.upper() for name in names], [[_cell(each[name]) for name in names] for each in found])


def _cell(value: str | int | None) -> str:
    return "-" if value is None else str(value)


@app.command("name-project")
def name_project(
    context: Context,
    project: ProjectArgument,
    name: Annotated[str | None, Argument(help="Name, for people. Without it, the name is removed.")] = None,
    json: Json = False,
) -> None:
    """Set or remove the name of a project."""
    before = ProjectNames.of(context.obj.target()).set(project, name)
    named = f"The project {project} has the name {name}" if name else f"The project {project} has no name"
    was = f", and had the name {before}" if before not in (None, name) else ""
    report(f"{named}{was}.", {"project_id": project, "name": name, "previous_name": before}, json=json)
