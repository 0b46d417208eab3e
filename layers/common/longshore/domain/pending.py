"""A pending operation: what recovery needs between its claim and its end, with a state for each of its parts."""

from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import ConfigDict

from longshore.domain.base import Model, Timestamp
from longshore.domain.lifecycle import Operation, Step

IDEMPOTENCY_WINDOW = timedelta(hours=24)
"""How long an Idempotency-Key is remembered."""


class Trigger(StrEnum):
    """The source of a change of status."""

    USER = "user"
    SCHEDULE = "schedule"
    SYSTEM = "system"  # an observed change: the task exited, the server was terminated
    RECOVERY = "recovery"  # found and repaired by a sweep


class Launch(Model):
    """The state of a step that runs a task."""

    client_token: str | None = None  # of RunTask, the key of its task in the ledger; None: the operation's id
    event_acted: bool = False  # an event's handler may have acted for the operation


class GivenUp(Model):
    """A pause that was given up, and is being reverted."""

    reason: str
    since: Timestamp


class HostCommand(Model):
    """The state of a step's commands to hosts."""

    number: int = 0  # of the first command to a host that the current driver may send
    expires_at: Timestamp | None = None  # when the driver's commands expire; None: at the operation's deadline
    sent: str | None = None  # host and id of the last command, if its result is not known yet
    given_up: GivenUp | None = None


class ServiceChange(Model):
    """The state of a step that changes a service."""

    absent: dict[str, Timestamp] = {}  # by the name of a service: the first lookup that did not find it
    stored: list[str] = []  # the attributes of the container that the operation has stored for the next start
    # The primary deployment that had failed before a start; for a restart, the one before, which version 0.2 compares.
    deployment: str | None = None
    before: str | None = None  # the newest service deployment before a rolling restart
    started: str | None = None  # the service deployment of a rolling restart, as ECS has answered
    calls: bool = False  # the operation has begun to change the service, at `calls_end_at` at the latest
    called: bool = False  # all calls that change the service were answered


class Idempotency(Model):
    """The Idempotency-Key of the request."""

    id: str  # the key of its record
    expires_at: int  # seconds since 1970
    answered: bool = False  # the caller was answered 202, which is stored as the answer for retries


class PendingOperation(Model):
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
    launch: Launch | None = None  # only of a step that runs a task
    command: HostCommand = HostCommand()
    service: ServiceChange | None = None  # only of a service's container
    idempotency: Idempotency | None = None
    requested_before: Timestamp | None = None  # the container's `requested_at` before the claim
    stop_at_before: Timestamp | None = None  # the container's `stop_at` before the claim, if the claim has set it

    @property
    def token(self) -> str:
        """The client token for RunTask."""
        return (self.launch.client_token if self.launch is not None else None) or self.id

    @property
    def idempotency_id(self) -> str | None:
        """The key of the record of the request's Idempotency-Key."""
        return self.idempotency.id if self.idempotency is not None else None

    @property
    def answered(self) -> bool:
        """Whether the caller was answered 202, which is stored as the answer for retries."""
        return self.idempotency is not None and self.idempotency.answered

    @property
    def begun_at(self) -> datetime:
        """When the current step began."""
        return self.step_since or self.started_at

    @property
    def command_expiry(self) -> datetime:
        """When the current driver's command to a host expires."""
        return self.command.expires_at or self.deadline
