"""An operation from its request to its end: claim, act, commit. The only place that orders side effects.

    perform    who may? -> claim -> act and observe -> commit (again for the second step of a restart)
    crash      after the claim: the operation is pending; past its deadline `resume` drives it on from its step
    force-stop claims in place of a pending operation, whose commit is then refused

Whoever runs a step commits what was observed by one transaction that only one of them can win. One that finds itself
refused reads what happened meanwhile, and answers that.

An answer is one of: completed (its row is written), accepted (pending), a conflict (nothing done), or an error. After
an error nothing has changed, or the operation is pending and will be settled.
"""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from longshore.access import Access, Grants
from longshore.clock import Clock
from longshore.concurrency import together
from longshore.ecs import Task
from longshore.errors import (
    ContainerExpiredError,
    ContainerNotFoundError,
    ExternalServiceError,
    InvalidInputError,
)
from longshore.history import append
from longshore.lifecycle import (
    GOAL,
    Proceed,
    Refusal,
    Refused,
    Status,
    Step,
    decide,
    final_status,
    next_step,
)
from longshore.models import (
    NO_NEWER,
    Change,
    Container,
    IdempotencyRecord,
    OperationRequest,
    Outcome,
    PendingOperation,
    Trigger,
)
from longshore.outcomes import accepted, change_by, change_by_exit, completed, conflict, given, superseded
from longshore.steps import Broken, Ended, NoEffect, Observation, Reached, Steps, Uncertain, Unobserved
from longshore.store import IDEMPOTENCY_WINDOW, Replayed, Store, Superseded, record_of

DEADLINE = timedelta(seconds=60)
"""How long an operation belongs to the one who drives it: longer than a function may run."""

LAST_ATTEMPT = 10
"""How often a step is taken over, at least a minute apart, before it is given up."""

_CLAIM_TRIES = 5
_JOIN_POLL = 0.2  # seconds


def new_id() -> str:
    """24 random hexadecimal characters."""
    return os.urandom(12).hex()


class _Patience(NamedTuple):
    """How long to wait for effects, and whether the outcome answers the request.

    An answer is kept for an Idempotency-Key, be it a 202; and its caller would rather wait on than be told of one.
    """

    until: datetime
    for_caller: bool
    alone: bool = False  # nobody else can have acted for this operation


class _Shared(NamedTuple):
    """The container with the operation as it now stands, which another process has driven or noted upon."""

    container: Container


