"""The data that the API stores and returns. Field names are those of the HTTP contract, or attributes in DynamoDB."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, PlainSerializer

from longshore.domain.clock import to_text
from longshore.domain.lifecycle import LIVE, LaunchType, Operation, Status, Step, allowed_operations
from longshore.domain.roles import Role

Timestamp = Annotated[datetime, PlainSerializer(to_text)]
"""A time in UTC to the millisecond; as text, `2025-01-15T10:30:00.000Z`."""

BETWEEN_LOOKS = timedelta(seconds=30)
"""The shortest time between two lookups that together prove that a task is gone."""

LOOKS_LAST = timedelta(minutes=10)
"""An older lookup that did not find a task proves nothing: ECS may have shown the task since."""

NO_NEWER = 2**53
"""A task version that no event reaches: no later event of the task is applied."""


class Trigger(StrEnum):
    """The source of a change of status."""

    USER = "user"
    SCHEDULE = "schedule"
    SYSTEM = "system"  # an observed change: the task exited, the server was terminated
    RECOVERY = "recovery"  # found and repaired by a sweep


class _Model(BaseModel):
    # `wiring` builds the models that a function needs, because building all of them takes time.
    model_config = ConfigDict(frozen=True, defer_build=True)


class Runtime(_Model):
    """How a container's task is run: the parameters of ECS RunTask that belong to the container."""

    cluster: str
    task_definition: str
    launch_type: LaunchType
    subnets: list[str] = []
    security_groups: list[str] = []
    assign_public_ip: bool = False
    placement_constraints: list[str] = []  # expressions of ECS's cluster query language
    platform_version: str | None = None


class PendingOperation(_Model):
    """An operation between its claim and its end, as stored in the container's item: everything that recovery needs.

    Attributes that this version does not know are kept when the item is rewritten.
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="allow")

    id: str
    operation: Operation
    step: Step
    started_at: Timestamp
    since: Timestamp  # when the first of the superseded operations began; otherwise started_at
    deadline: Timestamp  # after it, any worker may take the operation over
    step_since: Timestamp | None = None  # when the current step began; None: at started_at
    attempts: int = 0  # attempts at this step, as far as they count towards giving it up
    has_row: bool = False  # an earlier step has changed the status
    triggered_by: Trigger
    actor: str | None = None
    request_id: str | None = None
    rule: str | None = None
    superseded: Operation | None = None
    superseded_start: str | None = None  # client token of the superseded operation, if it may have run a task
    superseded_start_since: Timestamp | None = None  # when that token was first used at the earliest; None: at `since`
    client_token: str | None = None  # of RunTask; None: the operation's id
    client_token_since: Timestamp | None = None  # when it was first used at the earliest; None: at started_at
    task_arn: str | None = None  # the task that this operation or the superseded start has run
    task_run_at: Timestamp | None = None  # the latest time at which the task can have been run; None: not known
    task_shown: bool = False  # ECS has shown that task
    absent: dict[str, Timestamp] = {}  # by task ARN or client token: the first lookup that found nothing
    command_number: int = 0  # number of the first command to a host that the current driver may send
    command_expires_at: Timestamp | None = None  # when the driver's commands expire; None: at the deadline
    sent_command: str | None = None  # host and id of the last command, if its result is not known yet
    giving_up: str | None = None  # why the step has failed; its command is being reverted
    giving_up_since: Timestamp | None = None
    idempotency_id: str | None = None
    idempotency_expires_at: int | None = None  # seconds since 1970
    requested_before: Timestamp | None = None  # the container's `requested_at` before the claim
    event_acted: bool = False  # an event's handler may have acted for the operation
    answered: bool = False  # the caller was answered 202, which is stored as the answer for retries

    @property
    def token(self) -> str:
        """The client token for RunTask."""
        return self.client_token or self.id

    @property
    def token_since(self) -> datetime:
        """The earliest time at which the client token can have been used."""
        return self.client_token_since or self.started_at

    @property
    def superseded_token_since(self) -> datetime:
        """The earliest time at which the client token of the superseded start can have been used."""
        return self.superseded_start_since or self.since

    @property
    def begun_at(self) -> datetime:
        """When the current step began."""
        return self.step_since or self.started_at

    @property
    def command_expiry(self) -> datetime:
        """When the current driver's command to a host expires."""
        return self.command_expires_at or self.deadline


