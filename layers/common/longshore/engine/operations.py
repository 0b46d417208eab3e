"""Operations that callers request: permissions, claim, answer and Idempotency-Key.

    perform    check permissions -> claim -> the driver acts, observes and commits
    repeat     with the same Idempotency-Key: return the first answer, or continue the first operation

The answer is one of: completed (its row is written), accepted (the operation is pending), a conflict (nothing was
done), or an error. After an error the operation has had no effect, has ended with a row that states the reason, or is
pending and will be settled.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import assert_never

from longshore.aws.access import Access, Grants
from longshore.aws.items import LIFETIME
from longshore.aws.store import ConditionFailed, Replayed, Store
from longshore.domain.changes import past_faults
from longshore.domain.clock import Clock
from longshore.domain.errors import (
    ContainerExpiredError,
    ContainerNotFoundError,
    ExternalServiceError,
    InvalidInputError,
    LaterRequestError,
)
from longshore.domain.ids import new_id
from longshore.domain.ledger import KnownTask, callable_until
from longshore.domain.lifecycle import BEGINNING, ENDING, Kind, Proceed, Refusal, Refused, Step
from longshore.domain.models import Container, IdempotencyRecord, OperationRequest, Outcome, next_command_number
from longshore.domain.pending import (
    IDEMPOTENCY_WINDOW,
    HostCommand,
    Idempotency,
    Launch,
    PendingOperation,
    ServiceChange,
)
from longshore.domain.results import conflict, given, superseded
from longshore.domain.roles import Role
from longshore.domain.unchanged import UNCHANGED, Unchanged
from longshore.engine.concurrency import together
from longshore.engine.decisions import DriverRole
from longshore.engine.driver import Driver
from longshore.engine.settle import DEADLINE

_CLAIM_TRIES = 5
_JOIN_POLL = 0.2  # seconds


class Operations:
    """Performs operations. All methods are safe to call concurrently, also for the same container.

    Attributes:
        wait: How long a request waits for the effect of its operation, unless its caller prefers less.
    """

    def __init__(self, store: Store, access: Access, driver: Driver, clock: Clock, wait: timedelta) -> None:
        self._store = store
        self._access = access
        self._driver = driver
        self._clock = clock
        self.wait = wait

    def perform(self, request: OperationRequest) -> Outcome:
        """Perform the operation for a user, and answer within the wait, or earlier if the caller prefers it.

        At most four DynamoDB requests depend on each other: the parallel reads of the container, the grants and the
        Idempotency-Key's record; the claim; and the commit (two for a restart) or the write that stores a 202. There
        are two more if another worker has ended the operation, and one more for a user with more than 100 projects.
        While a task starts, its ARN is stored and the item is read, which does not delay the answer.

        Raises:
            AccountBannedError, ContainerNotFoundError, InsufficientPermissionsError: See `Access.admit`.
            ContainerExpiredError: The container has expired.
            InvalidInputError: The Idempotency-Key was used for another request, the launch type does not support the
                operation, or `stop_at` has passed and no answer is stored.
            ContainerProtectedError: The container is protected from the operation.
            StateConflictError: The status or a pending operation does not allow the operation.
            ExternalServiceError: A service failed, or the operation has failed.
        """
        assert request.actor is not None
        record_id = request.idempotency_id
        (container, record), grants = together(
            lambda: self._read(request.container_id, record_id), self._grants_of(request.actor)
        )
        if record is None:
            self._check_stop_at(request)
        admitted = self._access.admit(grants, container, needs=Role.OPERATOR)
        wait = None if request.wait is None else min(request.wait, self.wait)
        return self.run(admitted, request, record, wait=wait)

    def run(
        self,
        container: Container,
        request: OperationRequest,
        record: IdempotencyRecord | None = None,
        *,
        wait: timedelta | None = None,
    ) -> Outcome:
        """Perform the operation on a container that was just read, without checking permissions.

        Args:
            container: The container as read.
            request: The requested operation.
            record: The record of the request's Idempotency-Key, if there is one.
            wait: How long to wait for the effect. None: the usual time. Zero: leave it to events and sweeps.

        Raises:
            LaterRequestError: Another operation was requested at or after the scheduled time of this request, or the
                container is on hold then; or the container has not to be stopped any more.
            LongshoreError: The other errors of `perform`.
        """
        until = self._clock.now() + (self.wait if wait is None else wait)
        project_id = container.project_id
        tries = 0
        # A claim is refused only if another request has changed the container. So there is progress, and the loop ends.
        while tries < _CLAIM_TRIES or self._clock.now() < until:
            tries += 1
            if record is not None:
                outcome = self._join(request, record, until)
                if outcome is not None:
                    return given(outcome)
                record = None
                container = self._existing(self._store.container(container.id))
            self._check_unmoved(container, project_id)
            if self._is_of_same_key(container, request):
                # A request with the same key has claimed the operation. The key is free again if the operation has
                # ended without effect since.
                record = self._record_of(request)
                container = container if record else self._existing(self._store.container(container.id))
                continue
            self._check_stop_at(request)
            if self._has_priority(container, request):
                raise LaterRequestError
            verdict = container.decide(request.operation)
            if isinstance(verdict, Refused):
                refused = self._refuse(container, request, verdict, until)
                if refused is not None:
                    return given(refused)
                container = self._existing(self._store.container(container.id))
                continue
            claimed = self._claim(container, request, verdict)
            match claimed:
                case Container():
                    return given(self._driver.drive(claimed, DriverRole.CLAIMER, until))
                case Replayed():
                    record = claimed.record
                case ConditionFailed():
                    container = self._existing(claimed.current)
        raise ExternalServiceError("The container is receiving too many requests")

    # --- before the claim ------------------------------------------------------------------------------------------

    def _read(self, container_id: str, record_id: str | None) -> tuple[Container | None, IdempotencyRecord | None]:
        if record_id is None:
            return self._store.container(container_id), None
        return together(lambda: self._store.container(container_id), lambda: self._store.record(record_id))

    def _grants_of(self, user_id: str) -> Callable[[], Grants]:
        return lambda: self._access.grants(user_id)

    def _claim(
        self, container: Container, request: OperationRequest, verdict: Proceed
    ) -> Container | Replayed | ConditionFailed:
        if (container.history_full or container.history_large) and request.operation not in ENDING:
            extent = "full" if container.history_full else "nearly full"
            raise ExternalServiceError(f"The container's history is {extent}: only stop and force-stop are possible")
        pending = self._pending(container, request, verdict)
        return self._store.claim(
            container.model_copy(update={"tasks": _claimed_tasks(container, pending)}),
            pending,
            supersedes=verdict.supersedes,
            requested_at=request.requested_at or pending.started_at,
            stop_at=self._new_stop_at(container, request),
            while_same=_depends_on(request),
        )

    def _new_stop_at(self, container: Container, request: OperationRequest) -> datetime | Unchanged | None:
        """Return the requested `stop_at`. A container that is not live starts without a past one."""
        begins = request.operation in BEGINNING and not container.is_live
        if request.stop_at is UNCHANGED and begins and past_faults(container.stop_at, self._clock.now(), "stop_at"):
            return None
        return request.stop_at

    def _check_stop_at(self, request: OperationRequest) -> None:
        """Raise InvalidInputError if the requested `stop_at` has passed."""
        if faults := past_faults(request.stop_at, self._clock.now(), "stop_at"):
            raise InvalidInputError(faults)

    @staticmethod
    def _check_unmoved(container: Container, project_id: str) -> None:
        """Raise ExternalServiceError if the container has left the project for which the request was permitted."""
        if container.project_id != project_id:
            raise ExternalServiceError("The container was moved to another project meanwhile")

    def _record_of(self, request: OperationRequest) -> IdempotencyRecord | None:
        return self._store.record(request.idempotency_id) if request.idempotency_id else None

    @staticmethod
    def _is_of_same_key(container: Container, request: OperationRequest) -> bool:
        """Check whether the pending operation was claimed by a request with the same Idempotency-Key."""
        pending, key = container.operation, request.idempotency_id
        return pending is not None and key is not None and pending.idempotency_id == key

    def _has_priority(self, container: Container, request: OperationRequest) -> bool:
        """Check whether what users have requested prevents an operation that no user has requested."""
        if request.only_when_ended and container.ended_by(self._clock.now()) != request.rule:
            return True
        is_held = request.requested_at is not None and container.is_held(request.requested_at)
        return is_held or self._requested_since(container, request)

    @staticmethod
    def _requested_since(container: Container, request: OperationRequest) -> bool:
        """Check whether another operation was requested at or after the scheduled time of this request."""
        at, last = request.requested_at, container.requested_at
        return at is not None and last is not None and last >= at

    @staticmethod
    def _existing(container: Container | None) -> Container:
        if container is None:
            raise ContainerNotFoundError
        return container

    def _pending(self, container: Container, request: OperationRequest, verdict: Proceed) -> PendingOperation:
        now = self._clock.now()
        superseded = container.operation if verdict.supersedes else None
        record_id = request.idempotency_id
        expires_at = int((now + IDEMPOTENCY_WINDOW).timestamp())
        is_task = container.kind is Kind.TASK
        return PendingOperation(
            id=new_id(),
            operation=request.operation,
            step=verdict.step,
            started_at=now,
            since=superseded.since if superseded else now,
            deadline=now + DEADLINE,
            triggered_by=request.triggered_by,
            actor=request.actor,
            request_id=request.request_id,
            rule=request.rule,
            superseded=superseded.operation if superseded else None,
            requested_before=container.requested_at,
            command=HostCommand(number=next_command_number(container, now), expires_at=now + DEADLINE),
            launch=Launch() if is_task and verdict.step is Step.START else None,
            service=None if is_task else ServiceChange(),
            idempotency=Idempotency(id=record_id, expires_at=expires_at) if record_id else None,
        )

    def _refuse(
        self, container: Container, request: OperationRequest, refused: Refused, until: datetime
    ) -> Outcome | None:
        """Answer a request whose operation may not begin. Returns None if the container must be read again."""
        match refused.refusal:
            case Refusal.EXPIRED:
                raise ContainerExpiredError
            case Refusal.UNSUPPORTED:
                raise InvalidInputError([{"instancePath": "/operation", "message": refused.message}])
            case Refusal.CONFLICT | Refusal.PROTECTED:
                protected = refused.refusal is Refusal.PROTECTED
                outcome = conflict(container, request.operation, refused.message, protected=protected)
                return self._keep(request, None, outcome, until)
            case _:
                assert_never(refused.refusal)

    # --- Idempotency-Key -------------------------------------------------------------------------------------------

    def _keep(
        self, request: OperationRequest, operation_id: str | None, outcome: Outcome, until: datetime
    ) -> Outcome | None:
        """Store an answer for the Idempotency-Key that no commit stores.

        Returns:
            The stored answer, which may be another request's. None if an operation with the same key has begun and
            ended without an answer in the meantime, so that `outcome` may no longer be true.
        """
        record_id = request.idempotency_id
        if record_id is None:
            return outcome
        kept = self._store.keep_answer(
            IdempotencyRecord(
                id=record_id,
                container_id=request.container_id,
                operation=request.operation,
                operation_id=operation_id,
                expires_at=int((self._clock.now() + IDEMPOTENCY_WINDOW).timestamp()),
                answer=outcome,
            )
        )
        return self._join(request, kept, until)

    def _join(self, request: OperationRequest, record: IdempotencyRecord, until: datetime) -> Outcome | None:
        """Wait for the answer of the request that used the key first. Returns None if the key is free again.

        An operation whose deadline has expired is taken over: its first request was answered with an error, or its
        function crashed.
        """
        while True:
            if (record.container_id, record.operation) != (request.container_id, request.operation):
                raise InvalidInputError(
                    [
                        {
                            "instancePath": "/Idempotency-Key",
                            "message": "was used for another container or operation in the last 24 hours",
                        }
                    ]
                )
            if record.answer is not None:
                return record.answer
            container = self._existing(self._store.container(record.container_id))
            pending = container.operation
            if pending is not None and pending.id == record.operation_id:
                if self._clock.now() >= until:
                    settled = self._driver.accept(container)
                    if settled is not None:
                        return settled
                outcome = self._driver.take_over(container, until, for_caller=True)
                if outcome is not None:
                    return outcome
                self._clock.sleep(_JOIN_POLL)
            latest = self._store.record(record.id)
            if latest is None:
                return None
            ended = latest.operation_id == record.operation_id and (
                pending is None or pending.id != record.operation_id
            )
            if latest.answer is None and ended:
                # The operation ended without storing an answer, because it was superseded.
                return self._keep(request, record.operation_id, superseded(container, request.operation), until)
            record = latest


def _depends_on(request: OperationRequest) -> tuple[str, ...]:
    """Return the attributes that users change and that an operation which no user has requested depends on."""
    if request.only_when_ended:
        return LIFETIME
    return () if request.requested_at is None else ("hold_until",)


def _claimed_tasks(container: Container, pending: PendingOperation) -> dict[str, KnownTask]:
    """Return the ledger with the claim: the client token of a start, and how long that of a superseded one is used."""
    superseded = container.operation
    tasks = callable_until(container.tasks, superseded.token, superseded.deadline) if superseded else container.tasks
    if pending.step is Step.START and container.kind is Kind.TASK:
        return {**tasks, pending.token: KnownTask(called_from=pending.started_at)}
    return dict(tasks)
