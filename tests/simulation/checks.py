"""What must always hold, at every moment of a run and after it.

1. A container has at most one live task. To the letter, and at every moment: of its tasks that were not asked to stop,
   at most one is anything but a stray. A stray is a task that came when the operation that ran it had ended already,
   because whoever ran it was late, or one that ECS did not show yet to the force-stop that superseded its start.
   Nothing in ECS can keep that from happening, so it has to be noticed and stopped. When all has settled there are no
   strays: one task when the status is running or paused, none when it is stopped or expired, and none but the
   container's own when it has failed. Its processes are frozen if and only if it is paused, unless a command was sent
   by someone who was late.
2. The rows form a chain, and the last one says the status: after every single write. A row is true of the container's
   task: `stopped` is not written of one that lives, nor `running` of one that never ran or whose end is known.
3. The counters and the ranks are what counting gives.
4. What was answered is true. Completed: the row is there when the answer is given. A conflict: there is no row, but
   for an operation that was superseded. No exception but the library's own. An Idempotency-Key has one effect, and one
   answer but for failures, and for a 202 while it is under way. The answer that it keeps is never replaced.
5. Nothing stays pending.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from longshore.attributes import deserialize_item
from longshore.errors import ErrorCode, LongshoreError, StateConflictError
from longshore.lifecycle import Operation, Status
from longshore.models import OperationRequest, Outcome, OutcomeKind, StatusLogsPage, StatusLogsQuery

from local.emulator.ecs import SimulatedTask
from simulation.dynamodb import Item

if TYPE_CHECKING:
    from simulation.world import World

GOALS = {
    Operation.START: Status.RUNNING,
    Operation.STOP: Status.STOPPED,
    Operation.FORCE_STOP: Status.STOPPED,
    Operation.RESTART: Status.RUNNING,
    Operation.PAUSE: Status.PAUSED,
    Operation.RESUME: Status.RUNNING,
}
_LIVE = ("running", "paused")
_STEPS = {"pause": ("pause",), "unpause": ("unpause", "stop"), "kill": ("kill",)}


class Violation(BaseException):
    """Something that must always hold does not."""


class Fate(StrEnum):
    """How an operation ended."""

    PENDING = "pending"
    COMMITTED = "committed"  # with a row
    FAILED = "failed"  # with the row of a failure, which says that its task is to be stopped
    SUPERSEDED = "superseded"
    EXPIRED = "expired"  # its server was terminated
    ABANDONED = "abandoned"  # without a row


@dataclass
class Asked:
    """A request and what its caller knows of its end. `answer` None: it crashed, or is under way."""

    name: str
    request: OperationRequest
    at: datetime
    answer: Outcome | LongshoreError | None = None
    ended: bool = False

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The answer that an Idempotency-Key keeps."""
        if isinstance(self.answer, Outcome):
            return self.answer.model_dump(mode="json")
        if isinstance(self.answer, StateConflictError):
            return {"kind": "conflict"} | {name: value for name, value in self.answer.data.items() if name != "error"}
        return None

    @property
    def is_failure(self) -> bool:
        """Whether it was answered that something went wrong on this side."""
        return isinstance(self.answer, LongshoreError) and self.answer.code in (
            ErrorCode.EXTERNAL_SERVICE_ERROR,
            ErrorCode.INTERNAL_SERVER_ERROR,
        )


