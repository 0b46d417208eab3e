"""Typed responses of the API.

Statuses, operations and similar values are strings with literal types. Values that are unknown to this client are not
changed. `raw` contains the JSON of the response, including fields that this client does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, cast

Status = Literal["stopped", "running", "paused", "failed", "expired"]
Operation = Literal["start", "stop", "force-stop", "restart", "pause", "resume"]
Trigger = Literal["user", "schedule", "system", "recovery"]
SortBy = Literal["transition_time", "created_at", "to_status", "from_status"]
SortOrder = Literal["asc", "desc"]

Json = Mapping[str, Any]


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
            operation=cast("Operation", _text(data, "operation")),
            started_at=_time(data, "started_at"),
            triggered_by=cast("Trigger", _text(data, "triggered_by")),
        )

    @classmethod
    def maybe(cls, data: Json | None) -> Self | None:
        """Parse JSON. Return None for null."""
        return None if data is None else cls.of(data)


@dataclass(frozen=True, slots=True)
class Container:
    """The current state of a container."""

    id: str
    project_id: str
    name: str
    status: Status
    status_since: datetime
    allowed_operations: tuple[Operation, ...]
    pending_operation: PendingOperation | None
    created_at: datetime
    updated_at: datetime
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            id=_text(data, "id"),
            project_id=_text(data, "project_id"),
            name=_text(data, "name"),
            status=cast("Status", _text(data, "status")),
            status_since=_time(data, "status_since"),
            allowed_operations=operations(data["allowed_operations"]),
            pending_operation=PendingOperation.maybe(data["pending_operation"]),
            created_at=_time(data, "created_at"),
            updated_at=_time(data, "updated_at"),
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
    """

    operation: Operation
    container_id: str
    project_id: str
    message: str
    status: Status
    pending_operation: PendingOperation | None
    request_id: str | None
    idempotency_key: str
    raw: Json = field(repr=False, compare=False)

    @property
    def completed(self) -> bool:
        """Whether the operation has completed and its effect was observed."""
        return self.pending_operation is None

    @classmethod
    def of(cls, data: Json, request_id: str | None, idempotency_key: str) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            operation=cast("Operation", _text(data, "operation")),
            container_id=_text(data, "container_id"),
            project_id=_text(data, "project_id"),
            message=_text(data, "message"),
            status=cast("Status", _text(data, "status")),
            pending_operation=PendingOperation.maybe(data.get("pending_operation")),
            request_id=request_id,
            idempotency_key=idempotency_key,
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
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: Json) -> Self:
        """Parse JSON. Raise KeyError, TypeError or ValueError if it is malformed."""
        return cls(
            id=_text(data, "id"),
            container_id=_text(data, "container_id"),
            from_status=None if data["from_status"] is None else cast("Status", _text(data, "from_status")),
            to_status=cast("Status", _text(data, "to_status")),
            transition_time=_time(data, "transition_time"),
            created_at=_time(data, "created_at"),
            duration_ms=None if data["duration_ms"] is None else _whole(data, "duration_ms"),
            triggered_by=cast("Trigger", _text(data, "triggered_by")),
            metadata=dict(data["metadata"] or {}),
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
            total=_whole(pagination, "total"),
            page=_whole(pagination, "page"),
            limit=_whole(pagination, "limit"),
            total_pages=_whole(pagination, "totalPages"),
            raw=data,
        )


def operations(names: list[str]) -> tuple[Operation, ...]:
    """Return the names as operations. Raise TypeError if one is not a string."""
    if not all(isinstance(name, str) for name in names):
        raise TypeError("an operation's name is not a string")
    return tuple(cast("Operation", name) for name in names)


def time_of(text: str) -> datetime:
    """Parse a time of the API, such as `2025-01-15T10:30:00.000Z`. Raise ValueError if it is malformed."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _text(data: Json, name: str) -> str:
    value = data[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    return value


def _whole(data: Json, name: str) -> int:
    value = data[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is not an integer")
    return value


def _time(data: Json, name: str) -> datetime:
    return time_of(_text(data, name))
