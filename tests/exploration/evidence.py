"""Checks of answers and of the ends of operations, in addition to the simulation's checks.

1. An operation that ended without a row has had no effect in ECS or on a host.
2. An operation that was answered 202 has ended with a row or was superseded.
3. A caller whose operation was undone receives an error, not a conflict.
4. An operation commits `stopped` only after every task of the container was asked to stop.
5. A row says that a task has ended only if it has.
6. A late scheduled stop does not undo what a user requested since.
7. A conflict stored for an Idempotency-Key does not name the key's own operation as pending.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from longshore.domain.models import OutcomeKind
from simulation.checks import Asked, Fate, Violation
from simulation.dynamodb import Item

if TYPE_CHECKING:
    from exploration.world import ExploredWorld

_Handler = Callable[..., dict[str, Any]]


class Evidence:
    """Records which operations had effects. `facts` is part of the digest of the world's state."""

    def __init__(self, world: "ExploredWorld") -> None:
        self._world = world
        # operation id: the names of its drivers, and its effects, which include the ids of commands.
        self.facts: dict[str, dict[str, set[str]]] = {"drivers": {}, "effects": {}}

    def watch(self) -> None:
        """Record every later call to ECS and SSM."""
        ecs, ssm = self._world.ecs, self._world.ssm
        ecs.handle = self._watching(ecs.handle)  # type: ignore[method-assign]
        ssm.handle = self._watching(ssm.handle)  # type: ignore[method-assign]

    def written(self, table: str, after: Item | None) -> None:
        """Record which actor drives the pending operation."""
        actor = self._world.scheduler.current
        if table != "containers" or after is None or actor is None or "operation" not in after:
            return
        operation_id = after["operation"]["M"]["id"]["S"]
        self.facts["drivers"].setdefault(operation_id, set()).add(actor.name)

    def _watching(self, handle: _Handler) -> Any:
        def watched(operation: str, parameters: dict[str, Any], *region: str) -> dict[str, Any]:
            before = self._wanted(parameters.get("task"))
            answer = handle(operation, parameters, *region)
            match operation:
                case "RunTask" if answer["tasks"]:
                    self._effect("a task was run")
                case "StopTask" if before == "RUNNING":
                    self._effect("a task was stopped")
                case "SendCommand":
                    self._effect(answer["Command"]["CommandId"])
            return answer

        return watched

    def _wanted(self, arn: str | None) -> str | None:
        task = self._world.ecs._tasks.get(arn or "")
        return task.desired_status if task else None

    def _effect(self, what: str) -> None:
        actor = self._world.scheduler.current
        if actor is None:
            return  # The scheduler of services.
        for container in self._world.ledger.containers.values():
            operation_id = container.get("operation", {}).get("id")
            if actor.name in self.facts["drivers"].get(operation_id, ()):
                self.facts["effects"].setdefault(operation_id, set()).add(what)

    def settled(self, asked: list[Asked]) -> None:
        """Check the final state. Raises Violation."""
        ledger = self._world.ledger
        for operation_id, noted in self.facts["effects"].items():
            effects = self._effects(noted)
            full = ledger.container_of.get(operation_id) in ledger.full  # takes no row
            if effects and ledger.fates.get(operation_id) is Fate.ABANDONED and not full:
                operation = ledger.operations[operation_id]["operation"]
                raise Violation(f"{operation} ended without a row, but {' and '.join(effects)}")
        for one in asked:
            self._check(one)

    def nothing_was_undone(self) -> None:
        """Raise Violation if a schedule older than all requests has stopped what a user requested to run."""
        for rows in self._world.ledger.rows.values():
            by = [row["triggered_by"] for row in rows if "operation_id" in (row.get("metadata") or {})]
            if "schedule" in by and "user" in by[: by.index("schedule")]:
                raise Violation("a late schedule has stopped what a user has requested since")

    def _effects(self, noted: set[str]) -> list[str]:
        """Return the effects; of the commands, only those that a host has executed."""
        executed = {command.command_id for command in self._world.ssm.invocations() if command.status == "Success"}
        commands = {command.command_id for command in self._world.ssm.invocations()}
        return sorted(noted - commands) + ["a command was executed"] * bool(noted & executed)

    def _check(self, one: Asked) -> None:
        outcome, ledger = one.outcome, self._world.ledger
        if outcome is None:
            return
        key = one.request.idempotency_id
        own = [
            (ledger.fates[operation_id], operation)
            for operation_id, operation in ledger.operations.items()
            if operation.get("request_id") == one.request.request_id
            or (key is not None and operation.get("idempotency_id") == key)
        ]
        fates = {fate for fate, _ in own}
        if one.request.container_id in ledger.full:
            return
        if outcome["kind"] == OutcomeKind.ACCEPTED and own and fates <= {Fate.ABANDONED}:
            raise Violation(f"{one.name} was answered 202, but its operation ended without a row")
        if outcome["kind"] != OutcomeKind.CONFLICT:
            return
        if fates == {Fate.ABANDONED} and any(
            operation.get("request_id") == one.request.request_id for _, operation in own
        ):
            raise Violation(f"{one.name} was answered {outcome['message']!r}, but its operation was undone")
        blamed = outcome.get("pending_operation")
        for _, operation in own:
            same = blamed and all(blamed[name] == operation[name] for name in ("operation", "started_at"))
            if key is not None and same:
                raise Violation(f"{one.name} was answered {outcome['message']!r} because of its own key's operation")
