"""Examples of all responses, created by the code that creates the responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longshore.domain import results as outcomes
from longshore.domain.changes import ContainerChange
from longshore.domain.errors import (
    ContainerProtectedError,
    ErrorCode,
    ExternalServiceError,
    InvalidInputError,
    LongshoreError,
    StateConflictError,
)
from longshore.domain.lifecycle import LaunchType, Operation, Platform, Refused, Status, Step, decide, final_status
from longshore.domain.listing import ContainersQuery, Entry
from longshore.domain.models import Container, Outcome, Protection, Runtime, StatusLog
from longshore.domain.pending import PendingOperation, Trigger
from longshore.domain.project_pages import Position, ProjectLogsQuery
from longshore.domain.roles import Role
from longshore.domain.schedules import Schedule, ScheduleSettings, Targets
from longshore.domain.views import (
    ContainersPage,
    ContainerView,
    CursorPagination,
    ListPagination,
    Pagination,
    Projects,
    ProjectStatusLog,
    ProjectStatusLogsPage,
    ProjectView,
    StatusLogsPage,
)
from longshore.edge import http
from pydantic import BaseModel

from reference.catalogue import CATALOGUE

Example = dict[str, Any]

CONTAINER: Final = "507f1f77bcf86cd799439011"
PROJECT: Final = "507f1f77bcf86cd799439033"
SCHEDULE: Final = "office-hours"
REQUEST: Final = "3292ada3-d396-443c-80da-ca64ee8e4e2f"

MALFORMED: Final = "The request is malformed"
"""The message of the gateway response in the template."""

_AT: Final = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
_REGISTERED: Final = _AT - timedelta(days=9)
_MORNING: Final = "cron(0 8 ? * MON-FRI *)"
_OPERATION: Final = "4930ca98cfe899be780b18a4"
_INVALID_SCHEDULE: Final = (
    '{"operation": "start", "expression": "rate(1 day)", "timezone": "Berlin", "targets": {"all": true}}'
)
_LABELS: Final = {"env": "dev", "team": "shop"}
_TASK: Final = "4f0a2f6d0c9b4e0f8f7d3b1a5c6e7d80"


def container() -> Example:
    """Return examples of GET /containers/{id}."""
    return {
        "running": _read("A running container", _container(Status.RUNNING)),
        "starting": _read("A container with a pending operation", _container(Status.STOPPED, Operation.START)),
        "expired": _read("An expired container", _container(Status.EXPIRED)),
    }


def containers() -> Example:
    """Return examples of GET /containers."""
    page = ListPagination(total=1, page=1, limit=50, totalPages=1, next_cursor=None)
    return {"page": _listed("Sorted by name", page)}


def project_containers() -> Example:
    """Return examples of GET /projects/{project_id}/containers."""
    container = _container(Status.RUNNING)
    cursor = ContainersQuery(project_id=PROJECT).next_cursor(Entry(container.id, container.name))
    page = ListPagination(total=2, page=1, limit=1, totalPages=2, next_cursor=cursor)
    return {
        "page": _listed("By page", page),
        "cursor": _listed("By cursor", CursorPagination(limit=1, next_cursor=cursor)),
    }


def projects() -> Example:
    """Return examples of GET /projects."""
    data = Projects(projects=[ProjectView(id=PROJECT, name="Shop", role=Role.OPERATOR)])
    return {"projects": _answered("One project", "Projects retrieved successfully", data)}


def container_change() -> Example:
    """Return examples of the body of PATCH /containers/{id}."""
    return {
        "name": {"summary": "Rename a container", "value": {"name": "orders"}},
        "labels": {"summary": "Replace all labels", "value": {"labels": _LABELS}},
        "no-labels": {"summary": "Remove all labels", "value": {"labels": None}},
        "stop-at": {"summary": "Stop the container at a time", "value": {"stop_at": "2030-01-15T20:00:00+01:00"}},
        "idle-timeout": {
            "summary": "Stop the container when it is idle",
            "value": {"idle_timeout": 3600},
        },
        "desired-count": {"summary": "Change the count of a service", "value": {"desired_count": 3}},
        "protection": {"summary": "Protect the container", "value": {"protection": {"reason": "Nightly build"}}},
    }


def operation_options() -> Example:
    """Return examples of the body of POST /containers/{id}/{operation}."""
    return {"stop-at": {"summary": "Stop the container at a time", "value": {"stop_at": "2030-01-15T20:00:00+01:00"}}}


def kept_alive() -> Example:
    """Return examples of POST /containers/{id}/keep-alive."""
    container = _container(Status.RUNNING).model_copy(update={"idle_timeout": 3600, "idle_timeout_at": _AT})
    return {"kept-alive": _answered("A running container", "Container kept alive", ContainerView.of(container))}


def updated_container() -> Example:
    """Return examples of PATCH /containers/{id}."""
    container = _container(Status.RUNNING).model_copy(update={"labels": _LABELS})
    return {"labels": _answered("New labels", "Container updated successfully", ContainerView.of(container))}


def schedules() -> Example:
    """Return examples of GET /projects/{project_id}/schedules."""
    data = {"schedules": [_schedule().view(_AT)]}
    return {"schedules": _succeeded("One schedule", http.Answer("Schedules retrieved successfully", data))}


def schedule() -> Example:
    """Return examples of GET /projects/{project_id}/schedules/{name}."""
    disabled = _schedule()._replace(settings=_schedule().settings._replace(enabled=False))
    return {
        "enabled": _succeeded("A schedule", http.Answer("Schedule retrieved successfully", _schedule().view(_AT))),
        "disabled": _succeeded(
            "A disabled schedule", http.Answer("Schedule retrieved successfully", disabled.view(_AT))
        ),
    }


def saved_schedule() -> Example:
    """Return examples of PUT /projects/{project_id}/schedules/{name}."""
    return {"saved": _succeeded("Saved", http.Answer("Schedule saved successfully", _schedule().view(_AT)))}


def deleted_schedule() -> Example:
    """Return examples of DELETE /projects/{project_id}/schedules/{name}."""
    return {"deleted": _succeeded("Deleted", http.Answer("Schedule deleted successfully", {"name": SCHEDULE}))}


def schedule_settings() -> Example:
    """Return examples of the body of PUT /projects/{project_id}/schedules/{name}."""
    hours = {"timezone": "Europe/Berlin", "targets": {"labels": {"env": "dev"}}}
    return {
        "start": {
            "summary": "Start in the morning",
            "value": {"operation": "start", "expression": _MORNING, **hours},
        },
        "stop": {
            "summary": "Stop in the evening",
            "value": {"operation": "stop", "expression": "cron(0 18 ? * MON-FRI *)", **hours},
        },
        "once": {
            "summary": "Restart two containers once",
            "value": {
                "operation": "restart",
                "expression": "at(2030-01-15T03:00:00)",
                "targets": {"container_ids": [CONTAINER, "507f1f77bcf86cd799439012"]},
            },
        },
    }


def _schedule() -> Schedule:
    targets = Targets(labels={"env": "dev"})
    settings = ScheduleSettings(Operation.START, _MORNING, "Europe/Berlin", targets)
    return Schedule(PROJECT, SCHEDULE, settings, "operator", _AT)


def status_logs() -> Example:
    """Return examples of GET /containers/{id}/status-logs."""

    def page(summary: str, number: int, rows: list[StatusLog]) -> Example:
        pagination = Pagination(total=2, page=number, limit=10, totalPages=1)
        data = StatusLogsPage(logs=rows, pagination=pagination)
        return _answered(summary, "Container status logs retrieved successfully", data)

    return {
        "page": page("Newest first", 1, _rows()[::-1]),
        "past-the-end": page("A page past the end", 2, []),
    }


def project_status_logs() -> Example:
    """Return examples of GET /projects/{project_id}/status-logs."""
    query = ProjectLogsQuery(PROJECT)

    def page(summary: str, rows: list[StatusLog], cursor: str | None) -> Example:
        named = [ProjectStatusLog(**dict(row), container_name="orders") for row in rows]
        pagination = CursorPagination(limit=query.limit, next_cursor=cursor)
        data = ProjectStatusLogsPage(logs=named, pagination=pagination)
        return _answered(summary, "Project status logs retrieved successfully", data)

    cursor = query.cursor(Position("2025-01-06T10:30:00.000Z", CONTAINER))
    return {
        "page": page("Newest first", _rows()[::-1], None),
        "empty": page("An empty page that has a next page", [], cursor),
    }


def _rows() -> list[StatusLog]:
    first = StatusLog(
        id="507f1f77bcf86cd799439076",
        container_id=CONTAINER,
        from_status=None,
        to_status=Status.STOPPED,
        transition_time=_REGISTERED,
        created_at=_REGISTERED + timedelta(milliseconds=12),
        triggered_by=Trigger.SYSTEM,
        metadata={"reason": "Registered"},
    )
    second = StatusLog(
        id="507f1f77bcf86cd799439077",
        container_id=CONTAINER,
        from_status=Status.STOPPED,
        to_status=Status.RUNNING,
        transition_time=_AT,
        created_at=_AT + timedelta(milliseconds=12),
        duration_ms=3500,
        triggered_by=Trigger.USER,
        metadata={
            "command": "start",
            "actor": "operator",
            "request_id": REQUEST,
            "operation_id": _OPERATION,
            "task_id": _TASK,
        },
    )

    return [first, second]


def completed() -> Example:
    """Return examples of POST /containers/{id}/{operation} with status 200, by operation."""
    found = {}
    for operation in Operation:
        status = final_status(operation)
        outcome = outcomes.completed(_container(status), _pending(operation), status)
        found[operation.value] = _operated(operation.value.capitalize(), outcome)
    return found


def accepted() -> Example:
    """Return examples of POST /containers/{id}/{operation} with status 202."""
    container = _container(Status.STOPPED)
    return {"start": _operated("The task is not running yet", outcomes.accepted(container, _pending(Operation.START)))}


def errors(code: ErrorCode) -> Example:
    """Return examples of an error code, under globally unique names."""
    name = code.lower().replace("_", "-")
    match code:
        case ErrorCode.VALIDATION_ERROR:
            limit = InvalidInputError([{"instancePath": "/limit", "message": "must be <= 100"}])
            timeout = InvalidInputError([{"instancePath": "/timeout", "message": "must be <= 25"}])
            schedule = InvalidInputError(ScheduleSettings.parse(_INVALID_SCHEDULE, _AT)[1])
            body = InvalidInputError(ContainerChange.parse('{"name": ""}', _AT)[1])
            return {
                f"{name}-request": _refused("The request is malformed, or too large", code, message=MALFORMED),
                f"{name}-query": _refused("A parameter is out of range", code, limit),
                f"{name}-timeout": _refused("A timeout is out of range", code, timeout),
                f"{name}-body": _refused("A value is too short", code, body),
                f"{name}-schedule": _refused("An unknown time zone", code, schedule),
                f"{name}-name": _refused("A name is not valid", code, http.invalid_schedule_name()),
                f"{name}-operation": _refused("An unknown operation", code, http.unknown_operation()),
            }
        case ErrorCode.OPERATION_STATE_CONFLICT:
            pending = _conflict(Status.STOPPED, Operation.START)
            return {
                f"{name}-status": _refused("The status does not allow the operation", code, _conflict(Status.RUNNING)),
                f"{name}-pending": _refused("An operation is pending", code, pending),
            }
        case ErrorCode.CONTAINER_PROTECTED:
            return {name: _refused(CATALOGUE[code].title, code, _protected())}
        case ErrorCode.EXTERNAL_SERVICE_ERROR:
            return {name: _refused(CATALOGUE[code].title, code, ExternalServiceError("The database failed"))}
        case _:
            return {name: _refused(CATALOGUE[code].title, code)}


def _container(status: Status, pending: Operation | None = None) -> Container:
    return Container(
        id=CONTAINER,
        project_id=PROJECT,
        name="orders",
        status=status,
        status_since=_AT,
        runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        operation=_pending(pending) if pending else None,
        created_at=_REGISTERED,
        updated_at=_AT + timedelta(minutes=5) if pending else _AT,
    )


def _pending(operation: Operation) -> PendingOperation:
    began = _AT + timedelta(minutes=5)
    return PendingOperation(
        id=_OPERATION,
        operation=operation,
        step=Step.START,
        started_at=began,
        since=began,
        deadline=began + timedelta(minutes=1),
        triggered_by=Trigger.USER,
    )


def _conflict(status: Status, pending: Operation | None = None) -> StateConflictError:
    verdict = decide(status, Operation.START, pending, Platform.HOST)
    assert isinstance(verdict, Refused)
    try:
        outcomes.given(outcomes.conflict(_container(status, pending), Operation.START, verdict.message))
    except StateConflictError as error:
        return error
    raise AssertionError("a conflict is an error")


def _protected() -> ContainerProtectedError:
    container = _container(Status.RUNNING).model_copy(update={"protection": Protection(reason="Nightly build")})
    try:
        outcomes.given(outcomes.conflict(container, Operation.STOP, "Container is protected", protected=True))
    except ContainerProtectedError as error:
        return error
    raise AssertionError("a conflict is an error")


def _read(summary: str, container: Container) -> Example:
    return _answered(summary, "Container retrieved successfully", ContainerView.of(container))


def _listed(summary: str, pagination: ListPagination | CursorPagination) -> Example:
    data = ContainersPage(containers=[ContainerView.of(_container(Status.RUNNING))], pagination=pagination)
    return _answered(summary, "Containers retrieved successfully", data)


def _answered(summary: str, message: str, data: BaseModel) -> Example:
    return _succeeded(summary, http.Answer(message, data.model_dump(mode="json")))


def _operated(summary: str, outcome: Outcome) -> Example:
    return _succeeded(summary, http.operation_answer(outcome))


def _succeeded(summary: str, answer: http.Answer) -> Example:
    return {
        "summary": summary,
        "value": {"statusCode": answer.status.value, "message": answer.message, "data": answer.data},
    }


def _refused(summary: str, code: ErrorCode, error: LongshoreError | None = None, message: str | None = None) -> Example:
    """Return the response to an error, or to the default error of a code, optionally with another message."""
    entry = CATALOGUE[code]
    said = error.message if error else message or entry.message
    value: dict[str, Any] = {"statusCode": entry.status, "error": entry.phrase, "code": code.value, "message": said}
    if error is not None:
        value["data"] = error.data
    return {"summary": summary, "value": value}
