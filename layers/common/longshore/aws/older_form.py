"""The form in which version 0.2 stores what is known about tasks.

Version 0.2 has no ledger: the container's item names its last task, and the pending operation the task that it has run.
Both forms are written, so that a deployment can be rolled back while operations are pending, and both versions can run
at the same time during a deployment. `schema` says who has written an item last: version 0.2 writes 2, and leaves the
ledger of an item as it was.

    schema 3    the ledger is read
    schema 2    the ledger is derived from the older attributes

An item with more than 1 KB costs a write unit more. So an entry of the ledger that equals the one that is derived from
the older attributes is stored as an empty map. The older form holds two tasks. Others, which the container must not
have, are forgotten by a rollback until an event or the drift sweep shows them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from longshore.aws.operation_form import read_operation, stored_operation
from longshore.domain.clock import to_text
from longshore.domain.ledger import PROCESSED_LATE, KnownTask
from longshore.domain.lifecycle import LIVE, Step
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation

OLDER_ATTRIBUTES = ("task_arn", "task_version", "ended_task_arn", "paused_task_arn")
"""Attributes of a container's item that only version 0.2 reads."""

_OF_OPERATION = (
    "superseded_start",
    "superseded_start_since",
    "client_token_since",
    "task_arn",
    "task_run_at",
    "task_shown",
    "absent",
)
_LEDGER_SINCE = 3  # the schema of the first version with a ledger
_NO_NEWER = 2**53  # a version that no event reaches, which version 0.2 stores if the task's state is not known
_DEADLINE = timedelta(seconds=60)

_UNKNOWN = {"shown": False}  # an entry without any information about its task; an entry that is derived has some

Item = dict[str, Any]


def with_older_form(item: Item, container: Container) -> Item:
    """Return an item with plain values to which the attributes for version 0.2 are added.

    Args:
        item: The item as the current version reads it.
        container: The container of the item.
    """
    operation = container.operation
    older = dict(item)
    if operation is not None:
        older["operation"] = stored_operation(item["operation"])
    if container.runtime.service is not None:
        return older
    token = _token_of_step(container, operation)
    own = container.own_token or next((each for each, known in container.tasks.items() if known.arn), None)
    own = None if own == token else own
    missed: Item = {}
    if own is not None:
        known = container.tasks[own]
        older |= {"task_arn": known.arn, "task_version": known.version}
        if known.absent_since is not None and known.arn is not None:
            missed[known.arn] = to_text(known.absent_since)
    if operation is not None:
        pending = older["operation"]
        if operation.command.expires_at == operation.deadline:
            pending.pop("command_expires_at", None)
        if token is not None:
            known = container.tasks[token]
            pending |= _of_step(known, token, operation)
            if known.absent_since is not None:
                missed[known.arn or token] = to_text(known.absent_since)
        older["operation"] = pending | ({"absent": missed} if missed else {})
    elif missed and container.is_live:
        older["absent_since"] = next(iter(missed.values()))
    if container.tasks:
        derived = _derived(older).get("tasks", {})
        names = {own: _name(older.get("task_arn")), token: token}
        older["tasks"] = {
            each: {} if each in names and _same(derived.get(names[each]), known) else item["tasks"][each] or _UNKNOWN
            for each, known in container.tasks.items()
        }
    return older


def without_older_form(item: Mapping[str, Any]) -> Item:
    """Return an item with plain values as the current version reads it. Derives the ledger if version 0.2 wrote it."""
    current = {name: value for name, value in item.items() if name not in OLDER_ATTRIBUTES}
    operation = item.get("operation")
    if item.get("runtime", {}).get("service") is not None:
        if operation is not None:
            current["operation"] = read_operation(operation, of_service=True)
        return current
    if operation is not None:
        kept = {name: value for name, value in operation.items() if name not in _OF_OPERATION}
        kept = {"command_expires_at": operation["deadline"]} | kept
        current["operation"] = read_operation(kept, of_service=False)
    current.pop("absent_since", None)
    derived = _derived(item)
    if item.get("schema", 1) < _LEDGER_SINCE:
        for name in ("tasks", "tasks_due_at", "last_task"):
            current.pop(name, None)
        return current | derived
    if "tasks" in item:
        of_arn = derived.get("tasks", {}).get(_name(item.get("task_arn")), {})
        current["tasks"] = {
            token: known or derived.get("tasks", {}).get(token, of_arn) for token, known in item["tasks"].items()
        }
    return current


