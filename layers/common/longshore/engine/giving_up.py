"""Gives up steps that have run out of attempts. The container becomes `failed`, and the row states the reason."""

from datetime import timedelta

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Status, Step
from longshore.domain.models import NO_NEWER, Change, Container, Outcome, PendingOperation, next_command_number
from longshore.domain.results import change_by
from longshore.engine.commits import DEADLINE, Commits, DrivePolicy, Shared
from longshore.engine.observations import Findings, NoEffect, Result, Uncertain, Unobserved
from longshore.engine.steps import Steps, awaits_host

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

        A step that sends commands to a host must first revert its command; `finish` does so and ends the operation.
        Other operations end immediately. If the step is a start, its task is stopped, because it may still start. The
        container keeps the task's ARN, so that a later force-stop or restart makes sure that the task is gone.

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
        if awaits_host(container, pending):
            now = self._clock.now()
            update = {
                "giving_up": reason,
                "giving_up_since": now,
                "command_number": next_command_number(container, now),
                "command_expires_at": now + DEADLINE,
                "deadline": now + DEADLINE,
            }
            noted = self._store.note(container, pending.model_copy(update=update), None)
            if isinstance(noted, ConditionFailed):
                return self._commits.overtaken(container, None, policy)
            return noted
        task = seen.task if isinstance(seen, Unobserved) else None
        facts = (task.facts if task else {}) | {"reason": reason}
        change = change_by(pending, Status.FAILED, self._clock.now(), facts, task)
        if pending.step is Step.START and findings.task_arn is not None:
            self._steps.stop_stray(container, findings.task_arn)
            if task is None:
                change = change._replace(task_arn=findings.task_arn, task_version=0, task_ended=False)
        return self._commits.fail(container, as_seen(change, container, findings), None, policy)

    def finish(
        self, container: Container, pending: PendingOperation, policy: DrivePolicy, *, reverted: bool
    ) -> Shared | Outcome:
        """Revert the step's last command, and end the operation when Systems Manager has accepted the opposite command.

        After its expiry time the last command can no longer take effect, so the operation ends in any case.

        Args:
            container: The container as read.
            pending: Its pending operation, which `begin` has changed.
            policy: How to handle a refused commit.
            reverted: Whether the opposite command is known to have succeeded.

        Returns:
            Only if the commit was refused: the container to continue with, or the answer.

        Raises:
            OperationFailedError: The operation has ended.
            ExternalServiceError: The opposite command was not accepted, or DynamoDB failed. The operation is pending.
        """
        assert pending.giving_up is not None
        assert pending.giving_up_since is not None
        expired = self._clock.now() >= pending.giving_up_since + DEADLINE
        if not reverted and not self._steps.revert(container, pending) and not expired:
            raise ExternalServiceError(pending.giving_up)
        change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": pending.giving_up}, None)
        # It is not known whether the task's processes are paused, so later events of the task are ignored.
        return self._commits.fail(container, change._replace(task_version=NO_NEWER), None, policy)


def as_seen(change: Change, container: Container, findings: Findings) -> Change:
    """Add what was seen to the change: the newest version of the container's task, so that older events are ignored."""
    change = change._replace(attributes=findings.attributes)
    if change.task_version is not None or findings.own_version is None:
        return change
    return change._replace(task_version=max(container.task_version, findings.own_version))
