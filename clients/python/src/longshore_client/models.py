"""Typed responses of the API.

Statuses, operations and similar values are strings with literal types. Values that are unknown to this client are not
changed. `raw` contains the JSON of the response, including fields that this client does not know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, TypedDict, cast

from longshore_client import _parsing
from longshore_client._parsing import Json

Status = Literal["stopped", "running", "paused", "failed", "expired"]
Operation = Literal["start", "stop", "force-stop", "restart", "pause", "resume"]
Trigger = Literal["user", "schedule", "system", "recovery"]
SortBy = Literal["transition_time", "created_at", "to_status", "from_status"]
SortOrder = Literal["asc", "desc"]
ContainerSortBy = Literal["name", "status", "created_at", "updated_at", "id"]
WaitFor = Literal["settled"] | Status
Role = Literal["viewer", "operator", "owner"]


class Targets(TypedDict, total=False):
    """The containers of a project on which a schedule operates. Exactly one of the keys is present.

    Attributes:
        all: All containers of the project.
        labels: The containers that have all these labels.
        container_ids: The containers with these ids, 1 to 100.
    """

    all: Literal[True]
    labels: Mapping[str, str]
    container_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """A pending operation of a container."""

    operation: Operation
    started_at: datetime
    triggered_by: Trigger

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            operation=cast("Operation", _parsing.text(data, "operation")),
            started_at=_parsing.time(data, "started_at"),
            triggered_by=cast("Trigger", _parsing.text(data, "triggered_by")),
        )

    @classmethod
    def maybe(cls, data: Json | None) -> Self | None:
        """Parse JSON. Return None for null."""
        return None if data is None else cls.of(data)


@dataclass(frozen=True, slots=True)
class Container:
    """The current state of a container.

    Attributes:
        server_id: The id of the server that the task runs on, or None.
        launch_type: `EC2`, `FARGATE` or `EXTERNAL`. None for a container with capacity providers.
        task_definition: `family` or `family:revision`. None if the API does not return it.
        labels: The labels. Empty if the API does not return them.
        stop_at: When the container is stopped, or None.
        hold_until: Until when schedules skip the container, or None.
        idle_timeout: The seconds after which the running container is stopped unless it is kept alive, or None.
        idle_at: When the container is stopped for its idle timeout, or None if it has none or is not running.
        protection: The reason for which stop, force-stop, restart and pause are refused, or None.
        kind: `task` or `service`. `task` if the API does not return it.
        desired_count: The number of tasks of a service that a start restores, or None.
        running_count: The number of running tasks of a service as last observed, or None.
    """

    id: str
    project_id: str
    name: str
    status: Status
    status_since: datetime
    allowed_operations: tuple[Operation, ...]
    pending_operation: PendingOperation | None
    created_at: datetime
    updated_at: datetime
    server_id: str | None
    launch_type: str | None
    task_definition: str | None
    labels: Mapping[str, str]
    stop_at: datetime | None
    hold_until: datetime | None
    idle_timeout: int | None
    idle_at: datetime | None
    protection: str | None
    kind: str
    desired_count: int | None
    running_count: int | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            id=_parsing.text(data, "id"),
            project_id=_parsing.text(data, "project_id"),
            name=_parsing.text(data, "name"),
            status=cast("Status", _parsing.text(data, "status")),
            status_since=_parsing.time(data, "status_since"),
            allowed_operations=operations(data["allowed_operations"]),
            pending_operation=PendingOperation.maybe(data["pending_operation"]),
            created_at=_parsing.time(data, "created_at"),
            updated_at=_parsing.time(data, "updated_at"),
            server_id=_parsing.text_or_none(data, "server_id"),
            launch_type=_parsing.text_or_none(data, "launch_type"),
            task_definition=_parsing.text_or_none(data, "task_definition"),
            labels={str(key): str(value) for key, value in (data.get("labels") or {}).items()},
            stop_at=_parsing.time_or_none(data, "stop_at"),
            hold_until=_parsing.time_or_none(data, "hold_until"),
            idle_timeout=_parsing.whole_or_none(data, "idle_timeout"),
            idle_at=_parsing.time_or_none(data, "idle_at"),
            protection=_parsing.text_or_none(data.get("protection") or {}, "reason"),
            kind=_parsing.text_or_none(data, "kind") or "task",
            desired_count=_parsing.whole_or_none(data, "desired_count"),
            running_count=_parsing.whole_or_none(data, "running_count"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class ContainersPage:
    """A page of a list of containers.

    Attributes:
        total: The number of containers in the list, or None on a page that was read with a cursor.
        page: The number of the page, or None on a page that was read with a cursor.
        total_pages: The number of pages, or None on a page that was read with a cursor.
        next_cursor: The cursor of the next page. None on the last page, and for lists that have no cursor.
    """

    containers: tuple[Container, ...]
    limit: int
    total: int | None
    page: int | None
    total_pages: int | None
    next_cursor: str | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        pagination = data["pagination"]
        return cls(
            containers=tuple(Container.of(each) for each in data["containers"]),
            limit=_parsing.whole(pagination, "limit"),
            total=_parsing.whole_or_none(pagination, "total"),
            page=_parsing.whole_or_none(pagination, "page"),
            total_pages=_parsing.whole_or_none(pagination, "totalPages"),
            next_cursor=_parsing.text_or_none(pagination, "next_cursor"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Project:
    """A project that the caller is a member of. `name` may be None."""

    id: str
    name: str | None
    role: Role
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            id=_parsing.text(data, "id"),
            name=_parsing.text_or_none(data, "name"),
            role=cast("Role", _parsing.text(data, "role")),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule of a project: an operation that runs on its containers at certain times.

    Attributes:
        expression: `cron(…)`, `rate(…)` or `at(…)`, as Amazon EventBridge Scheduler defines them.
        timezone: The IANA name of the time zone of the expression.
        created_by: The user who saved the schedule last, with whose role it runs.
        next_runs: The next three times at most. Empty if the schedule is disabled or over.
    """

    name: str
    operation: Operation
    expression: str
    timezone: str
    targets: Targets
    enabled: bool
    created_by: str
    updated_at: datetime
    next_runs: tuple[datetime, ...]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            name=_parsing.text(data, "name"),
            operation=cast("Operation", _parsing.text(data, "operation")),
            expression=_parsing.text(data, "expression"),
            timezone=_parsing.text(data, "timezone"),
            targets=cast("Targets", dict(data["targets"])),
            enabled=_parsing.boolean(data, "enabled"),
            created_by=_parsing.text(data, "created_by"),
            updated_at=_parsing.time(data, "updated_at"),
            next_runs=tuple(_parsing.time_of(run) for run in data["next_runs"]),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The result of an operation, which is completed or still pending.

    Attributes:
        status: The container's status at the time of the response.
        pending_operation: The operation, if it is still pending.
        request_id: The id of the request in the logs of the API.
        idempotency_key: The key that was sent.
        preference_applied: The preference that the API has applied, such as `respond-async`, or None.
    """

    operation: Operation
    container_id: str
    project_id: str
    message: str
    status: Status
    pending_operation: PendingOperation | None
    request_id: str | None
    idempotency_key: str
    preference_applied: str | None
    raw: Json = field(repr=False, compare=False)

    @property
    def completed(self) -> bool:
        """Whether the operation has completed and its effect was observed."""
        return self.pending_operation is None

    @classmethod
    def of(
        cls, data: Json, request_id: str | None, idempotency_key: str, preference_applied: str | None = None
    ) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            operation=cast("Operation", _parsing.text(data, "operation")),
            container_id=_parsing.text(data, "container_id"),
            project_id=_parsing.text(data, "project_id"),
            message=_parsing.text(data, "message"),
            status=cast("Status", _parsing.text(data, "status")),
            pending_operation=PendingOperation.maybe(data.get("pending_operation")),
            request_id=request_id,
            idempotency_key=idempotency_key,
            preference_applied=preference_applied,
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class StatusLog:
    """A history row: one status change of a container.

    Attributes:
        from_status: The previous status. None in the first row.
        duration_ms: Milliseconds from the request to the observed effect, or None if there was no request.
        metadata: Details, if known: `command`, `actor`, `request_id`, `operation_id`, `task_id`, `reason`, `exit_code`,
            `rule`.
        container_name: The name of the container. None in the history of a single container.
    """

    id: str
    container_id: str
    from_status: Status | None
    to_status: Status
    transition_time: datetime
    created_at: datetime
    duration_ms: int | None
    triggered_by: Trigger
    metadata: Mapping[str, Any]
    container_name: str | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            id=_parsing.text(data, "id"),
            container_id=_parsing.text(data, "container_id"),
            from_status=None if data["from_status"] is None else cast("Status", _parsing.text(data, "from_status")),
            to_status=cast("Status", _parsing.text(data, "to_status")),
            transition_time=_parsing.time(data, "transition_time"),
            created_at=_parsing.time(data, "created_at"),
            duration_ms=None if data["duration_ms"] is None else _parsing.whole(data, "duration_ms"),
            triggered_by=cast("Trigger", _parsing.text(data, "triggered_by")),
            metadata=dict(data["metadata"] or {}),
            container_name=_parsing.text_or_none(data, "container_name"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class StatusLogsPage:
    """A page of a container's history. `total` and `total_pages` are exact at the time of the rows."""

    logs: tuple[StatusLog, ...]
    total: int
    page: int
    limit: int
    total_pages: int
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        pagination = data["pagination"]
        return cls(
            logs=tuple(StatusLog.of(row) for row in data["logs"]),
            total=_parsing.whole(pagination, "total"),
            page=_parsing.whole(pagination, "page"),
            limit=_parsing.whole(pagination, "limit"),
            total_pages=_parsing.whole(pagination, "totalPages"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class ProjectLogsPage:
    """A page of a project's history. It may be short or empty. `next_cursor` is None on the last page."""

    logs: tuple[StatusLog, ...]
    limit: int
    next_cursor: str | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        pagination = data["pagination"]
        return cls(
            logs=tuple(StatusLog.of(row) for row in data["logs"]),
            limit=_parsing.whole(pagination, "limit"),
            next_cursor=_parsing.text_or_none(pagination, "next_cursor"),
            raw=data,
        )


def operations(names: list[str]) -> tuple[Operation, ...]:
    """Return the names as operations. Raise TypeError if one is not a string."""
    if not all(isinstance(name, str) for name in names):
        raise TypeError("an operation's name is not a string")
    return tuple(cast("Operation", name) for name in names)
