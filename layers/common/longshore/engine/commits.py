"""Commits what a driver has observed or leaves the operation pending, and determines the answer for the caller.

A commit is one transaction that only one driver can win. A driver whose commit is refused reads the container again,
and answers with what has happened in the meantime.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from longshore.aws.items import record_of
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ContainerNotFoundError, OperationFailedError
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import KnownTask, arns, differ
from longshore.domain.lifecycle import Kind, Status, Step, final_status
from longshore.domain.models import Change, Container, Outcome, PendingOperation
from longshore.domain.results import accepted, completed, superseded
from longshore.domain.task import Task
from longshore.engine.observations import Findings, Result, Uncertain, Unobserved
from longshore.engine.steps import Steps, awaits_host

DEADLINE = timedelta(seconds=60)
"""How long an operation belongs to its driver. Longer than a function may run."""

ON_ITS_WAY = timedelta(hours=1)
"""For this long after a step began, attempts that find its task in transition do not count towards giving up."""

_LOOK_AGAIN = timedelta(seconds=30)  # time until the next lookup of a task that was not found


class DrivePolicy(NamedTuple):
    """How long a driver waits for effects, and how it handles the result.

    Attributes:
        until: Stop waiting for effects at this time (UTC).
        for_caller: Whether the outcome answers an API request. It is then stored for the request's Idempotency-Key.
        alone: Whether this is the claimer's first attempt, and no other driver can have acted for the operation.
        owns: Whether the operation belongs to this driver until its deadline. False for the handler of an event.
        raises_overtaken: Whether a refused commit raises OvertakenError. Otherwise the driver continues with the
            current state.
        counted: Whether this attempt was counted when the operation was taken over.
    """

    until: datetime
    for_caller: bool
    alone: bool = False
    owns: bool = True
    raises_overtaken: bool = False
    counted: bool = False


class OvertakenError(Exception):
    """A commit was refused, and `DrivePolicy.raises_overtaken` is set."""


class Shared(NamedTuple):
    """The container with its pending operation as now stored. Other drivers may have acted, unless `alone` is set.

    `stored` is set if this driver has just stored what its attempt has noted.
    """

    container: Container
    alone: bool = False
    stored: bool = False


class Commits:
    """Ends operations, moves them to their next step, or leaves them pending."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock

    # --- committing ------------------------------------------------------------------------------------------------

    def commit(
        self,
        container: Container,
        change: Change,
        step: Step | None,
        answer: Outcome | None,
        *,
        forget: bool = False,
    ) -> Container | ConditionFailed:
        """Commit a change of status together with the operation's next step or its end.

        Args:
            container: The container as read, with the operation.
            change: The change that was observed.
            step: The next step. None ends the operation.
            answer: The answer to store for the operation's Idempotency-Key.
            forget: Whether the Idempotency-Key becomes free again.

        Returns:
            The container after the commit, or why the commit was refused.

        Raises:
            StoreError: DynamoDB failed; the commit may have taken effect.
        """
        pending = container.operation
        assert pending is not None
        now = self._clock.now()
        after, entry = append(container, change, new_id(), now)
        continuing = None
        if step is not None:
            continuing = pending.model_copy(
                update={
                    "step": step,
                    "step_since": now,
                    "deadline": now + DEADLINE,
                    "attempts": 0,
                    "has_row": True,
                    "absent": {},
                    "sent_command": None,
                }
            )
        if continuing is not None and step is Step.START and container.kind is Kind.TASK:
            # The token is in the ledger before RunTask is called with it.
            tasks = {**after.tasks, continuing.token: KnownTask(called_from=now)}
            after = after.model_copy(update={"tasks": tasks})
        after = after.model_copy(update={"operation": continuing})
        return self._store.commit(container, after, entry, answer, forget=forget)

    def first_answer(self, pending: PendingOperation, outcome: Outcome, policy: DrivePolicy) -> Outcome:
        """Return the answer that is stored for the Idempotency-Key if the request was answered 202, else the outcome.

        Raises:
            StoreError: DynamoDB failed.
        """
        if not (policy.for_caller and pending.answered and pending.idempotency_id):
            return outcome
        record = self._store.record(pending.idempotency_id)
        return record.answer if record and record.answer else outcome

    def overtaken(self, container: Container, task: Task | None, policy: DrivePolicy) -> Shared | Outcome:
        """Determine why a commit was refused, and whether to continue.

        Another driver may have changed or continued the operation, or ended it; its rows then determine the answer.
        If a force-stop has superseded the operation, a task that this driver has started is stopped.

        Args:
            container: The container before the refused commit.
            task: The task that the driver has started or found, if any.
            policy: Whether to continue the operation while another driver does.

        Returns:
            The container to continue with, or the answer.

        Raises:
            OvertakenError: `policy.raises_overtaken` is set.
            ContainerNotFoundError: The container has been deleted.
            ContainerExpiredError: The container has expired.
            OperationFailedError: The operation has ended without success.
            StoreError: DynamoDB failed.
        """
        if policy.raises_overtaken:
            raise OvertakenError
        pending = container.operation
        assert pending is not None
        current = self._store.container(container.id)
        if current is None:
            raise ContainerNotFoundError
        latest = current.operation
        if latest is not None and latest.id == pending.id:
            # With the same row count and attempts, only attributes of the operation have changed. Otherwise another
            # driver continues it, and only a driver whose caller waits stays with it.
            same_place = (current.log_count, latest.attempts) == (container.log_count, pending.attempts)
            if same_place or (policy.for_caller and self._clock.now() < policy.until):
                return Shared(current)
            elsewhere = Unobserved("Another worker continues it")
            return self.accept(
                current, latest, elsewhere, stored_findings(latest), policy._replace(owns=False, counted=False)
            )
        if task is not None and not task.is_stopped and not is_wanted(current, task.arn):
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
        if container.operation is None or container.operation.idempotency_id is None:
            return outcome
        return self._store.keep_answer(record_of(container, outcome)).answer or outcome

    def fail(self, container: Container, change: Change, task: Task | None, policy: DrivePolicy) -> Shared | Outcome:
        """End the operation with the container `failed`. The error is not stored for the Idempotency-Key.

        Args:
            container: The container as read, with the operation.
            change: The change to `failed`; its metadata holds the reason.
            task: The task that the driver has started or found, if any.
            policy: As in `overtaken`.

        Returns:
            Only if the commit was refused: the container to continue with, or the answer.

        Raises:
            OperationFailedError: The operation has ended.
            StoreError: DynamoDB failed; the operation may have ended.
        """
        if isinstance(self.commit(container, change, None, None, forget=True), ConditionFailed):
            return self.overtaken(container, task, policy)
        raise OperationFailedError(str(change.metadata["reason"]))

    # --- leaving the operation pending -----------------------------------------------------------------------------

    def counts(self, pending: PendingOperation, result: Result) -> bool:
        """Check whether an attempt counts towards giving up the step."""
        if isinstance(result.observation, Uncertain) and result.observation.throttled:
            return False
        return not result.findings.on_its_way or self._clock.now() - pending.begun_at >= ON_ITS_WAY

    def found(self, container: Container, result: Result, policy: DrivePolicy) -> dict[str, Any]:
        """Return the findings of an attempt as changes to the pending operation."""
        pending, findings = container.operation, result.findings
        assert pending is not None
        found: dict[str, Any] = {"absent": dict(findings.absent), "sent_command": findings.sent_command}
        if policy.counted and not self.counts(pending, result):
            found["attempts"] = pending.attempts - 1
        return {name: value for name, value in found.items() if value != getattr(pending, name)}

    def accept(
        self,
        container: Container,
        pending: PendingOperation,
        seen: Unobserved | Uncertain,
        findings: Findings,
        policy: DrivePolicy,
    ) -> Shared | Outcome:
        """Answer 202, and store the findings that later drivers and events need.

        Args:
            container: The container as read.
            pending: Its pending operation.
            seen: What was observed instead of the step's goal. After a call that ECS has throttled, which is Uncertain,
                the operation is released: the sweep, which keeps a pace, continues it.
            findings: The other findings of the attempt.
            policy: Whether to store the answer for the Idempotency-Key, and which findings to store.

        Returns:
            The answer, or the container to continue with if it has changed since it was read.

        Raises:
            OvertakenError: The container has changed, and `policy.raises_overtaken` is set.
            StoreError: DynamoDB failed.
        """
        outcome = accepted(container, pending)
        keeps = policy.for_caller and pending.idempotency_id is not None and not pending.answered
        update = self.found(container, Result(seen, findings), policy)
        if isinstance(seen, Uncertain):
            update["deadline"] = self.released_at(container, pending, findings)
        elif policy.owns and (findings.absent or _any_absent(findings)):
            update["deadline"] = min(pending.deadline, self._clock.now() + _LOOK_AGAIN)
        noted = with_findings(container, findings)
        # The handler of an event stores nothing but a task that it has run. Any write raises the generation, and the
        # operation's driver would have to read the container again.
        if policy.raises_overtaken:
            nothing_new = len(arns(noted.tasks)) == len(arns(container.tasks))
        else:
            nothing_new = not update and not differ(noted.tasks, container.tasks)
        if not keeps and nothing_new:
            return outcome
        update["answered"] = pending.answered or keeps
        result = self._store.note(noted, pending.model_copy(update=update), outcome if keeps else None)
        if isinstance(result, ConditionFailed):
            return self.overtaken(container, seen.task if isinstance(seen, Unobserved) else None, policy)
        return outcome

    def released_at(self, container: Container, pending: PendingOperation, findings: Findings) -> datetime:
        """Return the deadline of an operation that its driver leaves to the next one: now.

        If a command to the host may be in flight, it is the command's expiry time instead. The next driver's command
        must not be delivered before that.
        """
        in_flight = findings.acted and awaits_host(container, pending)
        return pending.command_expiry if in_flight else self._clock.now()


def stored_findings(pending: PendingOperation) -> Findings:
    """Return findings that leave the operation as it is stored."""
    return Findings(sent_command=pending.sent_command, absent=pending.absent)


def with_findings(container: Container, findings: Findings) -> Container:
    """Return the container with the ledger as an attempt has left it."""
    return container if findings.tasks is None else container.model_copy(update={"tasks": dict(findings.tasks)})


def is_wanted(container: Container, task_arn: str) -> bool:
    """Check whether a task is the container's own, or that of its pending start."""
    pending = container.operation
    token = pending.token if pending is not None and pending.step is Step.START else container.own_token
    return token is not None and token in container.tasks and container.tasks[token].arn == task_arn


def _any_absent(findings: Findings) -> bool:
    return any(known.absent_since is not None for known in (findings.tasks or {}).values())