class Operations:
    """Performs operations. Each method is safe to run at the same time as any other, for the same container too."""

    def __init__(self, store: Store, access: Access, steps: Steps, clock: Clock, wait: timedelta) -> None:
        self._store = store
        self._access = access
        self._steps = steps
        self._clock = clock
        self._wait = wait

    def perform(self, request: OperationRequest) -> Outcome:
        """Perform the operation for a user, and answer within the wait.

        Raises the errors of `Access.admit`, ContainerExpiredError, InvalidInputError (a reused Idempotency-Key, or a
        launch type that cannot), StateConflictError, and ExternalServiceError.

        At most four DynamoDB requests depend on each other: container, grants and key are read together, then the
        claim, then a commit (two for a restart), or the note that goes with a 202. Two more when another process has
        finished the operation in the meantime, and one for a user of more than a hundred projects.
        """
        assert request.actor is not None
        record_id = request.idempotency_id
        (container, record), grants = together(
            lambda: self._read(request.container_id, record_id), self._grants_of(request.actor)
        )
        admitted = self._access.admit(grants, container, operates=True)
        return self.run(admitted, request, record)

    def run(
        self,
        container: Container,
        request: OperationRequest,
        record: IdempotencyRecord | None = None,
        *,
        wait: timedelta | None = None,
    ) -> Outcome:
        """Perform the operation on a container that was just read, without asking who may.

        `wait` takes the place of the usual one; with none at all the effect is for an event or a sweep to observe.
        """
        until = self._clock.now() + (self._wait if wait is None else wait)
        tries = 0
        # A claim that is lost was won by somebody else: the container moves on, and this ends.
        while tries < _CLAIM_TRIES or self._clock.now() < until:
            tries += 1
            if record is not None:
                outcome = self._join(request, record, until)
                if outcome is not None:
                    return given(outcome)
                record = None
                container = self._existing(self._store.container(container.id))
            verdict = decide(container.status, request.operation, container.pending, container.runtime.launch_type)
            if isinstance(verdict, Refused):
                return given(self._refuse(container, request, verdict))
            claimed = self._store.claim(
                container, self._pending(container, request, verdict), supersedes=verdict.supersedes
            )
            match claimed:
                case Container():
                    return given(self._drive(claimed, _Patience(until, for_caller=True, alone=True)))
                case Replayed():
                    record = claimed.record
                case Superseded():
                    container = self._existing(claimed.current)
        raise ExternalServiceError("The container is receiving too many requests")

    def resume(self, container: Container, until: datetime, *, for_caller: bool = False) -> Outcome | None:
        """Drive on a pending operation whose deadline has passed. None when somebody else does, or has.

        Acts again with the same ids, so that what had taken effect is found and not repeated. After its last try the
        operation ends: the container has `failed`, and the row says why. Raises ExternalServiceError.
        """
        pending = container.operation
        if pending is None or pending.deadline > self._clock.now():
            return None
        renewed = pending.model_copy(
            update={"deadline": self._clock.now() + DEADLINE, "attempts": pending.attempts + 1}
        )
        taken = self._store.take_over(container, renewed)
        return None if isinstance(taken, Superseded) else self._drive(taken, _Patience(until, for_caller))

    def settle(self, container: Container, *, host_is_done: bool = False) -> Outcome:
        """Look once, without waiting, whether the pending operation has reached its end, and commit it if so.

        For who has reason to think so, as from an event; whoever drives the operation is not disturbed. With
        `host_is_done` the step's command is known to have done its work on the host. Raises ExternalServiceError.
        """
        return self._drive(container, _Patience(self._clock.now(), for_caller=False), host_is_done=host_is_done)

    def record_exit(self, container: Container, task: Task | None, triggered_by: Trigger) -> Container | Superseded:
        """Write the row of a task that ended by itself while nothing was pending, unless it is written already.

        None is a task that ECS no longer knows.
        """
        at = (task.stopped_at if task else None) or self._clock.now()
        after, entry = append(container, change_by_exit(at, task, triggered_by), new_id(), self._clock.now())
        return self._store.commit_observed(container, after, entry)

    def record_running(self, container: Container, task: Task) -> Container | Superseded:
        """Write the row of a container that was given up, and whose own task came up after all."""
        change = Change(
            to_status=Status.RUNNING,
            observed_at=task.started_at or self._clock.now(),
            triggered_by=Trigger.SYSTEM,
            metadata={"task_id": task.id, "reason": "The task came up after it was given up"},
            task_arn=task.arn,
            task_version=task.version,
        )
        after, entry = append(container, change, new_id(), self._clock.now())
        return self._store.commit_observed(container, after, entry)

    # --- before the claim ------------------------------------------------------------------------------------------

    def _read(self, container_id: str, record_id: str | None) -> tuple[Container | None, IdempotencyRecord | None]:
        if record_id is None:
            return self._store.container(container_id), None
        return together(lambda: self._store.container(container_id), lambda: self._store.record(record_id))

    def _grants_of(self, user_id: str) -> Callable[[], Grants]:
        return lambda: self._access.grants(user_id)

    @staticmethod
    def _existing(container: Container | None) -> Container:
        if container is None:
            raise ContainerNotFoundError
        return container

    def _pending(self, container: Container, request: OperationRequest, verdict: Proceed) -> PendingOperation:
        now = self._clock.now()
        superseded = container.operation if verdict.supersedes else None
        record_id = request.idempotency_id
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
            superseded_start=superseded.id if superseded and superseded.step is Step.START else None,
            task_arn=superseded.task_arn if superseded else None,
            idempotency_id=record_id,
            idempotency_expires_at=int((now + IDEMPOTENCY_WINDOW).timestamp()) if record_id else None,
        )

    def _refuse(self, container: Container, request: OperationRequest, refused: Refused) -> Outcome:
        match refused.refusal:
            case Refusal.EXPIRED:
                raise ContainerExpiredError
            case Refusal.UNSUPPORTED:
                raise InvalidInputError([{"instancePath": "/operation", "message": refused.message}])
            case Refusal.CONFLICT:
                outcome = conflict(container, request.operation, refused.message)
                return self._keep(request, None, outcome)
            case _:
                assert_never(refused.refusal)

    # --- Idempotency-Key -------------------------------------------------------------------------------------------

    def _keep(self, request: OperationRequest, operation_id: str | None, outcome: Outcome) -> Outcome:
        """Keep an answer that no commit keeps. Returns the one that is kept, which another request may have won."""
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
        if kept.answer is None:
            return self._join(request, kept, self._clock.now() + self._wait) or outcome
        return kept.answer

    def _join(self, request: OperationRequest, record: IdempotencyRecord, until: datetime) -> Outcome | None:
        """The answer of the request that used the key first, waiting for it; None when the key is free again.

        An operation that nobody drives any more is driven on from here: its first request was answered with an error,
        or has crashed.
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
                    patience = _Patience(until, for_caller=True)
                    settled = self._accept(container, pending, Unobserved("Nothing was seen yet"), patience)
                    if isinstance(settled, Outcome):
                        return settled
                outcome = self.resume(container, until, for_caller=True)
                if outcome is not None:
                    return outcome
                self._clock.sleep(_JOIN_POLL)
            latest = self._store.record(record.id)
            if latest is None:
                return None
            if latest.answer is None and (pending is None or pending.id != record.operation_id):
                # It ended without an answer of its own: something took its place.
                return self._keep(request, record.operation_id, superseded(container, request.operation))
            record = latest

    # --- after the claim -------------------------------------------------------------------------------------------

    def _drive(self, container: Container, patience: _Patience, *, host_is_done: bool = False) -> Outcome:
        """Run the pending operation from its step to its end, or as far as patience goes. Raises on failure."""
        while True:
            pending = container.operation
            assert pending is not None
            seen = self._steps.run(
                container,
                pending,
                patience.until,
                look_first=not patience.for_caller,
                host_is_done=host_is_done,
            )
            settled = self._settle(container, pending, seen, patience)
            match settled:
                case Outcome():
                    return settled
                case _Shared():
                    container, patience = settled.container, patience._replace(alone=False)
                case Container():
                    # What the host has done was for the step before.
                    container, host_is_done = settled, False

    def _settle(
        self, container: Container, pending: PendingOperation, seen: Observation, patience: _Patience
    ) -> Container | _Shared | Outcome:
        """Commit what was observed of a step. Returns the answer, or the container to run the next step on."""
        match seen:
            case Reached():
                return self._reached(container, pending, seen, patience)
            case Ended():
                return self._ended(container, pending, seen, patience)
            case Broken():
                facts = seen.task.facts | {"reason": seen.reason}
                change = change_by(pending, Status.FAILED, seen.at, facts, seen.task)
                return self._fail(container, change, seen.task, patience)
            case NoEffect() if self._nothing_done(pending, seen, patience):
                return self._undo(container, pending, seen, patience)
            case Unobserved() | Uncertain() | NoEffect() if pending.attempts >= LAST_ATTEMPT:
                return self._give_up(container, pending, seen, patience)
            case Unobserved():
                return self._accept(container, pending, seen, patience)
            case NoEffect() | Uncertain():
                # Nobody drives it from here on: the sweep, or a repeat of the request, may do so at once.
                self._store.note(container, pending.model_copy(update={"deadline": self._clock.now()}), None)
                raise ExternalServiceError(seen.reason)
            case _:
                assert_never(seen)

    def _reached(
        self, container: Container, pending: PendingOperation, seen: Reached, patience: _Patience
    ) -> Container | _Shared | Outcome:
        goal = GOAL[pending.step]
        step = next_step(pending.operation, pending.step)
        outcome = completed(container, pending, goal)
        change = change_by(pending, goal, seen.at, seen.facts, seen.task)
        result = self._commit(container, change, step, None if step else outcome)
        if isinstance(result, Superseded):
            return self._overtaken(container, seen.task, patience)
        if step is not None:
            return result
        if pending.step is Step.START and seen.task is not None and seen.task.is_stopped:
            # It ran, and ended before anyone looked: that is a row too.
            self.record_exit(result, seen.task, Trigger.SYSTEM)
        return self._first_answer(pending, outcome, patience)

    def _ended(
        self, container: Container, pending: PendingOperation, seen: Ended, patience: _Patience
    ) -> Container | _Shared | Outcome:
        """The task ended by itself: a row that says so. The operation goes on if it still can, else it conflicts."""
        change = change_by_exit(seen.at, seen.task)
        verdict = decide(change.to_status, pending.operation, None, container.runtime.launch_type)
        step = verdict.step if isinstance(verdict, Proceed) else None
        answer = None
        if isinstance(verdict, Refused):
            ended = container.model_copy(update={"status": change.to_status, "operation": None})
            answer = conflict(ended, pending.operation, verdict.message)
        result = self._commit(container, change, step, answer)
        if isinstance(result, Superseded):
            return self._overtaken(container, None, patience)
        return self._first_answer(pending, answer, patience) if answer else result

    def _fail(self, container: Container, change: Change, task: Task | None, patience: _Patience) -> _Shared | Outcome:
        """End the operation with the container `failed`: an error for the caller, which no Idempotency-Key keeps."""
        if isinstance(self._commit(container, change, None, None, forget=True), Superseded):
            return self._overtaken(container, task, patience)
        raise ExternalServiceError(str(change.metadata["reason"]))

    @staticmethod
    def _nothing_done(pending: PendingOperation, seen: NoEffect, patience: _Patience) -> bool:
        """Whether a refusal means that the operation has done nothing: no try before it, and nothing that it replaced.

        Else somebody may have done something, and what a refusal leaves open has to be tried again. That goes for this
        process too, once it does over what others have noted upon.
        """
        first_try = patience.alone and pending.attempts == 0
        return (seen.certain or first_try) and pending.superseded is None

    def _undo(
        self, container: Container, pending: PendingOperation, seen: NoEffect, patience: _Patience
    ) -> _Shared | Outcome:
        """End an operation that cannot be done: as if it had never begun, unless a row says that it has."""
        if pending.has_row:
            change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": seen.reason}, None)
            return self._fail(container, change, None, patience)
        if isinstance(self._store.abandon(container), Superseded):
            return self._overtaken(container, None, patience)
        raise ExternalServiceError(seen.reason)

    def _give_up(
        self,
        container: Container,
        pending: PendingOperation,
        seen: Unobserved | Uncertain | NoEffect,
        patience: _Patience,
    ) -> _Shared | Outcome:
        """The last try has failed too: nothing stays pending for ever. A task that may still come up is stopped.

        The container keeps its task's ARN: force-stop and restart make sure that it is gone.
        """
        task = seen.task if isinstance(seen, Unobserved) else None
        if pending.step is Step.START and task is not None:
            self._steps.stop_stray(container, task.arn)
        reason = f"Gave up after {pending.attempts} tries: {seen.reason}"
        facts = (task.facts if task else {}) | {"reason": reason}
        change = change_by(pending, Status.FAILED, self._clock.now(), facts, task)
        if pending.step is not Step.START:
            # That its task runs, as events may go on to tell, does not say what the step has done to it.
            change = change._replace(task_version=NO_NEWER)
        return self._fail(container, change, None, patience)

    def _commit(
        self,
        container: Container,
        change: Change,
        step: Step | None,
        answer: Outcome | None,
        *,
        forget: bool = False,
    ) -> Container | Superseded:
        """Commit a change together with the operation's next step, or its end."""
        pending = container.operation
        assert pending is not None
        now = self._clock.now()
        after, entry = append(container, change, new_id(), now)
        going_on = None
        if step is not None:
            going_on = pending.model_copy(
                update={"step": step, "deadline": now + DEADLINE, "attempts": 0, "has_row": True}
            )
        after = after.model_copy(update={"operation": going_on})
        return self._store.commit(container, after, entry, answer, forget=forget)

    def _first_answer(self, pending: PendingOperation, outcome: Outcome, patience: _Patience) -> Outcome:
        """The outcome, unless another answer has been given for the Idempotency-Key while it was reached."""
        if not (patience.for_caller and pending.answered and pending.idempotency_id):
            return outcome
        record = self._store.record(pending.idempotency_id)
        return record.answer if record and record.answer else outcome

    def _accept(
        self, container: Container, pending: PendingOperation, seen: Unobserved, patience: _Patience
    ) -> _Shared | Outcome:
        """Answer 202. What a sweep or an event needs to know of the task is noted with it."""
        outcome = accepted(container, pending)
        keeps = patience.for_caller and pending.idempotency_id is not None and not pending.answered
        task_arn = seen.task.arn if seen.task else pending.task_arn
        if not keeps and task_arn == pending.task_arn:
            return outcome
        noted = pending.model_copy(update={"task_arn": task_arn, "answered": pending.answered or keeps})
        result = self._store.note(container, noted, outcome if keeps else None)
        return self._overtaken(container, seen.task, patience) if isinstance(result, Superseded) else outcome

    def _overtaken(self, container: Container, task: Task | None, patience: _Patience) -> _Shared | Outcome:
        """What to do for one whose commit was refused: go on with the operation as it now stands, or answer.

        Another process may have carried the very same operation on, or ended it: then its rows tell the answer. Or
        force-stop has taken its place: then a task that this process has started must not live.
        """
        pending = container.operation
        assert pending is not None
        current = self._existing(self._store.container(container.id))
        now = current.operation
        if now is not None and now.id == pending.id:
            # Carried on, or merely noted upon. A driver whom nobody waits for leaves it to the one who carried it on.
            same_place = (current.log_count, now.attempts) == (container.log_count, pending.attempts)
            if same_place or (patience.for_caller and self._clock.now() < patience.until):
                return _Shared(current)
            return self._accept(current, now, Unobserved("Another process carries it on"), patience)
        if task is not None and not task.is_stopped and current.task_arn != task.arn:
            self._steps.stop_stray(container, task.arn)
        return self._keep_last(container, self._told_by_history(container, current))

    def _told_by_history(self, container: Container, current: Container) -> Outcome:
        """How the operation ended, for one who has not ended it. `container` is as the operation was last seen."""
        pending = container.operation
        assert pending is not None
        rows = self._store.rows_since(container.id, container.log_count)
        own = [row for row in rows if (row.metadata or {}).get("operation_id") == pending.id]
        final = final_status(pending.operation)
        if own and own[-1].to_status is final:
            return completed(current, pending, final)
        if own and own[-1].to_status is Status.FAILED:
            raise ExternalServiceError(str((own[-1].metadata or {}).get("reason") or "The operation failed"))
        return superseded(current, pending.operation)

    def _keep_last(self, container: Container, outcome: Outcome) -> Outcome:
        """Keep the answer for the Idempotency-Key, unless it has one: then that is the answer."""
        if container.operation is None or container.operation.idempotency_id is None:
            return outcome
        return self._store.keep_answer(record_of(container, outcome)).answer or outcome
