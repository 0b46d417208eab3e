"""The data that the API stores and returns. Field names are those of the HTTP contract, or attributes in DynamoDB."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field

from longshore.domain.base import Model, Timestamp
from longshore.domain.facts import Observed, Requested
from longshore.domain.ledger import BETWEEN_LOOKS, KnownTask, LastTask, Ledger
from longshore.domain.lifecycle import (
    LIVE,
    PROTECTED_FROM,
    Kind,
    Operation,
    Proceed,
    Refusal,
    Refused,
    Status,
    decide,
)
from longshore.domain.pending import PendingOperation, Trigger
from longshore.domain.runtime import Runtime as Runtime
from longshore.domain.service import ServiceState
from longshore.domain.unchanged import UNCHANGED, Unchanged


class Protection(Model):
    """The protection of a container from the operations in `PROTECTED_FROM`."""

    reason: str


class Rule(StrEnum):
    """Why a container is stopped without a request, as `metadata.rule` of its history row states."""

    STOP_AT = "stop_at"
    IDLE_TIMEOUT = "idle_timeout"


class Container(ServiceState):
    """A container's item: its status, how it is run, the pending operation, and the counters of its history."""

    id: str
    project_id: str
    name: str
    labels: dict[str, str] = {}
    server_instance_id: str | None = None
    status: Status
    status_since: Timestamp
    runtime: Runtime
    tasks: dict[str, KnownTask] = {}  # the ledger: see domain/ledger.py
    tasks_due_at: Timestamp | None = None  # when a sweep looks at the ledger next, unless an operation is pending
    last_task: LastTask | None = None  # the container's own task that has left the ledger last
    generation: int = 0
    operation: PendingOperation | None = None
    command_number: int = 0  # the highest number that a command to a host can have
    requested_at: Timestamp | None = None  # when the last operation was requested; for a schedule, its scheduled time
    absent_since: Timestamp | None = None  # the drift sweep's first lookup that did not find the service
    history_full: bool = False  # the history has reached DynamoDB's limit of 10 GB and takes no more rows
    reached_without_row: dict[str, Status] | None = None  # per id of an operation, the last status it reached since
    history_large: bool = False  # the last row that was written found the history near that limit
    history_retention: int | None = None  # days: the shortest retention with which a row that is shown was written
    stop_at: Timestamp | None = None  # when the recovery sweep stops the container
    stop_at_by: str | None = None  # the operation whose claim has set `stop_at`; None: a later change has set it
    hold_until: Timestamp | None = None  # until then, schedules skip the container
    idle_timeout: int | None = None  # seconds after which the recovery sweep stops the running container
    idle_timeout_at: Timestamp | None = None  # when `idle_timeout` was set
    kept_alive_at: Timestamp | None = None  # when a caller has last kept the container alive
    recounted_at: Timestamp | None = None  # the time of the last row of an outside change of the count
    running_since: Timestamp | None = None  # the value of `last_started_at` before that row
    protection: Protection | None = None
    # The key of the index as it is stored. `due_at` is what it should be.
    pending_deadline: Timestamp | None = Field(default=None, exclude=True)
    log_count: int = 0
    to_counts: dict[str, int] = {}
    from_counts: dict[str, int] = {}
    last_transition_time: Timestamp | None = None
    last_created_at: Timestamp | None = None
    created_at: Timestamp
    updated_at: Timestamp

    @property
    def own_token(self) -> str | None:
        """The key of the task that makes the container running or paused. None if the container is not live."""
        if not self.is_live:
            return None
        return next((token for token, known in self.tasks.items() if not known.stray), None)

    @property
    def own(self) -> KnownTask | None:
        """The task that makes the container running or paused. None if the container is not live."""
        token = self.own_token
        return self.tasks[token] if token is not None else None

    @property
    def task_arn(self) -> str | None:
        """The ARN of the task that makes the container running or paused."""
        return self.own.arn if self.own is not None else None

    @property
    def unwanted(self) -> list[str]:
        """The keys of the tasks that have to end while nothing is pending: all but the container's own."""
        own = self.own_token
        return [token for token in self.tasks if token != own]

    @property
    def kind(self) -> Kind:
        return Kind.TASK if self.runtime.service is None else Kind.SERVICE

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def due_at(self) -> datetime | None:
        """When the recovery sweep has to process the container; None: not at all."""
        if self.operation is not None:
            return self.operation.deadline
        look_at = self.absent_since + BETWEEN_LOOKS if self.absent_since is not None else None
        return _earliest(look_at, self._ledger_due_at, self.ends_at, self.apply_count_at)

    @property
    def _ledger_due_at(self) -> datetime | None:
        """When a sweep looks at the ledger: immediately after a row that leaves tasks in it that have to end.

        Such rows are `failed` with tasks, and the rows of pauses and resumes, which do not wait for the end of a stray.
        """
        if self.tasks_due_at is None and self.unwanted:
            return self.status_since
        return self.tasks_due_at

    @property
    def is_listed(self) -> bool:
        """Whether the recovery sweep will find the container in time. Only for a container as it was read.

        The recovery sweep moves the key of a protected container to a later time than `due_at`.
        """
        due, listed = self.due_at, self.pending_deadline
        return due is None or (listed is not None and (listed <= due or self.protection is not None))

    @property
    def last_started_at(self) -> datetime:
        """When the container last became running or was restarted, ignoring rows of outside changes of the count.

        `running_since` is valid only if `recounted_at` is the last row: version 0.2 writes rows without them.
        """
        if self.running_since is not None and self.recounted_at == self.status_since:
            return self.running_since
        return self.status_since

    @property
    def idle_at(self) -> datetime | None:
        """When the running container has been idle for its timeout; None: it has no timeout or is not running."""
        if self.idle_timeout is None or self.status is not Status.RUNNING:
            return None
        counted_from = (self.last_started_at, self.kept_alive_at, self.idle_timeout_at)
        return max(at for at in counted_from if at is not None) + timedelta(seconds=self.idle_timeout)

    @property
    def ends_at(self) -> datetime | None:
        """When the recovery sweep stops the container; None: not at all."""
        return _earliest(self.stop_at, self.idle_at) if self.is_live else None

    def ended_by(self, now: datetime) -> Rule | None:
        """Return why the container has to be stopped now, or None."""
        ends_at = self.ends_at
        if ends_at is None or ends_at > now:
            return None
        return Rule.STOP_AT if ends_at == self.stop_at else Rule.IDLE_TIMEOUT

    def is_held(self, at: datetime) -> bool:
        """Check whether schedules skip the container at a time: for a run, its scheduled time."""
        return self.hold_until is not None and self.hold_until > at

    def protected_from(self, operation: Operation) -> bool:
        """Check whether the container's protection refuses the operation."""
        return self.protection is not None and operation in PROTECTED_FROM

    @property
    def pending(self) -> Operation | None:
        """The name of the pending operation."""
        return self.operation.operation if self.operation else None

    def decide(self, operation: Operation) -> Proceed | Refused:
        """Decide whether an operation may begin, and with which step."""
        verdict = decide(self.status, operation, self.pending, self.runtime.platform)
        is_conflict = not isinstance(verdict, Refused) or verdict.refusal is Refusal.CONFLICT
        if is_conflict and self.protected_from(operation):
            return Refused(Refusal.PROTECTED, "Container is protected")
        return verdict

    @property
    def allowed_operations(self) -> list[Operation]:
        return [operation for operation in Operation if isinstance(self.decide(operation), Proceed)]

    @property
    def pending_view(self) -> dict[str, Any] | None:
        """`pending_operation` as the API returns it."""
        if self.operation is None:
            return None
        return self.operation.model_dump(mode="json", include={"operation", "started_at", "triggered_by"})


