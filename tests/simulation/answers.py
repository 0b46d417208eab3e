"""Checks of the answers to callers: each answer is true and has a serial explanation together with the history.

All writes to a container are atomic, so the sequence of its states (status and pending operation) is the serial
history. An answer is explained if the state that it claims existed at some moment between the request and the answer.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from longshore.domain.errors import ContainerExpiredError
from longshore.domain.lifecycle import Operation, Refused, Status, decide
from longshore.domain.models import OutcomeKind, Runtime

from simulation.faults import Kind
from simulation.hostility import Reached
from simulation.records import GOALS, Asked, Fate, State, Violation, describe, same_key

if TYPE_CHECKING:
    from simulation.ledger import Ledger

_MEMORY = timedelta(hours=23.9)  # an Idempotency-Key is remembered for at least this time


@dataclass
class Answers:
    """Checks answers against the ledger."""

    ledger: "Ledger"
    promised: dict[str, str] = field(default_factory=dict)  # operation pending when a 202 was returned: request name

    # --- when an answer is returned ---------------------------------------------------------------------------------

    def answered(self, one: Asked, asked: list[Asked]) -> None:
        """Check an answer when it is returned: the row that it claims exists, and the answer has an explanation."""
        ledger = self.ledger
        one.answered_at = ledger.now
        outcome = one.outcome
        ledger.world.stats[f"answer: {outcome['kind'] if outcome else getattr(one.answer, 'code', 'none')}"] += 1
        group = [other for other in asked if one is other or same_key(one, other)]
        if isinstance(one.answer, ContainerExpiredError):
            self._explain(one, one.at, lambda state: state.status == Status.EXPIRED, "the container is expired")
        if outcome is None:
            self._check_reason(one)
            return
        same = {other.request.request_id for other in group}
        since = min(other.at for other in group)
        match outcome["kind"]:
            case OutcomeKind.COMPLETED:
                goal = GOALS[one.request.operation]
                full = one.request.container_id in ledger.full
                if not full and not any(row["to_status"] == goal for row in self._rows_of(same)):
                    raise Violation(f"{one.name} was answered {outcome['message']!r}, but no row says {goal}")
            case OutcomeKind.ACCEPTED:
                own = self._operations_of(same)
                if not self.ledger.strict:
                    return
                if not own:
                    raise Violation(
                        f"{one.name} was answered {outcome['message']!r}, but no operation was claimed for it"
                    )
                pending = [name for name in own if ledger.fates[name] is Fate.PENDING]
                self.promised |= dict.fromkeys(pending, one.name)
                ended = [name for name in own if ledger.fates[name] not in (Fate.PENDING, Fate.ABANDONED)]
                full = one.request.container_id in ledger.full
                if not pending and not ended and not full and not any(map(ledger.has_row, own)):
                    raise Violation(
                        f"{one.name} was answered {outcome['message']!r}, but its operations ended without a row"
                    )
            case OutcomeKind.CONFLICT:
                self._explain_conflict(one, outcome, since, self._operations_of(same))

    def _check_reason(self, one: Asked) -> None:
        """Check that a full history is not reported as a busy database."""
        conflicts = Kind.CONFLICT in self.ledger.world.faults.kinds
        reason = str(getattr(one.answer, "data", ""))
        if one.request.container_id in self.ledger.full and "The database is busy" in reason and not conflicts:
            raise Violation(f"{one.name} was answered {reason}, but the container's history is full")

    def _explain_conflict(self, one: Asked, outcome: dict[str, Any], since: datetime, own: list[str]) -> None:
        """Check that another operation had put the container into the state that the conflict reports."""
        container = self.ledger.containers[one.request.container_id]
        platform = Runtime.model_validate(container["runtime"]).platform
        pending = (outcome.get("pending_operation") or {}).get("operation")
        if outcome.get("protection") is not None:
            self.ledger.world.reached(Reached.PROTECTED)
        ended = {self.ledger.fates[name] for name in own}
        superseded = bool(ended - {Fate.PENDING, Fate.ABANDONED})

        def explains(state: State) -> bool:
            operation = state.operation
            if state.status != outcome["status"] or (operation or {}).get("operation") != pending:
                return False
            if operation is not None and operation["id"] in own:
                return False
            if outcome.get("protection") is not None:
                return bool(state.protection == outcome["protection"])
            verdict = decide(
                Status(state.status),
                one.request.operation,
                Operation(operation["operation"]) if operation else None,
                platform,
            )
            if isinstance(verdict, Refused):
                return bool(verdict.message == outcome["message"])
            return superseded

        self._explain(one, since, explains, describe(outcome))

    def _explain(self, one: Asked, since: datetime, explains: Callable[[State], bool], what: str) -> None:
        if not self.ledger.strict or one.request.container_id in self.ledger.full:
            return
        states = self.ledger.states[one.request.container_id]
        for number, state in enumerate(states):
            if number + 1 < len(states) and states[number + 1].at < since:
                continue
            if explains(state):
                return
        raise Violation(
            f"{one.name} requested {one.request.operation} and was answered {what}, but at no moment between request "
            "and answer did another operation have the container in this state"
        )

    def check_promises(self, operation_id: str) -> None:
        """Raise Violation if the operation ended without a row although a caller was answered 202."""
        if self.ledger.has_row(operation_id) or self.ledger.container_of[operation_id] in self.ledger.full:
            return
        if operation_id in self.promised:
            operation = self.ledger.operations[operation_id]
            raise Violation(
                f"{operation['operation']} {operation_id} ended without a row, but "
                f"{self.promised[operation_id]} was answered that it is pending"
            )

    # --- after the run ----------------------------------------------------------------------------------------------

    def settled(self, asked: list[Asked]) -> None:
        """Check the answers of the whole run."""
        self._check_rows_by_operation()
        for one in asked:
            self._check_answer(one)
        self._check_keys(asked)

    def _check_rows_by_operation(self) -> None:
        """Check that an operation has at most one row per status."""
        for rows in self.ledger.rows.values():
            effects = Counter(
                (row["metadata"]["operation_id"], row["to_status"])
                for row in rows
                if "operation_id" in (row.get("metadata") or {})
            )
            for (operation_id, to_status), times in effects.items():
                if times > 1:
                    raise Violation(f"operation {operation_id} has {times} rows to {to_status}")

    def _operations_of(self, request_ids: set[str | None]) -> list[str]:
        operations = self.ledger.operations
        return [name for name, operation in operations.items() if operation.get("request_id") in request_ids]

    def _rows_of(self, request_ids: set[str | None]) -> Iterator[dict[str, Any]]:
        for rows in self.ledger.rows.values():
            for row in rows:
                if (row.get("metadata") or {}).get("request_id") in request_ids:
                    yield row

    def _check_answer(self, one: Asked) -> None:
        outcome = one.outcome
        own = self._operations_of({one.request.request_id})
        if outcome is not None and outcome["kind"] == OutcomeKind.CONFLICT:
            effects = [row["to_status"] for row in self._rows_of({one.request.request_id})]
            if effects and not any(self.ledger.fates[name] is Fate.SUPERSEDED for name in own):
                raise Violation(f"{one.name} was answered {outcome['message']!r}, but has the rows {effects}")
        for name, promised_to in self.promised.items():
            if promised_to == one.name:
                self._check_promise_kept(one, name)

    def _check_promise_kept(self, one: Asked, operation_id: str) -> None:
        """Check that an operation answered 202, or the operation that superseded it, has a row."""
        fates, seen = self.ledger.fates, operation_id
        while fates[seen] is Fate.SUPERSEDED:
            following = self._superseding(seen)
            if following is None:
                break
            seen = following
        if self.ledger.container_of[seen] in self.ledger.full:
            return
        if fates[seen] is Fate.ABANDONED and not self.ledger.has_row(seen):
            raise Violation(f"{one.name} was answered that {one.request.operation} is pending, but no row has its end")

    def _superseding(self, operation_id: str) -> str | None:
        states = self.ledger.states[self.ledger.container_of[operation_id]]
        held = [state.operation["id"] for state in states if state.operation is not None]
        later = held[len(held) - held[::-1].index(operation_id) :]
        return later[0] if later else None

    def _check_keys(self, asked: list[Asked]) -> None:
        """Check that each Idempotency-Key has at most one effect and one answer.

        Failures, and 202s before the final answer, may differ.
        """
        groups: dict[tuple[Any, Any], list[Asked]] = {}
        for one in asked:
            if one.request.idempotency_key is not None:
                groups.setdefault((one.request.actor, one.request.idempotency_key), []).append(one)
        for (actor, key), whole in groups.items():
            group = [one for one in whole if one.at - whole[0].at < _MEMORY]
            ids = {one.request.request_id for one in group}
            goal = GOALS[group[0].request.operation]
            reached = {row["metadata"]["operation_id"] for row in self._rows_of(ids) if row["to_status"] == goal}
            if len(reached) > 1:
                raise Violation(f"the key {key} of {actor} had {len(reached)} effects: {sorted(reached)}")
            answers = [one.outcome for one in group if one.outcome is not None]
            final = [answer for answer in answers if answer["kind"] != OutcomeKind.ACCEPTED]
            if any(answer != final[0] for answer in final):
                words = "; ".join(f"{one.name}: {describe(one.outcome)}" for one in group)
                raise Violation(f"the key {key} of {actor} had different answers: {words}")
            if len({str(answer) for answer in answers}) > 1:
                self.ledger.world.remark("a key has a 202 and later another answer")
