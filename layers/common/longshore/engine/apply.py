"""Carries out what `settle` has decided, and determines the answer if another worker was faster.

A commit is one transaction that only one driver can win. A driver whose write is refused reads the container again, and
answers with what has happened in the meantime.
"""

from datetime import datetime
from typing import NamedTuple, assert_never

from longshore.aws.items import record_of
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ContainerNotFoundError, ExternalServiceError, OperationFailedError
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import KnownTask
from longshore.domain.lifecycle import Kind, Status, Step, final_status
from longshore.domain.models import Container, Outcome
from longshore.domain.pending import Launch, PendingOperation, Trigger
from longshore.domain.results import accepted, completed, superseded
from longshore.domain.task import Task
from longshore.engine.decisions import Abandon, Accept, Commit, DriverRole, GiveUp, Note, Overtaken, Release, Write
from longshore.engine.observations import Result, Unobserved
from longshore.engine.recorder import Recorder
from longshore.engine.settle import DEADLINE, settle, stored_findings
from longshore.engine.steps import Steps


class OvertakenError(Exception):
    """A write of an event's handler or of an onlooker was refused: the container has to be read again."""


class Continue(NamedTuple):
    """The driver continues.

    Attributes:
        container: The container with its pending operation, as now stored.
        is_alone: Whether no other driver can have acted for the operation, if none could before.
        is_stored: Whether this driver has just stored what its attempt has noted.
        is_next: Whether the step is another one than before.
    """

    container: Container
    is_alone: bool = False
    is_stored: bool = False
    is_next: bool = False