def _earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


COMMANDS = 2
"""Command numbers per driver: a force-stop may kill the container's task and the task of a superseded start."""


def next_command_number(container: Container, now: datetime) -> int:
    """Return the first sequence number for the commands that the next driver sends to hosts.

    Hosts ignore numbers lower than the highest that they have seen. A number is at least the seconds since 1970,
    so that numbers still increase when the container's item is restored from a backup or registered again.
    """
    return max(container.command_number + 1, int(now.timestamp()))


class StatusLog(Model):
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
    requested: Requested = Requested()
    observed: Observed = Observed()
    tasks: Ledger | None = None  # the ledger from now on; None: unchanged
    last_task: LastTask | None = None  # None: unchanged, but a task that was gone is forgotten
    attributes: Mapping[str, Any] = MappingProxyType({})  # further attributes of the container from now on


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
        stop_at: When the container is to be stopped; None: not at all. UNCHANGED keeps the container's `stop_at`.
        only_when_ended: Whether the operation begins only if the container has to be stopped now because of `rule`.
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
    stop_at: datetime | Unchanged | None = UNCHANGED
    only_when_ended: bool = False

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


class Outcome(Model):
    """The answer to an operation, as it is returned and as it is stored for an Idempotency-Key."""

    kind: OutcomeKind
    operation: Operation
    container_id: str
    project_id: str
    message: str
    status: Status
    allowed_operations: list[Operation] | None = None  # conflicts only
    pending_operation: dict[str, Any] | None = None
    protection: dict[str, Any] | None = None  # only if the container's protection has refused the operation


class IdempotencyRecord(Model):
    """The record of an Idempotency-Key: the request that first used it, and its answer once there is one."""

    id: str
    container_id: str
    operation: Operation
    operation_id: str | None = None  # None when the first request was refused and nothing began
    expires_at: int  # seconds since 1970; the attribute that the table's time to live uses
    answer: Outcome | None = None
