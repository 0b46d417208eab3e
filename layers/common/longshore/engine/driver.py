"""Drives a pending operation to its end: act, observe, commit.

    claim (operations) -> act and observe (steps) -> commit, or note what was found and leave the operation pending
    crash              -> past its deadline a sweep, or a repeat of the request, takes the operation over
    force-stop         -> claims in place of a pending operation, whose commit is then refused

The driver commits what was observed by one transaction that only one driver can win. When its transaction is refused,
it reads what has happened meanwhile, and answers that.

An operation ends without a row only when nothing can have happened: this is its claimer's own first attempt, every call
with an effect was refused, and no caller was answered 202. In every other case it ends with a row.
"""

from datetime import datetime
from typing import assert_never

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError, OperationFailedError
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import GOAL, Proceed, Refused, Status, Step, decide, next_step
from longshore.domain.models import NO_NEWER, Container, Outcome, PendingOperation, Trigger, next_command_number
from longshore.domain.results import change_by, change_by_exit, completed, conflict
from longshore.domain.task import Task
from longshore.engine.commits import DEADLINE, Commits, OvertakenError, Patience, Shared, same
from longshore.engine.giving_up import GivingUp, as_seen
from longshore.engine.recorder import Recorder
from longshore.engine.steps import (
    Ended,
    Findings,
    NeverRan,
    NoEffect,
    Reached,
    Result,
    Steps,
    TokenExpired,
    Uncertain,
    Unobserved,
    awaits_host,
)


