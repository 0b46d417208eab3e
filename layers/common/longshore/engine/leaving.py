"""Leaves operations pending: stores what an attempt has found, for the next attempt, driver or event."""

from typing import assert_never

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ids import new_id
from longshore.domain.ledger import KnownTask
from longshore.domain.models import Container, Outcome, PendingOperation
from longshore.domain.task import Task
from longshore.engine.commits import Commits, DrivePolicy, Shared, with_findings
from longshore.engine.observations import (
    Changed,
    Launched,
    NoEffect,
    Noting,
    Result,
    TokenExpired,
    Uncertain,
    Unobserved,
)

Left = Launched | Changed | Noting | TokenExpired | Unobserved | NoEffect | Uncertain
"""The observations after which an operation stays pending."""


class Leaving:
    """Leaves operations pending."""

    def __init__(self, store: Store, commits: Commits, clock: Clock) -> None:
        self._store = store
        self._commits = commits
        self._clock = clock

    def leave(
        self, container: Container, pending: PendingOperation, seen: Left, result: Result, policy: DrivePolicy
    ) -> Shared | Outcome:
        """Store the findings of an attempt after which the operation stays pending.

        Args:
            container: The container as read.
            pending: Its pending operation.
            seen: The observation of the attempt.
            result: The attempt's result.
            policy: How to handle the result.

        Returns:
            The container to continue with, or the answer.

        Raises:
            OvertakenError, OperationFailedError: See `Commits.overtaken`.
            ExternalServiceError: A service failed, and the operation was released.
        """
        match seen:
            case Launched(task):
                # Events of the task are recognized by its ARN during the wait.
                noted = self._store.note(*self._with_findings(container, result, policy), None)
                return self._shared(container, noted, policy, task)
            case Changed(task):
                return self._commits.overtaken(container, task, policy)
            case Noting():
                before = container.model_copy(update=dict(seen.attributes))
                noted = self._store.note(before, pending.model_copy(update=dict(seen.operation)), None)
                # Only the driver acts on a service, so a refused call still proves that nothing has happened.
                return self._shared(container, noted, policy, None, alone=policy.alone)
            case TokenExpired():
                # A new client token is stored before it is used.
                token = new_id()
                before = with_findings(container, result.findings)
                tasks = {**before.tasks, token: KnownTask(called_from=self._clock.now())}
                before = before.model_copy(update={"tasks": tasks})
                noted = self._store.note(before, pending.model_copy(update={"client_token": token}), None)
                return self._shared(container, noted, policy, None)
            case Unobserved():
                return self._commits.accept(container, pending, seen, result.findings, policy)
            case Uncertain() if seen.throttled and policy.owns:
                return self._commits.accept(container, pending, seen, result.findings, policy)
            case NoEffect() | Uncertain():
                if policy.owns:
                    # A sweep or a retry can take the operation over immediately.
                    before, found = self._with_findings(container, result, policy)
                    released_at = self._commits.released_at(container, pending, result.findings)
                    self._store.note(before, found.model_copy(update={"deadline": released_at}), None)
                raise ExternalServiceError(seen.reason)
            case _:
                assert_never(seen)

    def _with_findings(
        self, container: Container, result: Result, policy: DrivePolicy
    ) -> tuple[Container, PendingOperation]:
        """Return the container with the ledger as the attempt has left it, and its operation with the findings."""
        pending = container.operation
        assert pending is not None
        found = pending.model_copy(update=self._commits.found(container, result, policy))
        return with_findings(container, result.findings), found

    def _shared(
        self,
        container: Container,
        noted: Container | ConditionFailed,
        policy: DrivePolicy,
        task: Task | None,
        *,
        alone: bool = False,
    ) -> Shared | Outcome:
        if isinstance(noted, ConditionFailed):
            return self._commits.overtaken(container, task, policy)
        return Shared(noted, alone, stored=True)