class Applier:
    """Carries out decisions."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._recorder = Recorder(store, clock)

    def apply(self, container: Container, write: Write, role: DriverRole, until: datetime) -> Continue | Outcome:
        """Carry out a decision.

        Args:
            container: The container as read, with the operation.
            write: The decision.
            role: On whose behalf.
            until: If another driver continues the operation, an API request waits for it until this time (UTC).

        Returns:
            The container to continue with, or the answer.

        Raises:
            OvertakenError: The write was refused, and the role is that of an event's handler or of an onlooker.
            ContainerNotFoundError: The container has been deleted.
            ContainerExpiredError: The container has expired.
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: A service failed, and the operation was released.
            StoreError: DynamoDB failed; the write may have taken effect.
        """
        match write:
            case Commit():
                return self._commit(container, write, role, until)
            case GiveUp():
                for arn in write.stops:
                    self._steps.stop_now(container, arn)
                return self._commit(container, write.commit, role, until)
            case Note():
                noted = self._store.note(write.before, write.operation, None)
                if isinstance(noted, ConditionFailed):
                    return self._overtaken(container, write.task, role, until)
                return Continue(noted, is_alone=write.keeps_alone, is_stored=True)
            case Accept():
                answer = self._accept(container, write)
                return self._overtaken(container, write.task, role, until) if answer is None else answer
            case Release():
                if write.operation is not None:
                    self._store.note(write.before, write.operation, None)
                raise ExternalServiceError(write.reason)
            case Abandon():
                if isinstance(self._store.abandon(container), ConditionFailed):
                    return self._overtaken(container, None, role, until)
                raise OperationFailedError(write.reason)
            case Overtaken():
                return self._overtaken(container, write.task, role, until)
            case _:
                assert_never(write)

    def accept(self, container: Container) -> Outcome | None:
        """Answer 202 to a request while another driver owns the operation.

        Returns:
            The answer, which is stored for the Idempotency-Key. None if the container has changed since it was read.

        Raises:
            StoreError: DynamoDB failed.
        """
        pending = container.operation
        assert pending is not None
        result = Result(Unobserved("No effect has been observed yet"), stored_findings(pending))
        write = settle(container, result, DriverRole.ONLOOKER, self._clock.now(), fresh_token=pending.token)
        assert isinstance(write, Accept)
        return self._accept(container, write)

    def _accept(self, container: Container, write: Accept) -> Outcome | None:
        """Store what was found. Returns the answer, or None if the container has changed since it was read."""
        pending = container.operation
        assert pending is not None
        outcome = accepted(container, pending)
        if write.operation is None:
            return outcome
        result = self._store.note(write.before, write.operation, outcome if write.stores_answer else None)
        return None if isinstance(result, ConditionFailed) else outcome

    def _commit(self, container: Container, write: Commit, role: DriverRole, until: datetime) -> Continue | Outcome:
        pending = container.operation
        assert pending is not None
        now = self._clock.now()
        after, entry = append(container, write.change, new_id(), now)
        after = after.model_copy(update={"operation": None})
        if write.step is not None:
            after = _with_step(after, pending, write.step, now)
        fails = write.step is None and write.answer is None
        result = self._store.commit(container, after, entry, write.answer, forget=fails)
        if isinstance(result, ConditionFailed):
            return self._overtaken(container, write.task, role, until)
        if write.step is not None:
            return Continue(result, is_next=True)
        if write.answer is None:
            raise OperationFailedError(str(write.change.observed.reason))
        if write.exit is not None:
            recorded = self._recorder.record_exit(result, write.exit, Trigger.SYSTEM)
            if isinstance(recorded, ConditionFailed) and role is DriverRole.EVENT:
                # The event that reported the end must be applied to the operation that was claimed since.
                raise OvertakenError
        return self._first_answer(pending, write.answer, role)

    def _first_answer(self, pending: PendingOperation, outcome: Outcome, role: DriverRole) -> Outcome:
        """Return the stored answer for the Idempotency-Key if the request was answered 202, else the outcome."""
        if not (role.answers and pending.answered and pending.idempotency):
            return outcome
        record = self._store.record(pending.idempotency.id)
        return record.answer if record and record.answer else outcome

    # --- refused writes --------------------------------------------------------------------------------------------

    def _overtaken(
        self, container: Container, task: Task | None, role: DriverRole, until: datetime
    ) -> Continue | Outcome:
        """Determine why a write was refused, and whether to continue.

        Another driver may have changed or continued the operation, or ended it; its rows then determine the answer.
        If a force-stop has superseded the operation, a task that this driver has started is stopped.
        """
        if not role.owns:
            raise OvertakenError
        pending = container.operation
        assert pending is not None
        while True:
            current = self._store.container(container.id)
            if current is None:
                raise ContainerNotFoundError
            latest = current.operation
            if latest is None or latest.id != pending.id:
                break
            # With the same row count and attempts, only attributes of the operation have changed. Otherwise another
            # driver continues it, and only a driver whose caller waits stays with it.
            same_place = (current.log_count, latest.attempts) == (container.log_count, pending.attempts)
            if same_place or (role.answers and self._clock.now() < until):
                return Continue(current)
            answer = self.accept(current) if role.answers else accepted(current, latest)
            if answer is not None:
                return answer
        if task is not None and not task.is_stopped and not _is_wanted(current, task.arn):
            self._steps.stop_now(container, task.arn)
        return self._keep_last(container, self._outcome_from_rows(container, current))

    def _outcome_from_rows(self, container: Container, current: Container) -> Outcome:
        """Determine how another driver ended the operation. `container` was read while it was still pending."""
        pending = container.operation
        assert pending is not None
        rows = self._store.rows_since(container.id, container.log_count)
        own = [row for row in rows if (row.metadata or {}).get("operation_id") == pending.id]
        reached = own[-1].to_status if own else None
        if current.reached_without_row is not None:
            reached = current.reached_without_row.get(pending.id, reached)
        # The reason is that of the row with this status. An earlier row of a restart has its own.
        reason = (own[-1].metadata or {}).get("reason") if own and own[-1].to_status is reached else None
        final = final_status(pending.operation)
        if reached is final:
            return completed(current, pending, final)
        if reached is Status.FAILED:
            raise OperationFailedError(str(reason or "The operation failed"))
        if not rows and current.operation is None and current.status is container.status:
            raise OperationFailedError("The operation was refused and had no effect")
        return superseded(current, pending.operation)

    def _keep_last(self, container: Container, outcome: Outcome) -> Outcome:
        """Store the answer for the Idempotency-Key unless it has one. Returns the stored answer."""
        if container.operation is None or container.operation.idempotency is None:
            return outcome
        return self._store.keep_answer(record_of(container, outcome)).answer or outcome


def _with_step(after: Container, pending: PendingOperation, step: Step, now: datetime) -> Container:
    """Return the container with the operation's next step. The client token of a start is in the ledger from now on."""
    launches, service = step is Step.START and after.kind is Kind.TASK, pending.service
    continuing = pending.model_copy(
        update={
            "step": step,
            "step_since": now,
            "deadline": now + DEADLINE,
            "attempts": 0,
            "has_row": True,
            "command": pending.command.model_copy(update={"sent": None}),
            "launch": Launch() if launches else None,
            "service": service.model_copy(update={"absent": {}}) if service is not None else None,
        }
    )
    tasks = after.tasks
    if launches:
        tasks = {**tasks, continuing.token: KnownTask(called_from=now)}
    return after.model_copy(update={"operation": continuing, "tasks": tasks})


def _is_wanted(container: Container, task_arn: str) -> bool:
    """Check whether a task is the container's own, or that of its pending start."""
    pending = container.operation
    token = pending.token if pending is not None and pending.step is Step.START else container.own_token
    return token is not None and token in container.tasks and container.tasks[token].arn == task_arn
