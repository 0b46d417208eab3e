"""What is alive, as ECS alone knows it: a task lives until its `lastStatus` is STOPPED, whatever its desired status.

Two live tasks of a container are a violation at the moment when RunTask creates the second, whoever called it. The only
exception is a call that was already sent when its driver lost the operation: the task that it creates is late. A late
task is counted, excused until it has ended, and has to be ended by the engine.

    look (the item shows the operation)   RunTask is sent    lost     processed     excused: it was already sent
    look                      lost        RunTask is sent             processed     excused: it was already decided
    look   RunTask fails      lost        RunTask is sent             processed     violation: a repeat looks first

A task that ECS has not shown for minutes, although ECS has shown it before, counts as gone by the rules of the
protocol. It is excused while ECS hides it, until a function without faults that was shown it again has ended, and from
then on only if ECS is stopping it: its host may be lost for hours. A list of all tasks of a cluster has only ARNs,
which do not name the container: such a task is shown again when DescribeTasks returns it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from local.emulator.ecs import SimulatedTask
from simulation.records import Violation
from simulation.scheduler import Actor

if TYPE_CHECKING:
    from simulation.ledger import Ledger

FUNCTION_LASTS = timedelta(seconds=60)
"""Longer than a function may run, so that a call that was sent earlier may be forgotten."""


class Call(NamedTuple):
    """A RunTask call of a driver.

    Attributes:
        number: Unique in the run.
        actor: The driver's name.
        container_id: The container for which it runs a task.
        token: The client token.
        sent_at: When the driver sent it, as a Unix time.
        operation_id: The operation that was pending when the driver last read or wrote the item; None if none was.
        owned: Whether that operation was still the driver's when the call was sent.
        repeats: Whether the driver has called RunTask with the token before, without looking at the item since.
    """

    number: int
    actor: str
    container_id: str
    token: str
    sent_at: float
    operation_id: str | None
    owned: bool
    repeats: bool


@dataclass
class Alive:
    """Records RunTask calls and what their drivers knew, and checks the tasks that they create."""

    ledger: "Ledger"
    # By actor and container: the operation that it last saw, and the number of RunTask calls in the run by then.
    known: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)  # actor, container and token: RunTask calls since then
    under_way: dict[int, Call] = field(default_factory=dict)  # calls that are not processed yet
    drivers: dict[str, Call] = field(default_factory=dict)  # operation id: its last RunTask call
    late: set[str] = field(default_factory=set)  # ARNs of late tasks
    hidden: set[str] = field(default_factory=set)  # ARNs of tasks that ECS hides for minutes, or whose return is new
    shown_to: dict[str, set[str]] = field(default_factory=dict)  # actor: hidden tasks that it was shown again
    asked_to_stop: set[str] = field(default_factory=set)  # ARNs that StopTask was called with, whatever the answer
    stopped_by: dict[str, set[str]] = field(default_factory=dict)  # actor: ARNs that it called StopTask with
    started: set[str] = field(default_factory=set)  # ids of containers of which a task has run
    sent: int = 0

    # --- what drivers know --------------------------------------------------------------------------------------------

    def looked(self, actor: Actor, container_id: str) -> None:
        """Record that an actor has read or written a container's item."""
        place = f"{actor.name}/{container_id}"
        self.known[place] = (self._pending(container_id), self.sent)
        self.called = {each for each in self.called if not each.startswith(f"{place}/")}

    def is_in_use(self, container_id: str) -> bool:
        """Return whether an actor that has not ended has read or written the container's item."""
        return any(place.endswith(f"/{container_id}") for place in self.known)

    def sends(self, actor: Actor, parameters: dict[str, Any]) -> Call:
        """Record that an actor sends a RunTask call, which ECS may process later."""
        container_id, token = str(parameters.get("startedBy")), str(parameters.get("clientToken"))
        place = f"{actor.name}/{container_id}"
        operation_id, seen = self.known.get(place, (None, 0))
        self.sent += 1
        call = Call(
            self.sent,
            actor.name,
            container_id,
            token,
            self.ledger.now.timestamp(),
            operation_id,
            self._owns(container_id, operation_id, token, actor.name, seen),
            f"{place}/{token}" in self.called,
        )
        self.called.add(f"{place}/{token}")
        self.under_way[call.number] = call
        if operation_id is not None and call.owned:
            self.drivers[operation_id] = call
        return call

    def over(self, call: Call) -> None:
        """Record that a call was processed, or never will be."""
        self.under_way.pop(call.number, None)

    def _pending(self, container_id: str) -> str | None:
        operation = self.ledger.containers.get(container_id, {}).get("operation") or {}
        return operation.get("id")

    def _owns(self, container_id: str, operation_id: str | None, token: str, actor: str, seen: int) -> bool:
        """Return whether the operation is pending, and no other driver has used another token for it since.

        Args:
            container_id: The container.
            operation_id: The operation that the actor believes to be pending.
            token: The client token that the actor uses.
            actor: The name of the actor.
            seen: The number of RunTask calls in the run when the actor looked at the item, or sent its call.
        """
        if operation_id is None or self._pending(container_id) != operation_id:
            return False
        last = self.drivers.get(operation_id)
        return last is None or last.token == token or last.actor == actor or last.number <= seen

    # --- tasks --------------------------------------------------------------------------------------------------------

    def tasks(self, container_id: str) -> list[SimulatedTask]:
        """Return the container's live tasks, except excused ones."""
        return [task for task in self.all_tasks(container_id) if not self.is_excused(task)]

    def all_tasks(self, container_id: str) -> Iterator[SimulatedTask]:
        """Yield the container's live tasks."""
        for task in self.ledger.world.ecs._tasks.values():
            if task.live and task.started_by == container_id:
                yield task

    def is_excused(self, task: SimulatedTask) -> bool:
        return task.arn in self.late or task.arn in self.hidden

    def created(self, call: Call, arn: str) -> None:
        """Check that a task that RunTask has created is the container's only live task."""
        task = self.ledger.world.ecs._tasks[arn]
        others = [other for other in self.tasks(call.container_id) if other.arn != arn]
        stats = self.ledger.world.stats
        lost = not self._owns(call.container_id, call.operation_id, call.token, call.actor, call.number)
        words = f"{call.actor} called RunTask for operation {call.operation_id}"
        if lost and call.repeats and not call.owned:
            raise Violation(
                f"a repeated RunTask created the task {task.id[-6:]} for an operation that its driver had lost before: "
                f"{words}{self._beside(others)}"
            )
        if lost:
            self.late.add(arn)
            stats[f"late task: its RunTask was already {'sent' if call.owned else 'decided'}"] += 1
            stats["late task beside a live task"] += bool(others)
        elif others:
            raise Violation(f"RunTask created a second live task, {task.id[-6:]}{self._beside(others)}: {words}")

    def _beside(self, others: list[SimulatedTask]) -> str:
        return "".join(f", beside {other.id[-6:]} ({self._words(other)})" for other in others)

    def _words(self, task: SimulatedTask) -> str:
        return f"desired {task.desired_status}, {self.ledger.story(task)}"

    def check_stopped(self, container_id: str) -> None:
        """Raise Violation if `stopped` is written while a task lives, or while a task may still be created."""
        self._check_ended(container_id, "stopped is written")
        recent = self.ledger.now.timestamp() - FUNCTION_LASTS.total_seconds()
        for call in self.under_way.values():
            known = any(token == call.token for token in self.ledger.tokens.values())
            if call.container_id == container_id and call.owned and call.sent_at > recent and not known:
                raise Violation(
                    f"stopped is written while a RunTask call is under way: {call.actor} sent it for operation "
                    f"{call.operation_id}, and ECS does not know its client token"
                )

    def _check_ended(self, container_id: str, what: str) -> None:
        for task in self.tasks(container_id):
            raise Violation(f"{what}, and the task {task.id[-6:]} lives ({self._words(task)})")

    def check_running(self, container_id: str) -> None:
        """Raise Violation if `running` is written while the container does not have exactly one live task.

        A task that has run may have ended since it was seen.
        """
        live = self.tasks(container_id)
        if len(live) > 1:
            raise Violation(f"running is written, and there are {len(live)} live tasks{self._beside(live)}")
        ran = container_id in self.started or any(
            task.started_by == container_id and task.started_at is not None
            for task in self.ledger.world.ecs._tasks.values()
        )
        if not ran or any(task.started_at is None for task in live):
            words = ", ".join(task.id[-6:] for task in live) or "none"
            raise Violation(f"running is written, and the task has never run; live tasks: {words}")

    def asks_to_stop(self, actor: Actor, arn: str) -> None:
        """Record that an actor calls StopTask, whatever the answer will be."""
        self.asked_to_stop.add(arn)
        self.stopped_by.setdefault(actor.name, set()).add(arn)

    # --- tasks that ECS hides -----------------------------------------------------------------------------------------

    def hides(self, arn: str) -> None:
        """Record that ECS hides a task for minutes."""
        self.hidden.add(arn)

    def shows_again(self, actor: Actor | None, arn: str) -> None:
        """Record that an actor was shown a task that ECS had hidden."""
        if actor is not None and arn in self.hidden:
            self.shown_to.setdefault(actor.name, set()).add(arn)

    def ended(self, actor: Actor) -> None:
        """Record the end of an actor. Without faults, it has stored what it was shown."""
        shown = self.shown_to.pop(actor.name, set())
        self.stopped_by.pop(actor.name, None)
        if not actor.crashed and not actor.disturbed:
            tasks = self.ledger.world.ecs._tasks
            self.hidden -= {arn for arn in shown if arn not in tasks or tasks[arn].desired_status != "STOPPED"}
        place = f"{actor.name}/"
        self.known = {each: value for each, value in self.known.items() if not each.startswith(place)}
        self.called = {each for each in self.called if not each.startswith(place)}