class Container(_Model):
    """A container's item: its status, how it is run, the pending operation, and the counters of its history."""

    id: str
    project_id: str
    name: str
    labels: dict[str, str] = {}
    server_instance_id: str | None = None
    status: Status
    status_since: Timestamp
    runtime: Runtime
    task_arn: str | None = None
    ended_task_arn: str | None = None  # the last task whose end ECS has shown
    paused_task_arn: str | None = None  # the last task with which the last live status was `paused`
    task_version: int = 0  # the newest version of the task that is known; older events are ignored
    generation: int = 0
    operation: PendingOperation | None = None
    command_number: int = 0  # the highest number that a command to a host can have
    requested_at: Timestamp | None = None  # when the last operation was requested; for a schedule, its scheduled time
    absent_since: Timestamp | None = None  # the drift sweep's first lookup that did not find the task
    history_full: bool = False  # the history has reached DynamoDB's limit of 10 GB and takes no more rows
    reached_without_row: dict[str, Status] | None = None  # per id of an operation, the last status it reached since
    log_count: int = 0
    to_counts: dict[str, int] = {}
    from_counts: dict[str, int] = {}
    last_transition_time: Timestamp | None = None
    last_created_at: Timestamp | None = None
    created_at: Timestamp
    updated_at: Timestamp

    # Version 0.1 changes `task_arn` but not the other two ARNs, which then belong to a task before.
    @property
    def task_ended(self) -> bool:
        """Whether ECS has shown the end of the task."""
        return self.task_arn is not None and self.ended_task_arn == self.task_arn

    @property
    def was_paused(self) -> bool:
        """Whether the last live status with the task was `paused`."""
        return self.task_arn is not None and self.paused_task_arn == self.task_arn

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def due_at(self) -> datetime | None:
        """When the recovery sweep has to process the container; None: not at all."""
        if self.operation is not None:
            return self.operation.deadline
        return self.absent_since + BETWEEN_LOOKS if self.absent_since is not None else None

    @property
    def pending(self) -> Operation | None:
        """The name of the pending operation."""
        return self.operation.operation if self.operation else None

    @property
    def allowed_operations(self) -> list[Operation]:
        return allowed_operations(self.status, self.pending, self.runtime.launch_type)

    @property
    def pending_view(self) -> dict[str, Any] | None:
        """`pending_operation` as the API returns it."""
        if self.operation is None:
            return None
        return self.operation.model_dump(mode="json", include={"operation", "started_at", "triggered_by"})


COMMANDS = 2
"""Command numbers per driver: a force-stop may kill the container's task and the task of a superseded start."""


def next_command_number(container: Container, now: datetime) -> int:
    """Return the first sequence number for the commands that the next driver sends to hosts.

    Hosts ignore numbers lower than the highest that they have seen. A number is at least the seconds since 1970,
    so that numbers still increase when the container's item is restored from a backup or registered again.
    """
    return max(container.command_number + 1, int(now.timestamp()))


class ContainerView(_Model):
    """`data` of GET /containers/{id}, and an element of the lists of containers."""

    id: str
    project_id: str
    name: str
    status: Status
    status_since: Timestamp
    allowed_operations: list[Operation]
    pending_operation: dict[str, Any] | None
    server_id: str | None
    launch_type: LaunchType
    task_definition: str  # `family` or `family:revision`
    labels: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, container: Container) -> "ContainerView":
        return cls(
            id=container.id,
            project_id=container.project_id,
            name=container.name,
            status=container.status,
            status_since=container.status_since,
            allowed_operations=container.allowed_operations,
            pending_operation=container.pending_view,
            server_id=container.server_instance_id,
            launch_type=container.runtime.launch_type,
            task_definition=container.runtime.task_definition.rpartition("/")[2],  # responses contain no ARNs
            labels=container.labels,
            created_at=container.created_at,
            updated_at=container.updated_at,
        )


