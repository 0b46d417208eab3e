"""Plans for /projects/{project_id}/schedules. Each method of the clients runs one of them."""

from longshore_client._calls import Call, Plan, fetch, segment
from longshore_client._parsing import Json
from longshore_client.models import Operation, Schedule, Targets
from longshore_client.retries import Retries


def get_all(project_id: str, retries: Retries) -> Plan[tuple[Schedule, ...]]:
    """Get the schedules of a project, sorted by name."""
    success = yield from fetch(Call("GET", _path(project_id)), retries)
    return success.parsed(_schedules)


def get(project_id: str, name: str, retries: Retries) -> Plan[Schedule]:
    """Get a schedule."""
    success = yield from fetch(Call("GET", _path(project_id, name)), retries)
    return success.parsed(Schedule.of)


def save(
    project_id: str,
    name: str,
    operation: Operation,
    expression: str,
    targets: Targets,
    timezone: str,
    enabled: bool,
    retries: Retries,
) -> Plan[Schedule]:
    """Create a schedule, or replace the one with this name. Repeating the request has the same effect."""
    body = {
        "operation": operation,
        "expression": expression,
        "timezone": timezone,
        "targets": targets,
        "enabled": enabled,
    }
    success = yield from fetch(Call("PUT", _path(project_id, name), body=body), retries)
    return success.parsed(Schedule.of)


def delete(project_id: str, name: str, retries: Retries) -> Plan[None]:
    """Delete a schedule, if it exists. Repeating the request has the same effect."""
    yield from fetch(Call("DELETE", _path(project_id, name)), retries)


def _schedules(data: Json) -> tuple[Schedule, ...]:
    return tuple(Schedule.of(each) for each in data["schedules"])


def _path(project_id: str, name: str | None = None) -> str:
    if not project_id or name == "":
        # An empty segment would result in a different path and an unrelated error.
        raise ValueError("the id of the project and the name of the schedule must not be empty")
    path = f"/projects/{segment(project_id)}/schedules"
    return path if name is None else f"{path}/{segment(name)}"
