"""Gives up a step that has had its last attempt. The container becomes `failed`, and the history row says why."""

from datetime import timedelta

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Status, Step
from longshore.domain.models import NO_NEWER, Change, Container, Outcome, PendingOperation, next_command_number
from longshore.domain.results import change_by
from longshore.engine.commits import DEADLINE, Commits, Patience, Shared
from longshore.engine.steps import Findings, NoEffect, Result, Steps, Uncertain, Unobserved, awaits_host

LAST_ATTEMPT = 10
LEAST_TIME = timedelta(minutes=10)
"""A step is given up after so many attempts, and not before so much time has passed since it began."""


class GivingUp:
    """Ends steps that have had their last attempt."""

    def __init__(self, store: Store, steps: Steps, commits: Commits, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._commits = commits
        self._clock = clock

    def is_due(self, pending: PendingOperation, result: Result) -> bool:
        """Whether the step has had its last attempt."""
        if pending.attempts < LAST_ATTEMPT or not self._commits.counts(pending, result):
            return False
        return self._clock.now() - pending.begun_at >= LEAST_TIME

    def begin(
        self, container: Container, pending: PendingOperation, result: Result, patience: Patience
    ) -> Container | Shared | Outcome:
        """End a step that has had its last attempt. A task that may still come up is stopped.

        The container keeps its task's ARN: force-stop and restart make sure that it is gone. A step that has commanded
        a host first has its command reverted.
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
                return self._commits.overtaken(container, None, patience)
            return noted
        task = seen.task if isinstance(seen, Unobserved) else None
        facts = (task.facts if task else {}) | {"reason": reason}
        change = change_by(pending, Status.FAILED, self._clock.now(), facts, task)
        if pending.step is Step.START and findings.task_arn is not None:
            self._steps.stop_stray(container, findings.task_arn)
            if task is None:
                change = change._replace(task_arn=findings.task_arn, task_version=0, task_ended=False)
        return self._commits.fail(container, as_seen(change, container, findings), None, patience)

    def finish(
        self, container: Container, pending: PendingOperation, patience: Patience, *, reverted: bool
    ) -> Shared | Outcome:
        """Revert the step's last command, and end the operation once Systems Manager has accepted the opposite one.

        After the last command's expiry time that command can no longer take effect, so the operation ends anyway.
        """
        assert pending.giving_up is not None
        assert pending.giving_up_since is not None
        expired = self._clock.now() >= pending.giving_up_since + DEADLINE
        if not reverted and not self._steps.revert(container, pending) and not expired:
            raise ExternalServiceError(pending.giving_up)
        change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": pending.giving_up}, None)
        # Whether the task's processes are frozen is not known, so no later event is believed.
        return self._commits.fail(container, change._replace(task_version=NO_NEWER), None, patience)


def as_seen(change: Change, container: Container, findings: Findings) -> Change:
    """Note the newest version of the container's task that was seen, so that no older event is believed."""
    if change.task_version is not None or findings.own_version is None:
        return change
    return change._replace(task_version=max(container.task_version, findings.own_version))
