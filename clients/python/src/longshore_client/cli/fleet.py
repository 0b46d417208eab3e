"""The subcommands that show and change containers: `ls`, `projects`, `status`, `rename` and `label`."""

from enum import StrEnum
from typing import Annotated

import typer

from longshore_client.cli import targets
from longshore_client.cli.app import Session, command
from longshore_client.cli.fleet_view import container_fields, containers_table, print_container, print_projects
from longshore_client.cli.operations import ContainerName, Labels, NamePart, Project, Statuses
from longshore_client.cli.targets import Filters
from longshore_client.cli.text import parse_label
from longshore_client.cli.watch import watch


class ContainerSort(StrEnum):
    """The fields that a list of containers can be sorted by."""

    NAME = "name"
    STATUS = "status"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    ID = "id"


class Order(StrEnum):
    """The sort orders."""

    ASC = "asc"
    DESC = "desc"


@command("ls")
def ls(
    session: Session,
    project: Project = None,
    statuses: Statuses = None,
    name: NamePart = None,
    labels: Labels = None,
    sort: Annotated[ContainerSort, typer.Option(help="Sort field.")] = ContainerSort.NAME,
    order: Annotated[Order, typer.Option(help="Sort order.")] = Order.ASC,
    watches: Annotated[
        bool, typer.Option("--watch", "-w", help="Show changes until Ctrl-C. In a pipe: print changed containers.")
    ] = False,
) -> None:
    """List containers."""
    client, output = session.client, session.output
    filters = Filters(targets.project_id(client, project), statuses or (), name, labels or (), sort.value, order.value)
    if watches:
        watch(client, output, filters)
    elif output.as_json:
        output.json({"containers": [container.raw for container in filters.select(client)]})
    elif output.is_terminal:
        output.show(containers_table(list(filters.select(client))))
    else:
        for container in filters.select(client):
            output.fields(container_fields(container))


@command("projects")
def projects(session: Session) -> None:
    """List the projects that you are a member of, with your role."""
    print_projects(session.output, session.client.api.projects.get_all())


@command("status")
def status(session: Session, container: ContainerName, project: Project = None) -> None:
    """Show a container's status, its allowed operations and its pending operation."""
    client = session.client
    identity = targets.container_id(client, container, targets.project_id(client, project))
    print_container(session.output, client.api.containers.get(identity))


@command("rename")
def rename(
    session: Session,
    container: ContainerName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name: 1 to 128 characters.")],
    project: Project = None,
) -> None:
    """Rename a container. Requires the role `owner`."""
    client = session.client
    identity = targets.container_id(client, container, targets.project_id(client, project))
    print_container(session.output, client.api.containers.update(identity, name=name))


@command("label")
def label(
    session: Session,
    container: ContainerName,
    labels: Annotated[list[str] | None, typer.Argument(metavar="KEY:VALUE", help="Labels to add or replace.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Key of a label to remove. May be repeated.")
    ] = None,
    project: Project = None,
) -> None:
    """Add, replace and remove labels of a container. Requires the role `operator`.

    The API replaces all labels at once. If another user changes them at the same time, one of the changes is lost.
    """
    added: dict[str, str] = {}
    for key, value in map(parse_label, labels or ()):
        if not key or value is None:
            raise typer.BadParameter("a label must have the form KEY:VALUE")
        added[key] = value
    if not added and not remove:
        raise typer.BadParameter("specify labels to add, or --remove")
    client = session.client
    identity = targets.container_id(client, container, targets.project_id(client, project))
    kept = client.api.containers.get(identity).labels
    wanted = {key: value for key, value in {**kept, **added}.items() if key not in (remove or ())}
    print_container(session.output, client.api.containers.update(identity, labels=wanted))
