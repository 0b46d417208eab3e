"""The effects of operations in ECS and on hosts, and checks that the tables record them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from local.emulator.ecs import SimulatedTask
from simulation.records import LIVE, Fate, Violation

if TYPE_CHECKING:
    from simulation.ledger import Ledger

COMMAND_OVER = timedelta(seconds=120)
"""How long after SendCommand a command may act: delivery (30 s), execution (20 s), and a hanging Docker."""

_REASON = "Longshore operation "
_SOON = timedelta(seconds=10)


class Sent(NamedTuple):
    """A command that Systems Manager has accepted."""

    at: datetime
    container_id: str
    action: str
    operation_id: str


@dataclass
class Effects:
    """Records the effects of operations, and checks that an operation without a row had none."""

    ledger: "Ledger"
    sent: list[Sent] = field(default_factory=list)
    done: dict[str, list[str]] = field(default_factory=dict)  # operation id: effects in words
    mismatched: dict[str, datetime] = field(
        default_factory=dict
    )  # container id: since when its processes do not match its status
    stoppers: dict[str, set[str]] = field(default_factory=dict)  # task ARN: operations whose StopTask was accepted
    told: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # see check_ends

    # --- records -----------------------------------------------------------------------------------------------------

    def ran(self, task: SimulatedTask, token: str) -> None:
        """Record that RunTask created a task."""
        owner = self.ledger.owners.get(token, token)
        if self.ledger.fates.get(owner) is Fate.PENDING:
            self.done.setdefault(owner, []).append(f"ran the task {task.id[-6:]}")

    def stopped(self, task: SimulatedTask, reason: str) -> None:
        """Record that StopTask asked a running task to stop."""
        if task.arn in self.ledger.strays:
            return
        container = self.ledger.containers.get(task.started_by or "", {})
        named = reason.removeprefix(_REASON) if reason.startswith(_REASON) else None
        if named is not None:
            self.stoppers.setdefault(task.arn, set()).add(named)
        owner = named or (container.get("operation") or {}).get("id")
        if owner is not None:
            self._did(owner, f"stopped the task {task.id[-6:]}")

    def commanded(self, container_id: str, action: str, operation_id: str) -> None:
        """Record that SendCommand was accepted."""
        self.sent.append(Sent(self.ledger.now, container_id, action, operation_id))

    def changed(self, task: SimulatedTask, action: str) -> None:
        """Record that a command changed the processes of a task."""
        container = self.ledger.containers.get(task.started_by or "", {})
        step = (container.get("operation") or {}).get("step")
        wanted = {"pause": ("pause",), "unpause": ("unpause", "stop"), "kill": ("kill",)}[action]
        self.ledger.world.stats[f"host: {action}{'' if step in wanted else ' without a pending operation for it'}"] += 1
        if action == "pause" and self.ledger.strict:
            self._check_frozen(task)
        if action != "kill":
            return
        senders = {
            sent.operation_id for sent in self.sent if sent.container_id == task.started_by and sent.action == action
        }
        # Equal commands cannot be distinguished.
        if len(senders) == 1:
            self._did(senders.pop(), f"killed the processes of the task {task.id[-6:]}")

    def _did(self, operation_id: str, what: str) -> None:
        self.done.setdefault(operation_id, []).append(what)
        if self.ledger.fates.get(operation_id) is Fate.ABANDONED and self.ledger.strict:
            self.check_abandoned(operation_id)

    # --- checks ----------------------------------------------------------------------------------------------------

    def check_abandoned(self, operation_id: str) -> None:
        """Raise Violation if an operation that ended without a row had an effect."""
        done = self.done.get(operation_id)
        full = self.ledger.container_of[operation_id] in self.ledger.full
        if done and not full and not self.ledger.has_row(operation_id):
            name = self.ledger.operations[operation_id]["operation"]
            raise Violation(f"{name} {operation_id} ended without a row, but it {done[0]}")

    def _check_frozen(self, task: SimulatedTask) -> None:
        """Raise Violation if an operation has frozen processes that it has asked to stop, which now ignore SIGTERM."""
        if task.desired_status != "STOPPED" or task.stopping_at is None:
            return
        sent = [
            each
            for each in self.sent
            if each.container_id == task.started_by
            and each.action == "pause"
            and self.ledger.now <= each.at + COMMAND_OVER
        ]
        stoppers = self.stoppers.get(task.arn, set())
        if sent and all(each.at > task.stopping_at and each.operation_id in stoppers for each in sent):
            raise Violation(
                f"operation {sent[-1].operation_id} has frozen the processes of the task {task.id[-6:]} after its "
                "StopTask was accepted: they cannot handle SIGTERM"
            )

    def check_processes(self) -> None:
        """Raise Violation if processes do not match the container's status and no command can still change them."""
        now = self.ledger.now
        differing = dict(self._differing())
        for container_id in set(self.mismatched) - set(differing):
            del self.mismatched[container_id]
        for container_id, frozen in differing.items():
            since = self.mismatched.setdefault(container_id, now)
            last = max((sent.at for sent in self.sent if sent.container_id == container_id), default=since)
            if now > max(last + COMMAND_OVER, since + _SOON):
                raise Violation(self.words(container_id, frozen=frozen))

    def applied(self, container_id: str, arn: str) -> None:
        """Record that the event of a task's end was applied, or ignored as known."""
        self.told[container_id] = (arn, self.ledger.now)

    def check_ends(self) -> None:
        """Raise Violation if a container is live although the event of its last task's end was applied.

        A function that has read the container since may still write the row of the exit.
        """
        for container_id, (arn, at) in list(self.told.items()):
            container = self.ledger.containers[container_id]
            tasks = [task for task in self.ledger.world.ecs._tasks.values() if task.started_by == container_id]
            last = max(tasks, key=lambda task: task.created_at, default=None)
            idle = container["status"] in LIVE and "operation" not in container
            if not idle or last is None or last.arn != arn or any(task.live for task in tasks):
                del self.told[container_id]
            elif self.ledger.now - at > _SOON and not self.ledger.alive.is_in_use(container_id):
                raise Violation(
                    f"the container {container_id[-2:]} says {container['status']}, and its task {last.id[-6:]} has "
                    "ended: the event of the end was ignored"
                )

    def _differing(self) -> Iterator[tuple[str, bool]]:
        for container_id, container in self.ledger.containers.items():
            if container["status"] not in ("running", "paused") or "operation" in container:
                continue
            tasks = self.ledger.alive.tasks(container_id)
            if len(tasks) != 1 or tasks[0].desired_status != "RUNNING":
                continue
            paused = {process.paused for process in tasks[0].containers if process.running}
            if paused and paused != {container["status"] == "paused"}:
                yield container_id, any(paused)

    def words(self, container_id: str, *, frozen: bool) -> str:
        """Describe processes that do not match the container's status."""
        sent = [sent for sent in self.sent if sent.container_id == container_id]
        last = "no command was ever sent"
        if sent:
            ago = round((self.ledger.now - sent[-1].at).total_seconds())
            last = f"the last command was {sent[-1].action} of operation {sent[-1].operation_id}, {ago} s ago"
        status = self.ledger.containers[container_id]["status"]
        state = "frozen" if frozen else "not frozen"
        return f"the container {container_id[-2:]} says {status}, but its processes are {state}; {last}"
