"""A record of operations and tasks as seen from outside the code under test, and the checks after every write."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from longshore.aws.attributes import deserialize_item
from longshore.domain.lifecycle import Operation, Refused, Status, decide
from longshore.domain.models import Runtime

from local.emulator.ecs import SimulatedTask
from simulation import lifetime_checks
from simulation.alive import Alive, Call
from simulation.answers_of_ecs import check_answer
from simulation.dynamodb import Item
from simulation.effects import Effects
from simulation.hostility import Reached
from simulation.records import LIVE, Asked, Fate, State, Violation, describe
from simulation.row_checks import check_row
from simulation.scheduler import Actor

if TYPE_CHECKING:
    from simulation.world import World

_SKEW = timedelta(seconds=2)  # more than the clocks differ
_SHORTEST_TRIES = timedelta(minutes=9.5)  # ten minutes, minus the difference between clocks
_LATEST_SCHEDULE = timedelta(minutes=75)  # an hour, plus the longest stall of a function


@dataclass
class Ledger:
    """Records every write and effect, and raises Violation at the first that breaks an invariant."""

    world: "World"
    fates: dict[str, Fate] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)  # operation id: the operation as claimed
    container_of: dict[str, str] = field(default_factory=dict)  # operation id: container id
    owners: dict[str, str] = field(default_factory=dict)  # client token: operation id
    tokens: dict[str, str | None] = field(default_factory=dict)  # task ARN: client token
    strays: set[str] = field(default_factory=set)  # task ARNs
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict
    )  # container id: rows in the order of their writes
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, list[State]] = field(default_factory=dict)  # container id: its state after each write
    scheduled: dict[str, tuple[datetime, str | None]] = field(
        default_factory=dict
    )  # request id: scheduled time and project
    without_tasks: set[str] = field(default_factory=set)  # ids of containers whose cluster does not exist
    full: set[str] = field(default_factory=set)  # ids of containers whose history has been full
    changes: int = 0  # writes to containers
    _dirty: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.effects = Effects(self)
        self.alive = Alive(self)

    @property
    def strict(self) -> bool:
        """Whether all checks apply. Version 0.2 is known to violate those that were added later."""
        return not self.world.hostility.first_version

    @property
    def now(self) -> datetime:
        return self.world.scheduler.now

    @staticmethod
    def plain(item: Item) -> dict[str, Any]:
        """Convert a DynamoDB item to Python values."""
        return deserialize_item(item)

    # --- records ----------------------------------------------------------------------------------------------------

    def ran(self, tasks: list[dict[str, Any]], token: str | None, call: Call | None = None) -> None:
        """Record the tasks that RunTask returned, and check those that the call has created."""
        for described in tasks:
            arn = described["taskArn"]
            if arn in self.tokens:
                continue
            self.tokens[arn] = token
            if call is not None and self.strict:
                self.alive.created(call, arn)
            if self.fates.get(self.owners.get(token or "", token or ""), Fate.PENDING) is not Fate.PENDING:
                self.strays.add(arn)
                self.world.stats["strays"] += 1
            else:
                self.effects.ran(self.world.ecs._tasks[arn], token or "")

    def written(self, table: str, before: Item | None, after: Item | None) -> None:
        """Record a write, and check it."""
        if table == "status-logs":
            assert after is not None
            if before is not None:
                raise Violation("a row of history was overwritten")
            row = deserialize_item(after)
            self.rows.setdefault(row["container_id"], []).append(row)
            self._dirty.add(row["container_id"])
            self._check_row(row)
        elif table == "idempotency":
            self._check_kept(before, after)
        elif table == "containers":
            assert after is not None
            self.changes += 1
            old, new = self.containers.get(after["id"]["S"], {}), deserialize_item(after)
            self.containers[new["id"]] = new
            self._dirty.add(new["id"])
            self.states.setdefault(new["id"], []).append(
                State(self.now, new["status"], new.get("operation"), new.get("protection"))
            )
            self._follow(old, new)
            self._check_tasks(old, new)
            self._check_listed(new)
            lifetime_checks.check_write(self.world, old, new)
            self.world.service_checks.written(old, new)

    def _follow(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Record how the previously pending operation ended, and check a new claim."""
        was, now = old.get("operation"), new.get("operation")
        if now is not None:
            for name, value in now.items():
                if "token" in name and isinstance(value, str):
                    self.owners[value] = now["id"]
        if now is not None and now["id"] not in self.fates:
            self.fates[now["id"]] = Fate.PENDING
            self.operations[now["id"]] = now
            self.container_of[now["id"]] = new["id"]
            if old and old["status"] == Status.FAILED and any(self.alive.all_tasks(new["id"])):
                self.world.reached(Reached.FAILED_ALIVE)
            self._check_claim(old, new, now)
            self.world.claimed(now["operation"])
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
        if fate is Fate.ABANDONED and self.strict:
            self.effects.check_abandoned(was["id"])
            self.world.answers.check_promises(was["id"])

    def has_row(self, operation_id: str) -> bool:
        """Return whether the operation has a row."""
        rows = self.rows.get(self.container_of.get(operation_id, ""), [])
        return any((row.get("metadata") or {}).get("operation_id") == operation_id for row in rows)

    # --- checks of each write ---------------------------------------------------------------------------------------

    def _check_claim(self, old: dict[str, Any], new: dict[str, Any], claimed: dict[str, Any]) -> None:
        """Check that the table of transitions allows the operation, and that a schedule does not override a user."""
        if not old:
            return
        pending = old.get("operation")
        verdict = decide(
            Status(old["status"]),
            Operation(claimed["operation"]),
            Operation(pending["operation"]) if pending else None,
            Runtime.model_validate(old["runtime"]).platform,
        )
        name = f"{claimed['operation']} {claimed['id']}"
        if isinstance(verdict, Refused):
            state = old["status"] + (f" with {pending['operation']} pending" if pending else "")
            raise Violation(f"{name} was claimed on a container that was {state}: {verdict.message}")
        if self.strict and claimed.get("triggered_by") == "schedule" and claimed.get("request_id") in self.scheduled:
            _check_schedule(self, new, claimed, name)

    def _check_kept(self, before: Item | None, after: Item | None) -> None:
        """Check that the stored answer of an Idempotency-Key is not replaced."""
        kept = (before or {}).get("answer")
        if kept is None:
            return
        if after is None:
            self.world.remark("a stored answer was deleted")
        elif after.get("answer") != kept and float((before or {})["expires_at"]["N"]) > self.now.timestamp() + 2:
            was, now = (
                deserialize_item({"answer": kept})["answer"],
                deserialize_item({"answer": after.get("answer", {"NULL": True})})["answer"],
            )
            raise Violation(f"the stored answer {describe(was)} was replaced by {describe(now)}")

    def _check_tasks(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Check that a status that is written is true of the container's tasks."""
        if not old or old["log_count"] == new["log_count"] or "service" in new["runtime"]:
            return
        container_id = new["id"]
        if not self.strict:
            self._check_status_of_first(old, new)
        elif container_id not in self.without_tasks:
            if new["status"] == Status.STOPPED:
                self.alive.check_stopped(container_id)
            if new["status"] == Status.RUNNING and old["status"] not in LIVE:
                self.alive.check_running(container_id)

    def _check_listed(self, new: dict[str, Any]) -> None:
        """Check that the recovery sweep will find a container with tasks that have to end, and nothing pending."""
        live = new["status"] in LIVE
        unwanted = [token for token, known in new.get("tasks", {}).items() if known.get("stray") or not live]
        if self.strict and unwanted and "operation" not in new and "pending_deadline" not in new:
            raise Violation(f"{new['id'][-2:]} is {new['status']}, and no sweep will end its tasks {unwanted}")

    def _check_status_of_first(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Check a status that version 0.2 has written, or the current version beside it."""
        task = self.world.ecs._tasks.get(new.get("task_arn") or "")
        if new["status"] == Status.STOPPED and task is not None and task.live:
            raise Violation(f"stopped is written, and the container's task {task.id[-6:]} is {task.last_status}")
        if new["status"] == Status.RUNNING and old["status"] not in LIVE and task and task.started_at is None:
            raise Violation(f"running is written, and the task {task.id[-6:]} has never run")

    def _check_row(self, row: dict[str, Any]) -> None:
        """Check that an operation's row is written while it is pending, and an exit's row after the task has ended."""
        states = self.states.get(row["container_id"], [])
        if len(states) < 2 or not self.strict:
            return
        metadata = row.get("metadata") or {}
        pending, owner = states[-2].operation, metadata.get("operation_id")
        if owner is not None and (pending is None or pending["id"] != owner):
            raise Violation(f"a row of the operation {owner} was written when it was not pending")
        if "service" in self.containers[row["container_id"]]["runtime"]:
            return
        check_row(self, row)
        tasks = self.alive.tasks(row["container_id"])
        if row["to_status"] == Status.FAILED and owner is not None and pending is not None and tasks:
            self._check_giving_up(pending, tasks)
        if owner is None and row["to_status"] in (Status.FAILED, Status.STOPPED) and tasks:
            task, reason = tasks[0], metadata.get("reason")
            raise Violation(
                f"the row {row['to_status']} says that the task has ended ({reason}), and the task {task.id[-6:]} is "
                f"{task.last_status}"
            )

    def _check_giving_up(self, pending: dict[str, Any], tasks: list[SimulatedTask]) -> None:
        """Check that an operation on a healthy task is not given up within ten minutes, or without a StopTask."""
        lasted = self.now - datetime.fromisoformat(pending["started_at"])
        name = f"{pending['operation']} {pending['id']}"
        for task in tasks:
            healthy = task.last_status == task.desired_status == "RUNNING"
            if healthy and lasted < _SHORTEST_TRIES:
                raise Violation(
                    f"{name} was given up after {round(lasted.total_seconds())} s: the row says failed, and the task "
                    f"{task.id[-6:]} is RUNNING"
                )
            if pending["operation"] == Operation.FORCE_STOP and task.arn not in self.alive.asked_to_stop:
                raise Violation(f"{name} was given up, and StopTask was never called for the task {task.id[-6:]}")

    # --- checks at every moment -------------------------------------------------------------------------------------

    def check(self, *, tasks_changed: bool) -> None:
        """Check the invariants that hold at every moment. Raises Violation."""
        if self.strict:
            self.effects.check_processes()
            self.effects.check_ends()
        if not self._dirty and not tasks_changed:
            return
        for container_id in sorted(self._dirty):
            container, rows = self.containers[container_id], self.rows.get(container_id, [])
            if container["log_count"] != len(rows):
                raise Violation(f"log_count is {container['log_count']}, and there are {len(rows)} rows")
            # A full history takes no row, but the change is written.
            full = container_id in self.full and container.get("history_full")
            if rows and rows[-1]["to_status"] != container["status"] and not full:
                raise Violation(f"the status is {container['status']}, and the last row says {rows[-1]['to_status']}")
        self._dirty.clear()
        for container_id in self.containers if not self.strict else ():
            tasks = list(self._wanted(container_id))
            if len(tasks) > 1:
                own = [task for task in tasks if not self.is_stray(task)]
                self.world.stats["moments with a stray"] += len(own) < len(tasks)
                if len(own) > 1:
                    words = ", ".join(f"{task.arn[-6:]} ({self.story(task)})" for task in own)
                    raise Violation(f"{len(own)} live tasks of one container: {words}")

    def _wanted(self, container_id: str) -> Iterator[SimulatedTask]:
        """Yield the container's live tasks that were not asked to stop."""
        for task in self.world.ecs._tasks.values():
            if task.started_by == container_id and task.live and task.desired_status == "RUNNING":
                yield task

    def is_stray(self, task: SimulatedTask) -> bool:
        """Return whether the task started after its operation had ended, or was not listed when it was superseded."""
        token = self.tokens.get(task.arn) or ""
        superseded = self.fates.get(self.owners.get(token, token)) is Fate.SUPERSEDED
        return task.arn in self.strays or (superseded and task.arn in self.world.hostile_ecs.unlisted)

    def story(self, task: SimulatedTask) -> str:
        """Describe the origin of a task."""
        token = self.tokens.get(task.arn) or ""
        owner = self.owners.get(token, token)
        return f"{task.last_status}, of operation {owner}, {self.fates.get(owner, 'unknown')}"

    def pending(self) -> list[str]:
        """Return the ids of the containers with a pending operation."""
        return sorted(name for name, container in self.containers.items() if "operation" in container)

    def answered(self, one: Asked, asked: list[Asked], actor: Actor) -> None:
        """Check an answer when it is returned to an actor."""
        self.world.answers.answered(one, asked)
        if self.strict and one.request.container_id not in self.without_tasks:
            check_answer(self, one, actor)


def _check_schedule(ledger: Ledger, container: dict[str, Any], claimed: dict[str, Any], name: str) -> None:
    """Check that a scheduled stop is at most an hour late and does not override a later request of a user."""
    time, project = ledger.scheduled[claimed["request_id"]]
    late = round((ledger.now - time).total_seconds() / 60)
    if ledger.now - time > _LATEST_SCHEDULE:
        raise Violation(f"{name} was claimed for a schedule that was due {late} minutes earlier")
    if project is not None and container["project_id"] != project:
        raise Violation(f"{name} was claimed on a container that had left the schedule's project")
    for operation_id, other in ledger.operations.items():
        if ledger.container_of[operation_id] != container["id"] or other.get("triggered_by") != "user":
            continue
        asked_at = datetime.fromisoformat(other["started_at"])
        if asked_at > time + _SKEW and ledger.fates[operation_id] is not Fate.ABANDONED:
            raise Violation(
                f"{name} was claimed for a schedule that was due {late} minutes earlier, although a user has requested "
                f"{other['operation']} {operation_id} since"
            )
