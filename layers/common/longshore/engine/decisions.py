"""What can follow an attempt at a step, and on whose behalf it is made. `settle.py` decides, `apply.py` acts."""

from enum import StrEnum
from typing import NamedTuple

from longshore.domain.lifecycle import Step
from longshore.domain.models import Change, Container, Outcome
from longshore.domain.pending import PendingOperation
from longshore.domain.task import Task


class DriverRole(StrEnum):
    """On whose behalf an attempt is made."""

    CLAIMER = "claimer"  # has just claimed the operation: no other driver can have acted for it
    CALLER = "caller"  # answers an API request, and owns the operation until its deadline
    SWEEP = "sweep"  # has taken the operation over, and owns it until its deadline
    EVENT = "event"  # the handler of an event, which does not own the operation
    ONLOOKER = "onlooker"  # answers an API request while another driver owns the operation

    @property
    def owns(self) -> bool:
        """Whether the operation belongs to the driver until its deadline."""
        return self in (DriverRole.CLAIMER, DriverRole.CALLER, DriverRole.SWEEP)

    @property
    def answers(self) -> bool:
        """Whether the outcome answers an API request. It is then stored for the request's Idempotency-Key."""
        return self in (DriverRole.CLAIMER, DriverRole.CALLER, DriverRole.ONLOOKER)


class Commit(NamedTuple):
    """Write a row, with the operation's next step or its end.

    Attributes:
        change: The change of status.
        step: The next step. None ends the operation.
        answer: The answer, if the operation ends with one. Without an answer and a next step, the operation has failed:
            its reason is that of the change, and its Idempotency-Key becomes free again.
        task: The task that the driver has started or found, if any.
        exit: The task if it has already stopped: its exit is a second row.
    """

    change: Change
    step: Step | None = None
    answer: Outcome | None = None
    task: Task | None = None
    exit: Task | None = None


class GiveUp(NamedTuple):
    """Stop tasks, and end the operation with the container `failed`."""

    stops: list[str]  # ARNs
    commit: Commit


class Note(NamedTuple):
    """Store what the attempt has found, and continue.

    Attributes:
        before: The container as read, with the ledger and the attributes to store.
        operation: The operation to store.
        task: The task that the driver has started, if any.
        keeps_alone: Whether a refused call of the claimer still proves that nothing has happened.
    """

    before: Container
    operation: PendingOperation
    task: Task | None = None
    keeps_alone: bool = False


class Accept(NamedTuple):
    """Leave the operation pending, and answer 202.

    Attributes:
        before: The container as read, with the ledger to store.
        operation: The operation to store. None: nothing has to be stored.
        stores_answer: Whether to store the answer for the Idempotency-Key.
        task: The task of a start, if it was seen.
    """

    before: Container
    operation: PendingOperation | None
    stores_answer: bool = False
    task: Task | None = None


class Release(NamedTuple):
    """Leave the operation pending, so that the next driver can take it over, and raise ExternalServiceError.

    Attributes:
        before: The container as read, with the ledger to store.
        operation: The operation to store. None: nothing is stored.
        reason: The reason of the error.
    """

    before: Container
    operation: PendingOperation | None
    reason: str


class Abandon(NamedTuple):
    """End the operation without a row, because nothing has happened."""

    reason: str


class Overtaken(NamedTuple):
    """Find out what another worker has done. `task` is the task that the driver has started, if any."""

    task: Task | None


Write = Commit | GiveUp | Note | Accept | Release | Abandon | Overtaken
