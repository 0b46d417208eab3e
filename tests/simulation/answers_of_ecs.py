"""Checks of an answer against ECS at the time of the answer."""

from typing import TYPE_CHECKING, Any

from longshore.domain.errors import OperationFailedError
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import OutcomeKind

from simulation.records import GOALS, LIVE, Asked, Violation
from simulation.scheduler import Actor

if TYPE_CHECKING:
    from simulation.ledger import Ledger

OPTIONAL = frozenset({"DescribeContainerInstances", "SendCommand", "GetCommandInvocation"})
"""The calls that a force-stop may make, and that must not keep it from StopTask."""


def check_answer(ledger: "Ledger", one: Asked, actor: Actor) -> None:
    """Check an answer when it is returned to an actor. Raises Violation."""
    if "service" in ledger.containers[one.request.container_id]["runtime"]:
        return
    own = [name for name, each in ledger.operations.items() if each.get("request_id") == one.request.request_id]
    outcome = one.outcome
    if outcome is not None and outcome["kind"] == OutcomeKind.COMPLETED:
        _check_completed(ledger, one, own)
    elif one.request.operation is Operation.FORCE_STOP:
        for operation_id in own:
            _check_stop_was_called(ledger, one, operation_id, actor)
    if isinstance(one.answer, OperationFailedError):
        _check_reason(ledger, one, own, one.answer.reason)


def _check_completed(ledger: "Ledger", one: Asked, own: list[str]) -> None:
    """Check the tasks of a container that has not changed since its operation was completed."""
    container_id, goal = one.request.container_id, GOALS[one.request.operation]
    container, rows = ledger.containers[container_id], ledger.rows.get(container_id, [])
    last: dict[str, Any] = (rows[-1].get("metadata") or {}) if rows else {}
    unchanged = container["status"] == goal and "operation" not in container and last.get("operation_id") in own
    if not unchanged or container_id in ledger.full:
        return
    live = ledger.alive.tasks(container_id)
    words = ", ".join(f"{task.id[-6:]} ({ledger.story(task)})" for task in live)
    if goal is Status.STOPPED and live:
        raise Violation(f"{one.name} was answered that the container is stopped, and its live tasks are {words}")
    if goal in LIVE and len(live) > 1:
        raise Violation(f"{one.name} was answered that the container is {goal}, and its live tasks are {words}")


def _check_stop_was_called(ledger: "Ledger", one: Asked, operation_id: str, actor: Actor) -> None:
    """Check that no optional call has kept a force-stop of a live container from StopTask."""
    container_id = one.request.container_id
    states = ledger.states[container_id]
    first = next(n for n, state in enumerate(states) if (state.operation or {}).get("id") == operation_id)
    began_alone = first > 0 and states[first - 1].operation is None and states[first - 1].status in LIVE
    if not began_alone or not actor.failed or not actor.failed <= OPTIONAL:
        return
    called = ledger.alive.stopped_by.get(actor.name, set())
    for task in ledger.alive.tasks(container_id):
        runs = task.last_status == task.desired_status == "RUNNING"
        if runs and task.arn not in called and task.created_at <= one.at:
            raise Violation(
                f"{one.name} was not completed because {', '.join(sorted(actor.failed))} failed: it has not called "
                f"StopTask for the task {task.id[-6:]}"
            )


def _check_reason(ledger: "Ledger", one: Asked, own: list[str], reason: str) -> None:
    """Check that the reason of a failure is not that of an earlier row of the operation."""
    rows = [
        row
        for row in ledger.rows.get(one.request.container_id, [])
        if (row.get("metadata") or {}).get("operation_id") in own
    ]
    failed = {row["metadata"].get("reason") for row in rows if row["to_status"] == Status.FAILED}
    others = {row["metadata"].get("reason") for row in rows if row["to_status"] != Status.FAILED}
    if reason in others - failed:
        raise Violation(f"{one.name} has failed, and its reason is that of an earlier row: {reason}")
