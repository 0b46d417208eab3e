"""Records of requests and operations, as seen from outside the code under test."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from longshore.domain.errors import ContainerProtectedError, ErrorCode, LongshoreError, StateConflictError
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
    """An invariant does not hold."""


class Fate(StrEnum):
    """How an operation ended."""

    PENDING = "pending"
    COMMITTED = "committed"  # with a row
    FAILED = "failed"  # with the row of a failure
    SUPERSEDED = "superseded"
    EXPIRED = "expired"  # its server was terminated
    ABANDONED = "abandoned"  # without a row


class State(NamedTuple):
    """A container's status, pending operation and protection after a write."""

    at: datetime
    status: str
    operation: dict[str, Any] | None
    protection: dict[str, Any] | None = None


@dataclass
class Asked:
    """A request and its answer. `answer` is None if the function crashed or is still running."""

    name: str
    request: OperationRequest
    at: datetime
    answer: Outcome | LongshoreError | None = None
    ended: bool = False
    answered_at: datetime | None = None

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The answer that is stored for an Idempotency-Key."""
        if isinstance(self.answer, Outcome):
            return self.answer.model_dump(mode="json")
        if isinstance(self.answer, StateConflictError | ContainerProtectedError):
            return {"kind": "conflict"} | {name: value for name, value in self.answer.data.items() if name != "error"}
        return None

    @property
    def is_failure(self) -> bool:
        """Return whether the answer reports a server-side error."""
        return isinstance(self.answer, LongshoreError) and self.answer.code in (
            ErrorCode.EXTERNAL_SERVICE_ERROR,
            ErrorCode.INTERNAL_SERVER_ERROR,
        )


def describe(outcome: dict[str, Any] | None) -> str:
    """Describe an answer briefly."""
    if outcome is None:
        return "none"
    pending = (outcome.get("pending_operation") or {}).get("operation")
    return f"{outcome['kind']}, {outcome['message']!r}, {outcome['status']}, pending {pending}"


def same_key(one: Asked, other: Asked) -> bool:
    """Return whether two requests have the same caller and the same Idempotency-Key."""
    return one.request.idempotency_id is not None and one.request.idempotency_id == other.request.idempotency_id
