"""The results of operations: the changes that become history rows, and the answers to callers. Pure functions."""

from datetime import datetime, timedelta

from longshore.domain.errors import ContainerExpiredError, ContainerProtectedError, StateConflictError
from longshore.domain.facts import Observed, Requested
from longshore.domain.ledger import LastTask, Ledger
from longshore.domain.lifecycle import Operation, Refused, Status, decide, done, in_progress, status_after_exit
from longshore.domain.models import Change, Container, Outcome, OutcomeKind
from longshore.domain.pending import PendingOperation, Trigger
from longshore.domain.task import Task


def change_by(
    pending: PendingOperation, to_status: Status, at: datetime, observed: Observed, tasks: Ledger | None = None
) -> Change:
    """Build the change that an operation's step has made.

    Args:
        pending: The operation.
        to_status: The new status.
        at: When the change was observed (UTC).
        observed: What was observed.
        tasks: The ledger from now on. None keeps the ledger.
    """
    return Change(
        to_status=to_status,
        observed_at=at,
        triggered_by=pending.triggered_by,
        duration_ms=max(0, round((at - pending.started_at) / timedelta(milliseconds=1))),
        requested=Requested(
            command=pending.operation.value,
            actor=pending.actor,
            request_id=pending.request_id,
            operation_id=pending.id,
            rule=pending.rule,
            superseded=pending.superseded.value if pending.superseded else None,
        ),
        observed=observed,
        tasks=tasks,
    )


def change_by_exit(
    container: Container,
    at: datetime,
    task: Task | None,
    tasks: Ledger,
    triggered_by: Trigger = Trigger.SYSTEM,
    *,
    unclear: bool = False,
) -> Change:
    """Build the change for the container's own task that ended on its own.

    Args:
        container: The container before the change.
        at: When the task ended, or when it was found to be gone (UTC).
        task: The stopped task. None when it is gone; if ECS shows it again, the container is live again.
        tasks: The ledger without the task. While another task is in it, the container is not `stopped`.
        triggered_by: `system` for an event, `recovery` for a sweep.
        unclear: Whether a command to the host may have paused or unpaused the task.
    """
    last = left_by(container, task, unclear=unclear)
    if task is None:
        return Change(
            to_status=Status.FAILED,
            observed_at=at,
            triggered_by=triggered_by,
            observed=Observed(reason="The task is no longer known to ECS"),
            tasks=tasks,
            last_task=last,
        )
    return Change(
        to_status=Status.FAILED if tasks else status_after_exit(task.exit_code),
        observed_at=at,
        triggered_by=triggered_by,
        observed=task.facts,
        tasks=tasks,
        last_task=last,
    )


def left_by(container: Container, task: Task | None, *, unclear: bool = False) -> LastTask | None:
    """Return what to remember of the container's own task, which leaves the ledger.

    Args:
        container: The container before.
        task: The stopped task. None when it is gone.
        unclear: Whether a command to the host may have paused or unpaused the task.
    """
    if task is not None:
        return LastTask(id=task.id, version=task.version)
    own = container.own
    if own is None or own.arn is None:
        return None
    paused = container.status is Status.PAUSED
    return LastTask(id=own.arn.rsplit("/", 1)[-1], version=own.version, gone=True, paused=paused, unclear=unclear)


def completed(container: Container, pending: PendingOperation, status: Status) -> Outcome:
    """Build the answer for an operation whose effect was observed."""
    return _outcome(OutcomeKind.COMPLETED, container, pending.operation, done(pending.operation), status)


def accepted(container: Container, pending: PendingOperation) -> Outcome:
    """Build the answer for an operation that is still pending."""
    message = in_progress(pending.operation)
    outcome = _outcome(OutcomeKind.ACCEPTED, container, pending.operation, message, container.status)
    shown = container.model_copy(update={"operation": pending}).pending_view
    return outcome.model_copy(update={"pending_operation": shown})


def conflict(container: Container, operation: Operation, message: str, *, protected: bool = False) -> Outcome:
    """Build the answer for an operation that the container's state does not allow.

    Args:
        container: The container.
        operation: The operation.
        message: Why it is refused.
        protected: Whether the container's protection is the reason.
    """
    outcome = _outcome(OutcomeKind.CONFLICT, container, operation, message, container.status)
    return outcome.model_copy(
        update={
            "allowed_operations": container.allowed_operations,
            "pending_operation": container.pending_view,
            "protection": container.protection.model_dump() if protected and container.protection else None,
        }
    )


def refused_change(container: Container, change: str, message: str) -> StateConflictError:
    """Build the error for a change of a container that its state does not allow.

    Args:
        container: The container.
        change: The name of the change, in place of an operation.
        message: Why it is refused.
    """
    return StateConflictError(
        message,
        {
            "error": True,
            "operation": change,
            "container_id": container.id,
            "project_id": container.project_id,
            "message": message,
            "status": container.status.value,
            "allowed_operations": [operation.value for operation in container.allowed_operations],
            "pending_operation": container.pending_view,
        },
    )


def superseded(container: Container, operation: Operation) -> Outcome:
    """Build the answer for an operation that was superseded and ended without a row.

    Raises:
        ContainerExpiredError: The container has expired.
    """
    if container.status is Status.EXPIRED:
        raise ContainerExpiredError
    verdict = decide(container.status, operation, container.pending, container.runtime.platform)
    if isinstance(verdict, Refused):
        return conflict(container, operation, verdict.message)
    return conflict(container, operation, f"Container {operation} was superseded")


def _outcome(kind: OutcomeKind, container: Container, operation: Operation, message: str, status: Status) -> Outcome:
    return Outcome(
        kind=kind,
        operation=operation,
        container_id=container.id,
        project_id=container.project_id,
        message=message,
        status=status,
    )


def given(outcome: Outcome) -> Outcome:
    """Return the outcome, unless it is a conflict.

    Raises:
        ContainerProtectedError: The outcome is a conflict with the container's protection.
        StateConflictError: The outcome is another conflict.
    """
    if outcome.kind is not OutcomeKind.CONFLICT:
        return outcome
    if outcome.protection is not None:
        data = outcome.model_dump(mode="json", exclude={"kind"})
        raise ContainerProtectedError(outcome.message, {"error": True} | data)
    data = outcome.model_dump(mode="json", exclude={"kind", "protection"})
    raise StateConflictError(outcome.message, {"error": True} | data)
