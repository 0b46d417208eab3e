"""Gives up steps that have run out of attempts. The container becomes `failed`, and the row states the reason."""

from datetime import timedelta

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import KnownTask, arns, callable_until
from longshore.domain.lifecycle import Status, Step
from longshore.domain.models import Container, Outcome, PendingOperation, next_command_number
from longshore.domain.results import change_by
from longshore.engine.commits import DEADLINE, Commits, DrivePolicy, Shared, with_findings
from longshore.engine.observations import Findings, NoEffect, Result, Uncertain, Unobserved
from longshore.engine.steps import Steps

LAST_ATTEMPT = 10
LEAST_TIME = timedelta(minutes=10)
"""A step is given up after LAST_ATTEMPT attempts, but not before LEAST_TIME has passed since it began."""


class GivingUp:
    """Ends operations whose step has run out of attempts."""

    def __init__(self, store: Store, steps: Steps, commits: Commits, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._commits = commits
        self._clock = clock

    def is_due(self, pending: PendingOperation, result: Result) -> bool:
        """Check whether the step has run out of attempts."""
        if pending.attempts < LAST_ATTEMPT or not self._commits.counts(pending, result):
            return False
        return self._clock.now() - pending.begun_at >= LEAST_TIME

    def begin(
        self, container: Container, pending: PendingOperation, result: Result, policy: DrivePolicy
    ) -> Container | Shared | Outcome:
        """Begin to give up a step that has run out of attempts.

        A pause is first reverted, because a frozen process does not handle SIGTERM; `finish` does so and ends the
        operation. Other operations end immediately. The container keeps its ledger, and a sweep ends the tasks in it.

        Args:
            container: The container as read.
            pending: Its pending operation.
            result: The result of the last attempt.
            policy: How to handle a refused commit.

        Returns:
            The container to continue with, or the answer if another driver has ended the operation.

        Raises:
            OperationFailedError: The operation has ended.
            StoreError: DynamoDB failed.
        """
        seen, findings = result
        assert isinstance(seen, Unobserved | Uncertain | NoEffect)
        reason = f"Gave up after {pending.attempts} attempts: {seen.reason}"
        if pending.step is Step.PAUSE:
            now = self._clock.now()
            update = {
                "giving_up": reason,
                "giving_up_since": now,
                "command_number": next_command_number(container, now),
                "command_expires_at": now + DEADLINE,
                "deadline": now + DEADLINE,
            }
            noted = self._store.note(with_findings(container, findings), pending.model_copy(update=update), None)
            if isinstance(noted, ConditionFailed):
                return self._commits.overtaken(container, None, policy)
            return noted
        task = seen.task if isinstance(seen, Unobserved) else None
        facts = (task.facts if task else {}) | {"reason": reason}
        change = change_by(pending, Status.FAILED, self._clock.now(), facts, left_behind(container, findings))
        if pending.step is Step.START:
            for arn in arns(change.tasks or {}):
                self._steps.stop_now(container, arn)
        return self._commits.fail(container, change._replace(attributes=findings.attributes), None, policy)

    def finish(
        self, container: Container, pending: PendingOperation, policy: DrivePolicy, *, reverted: bool
    ) -> Shared | Outcome:
        """Revert the pause, and end the operation when Systems Manager has accepted the unpause.

        After its expiry time the last command can no longer take effect, so the operation ends in any case.

        Args:
            container: The container as read.
            pending: Its pending operation, which `begin` has changed.
            policy: How to handle a refused commit.
            reverted: Whether the unpause is known to have succeeded.

        Returns:
            Only if the commit was refused: the container to continue with, or the answer.

        Raises:
            OperationFailedError: The operation has ended.
            ExternalServiceError: The unpause was not accepted, or DynamoDB failed. The operation is pending.
        """
        assert pending.giving_up is not None
        assert pending.giving_up_since is not None
        expired = self._clock.now() >= pending.giving_up_since + DEADLINE
        if not reverted and not self._steps.unpause(container, pending) and not expired:
            raise ExternalServiceError(pending.giving_up)
        change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": pending.giving_up})
        return self._commits.fail(container, change, None, policy)


def left_behind(container: Container, findings: Findings) -> dict[str, KnownTask]:
    """Return the ledger that an operation leaves to the next one, and to the sweep that ends its tasks.

    Another driver may still call RunTask with the operation's client token, until the operation's deadline.
    """
    pending = container.operation
    assert pending is not None
    tasks = container.tasks if findings.tasks is None else findings.tasks
    return callable_until(tasks, pending.token, pending.deadline)
