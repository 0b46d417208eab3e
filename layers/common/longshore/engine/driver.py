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
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import Step
from longshore.domain.models import Container, Outcome, next_command_number
from longshore.domain.pending import GivenUp, PendingOperation
from longshore.domain.task import Task
from longshore.engine.apply import Applier, Continue, OvertakenError
from longshore.engine.decisions import DriverRole
from longshore.engine.known import Known, Lookup
from longshore.engine.observations import (
    Changed,
    Findings,
    Launched,
    Noting,
    Observation,
    Result,
    Reverted,
    Uncertain,
)
from longshore.engine.settle import DEADLINE, settle
from longshore.engine.steps import Steps
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
        self._applier = Applier(store, steps, clock)

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
        taken = self.take(container, counts=not for_caller)
        return self.drive(taken, DriverRole.CALLER if for_caller else DriverRole.SWEEP, until) if taken else None

    def take(self, container: Container, *, counts: bool = True) -> Container | None:
        """Become the driver of a pending operation whose deadline has expired.

        Driving it repeats the current step with the operation's original ids, so that effects that already happened are
        found rather than repeated. When the step runs out of attempts, the container becomes `failed`. Attempts for a
        repeated API request, and those of an event's handler, do not count.

        Args:
            container: The container as read; its operation may have been completed since.
            counts: Whether the attempt counts towards giving up the step.

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
                "attempts": pending.attempts + counts,
                "command": pending.command.model_copy(
                    update={"number": next_command_number(container, now), "expires_at": now + DEADLINE}
                ),
            }
        )
        taken = self._store.take_over(container, renewed)
        return None if isinstance(taken, ConditionFailed) else taken

    def settle(self, container: Container, *, event_task: Task | None = None, host_is_done: bool = False) -> bool:
        """Apply an event to the pending operation. Do not wait; commit the step if it is done.

        The operation keeps its driver, unless its deadline has passed and the ARN of a task is not known: only a driver
        may find it out with RunTask.

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
        known = container.tasks.get(pending.token)
        may_run = pending.step is Step.START and known is not None and known.arn is None
        if pending.deadline <= self._clock.now() and any(each.arn is None for each in container.tasks.values()):
            taken = self.take(container, counts=False)
            if taken is None:
                return False
            container = taken
        elif may_run and not (pending.has_row or (pending.launch and pending.launch.event_acted)):
            # RunTask may be called here. The claimer must then not abandon the operation, even if its own RunTask is
            # refused.
            noted = self._store.note_event_acts(container, pending)
            if isinstance(noted, ConditionFailed):
                return False
            container = noted
        try:
            self.drive(container, DriverRole.EVENT, self._clock.now(), event_task=event_task, host_is_done=host_is_done)
        except OperationFailedError:
            return True  # The operation has ended, and its row states the reason.
        except OvertakenError:
            return False
        return True

    def drive(
        self,
        container: Container,
        role: DriverRole,
        until: datetime,
        *,
        event_task: Task | None = None,
        host_is_done: bool = False,
        lookup: Lookup | None = None,
    ) -> Outcome:
        """Drive the pending operation from its current step until it ends or the time runs out.

        Args:
            container: The container as read, with the operation.
            role: On whose behalf.
            until: Stop waiting for effects at this time (UTC).
            event_task: A task as an event describes it, used instead of asking ECS.
            host_is_done: Whether the current step's command to the host is known to have succeeded.
            lookup: A lookup of the tasks that was made after the operation was claimed or taken over.

        Returns:
            The answer: completed, accepted (still pending) or a conflict.

        Raises:
            OvertakenError: The container has changed since it was read, and the role is that of an event's handler.
            ContainerExpiredError: The container has expired.
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: A service failed; the operation is pending and will be continued.
        """
        known = Known(event_task, lookup=lookup, acts=role.owns)
        while True:
            result = self._attempt(container, role, until, known, host_is_done=host_is_done)
            seen = result.observation
            noted = seen if isinstance(seen, Noting) else None
            known = known._replace(lookup=None, launched=_still_launched(known, seen), noted=noted)
            write = settle(container, result, role, self._clock.now(), fresh_token=new_id())
            settled = self._applier.apply(container, write, role, until)
            if isinstance(settled, Outcome):
                return settled
            container, known, role = settled.container, _still_noted(known, settled), _next_role(role, settled)
            # The command belongs to the previous step.
            host_is_done = host_is_done and not settled.is_next

    def accept(self, container: Container) -> Outcome | None:
        """Answer 202 to a repeated request while another driver continues its operation.

        Returns:
            The answer, which is stored for the Idempotency-Key. None if the container has changed since it was read.

        Raises:
            StoreError: DynamoDB failed.
        """
        return self._applier.accept(container)

    def _attempt(
        self, container: Container, role: DriverRole, until: datetime, known: Known, *, host_is_done: bool
    ) -> Result:
        """Make one attempt at the step, or revert a pause that was given up."""
        pending = container.operation
        assert pending is not None
        if pending.command.given_up is not None:
            return self._revert(container, pending, pending.command.given_up, host_is_done=host_is_done)
        return self._steps.run(
            container,
            pending,
            until,
            look_first=role in (DriverRole.SWEEP, DriverRole.EVENT),
            known=known,
            host_is_done=host_is_done,
            has_changed=partial(has_changed, self._store, container),
        )

    def _revert(
        self, container: Container, pending: PendingOperation, given_up: GivenUp, *, host_is_done: bool
    ) -> Result:
        """Unpause a task whose pause was given up. After its expiry time the pause can no longer take effect."""
        expired = self._clock.now() >= given_up.since + DEADLINE
        if host_is_done or self._steps.unpause(container, pending) or expired:
            return Result(Reverted(), Findings())
        return Result(Uncertain(given_up.reason), Findings(acted=True))


def _still_noted(known: Known, settled: Continue) -> Known:
    """Return what the driver knows. What another driver's write has prevented from being stored is not continued."""
    return known if settled.is_stored or settled.is_next else known._replace(noted=None)


def _next_role(role: DriverRole, settled: Continue) -> DriverRole:
    return DriverRole.CALLER if role is DriverRole.CLAIMER and not settled.is_alone else role
