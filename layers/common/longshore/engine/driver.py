"""Drives a pending operation to its end: act, observe, commit.

    claim (operations) -> act and observe (steps) -> commit, or store the findings and leave the operation pending
    crash              -> after the deadline, a sweep or a repeated request takes the operation over
    force-stop         -> supersedes the pending operation, whose commit is then refused

A commit is one transaction that only one driver can win. A driver whose commit is refused reads the container again,
and answers with what has happened in the meantime.

An operation ends without a row only if nothing can have happened: this is the claimer's own first attempt, every call
with an effect was refused, and no caller was answered 202. In every other case it ends with a row.
"""

from datetime import datetime
from functools import partial

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import OperationFailedError
from longshore.domain.ledger import KnownTask
from longshore.domain.lifecycle import GOAL, Proceed, Refused, Status, Step, decide, next_step
from longshore.domain.models import Container, Outcome, PendingOperation, Trigger, next_command_number
from longshore.domain.results import change_by, change_by_exit, completed, conflict, left_by
from longshore.domain.task import Task
from longshore.engine.commits import DEADLINE, Commits, DrivePolicy, OvertakenError, Shared, stored_findings
from longshore.engine.giving_up import GivingUp, left_behind
from longshore.engine.known import Known, Lookup
from longshore.engine.leaving import Leaving
from longshore.engine.observations import (
    Changed,
    Ended,
    Findings,
    Launched,
    NeverRan,
    NoEffect,
    Noting,
    Observation,
    Reached,
    Result,
    Uncertain,
    Unobserved,
)
from longshore.engine.recorder import Recorder
from longshore.engine.steps import Steps, awaits_host
from longshore.engine.waits import has_changed


def _still_launched(known: Known, seen: Observation) -> Task | None:
    """Return the task that RunTask has returned, as long as the wait for its start continues."""
    match seen:
        case Launched(task):
            return task
        case Changed():
            return known.launched
    return None