class Driver:
    """Drives pending operations. Each method may run at the same time as any other, for the same container too."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._recorder = Recorder(store, clock)
        self._commits = Commits(store, steps, clock)
        self._giving_up = GivingUp(store, steps, self._commits, clock)

    def take_over(self, container: Container, until: datetime, *, for_caller: bool = False) -> Outcome | None:
        """Continue a pending operation whose deadline has expired.

        Repeats the current step with the operation's original ids, so that effects that already happened are found
        rather than repeated. When the step runs out of attempts, the container becomes `failed` and the history row
        states the reason. Attempts on behalf of a caller's repeated request do not count.

        Args:
            container: The container as read; its operation may have been completed since.
            until: Stop waiting for the effect at this time (UTC).
            for_caller: Whether the result answers an API request, which prefers waiting to a 202.

        Returns:
            The outcome, or None if another worker has taken over or completed the operation.

        Raises:
            ExternalServiceError: ECS, Systems Manager or DynamoDB failed after retries.
        """
        pending = container.operation
        now = self._clock.now()
        if pending is None or pending.deadline > now:
            return None
        renewed = pending.model_copy(
            update={
                "deadline": now + DEADLINE,
                "attempts": pending.attempts + (not for_caller),
                "command_number": next_command_number(container, now),
                "command_expires_at": now + DEADLINE,
            }
        )
        taken = self._store.take_over(container, renewed)
        if isinstance(taken, ConditionFailed):
            return None
        return self.drive(taken, Patience(until, for_caller, counted=not for_caller))

    def settle(self, container: Container, *, told: Task | None = None, host_is_done: bool = False) -> bool:
        """Look once, without waiting, whether the pending operation has reached its end, and commit it if so.

        The operation's driver is not disturbed.

        Args:
            container: The container as read.
            told: A task as an event describes it: it is believed without asking ECS.
            host_is_done: The step's command to the host is known to have succeeded.

        Returns:
            Whether what was told has been taken into account. False when the container has changed since it was read:
            read it again.

        Raises:
            ExternalServiceError: A service failed, and the event has to be delivered again.
        """
        pending = container.operation
        assert pending is not None
        # Only a start can act here. Its claimer, whose own call may be refused, must not abandon it then.
        if pending.step is Step.START and not pending.has_row and not pending.event_acted:
            noted = self._store.note_event_acts(container, pending)
            if isinstance(noted, ConditionFailed):
                return False
            container = noted
        try:
            patience = Patience(self._clock.now(), for_caller=False, owns=False, once=True)
            self.drive(container, patience, told=told, host_is_done=host_is_done)
        except OperationFailedError:
            return True  # It has ended, with a row that says why.
        except OvertakenError:
            return False
        return True

    def drive(
        self, container: Container, patience: Patience, *, told: Task | None = None, host_is_done: bool = False
    ) -> Outcome:
        """Run the pending operation from its step to its end, or as long as `patience` allows.

        Raises:
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: A service failed; the operation is pending and will be continued.
        """
        while True:
            pending = container.operation
            assert pending is not None
            settled: Container | Shared | Outcome
            if pending.giving_up is not None:
                settled = self._giving_up.finish(container, pending, patience, reverted=host_is_done)
            else:
                result = self._steps.run(
                    container,
                    pending,
                    patience.until,
                    look_first=not patience.for_caller,
                    told=told,
                    host_is_done=host_is_done,
                )
                settled = self._settle(container, pending, result, patience)
            match settled:
                case Outcome():
                    return settled
                case Shared():
                    container, patience = settled.container, patience._replace(alone=False)
                case Container():
                    # The command's success was for the step before, and so was the attempt that was counted.
                    container, host_is_done, patience = settled, False, patience._replace(counted=False)

    def accept(self, container: Container, until: datetime) -> Outcome | None:
        """Answer 202 to a repeated request whose operation another driver still continues.

        Returns:
            The answer, which is kept for the Idempotency-Key; None when the operation has changed meanwhile.
        """
        pending = container.operation
        assert pending is not None
        patience = Patience(until, for_caller=True, owns=False, once=True)
        try:
            settled = self._commits.accept(
                container, pending, Unobserved("Nothing was seen yet"), same(pending), patience
            )
        except OvertakenError:
            return None
        return settled if isinstance(settled, Outcome) else None

    # --- what an attempt leads to ----------------------------------------------------------------------------------

    def _settle(
        self, container: Container, pending: PendingOperation, result: Result, patience: Patience
    ) -> Container | Shared | Outcome:
        """Commit or note what an attempt has observed. Returns the answer, or the container to go on with."""
        seen, findings = result
        match seen:
            case Reached():
                return self._reached(container, pending, seen, patience)
            case Ended():
                return self._ended(container, pending, seen, patience)
            case NeverRan():
                return self._never_ran(container, pending, seen, findings, patience)
            case TokenExpired():
                return self._replace_token(container, pending, patience)
            case NoEffect() if self._nothing_happened(pending, findings, patience):
                if isinstance(self._store.abandon(container), ConditionFailed):
                    return self._commits.overtaken(container, None, patience)
                raise OperationFailedError(seen.reason)
            case NoEffect() if seen.final:
                change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": seen.reason}, None)
                return self._commits.fail(container, as_seen(change, container, findings), None, patience)
            case Unobserved() | Uncertain() | NoEffect() if patience.owns and self._giving_up.is_due(pending, result):
                return self._giving_up.begin(container, pending, result, patience)
            case Unobserved():
                return self._commits.accept(container, pending, seen, findings, patience)
            case NoEffect() | Uncertain():
                if patience.owns:
                    self._commits.release(container, pending, result, patience)
                raise ExternalServiceError(seen.reason)
            case _:
                assert_never(seen)

    def _reached(
        self, container: Container, pending: PendingOperation, seen: Reached, patience: Patience
    ) -> Container | Shared | Outcome:
        goal = GOAL[pending.step]
        step = next_step(pending.operation, pending.step)
        outcome = completed(container, pending, goal)
        change = change_by(pending, goal, seen.at, seen.facts, seen.task)
        ran_and_ended = pending.step is Step.START and seen.task is not None and seen.task.is_stopped
        if ran_and_ended and change.task_version is not None:
            # Its end is another row, which must not look old if this driver crashes before it has written it.
            change = change._replace(task_version=change.task_version - 1)
        result = self._commits.commit(container, change, step, None if step else outcome)
        if isinstance(result, ConditionFailed):
            return self._commits.overtaken(container, seen.task, patience)
        if step is not None:
            return result
        if ran_and_ended:
            recorded = self._recorder.record_exit(result, seen.task, Trigger.SYSTEM)
            if isinstance(recorded, ConditionFailed) and patience.once:
                # The event that told of the end must be applied to what has been claimed since.
                raise OvertakenError
        return self._commits.first_answer(pending, outcome, patience)

    def _ended(
        self, container: Container, pending: PendingOperation, seen: Ended, patience: Patience
    ) -> Container | Shared | Outcome:
        """Write the row of a task that ended by itself. The operation continues if it can, and else conflicts."""
        change = change_by_exit(seen.at, seen.task)
        if seen.task is None and awaits_host(container, pending):
            # A command may have frozen the task: should it come back, its state is not known.
            change = change._replace(task_version=NO_NEWER)
        verdict = decide(change.to_status, pending.operation, None, container.runtime.launch_type)
        step = verdict.step if isinstance(verdict, Proceed) else None
        answer = None
        if isinstance(verdict, Refused):
            ended = container.model_copy(update={"status": change.to_status, "operation": None})
            answer = conflict(ended, pending.operation, verdict.message)
        # That the task is gone need not be proven again by the next step, which ends whatever may still live.
        absent = pending.absent if seen.task is None else {}
        result = self._commits.commit(container, change, step, answer, absent=absent)
        if isinstance(result, ConditionFailed):
            return self._commits.overtaken(container, None, patience)
        return self._commits.first_answer(pending, answer, patience) if answer else result

    def _never_ran(
        self,
        container: Container,
        pending: PendingOperation,
        seen: NeverRan,
        findings: Findings,
        patience: Patience,
    ) -> Shared | Outcome:
        facts = (seen.task.facts if seen.task else {}) | {"reason": seen.reason}
        change = change_by(pending, Status.FAILED, seen.at, facts, seen.task)
        if seen.task is None:
            change = change._replace(task_arn=findings.task_arn, task_version=0, task_ended=False)
        return self._commits.fail(container, change, seen.task, patience)

    def _replace_token(self, container: Container, pending: PendingOperation, patience: Patience) -> Shared | Outcome:
        """Store a new client token before it is used."""
        update = {"client_token": new_id(), "client_token_since": self._clock.now(), "absent": {}}
        noted = self._store.note(container, pending.model_copy(update=update), None)
        if isinstance(noted, ConditionFailed):
            return self._commits.overtaken(container, None, patience)
        return Shared(noted)

    @staticmethod
    def _nothing_happened(pending: PendingOperation, findings: Findings, patience: Patience) -> bool:
        """Whether a refusal means that the operation has had no effect at all."""
        first = patience.alone and pending.attempts == 0 and not pending.answered
        return first and not findings.acted and not pending.has_row and pending.superseded is None
