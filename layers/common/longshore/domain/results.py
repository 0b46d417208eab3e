"""What is said of an operation: the row that its step adds to the history, and the answer to its caller. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from longshore.domain.errors import ContainerExpiredError, StateConflictError
from longshore.domain.lifecycle import Operation, Refused, Status, decide, done, in_progress, status_after_exit
from longshore.domain.models import Change, Container, Outcome, OutcomeKind, PendingOperation, Trigger
from longshore.domain.task import Task


def change_by(
    pending: PendingOperation, to_status: Status, at: datetime, facts: Mapping[str, Any], task: Task | None
) -> Change:
    """The row of an operation's step. The task, if one was observed, is the container's from now on."""
    return Change(
        to_status=to_status,
        observed_at=at,
        triggered_by=pending.triggered_by,
        duration_ms=max(0, round((at - pending.started_at) / timedelta(milliseconds=1))),
        metadata={
            "command": pending.operation.value,
            "actor": pending.actor,
            "request_id": pending.request_id,
            "operation_id": pending.id,
            "rule": pending.rule,
            "superseded": pending.superseded.value if pending.superseded else None,
            **facts,
        },
        task_arn=task.arn if task else None,
        task_version=task.version if task else None,
        task_ended=task.is_stopped if task else None,
    )


def change_by_exit(at: datetime, task: Task | None, triggered_by: Trigger = Trigger.SYSTEM) -> Change:
    """The row of a task that ended by itself; None: it is gone. A task that comes back is believed again."""
    if task is None:
        return Change(
            to_status=Status.FAILED,
            observed_at=at,
            triggered_by=triggered_by,
            metadata={"reason": "The task is no longer known to ECS"},
        )
    return Change(
        to_status=status_after_exit(task.exit_code),
        observed_at=at,
        triggered_by=triggered_by,
        metadata=task.facts,
        task_arn=task.arn,
        task_version=task.version,
        task_ended=True,
    )


def completed(container: Container, pending: PendingOperation, status: Status) -> Outcome:
    return _outcome(OutcomeKind.COMPLETED, container, pending.operation, done(pending.operation), status)


def accepted(container: Container, pending: PendingOperation) -> Outcome:
    message = in_progress(pending.operation)
    outcome = _outcome(OutcomeKind.ACCEPTED, container, pending.operation, message, container.status)
    shown = container.model_copy(update={"operation": pending}).pending_view
    return outcome.model_copy(update={"pending_operation": shown})


def conflict(container: Container, operation: Operation, message: str) -> Outcome:
    outcome = _outcome(OutcomeKind.CONFLICT, container, operation, message, container.status)
    return outcome.model_copy(
        update={"allowed_operations": container.allowed_operations, "pending_operation": container.pending_view}
    )


def superseded(container: Container, operation: Operation) -> Outcome:
    """The conflict of an operation that ended without a row of its own: something else took its place."""
    if container.status is Status.EXPIRED:
        raise ContainerExpiredError
    verdict = decide(container.status, operation, container.pending, container.runtime.launch_type)
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
    """The outcome, or the conflict that it is as the error that it is."""
    if outcome.kind is not OutcomeKind.CONFLICT:
        return outcome
    data = outcome.model_dump(mode="json", exclude={"kind"})
    raise StateConflictError(outcome.message, {"error": True} | data)
