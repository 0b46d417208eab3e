"""Containers, projects and pages of history as the API returns them."""

from typing import Any

from longshore.domain.base import Model, Timestamp
from longshore.domain.lifecycle import Kind, LaunchType, Operation, Status
from longshore.domain.models import Container, Protection, StatusLog
from longshore.domain.roles import Role


class ContainerView(Model):
    """`data` of GET /containers/{id}, and an element of the lists of containers."""

    id: str
    project_id: str
    name: str
    kind: Kind
    status: Status
    status_since: Timestamp
    allowed_operations: list[Operation]
    pending_operation: dict[str, Any] | None
    server_id: str | None
    launch_type: LaunchType | None  # null: capacity providers run the task
    task_definition: str  # `family` or `family:revision`
    desired_count: int | None  # of a service: the number of tasks that a start restores
    running_count: int | None  # of a service: the number of running tasks as last observed
    labels: dict[str, str]
    stop_at: Timestamp | None
    hold_until: Timestamp | None
    idle_timeout: int | None  # seconds
    idle_at: Timestamp | None  # when the container is stopped for its idle_timeout, unless it is kept alive
    protection: Protection | None
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, container: Container) -> "ContainerView":
        return cls(
            id=container.id,
            project_id=container.project_id,
            name=container.name,
            kind=container.kind,
            status=container.status,
            status_since=container.status_since,
            allowed_operations=container.allowed_operations,
            pending_operation=container.pending_view,
            server_id=container.server_instance_id,
            launch_type=container.runtime.launch_type,
            task_definition=container.runtime.task_definition.rpartition("/")[2],  # responses contain no ARNs
            desired_count=container.desired_count,
            running_count=container.running_count,
            labels=container.labels,
            stop_at=container.stop_at,
            hold_until=container.hold_until,
            idle_timeout=container.idle_timeout,
            idle_at=container.idle_at,
            protection=container.protection,
            created_at=container.created_at,
            updated_at=container.updated_at,
        )


class ListPagination(Model):
    """The position of a page of a list of containers."""

    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815  (the contract's name)
    next_cursor: str | None


class CursorPagination(Model):
    """The position of a page that is read by cursor."""

    limit: int
    next_cursor: str | None  # null on the last page


class ContainersPage(Model):
    """`data` of GET /containers and GET /projects/{project_id}/containers."""

    containers: list[ContainerView]
    pagination: ListPagination | CursorPagination


class ProjectView(Model):
    """An element of `data.projects` of GET /projects."""

    id: str
    name: str | None
    role: Role  # of the caller


class Projects(Model):
    """`data` of GET /projects."""

    projects: list[ProjectView]


class Pagination(Model):
    """The position of a page. `total` and `totalPages` are exact."""

    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815  (the contract's name)


class StatusLogsPage(Model):
    """`data` of GET /containers/{id}/status-logs."""

    logs: list[StatusLog]
    pagination: Pagination


class ProjectStatusLog(StatusLog):
    """One change of status in the history of a project."""

    container_name: str | None  # null if the container has been deleted, or moved to another project


class ProjectStatusLogsPage(Model):
    """`data` of GET /projects/{project_id}/status-logs."""

    logs: list[ProjectStatusLog]
    pagination: CursorPagination
