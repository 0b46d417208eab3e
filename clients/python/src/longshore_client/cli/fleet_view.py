"""Containers and projects as tables and as lines."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from longshore_client.cli.limits_view import limit_fields, limit_rows, limits_text
from longshore_client.cli.render import Output, status_text
from longshore_client.cli.text import NOTHING, escaped, labels_text, moment_text
from longshore_client.models import Container, OperationResult, Project


def print_result(output: Output, result: OperationResult) -> None:
    """Print the result of an operation on a single container."""
    if output.as_json:
        output.json(result.raw)
    elif output.is_terminal:
        mark = Text("✓ ", "green") if result.completed else Text("… ", "yellow")
        output.show(mark + Text(escaped(result.message)))
        if not result.completed:
            output.show(Text(f"  check its progress: longshore status {result.container_id}", "dim"))
    else:
        output.fields([result.container_id, result.operation, result.status, result.message])


def print_container(output: Output, container: Container) -> None:
    """Print the state of a container."""
    fields = {
        "id": container.id,
        "name": container.name,
        "project": container.project_id,
        "status": container.status,
        "since": moment_text(container.status_since),
        "allowed": ",".join(container.allowed_operations) or NOTHING,
        "pending": _pending(container),
        "labels": labels_text(container.labels),
        "task": container.task_definition or NOTHING,
        "launch": container.launch_type or NOTHING,
        "server": container.server_id or NOTHING,
    }
    if output.as_json:
        output.json(container.raw)
    elif output.is_terminal:
        grid = Table.grid(padding=(0, 2))
        count = {"tasks": f"{_count(container)} run"} if container.kind == "service" else {}
        for name, value in {**fields, **count, **limit_rows(container, datetime.now(UTC))}.items():
            shown = value.replace(",", ", ") if name == "allowed" else value
            grid.add_row(Text(name, "bold"), status_text(value) if name == "status" else Text(escaped(shown)))
        output.show(grid)
    else:
        kind = {"kind": container.kind, "count": _count(container)}
        for name, value in {**fields, **limit_fields(container), **kind}.items():
            output.fields([name, value])


def print_containers(output: Output, containers: Sequence[Container]) -> None:
    """Print a list of containers."""
    if output.as_json:
        output.json({"containers": [container.raw for container in containers]})
    elif output.is_terminal:
        output.show(containers_table(containers))
    else:
        for container in containers:
            output.fields(container_fields(container))


def containers_table(containers: Sequence[Container]) -> Table:
    """Return a table of containers. The projects are shown if there are several, the limits if there are any."""
    columns = ["NAME", "ID", "STATUS", "SINCE", "PENDING", "LABELS"]
    now = datetime.now(UTC)
    limits = [limits_text(container, now) for container in containers]
    limited = any(text != NOTHING for text in limits)
    several = len({container.project_id for container in containers}) > 1
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in [*columns, *(["LIMITS"] if limited else []), *(["PROJECT"] if several else [])]:
        table.add_column(name, overflow="fold", no_wrap=name in ("ID", "STATUS", "SINCE"))
    for container, limit in zip(containers, limits, strict=True):
        cells = [
            Text(escaped(container.name)),
            Text(escaped(container.id)),
            status_text(container.status) + Text(f" {_count(container)}" if container.kind == "service" else ""),
            Text(moment_text(container.status_since)),
            Text(escaped(container.pending_operation.operation if container.pending_operation else NOTHING)),
            Text(escaped(labels_text(container.labels))),
        ]
        cells += [Text(escaped(limit))] if limited else []
        cells += [Text(escaped(container.project_id))] if several else []
        table.add_row(*cells)
    return table


def container_fields(container: Container) -> list[str]:
    """Return the fields of a container's line in a list."""
    return [
        container.id,
        container.name,
        container.status,
        moment_text(container.status_since),
        container.project_id,
        container.pending_operation.operation if container.pending_operation else NOTHING,
        labels_text(container.labels),
        *limit_fields(container).values(),
        _count(container),
    ]


def print_projects(output: Output, projects: Sequence[Project]) -> None:
    """Print projects."""
    if output.as_json:
        output.json({"projects": [project.raw for project in projects]})
    elif output.is_terminal:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("NAME", "ID", "ROLE"):
            table.add_column(name, overflow="fold", no_wrap=name == "ID")
        for project in projects:
            cells = (project.name or NOTHING, project.id, project.role)
            table.add_row(*(Text(escaped(cell)) for cell in cells))
        output.show(table)
    else:
        for project in projects:
            output.fields([project.id, project.name or NOTHING, project.role])


def _count(container: Container) -> str:
    """Return the numbers of running and desired tasks of a service, such as `3/3`."""
    if container.desired_count is None:
        return NOTHING
    return f"{container.running_count or 0}/{container.desired_count}"


def _pending(container: Container) -> str:
    pending = container.pending_operation
    return f"{pending.operation} since {moment_text(pending.started_at)}" if pending else NOTHING
