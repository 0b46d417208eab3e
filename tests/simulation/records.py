"""What a run records of its callers and of the operations, seen from outside of the code under test."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from longshore.domain.errors import ErrorCode, LongshoreError, StateConflictError
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import OperationRequest, Outcome

GOALS = {
    Operation.START: Status.RUNNING,
    Operation.STOP: Status.STOPPED,
    Operation.FORCE_STOP: Status.STOPPED,
    Operation.RESTART: Status.RUNNING,
    Operation.PAUSE: Status.PAUSED,
    Operation.RESUME: Status.RUNNING,
}
LIVE = ("running", "paused")


class Violation(BaseException):
    """Something that must always hold does not."""


class Fate(StrEnum):
    """How an operation ended."""

    PENDING = "pending"
    COMMITTED = "committed"  # with a row
    FAILED = "failed"  # with the row of a failure
    SUPERSEDED = "superseded"
    EXPIRED = "expired"  # its server was terminated
    ABANDONED = "abandoned"  # without a row


class State(NamedTuple):
    """A container's status and pending operation since a write, as the table holds them."""

    at: datetime
    status: str
    operation: dict[str, Any] | None


@dataclass
class Asked:
    """A request and its answer. `answer` None: its function crashed, or is still running."""

    name: str
    request: OperationRequest
    at: datetime
    answer: Outcome | LongshoreError | None = None
    ended: bool = False
    answered_at: datetime | None = None

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The answer that an Idempotency-Key keeps."""
        if isinstance(self.answer, Outcome):
            return self.answer.model_dump(mode="json")
        if isinstance(self.answer, StateConflictError):
            return {"kind": "conflict"} | {name: value for name, value in self.answer.data.items() if name != "error"}
        return None

    @property
    def is_failure(self) -> bool:
        """Whether the answer says that something went wrong on the server's side."""
        return isinstance(self.answer, LongshoreError) and self.answer.code in (
            ErrorCode.EXTERNAL_SERVICE_ERROR,
            ErrorCode.INTERNAL_SERVER_ERROR,
        )


def told(outcome: dict[str, Any] | None) -> str:
    """An answer in a few words."""
    if outcome is None:
        return "none"
    pending = (outcome.get("pending_operation") or {}).get("operation")
    return f"{outcome['kind']}, {outcome['message']!r}, {outcome['status']}, pending {pending}"


def same_key(one: Asked, other: Asked) -> bool:
    """Whether two requests have the same Idempotency-Key of the same caller."""
    return one.request.idempotency_id is not None and one.request.idempotency_id == other.request.idempotency_id
