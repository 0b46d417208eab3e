"""Checks that a row of history is true: of its operation, as it was requested, and of its task, as ECS knows it."""

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.emulator.ecs import SimulatedTask
from simulation.records import Violation

if TYPE_CHECKING:
    from simulation.ledger import Ledger

_SKEW = timedelta(seconds=1.5)  # more than two clocks differ
_MILLISECOND = timedelta(milliseconds=1)
_STOPPED_BY = re.compile(r"Longshore operation ([0-9a-f]{24})")

Row = dict[str, Any]


def check_row(ledger: "Ledger", row: Row) -> None:
    """Check a row when it is written. Raises Violation."""
    metadata = row.get("metadata") or {}
    at = datetime.fromisoformat(row["transition_time"])
    if at > ledger.now + _SKEW:
        raise Violation(f"{_name(row)} has the transition time {at}, which is in the future")
    if "operation_id" in metadata:
        _check_operation(ledger, row, metadata, at)
    elif row["triggered_by"] not in ("system", "recovery") or row.get("duration_ms") is not None:
        raise Violation(f"{_name(row)} is of no operation, but says {row['triggered_by']}, {row.get('duration_ms')} ms")
    task = _task_of(ledger, row, metadata)
    if task is not None:
        _check_task(ledger, row, metadata, at, task)
    for operation_id in _STOPPED_BY.findall(str(metadata.get("reason", ""))):
        if ledger.container_of.get(operation_id) != row["container_id"]:
            raise Violation(f"{_name(row)} has the reason of another container: {metadata['reason']}")


def _name(row: Row) -> str:
    return f"the row {row['to_status']} of {row['container_id'][-2:]}"


def _was_pushed(ledger: "Ledger", row: Row, at: datetime) -> bool:
    """Return whether the row's time is only a millisecond after the row before, because times increase."""
    before = [each for each in ledger.rows[row["container_id"]] if each["seq"] == row["seq"] - 1]
    return bool(before) and at - datetime.fromisoformat(before[0]["transition_time"]) <= _MILLISECOND


# --- operations -------------------------------------------------------------------------------------------------------


def _check_operation(ledger: "Ledger", row: Row, metadata: Row, at: datetime) -> None:
    operation = ledger.operations.get(metadata["operation_id"])
    if operation is None or ledger.container_of[metadata["operation_id"]] != row["container_id"]:
        raise Violation(f"{_name(row)} is of the operation {metadata['operation_id']}, which the container never had")
    said = {"command": metadata.get("command"), "triggered_by": row["triggered_by"]}
    said |= {name: metadata.get(name) for name in ("actor", "request_id", "rule")}
    claimed = {"command": operation["operation"], "triggered_by": operation["triggered_by"]}
    claimed |= {name: operation.get(name) for name in ("actor", "request_id", "rule")}
    if said != claimed:
        raise Violation(f"{_name(row)} says {said}, but its operation is {claimed}")
    for one in ledger.world.asked:
        request = one.request
        if one.name != metadata.get("request_id") or "operation_id" not in metadata:
            continue
        asked = (request.actor, request.operation.value, request.container_id)
        if asked != (said["actor"], said["command"], row["container_id"]):
            raise Violation(f"{_name(row)} says {said}, but {one.name} was {asked}")
    started_at = datetime.fromisoformat(operation["started_at"])
    lasted = max(timedelta(), at - started_at)
    stated = timedelta(milliseconds=row.get("duration_ms") or 0)
    if row.get("duration_ms") is None or (
        stated > lasted + 2 * _MILLISECOND or (stated < lasted - 2 * _MILLISECOND and not _was_pushed(ledger, row, at))
    ):
        raise Violation(f"{_name(row)} says that it took {row.get('duration_ms')} ms, but it took {lasted}")


# --- tasks ------------------------------------------------------------------------------------------------------------


def _task_of(ledger: "Ledger", row: Row, metadata: Row) -> SimulatedTask | None:
    """Return the task that the row names. ECS forgets a task an hour after it has stopped."""
    task_id = metadata.get("task_id")
    if task_id is None:
        return None
    found = [task for task in ledger.world.ecs._tasks.values() if task.id == task_id]
    if found and found[0].started_by != row["container_id"]:
        raise Violation(f"{_name(row)} names the task {task_id[-6:]}, which is not the container's")
    return found[0] if found else None


def _check_task(ledger: "Ledger", row: Row, metadata: Row, at: datetime, task: SimulatedTask) -> None:
    words = f"{_name(row)} names the task {task.id[-6:]}"
    if row["to_status"] == "running" and (task.started_at is None or task.started_at > at + _SKEW):
        raise Violation(f"{words}, which started at {task.started_at}, and says running since {at}")
    if row["to_status"] in ("stopped", "failed") and task.stopped_at is not None and at < task.stopped_at - _SKEW:
        raise Violation(f"{words}, which stopped at {task.stopped_at}, and says {row['to_status']} since {at}")
    if "operation_id" not in metadata and row["to_status"] in ("stopped", "failed") and task.stopped_at is not None:
        late = abs(at - task.stopped_at) > 2 * _MILLISECOND
        if late and not _was_pushed(ledger, row, at):
            raise Violation(f"{words}, which stopped at {task.stopped_at}, and says that it has ended at {at}")
    ended = metadata.get("stop_code") is not None or metadata.get("exit_code") is not None
    if not ended:
        return
    codes = [process.exit_code for process in task.containers if process.exit_code is not None]
    exit_code = next((code for code in codes if code), 0 if codes else None)
    stated, known = (metadata.get("stop_code"), metadata.get("exit_code")), (task.stop_code, exit_code)
    # The first codes that the row could see; another process of the task may have ended since.
    partly = task.live or metadata.get("exit_code") in codes
    if stated[0] != known[0] or not (stated[1] == known[1] or partly):
        raise Violation(f"{words}, whose end is {known}, and says {stated}")
    for operation_id in _STOPPED_BY.findall(str(metadata.get("reason", ""))):
        if operation_id not in str(task.stopped_reason):
            raise Violation(f"{words}, which ECS says was stopped for {task.stopped_reason!r}: {metadata['reason']}")