class Driver:
    """Drives pending operations. All methods are safe to call concurrently, also for the same container."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._recorder = Recorder(store, clock)
        self._commits = Commits(store, steps, clock)
        self._giving_up = GivingUp(store, steps, self._commits, clock)
        self._leaving = Leaving(store, self._commits, clock)

    def take_over(self, container: Container, until: datetime, *, for_caller: bool = False) -> Outcome | None:
        """Continue a pending operation whose deadline has expired: `take` and `drive`.

        Args:
            container: The container as read; its operation may have been completed since.
            until: Stop waiting for the effect at this time (UTC).
            for_caller: Whether the result answers an API request, which prefers waiting to a 202.

        Returns:
            The outcome, or None if another worker has taken over or completed the operation.

        Raises:
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: ECS, Systems Manager or DynamoDB failed after retries.
        """
        taken = self.take(container, for_caller=for_caller)
        return self.drive(taken, DrivePolicy(until, for_caller, counted=not for_caller)) if taken else None

    def take(self, container: Container, *, for_caller: bool = False) -> Container | None:
        """Become the driver of a pending operation whose deadline has expired.

        Driving it repeats the current step with the operation's original ids, so that effects that already happened are
        found rather than repeated. When the step runs out of attempts, the container becomes `failed`. Attempts for a
        repeated API request do not count.

        Args:
            container: The container as read; its operation may have been completed since.
            for_caller: Whether the operation is continued for an API request.

        Returns:
            The container, or None if another worker has taken over or completed the operation.

        Raises:
            StoreError: DynamoDB failed; the operation may have been taken over.
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
        return None if isinstance(taken, ConditionFailed) else taken

    def settle(self, container: Container, *, event_task: Task | None = None, host_is_done: bool = False) -> bool:
        """Apply an event to the pending operation, which keeps its driver. Do not wait; commit the step if it is done.

        Args:
            container: The container as read.
            event_task: A task as the event describes it, used instead of asking ECS.
            host_is_done: Whether the event reports that the step's command to the host has succeeded.

        Returns:
            Whether the event was applied. False when the container has changed since it was read: read it again.

        Raises:
            ExternalServiceError: A service failed. The event must be delivered again.
        """
        pending = container.operation
        assert pending is not None
        # A start without a task may call RunTask here. Its claimer must then not abandon it, even if its own RunTask is
        # refused.
        known = container.tasks.get(pending.token)
        may_run = pending.step is Step.START and known is not None and known.arn is None
        if may_run and not pending.has_row and not pending.event_acted:
            noted = self._store.note_event_acts(container, pending)
            if isinstance(noted, ConditionFailed):
                return False
            container = noted
        try:
            policy = DrivePolicy(self._clock.now(), for_caller=False, owns=False, raises_overtaken=True)
            self.drive(container, policy, event_task=event_task, host_is_done=host_is_done)
        except OperationFailedError:
            return True  # The operation has ended, and its row states the reason.
        except OvertakenError:
            return False
        return True

    def drive(
        self,
        container: Container,
        policy: DrivePolicy,
        *,
        event_task: Task | None = None,
        host_is_done: bool = False,
        lookup: Lookup | None = None,
    ) -> Outcome:
        """Drive the pending operation from its current step until it ends or the time of `policy` runs out.

        Args:
            container: The container as read, with the operation.
            policy: How long to wait, and how to handle the result.
            event_task: A task as an event describes it, used instead of asking ECS.
            host_is_done: Whether the current step's command to the host is known to have succeeded.
            lookup: A lookup of the tasks that was made after the operation was claimed or taken over.

        Returns:
            The answer: completed, accepted (still pending) or a conflict.

        Raises:
            OvertakenError: The container has changed since it was read, and `policy.raises_overtaken` is set.
            ContainerExpiredError: The container has expired.
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: A service failed; the operation is pending and will be continued.
        """
        known = Known(event_task, lookup=lookup, acts=policy.owns)
        while True:
            pending = container.operation
            assert pending is not None
            settled: Container | Shared | Outcome
            if pending.giving_up is not None:
                settled = self._giving_up.finish(container, pending, policy, reverted=host_is_done)
            else:
                result = self._steps.run(
                    container,
                    pending,
                    policy.until,
                    look_first=not policy.for_caller,
                    known=known,
                    host_is_done=host_is_done,
                    has_changed=partial(has_changed, self._store, container),
                )
                seen = result.observation
                noted = seen if isinstance(seen, Noting) else None
                known = known._replace(lookup=None, launched=_still_launched(known, seen), noted=noted)
                settled = self._settle(container, pending, result, policy)
            match settled:
                case Outcome():
                    return settled
                case Shared():
                    # What another driver's write has prevented from being stored is not continued.
                    known = known if settled.stored else known._replace(noted=None)
                    container, policy = settled.container, policy._replace(alone=settled.alone)
                case Container():
                    # The command and the counted attempt belong to the previous step.
                    container, host_is_done, policy = settled, False, policy._replace(counted=False)

    def accept(self, container: Container, until: datetime) -> Outcome | None:
        """Answer 202 to a repeated request while another driver continues its operation.

        Returns:
            The answer, which is stored for the Idempotency-Key. None if the container has changed since it was read.

        Raises:
            StoreError: DynamoDB failed.
        """
        pending = container.operation
        assert pending is not None
        policy = DrivePolicy(until, for_caller=True, owns=False, raises_overtaken=True)
        try:
            settled = self._commits.accept(
                container, pending, Unobserved("No effect has been observed yet"), stored_findings(pending), policy
            )
        except OvertakenError:
            return None
        return settled if isinstance(settled, Outcome) else None

    # --- handling observations -------------------------------------------------------------------------------------

    def _settle(
        self, container: Container, pending: PendingOperation, result: Result, policy: DrivePolicy
    ) -> Container | Shared | Outcome:
        """Commit or store an attempt's result. Returns the answer, or the container to continue with."""
        seen, findings = result
        match seen:
            case Reached():
                return self._reached(container, pending, seen, findings, policy)
            case Ended():
                return self._ended(container, pending, seen, findings, policy)
            case NeverRan():
                return self._never_ran(container, pending, seen, findings, policy)
            case NoEffect() if self._nothing_happened(pending, findings, policy):
                if isinstance(self._store.abandon(container), ConditionFailed):
                    return self._commits.overtaken(container, None, policy)
                raise OperationFailedError(seen.reason)
            case NoEffect() if seen.final:
                tasks = left_behind(container, findings)
                change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": seen.reason}, tasks)
                return self._commits.fail(container, change._replace(attributes=findings.attributes), None, policy)
            case Unobserved() | Uncertain() | NoEffect() if policy.owns and self._giving_up.is_due(pending, result):
                return self._giving_up.begin(container, pending, result, policy)
            case _:
                return self._leaving.leave(container, pending, seen, result, policy)

    def _reached(
        self, container: Container, pending: PendingOperation, seen: Reached, findings: Findings, policy: DrivePolicy
    ) -> Container | Shared | Outcome:
        goal = GOAL[pending.step]
        step = next_step(pending.operation, pending.step)
        outcome = completed(container, pending, goal)
        ran_and_ended = pending.step is Step.START and seen.task is not None and seen.task.is_stopped
        tasks = findings.tasks
        if ran_and_ended and seen.task is not None:
            # The task's exit is a second row. If this driver crashes before writing it, an event or a sweep does.
            tasks = {pending.token: KnownTask(arn=seen.task.arn, shown=True, version=seen.task.version)}
        change = change_by(pending, goal, seen.at, seen.facts, tasks)._replace(attributes=seen.attributes)
        if pending.step in (Step.STOP, Step.KILL) and seen.task is not None:
            change = change._replace(last_task=left_by(container, seen.task))
        result = self._commits.commit(container, change, step, None if step else outcome)
        if isinstance(result, ConditionFailed):
            return self._commits.overtaken(container, seen.task, policy)
        if step is not None:
            return result
        if ran_and_ended:
            recorded = self._recorder.record_exit(result, seen.task, Trigger.SYSTEM)
            if isinstance(recorded, ConditionFailed) and policy.raises_overtaken:
                # The event that reported the end must be applied to the operation that was claimed since.
                raise OvertakenError
        return self._commits.first_answer(pending, outcome, policy)

    def _ended(
        self, container: Container, pending: PendingOperation, seen: Ended, findings: Findings, policy: DrivePolicy
    ) -> Container | Shared | Outcome:
        """Write the row of a task that ended on its own. Then continue the operation, or end it with a conflict."""
        unclear = seen.task is None and awaits_host(container, pending)
        change = change_by_exit(container, seen.at, seen.task, findings.tasks or {}, unclear=unclear)
        verdict = decide(change.to_status, pending.operation, None, container.runtime.platform)
        step = verdict.step if isinstance(verdict, Proceed) else None
        answer = None
        if isinstance(verdict, Refused):
            ended = container.model_copy(update={"status": change.to_status, "operation": None})
            answer = conflict(ended, pending.operation, verdict.message)
        result = self._commits.commit(container, change, step, answer)
        if isinstance(result, ConditionFailed):
            return self._commits.overtaken(container, None, policy)
        return self._commits.first_answer(pending, answer, policy) if answer else result

    def _never_ran(
        self,
        container: Container,
        pending: PendingOperation,
        seen: NeverRan,
        findings: Findings,
        policy: DrivePolicy,
    ) -> Shared | Outcome:
        facts = (seen.task.facts if seen.task else {}) | {"reason": seen.reason}
        change = change_by(pending, Status.FAILED, seen.at, facts, findings.tasks)
        change = change._replace(attributes=findings.attributes)
        if seen.task is not None:
            change = change._replace(last_task=left_by(container, seen.task))
        return self._commits.fail(container, change, seen.task, policy)

    @staticmethod
    def _nothing_happened(pending: PendingOperation, findings: Findings, policy: DrivePolicy) -> bool:
        """Check whether a refusal proves that the operation has had no effect at all."""
        first = policy.alone and pending.attempts == 0 and not pending.answered
        return first and not findings.acted and not pending.has_row and pending.superseded is None