class ListPagination(_Model):
    """The position of a page of a list of containers."""

    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815  (the contract's name)
    next_cursor: str | None


class CursorPagination(_Model):
    """The position of a page that is read by cursor."""

    limit: int
    next_cursor: str | None  # null on the last page


class ContainersPage(_Model):
    """`data` of GET /containers and GET /projects/{project_id}/containers."""

    containers: list[ContainerView]
    pagination: ListPagination | CursorPagination


class ProjectView(_Model):
    """An element of `data.projects` of GET /projects."""

    id: str
    name: str | None
    role: Role  # of the caller


class Projects(_Model):
    """`data` of GET /projects."""

    projects: list[ProjectView]


class StatusLog(_Model):
    """One change of status. Rows are immutable."""

    id: str
    container_id: str
    from_status: Status | None  # null in a container's first row
    to_status: Status
    transition_time: Timestamp
    created_at: Timestamp
    duration_ms: int | None = None  # from the request to the observed effect
    triggered_by: Trigger
    metadata: dict[str, Any] | None = None


class Change(NamedTuple):
    """An observed change of status that has no row yet."""

    to_status: Status
    observed_at: datetime
    triggered_by: Trigger
    duration_ms: int | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})
    task_arn: str | None = None  # the container's task from now on; None: unchanged
    task_version: int | None = None  # None: unchanged
    task_ended: bool | None = None  # None: unchanged


class OperationRequest(NamedTuple):
    """A requested operation.

    Attributes:
        container_id: The container.
        operation: The operation.
        actor: The user or the rule that requests it, as the history row states.
        request_id: The id of the request, as the history row states.
        triggered_by: What kind of source requests it.
        rule: The name of the schedule's rule.
        idempotency_key: The caller's Idempotency-Key.
        requested_at: A schedule's scheduled time; None: the time of the claim.
        wait: The longest time that the caller prefers to wait for the effect; None: the usual time.
    """

    container_id: str
    operation: Operation
    actor: str | None
    request_id: str | None
    triggered_by: Trigger = Trigger.USER
    rule: str | None = None
    idempotency_key: str | None = None
    requested_at: datetime | None = None
    wait: timedelta | None = None

    @property
    def idempotency_id(self) -> str | None:
        """The id of the key's record. The keys of different callers have different ids."""
        if self.idempotency_key is None:
            return None
        return hashlib.sha256(json.dumps([self.actor, self.idempotency_key]).encode()).hexdigest()


class OutcomeKind(StrEnum):
    """The kind of answer to an operation."""

    COMPLETED = "completed"  # its effect was observed
    ACCEPTED = "accepted"  # the operation is pending
    CONFLICT = "conflict"  # the state of the container did not allow it


class Outcome(_Model):
    """The answer to an operation, as it is returned and as it is stored for an Idempotency-Key."""

    kind: OutcomeKind
    operation: Operation
    container_id: str
    project_id: str
    message: str
    status: Status
    allowed_operations: list[Operation] | None = None  # conflicts only
    pending_operation: dict[str, Any] | None = None


class IdempotencyRecord(_Model):
    """The record of an Idempotency-Key: the request that first used it, and its answer once there is one."""

    id: str
    container_id: str
    operation: Operation
    operation_id: str | None = None  # None when the first request was refused and nothing began
    expires_at: int  # seconds since 1970; the attribute that the table's time to live uses
    answer: Outcome | None = None


class Pagination(_Model):
    """The position of a page. `total` and `totalPages` are exact."""

    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815  (the contract's name)


class StatusLogsPage(_Model):
    """`data` of GET /containers/{id}/status-logs."""

    logs: list[StatusLog]
    pagination: Pagination


class ProjectStatusLog(StatusLog):
    """One change of status in the history of a project."""

    container_name: str | None  # null if the container has been deleted, or moved to another project


class ProjectStatusLogsPage(_Model):
    """`data` of GET /projects/{project_id}/status-logs."""

    logs: list[ProjectStatusLog]
    pagination: CursorPagination