def _same(derived: Item | None, known: KnownTask) -> bool:
    return derived is not None and KnownTask.model_validate(derived) == known


def _name(arn: str | None) -> str:
    return (arn or "").rsplit("/", 1)[-1]


def _token_of_step(container: Container, operation: PendingOperation | None) -> str | None:
    """Return the key of the task that a start, or the start that a force-stop has superseded, has run or may run."""
    if operation is None:
        return None
    if operation.step is Step.START:
        return operation.token if operation.token in container.tasks else None
    if operation.step is Step.KILL:
        others = [token for token in container.tasks if token != container.own_token]
        unknown = [token for token in others if container.tasks[token].arn is None]
        return next(iter(unknown or (others if container.is_live else others[1:])), None)
    return None


def _of_step(known: KnownTask, token: str, operation: PendingOperation) -> Item:
    of_step: Item = {}
    if operation.step is Step.KILL:
        of_step["superseded_start"] = token
        if known.called_from is not None and known.called_from != operation.since:
            of_step["superseded_start_since"] = to_text(known.called_from)
    elif known.called_from is not None and known.called_from != operation.started_at:
        of_step["client_token_since"] = to_text(known.called_from)
    if known.arn is not None:
        of_step["task_arn"] = known.arn
        if known.called_until is not None:
            of_step["task_run_at"] = to_text(known.called_until)
        if known.shown:
            of_step["task_shown"] = True
    return of_step


def _derived(item: Mapping[str, Any]) -> Item:
    """Return the attributes of the ledger for an item that version 0.2 has written."""
    arn, operation = item.get("task_arn"), item.get("operation") or {}
    missed = operation.get("absent", {})
    version = item.get("task_version", 0)
    derived: Item = {}
    tasks: dict[str, Item] = {}
    if arn is not None:
        has_ended = item.get("ended_task_arn") == arn
        # A live container has a task, even if version 0.2 knew its end: the end has no row yet.
        if item["status"] not in LIVE and (has_ended or item["status"] == "stopped"):
            derived["last_task"] = {"id": _name(arn), "version": min(version, _NO_NEWER), "gone": not has_ended}
        else:
            own: Item = {"arn": arn, "shown": True, "version": version if version < _NO_NEWER else 0}
            absent_since = missed.get(arn, item.get("absent_since") if item["status"] in LIVE else None)
            tasks[_name(arn)] = own | ({"absent_since": absent_since} if absent_since else {})
    step = operation.get("step")
    token = operation.get("superseded_start") if step == "kill" else None
    if step == "start":
        token = operation.get("client_token") or operation["id"]
    if token is not None:
        tasks[token] = _derived_of_step(operation, token, missed)
    return derived | ({"tasks": tasks} if tasks else {})


def _derived_of_step(operation: Mapping[str, Any], token: str, missed: Mapping[str, str]) -> Item:
    starts = operation["step"] == "start"
    since = operation.get("client_token_since" if starts else "superseded_start_since")
    known: Item = {"called_from": since or operation["started_at" if starts else "since"]}
    arn = operation.get("task_arn")
    if arn is not None:
        known |= {"arn": arn, "shown": operation.get("task_shown", False)}
        if "task_run_at" in operation:
            known["called_until"] = operation["task_run_at"]
    elif not starts:
        # The driver of the superseded start may use the token until the deadline that it had then.
        until = datetime.fromisoformat(operation["started_at"]) + _DEADLINE + PROCESSED_LATE
        known["called_until"] = to_text(until)
    absent_since = missed.get(arn or token)
    return known | ({"absent_since": absent_since} if absent_since else {})