@dataclass
class Ledger:
    """What is known of operations and tasks from outside of the code under test."""

    world: "World"
    fates: dict[str, Fate] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)  # as they were claimed, by id
    tokens: dict[str, str | None] = field(default_factory=dict)  # clientToken by task ARN
    strays: set[str] = field(default_factory=set)  # task ARNs
    overlooked: set[str] = field(default_factory=set)  # ARNs of tasks that ECS did not show yet to whom looked for them
    late_commands: set[str] = field(default_factory=set)  # ids of containers whose processes were (un)paused too late
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by container, in the order of their writing
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: int = 0  # writes to containers
    _dirty: set[str] = field(default_factory=set)

    @staticmethod
    def plain(item: Item) -> dict[str, Any]:
        """An item as Python has it."""
        return deserialize_item(item)

    # --- what happens ----------------------------------------------------------------------------------------------

    def ran(self, tasks: list[dict[str, Any]], token: str | None) -> None:
        """RunTask was answered."""
        for task in tasks:
            if task["taskArn"] not in self.tokens:
                self.tokens[task["taskArn"]] = token
                if self.fates.get(token or "", Fate.PENDING) is not Fate.PENDING:
                    self.strays.add(task["taskArn"])
                    self.world.stats["strays"] += 1

    def commanded(self, container_id: str, action: str) -> None:
        """SendCommand took effect. One that no pending operation wants comes from an actor that was late."""
        step = self.containers[container_id].get("operation", {}).get("step")
        if step not in _STEPS[action]:
            self.late_commands.add(container_id)
            self.world.stats["late commands"] += 1

    def written(self, table: str, before: Item | None, after: Item | None) -> None:
        """A write took effect."""
        if table == "status-logs":
            assert after is not None
            if before is not None:
                raise Violation("a row of history was overwritten")
            row = deserialize_item(after)
            self.rows.setdefault(row["container_id"], []).append(row)
            self._dirty.add(row["container_id"])
        elif table == "idempotency":
            self._check_kept(before, after)
        elif table == "containers":
            assert after is not None
            self.changes += 1
            old, new = self.containers.get(after["id"]["S"], {}), deserialize_item(after)
            self.containers[new["id"]] = new
            self._dirty.add(new["id"])
            self._follow(old, new)
            self._check_task_of(old, new)

    def _check_kept(self, before: Item | None, after: Item | None) -> None:
        """An answer that an Idempotency-Key keeps is never replaced by another."""
        kept = (before or {}).get("answer")
        if kept is None:
            return
        if after is None:
            self.world.remark("a kept answer was deleted")
        elif after.get("answer") != kept:
            was, now = (
                deserialize_item({"answer": kept})["answer"],
                deserialize_item({"answer": after.get("answer", {"NULL": True})})["answer"],
            )
            raise Violation(f"the kept answer {_told(was)} was replaced by {_told(now)}")

    def _check_task_of(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """What is written of the container's task has to be true, and has to be news."""
        if not old or old["log_count"] == new["log_count"]:
            return
        task = self.world.ecs._tasks.get(new.get("task_arn") or "")
        if new["status"] == Status.STOPPED and task is not None and task.live:
            raise Violation(f"stopped is written, and the task {task.id[-6:]} is {task.last_status}")
        if new["status"] == Status.RUNNING and old["status"] not in _LIVE:
            if task is not None and task.started_at is None:
                raise Violation(f"running is written, and the task {task.id[-6:]} has never run")
            if task is not None and not task.live and old.get("task_arn") == task.arn:
                known = old["task_version"] >= task.version
                if known:
                    raise Violation(f"running is written of the task {task.id[-6:]}, whose end is known")

    def _follow(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Note what became of the operation that was pending."""
        was, now = old.get("operation"), new.get("operation")
        if now is not None and now["id"] not in self.fates:
            self.fates[now["id"]] = Fate.PENDING
            self.operations[now["id"]] = now
        if was is None or (now is not None and now["id"] == was["id"]):
            return
        if now is not None:
            fate = Fate.SUPERSEDED
        elif new["status"] == Status.EXPIRED:
            fate = Fate.EXPIRED
        elif new["log_count"] == old["log_count"]:
            fate = Fate.ABANDONED
        else:
            fate = Fate.FAILED if new["status"] == Status.FAILED else Fate.COMMITTED
        self.fates[was["id"]] = fate
        self.world.stats[f"operation {fate}"] += 1

    # --- at every moment -------------------------------------------------------------------------------------------

    def check(self, *, tasks_changed: bool) -> None:
        """Raise Violation unless everything holds that must hold at this very moment."""
        if not self._dirty and not tasks_changed:
            return
        for container_id in sorted(self._dirty):
            container, rows = self.containers[container_id], self.rows.get(container_id, [])
            if container["log_count"] != len(rows):
                raise Violation(f"log_count is {container['log_count']}, and there are {len(rows)} rows")
            if rows and rows[-1]["to_status"] != container["status"]:
                raise Violation(f"the status is {container['status']}, and the last row says {rows[-1]['to_status']}")
        self._dirty.clear()
        live: dict[str, list[SimulatedTask]] = {}
        for task in self.world.ecs._tasks.values():
            if task.live and task.desired_status == "RUNNING":
                live.setdefault(task.started_by or "", []).append(task)
        for tasks in live.values():
            if len(tasks) > 1:
                own = [task for task in tasks if not self._is_stray(task)]
                self.world.stats["moments with a stray"] += len(own) < len(tasks)
                if len(own) > 1:
                    told = ", ".join(f"{task.arn[-6:]} ({self._story(task)})" for task in own)
                    raise Violation(f"{len(own)} live tasks of one container: {told}")

    def _is_stray(self, task: SimulatedTask) -> bool:
        superseded = self.fates.get(self.tokens.get(task.arn) or "") is Fate.SUPERSEDED
        return task.arn in self.strays or (superseded and task.arn in self.overlooked)

    def _story(self, task: SimulatedTask) -> str:
        token = self.tokens.get(task.arn)
        return f"{task.last_status}, of operation {token}, {self.fates.get(token or '', 'unknown')}"

    def pending(self) -> list[str]:
        """The containers on which an operation is pending."""
        return sorted(name for name, container in self.containers.items() if "operation" in container)

    # --- when all has settled --------------------------------------------------------------------------------------

    def settled(self, asked: list[Asked]) -> None:
        """Raise Violation unless everything holds that must hold in the end."""
        for container_id, container in self.containers.items():
            if "operation" in container:
                operation = container["operation"]
                raise Violation(f"{operation['operation']} {operation['id']} is still pending at {operation['step']}")
            self._check_tasks(container_id, container)
            try:
                check_history(container, self._stored_rows(container_id))
            except AssertionError as error:
                raise Violation(f"the history of {container_id}: {error}") from error
        self._check_rows_by_operation()
        for one in asked:
            self._check_answer(one)
        self._check_keys(asked)

    def _stored_rows(self, container_id: str) -> list[dict[str, Any]]:
        items = self.world.dynamodb.tables["status-logs"].items
        return [deserialize_item(item) for key, item in sorted(items.items()) if key[0] == container_id]

    def _check_tasks(self, container_id: str, container: dict[str, Any]) -> None:
        live = [task for task in self.world.ecs._tasks.values() if task.live and task.started_by == container_id]
        status, arn = container["status"], container.get("task_arn")
        told = ", ".join(f"{task.arn[-6:]} ({self._story(task)})" for task in live) or "none"
        if status in _LIVE:
            if [task.arn for task in live] != [arn]:
                raise Violation(f"{status}, its task is {(arn or 'none')[-6:]}, and its live tasks are {told}")
            paused = {process.paused for process in live[0].containers if process.running}
            if paused != {status == "paused"}:
                told = f"{status}, but its processes are {'paused' if any(paused) else 'not'}"
                if container_id not in self.late_commands:
                    raise Violation(told)
                self.world.remark(f"after a late command {told}")
        elif live and (status != "failed" or [task.arn for task in live] != [arn]):
            raise Violation(f"{status}, its task is {(arn or 'none')[-6:]}, and its live tasks are {told}")
        elif live:
            self.world.remark("failed, with its own task alive")

    def _check_rows_by_operation(self) -> None:
        """An operation has each of its effects once."""
        for rows in self.rows.values():
            effects = Counter(
                (row["metadata"]["operation_id"], row["to_status"])
                for row in rows
                if "operation_id" in (row.get("metadata") or {})
            )
            for (operation_id, to_status), times in effects.items():
                if times > 1:
                    raise Violation(f"operation {operation_id} has {times} rows to {to_status}")

    def _rows_of(self, request_ids: set[str | None]) -> Iterator[dict[str, Any]]:
        for rows in self.rows.values():
            for row in rows:
                if (row.get("metadata") or {}).get("request_id") in request_ids:
                    yield row

    def _check_answer(self, one: Asked) -> None:
        outcome = one.outcome
        if outcome is not None and outcome["kind"] == OutcomeKind.CONFLICT:
            effects = [row["to_status"] for row in self._rows_of({one.request.request_id})]
            if effects and not self._was_superseded(one):
                raise Violation(f"{one.name} was told {outcome['message']!r}, and has the rows {effects}")

    def _was_superseded(self, one: Asked) -> bool:
        return any(
            self.fates[name] is Fate.SUPERSEDED and operation.get("request_id") == one.request.request_id
            for name, operation in self.operations.items()
        )

    def answered(self, one: Asked, asked: list[Asked]) -> None:
        """Check an answer at the moment at which it is given: a row that it promises is there."""
        outcome = one.outcome
        self.world.stats[f"answer: {outcome['kind'] if outcome else getattr(one.answer, 'code', 'none')}"] += 1
        if outcome is None or outcome["kind"] != OutcomeKind.COMPLETED:
            return
        goal = GOALS[one.request.operation]
        same = {other.request.request_id for other in asked if one is other or _same_key(one, other)}
        if not any(row["to_status"] == goal for row in self._rows_of(same)):
            raise Violation(f"{one.name} was told {outcome['message']!r}, and there is no row that says {goal}")

    def _check_keys(self, asked: list[Asked]) -> None:
        """An Idempotency-Key has one effect, and one answer but for failures and for repeats while it is under way."""
        groups: dict[tuple[Any, Any], list[Asked]] = {}
        for one in asked:
            if one.request.idempotency_key is not None:
                groups.setdefault((one.request.actor, one.request.idempotency_key), []).append(one)
        for (actor, key), group in groups.items():
            ids = {one.request.request_id for one in group}
            goal = GOALS[group[0].request.operation]
            reached = {row["metadata"]["operation_id"] for row in self._rows_of(ids) if row["to_status"] == goal}
            if len(reached) > 1:
                raise Violation(f"the key {key} of {actor} had {len(reached)} effects: {sorted(reached)}")
            answers = [one.outcome for one in group if one.outcome is not None]
            final = [answer for answer in answers if answer["kind"] != OutcomeKind.ACCEPTED]
            if any(answer != final[0] for answer in final):
                told = "; ".join(f"{one.name}: {_told(one.outcome)}" for one in group)
                raise Violation(f"the key {key} of {actor} had different answers: {told}")
            if len({str(answer) for answer in answers}) > 1:
                self.world.remark("a key was answered 202 and then otherwise")


def check_page(query: StatusLogsQuery, page: StatusLogsPage) -> None:
    """Raise Violation unless a page has as many rows as its total says, in order."""
    total, logs = page.pagination.total, page.logs
    expected = max(0, min(query.limit, total - (query.page - 1) * query.limit))
    if len(logs) != expected:
        raise Violation(f"page {query.page} of {query} has {len(logs)} rows of {expected}, total {total}")
    orders = [(getattr(log, query.sort_by) or "", log.transition_time) for log in logs]
    if orders != sorted(orders, reverse=query.sort_order == "desc"):
        raise Violation(f"page {query.page} of {query} is not in order")


def _told(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return "none"
    pending = (outcome.get("pending_operation") or {}).get("operation")
    return f"{outcome['kind']}, {outcome['message']!r}, {outcome['status']}, pending {pending}"


def _same_key(one: Asked, other: Asked) -> bool:
    return one.request.idempotency_id is not None and one.request.idempotency_id == other.request.idempotency_id


def check_history(container: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Assert that the rows form a chain, and that the item says what they say."""
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "the numbers of the rows are not dense"
    assert rows[0].get("from_status") is None, "the first row comes from something"
    for before, row in pairwise(rows):
        assert row["from_status"] == before["to_status"], f"row {row['seq']} does not follow the one before"
        assert row["transition_time"] > before["transition_time"], f"row {row['seq']} is not later than the one before"
        assert row["created_at"] >= before["created_at"], f"row {row['seq']} was created before the one before"
    assert container["status"] == rows[-1]["to_status"], "the status is not the last row's"
    assert container["status_since"] == rows[-1]["transition_time"], "status_since is not the last row's time"
    assert container["log_count"] == len(rows), "log_count is not the number of rows"
    assert container["to_counts"] == Counter(row["to_status"] for row in rows), "to_counts do not count"
    assert container["from_counts"] == Counter(row.get("from_status", "none") for row in rows), (
        "from_counts do not count"
    )
    for kind in ("to", "from"):
        seen: Counter[str] = Counter()
        for row in rows:
            status = row.get(f"{kind}_status", "")
            seen[status] += 1
            assert row[f"{kind}_rank"] == f"{status}#{seen[status]:010d}", f"row {row['seq']} has another {kind}_rank"
    assert ("live_project_id" in container) == (container["status"] in _LIVE), "the index of live containers is wrong"
    assert ("pending_deadline" in container) == ("operation" in container), "the index of pending operations is wrong"
