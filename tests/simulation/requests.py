"""Requests of actors to AWS: the fault of each, calls that a run refuses, and calls that are processed later."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.emulator.errors import AwsError
from simulation.alive import Call
from simulation.cloud import Cloud
from simulation.faults import Kind, Plan
from simulation.hostile_services import CHANGES, HostileServices
from simulation.hostility import Reached
from simulation.scheduler import Actor, Crash, Priorities
from simulation.trace import Line

LATE_CALLS = ("RunTask", "StopTask")
"""The calls that ECS may process after their reply was lost."""

_LONGEST_STALL = 400  # seconds
_LOST = (Kind.CRASH_AFTER, Kind.LOST)  # the caller does not learn whether the call was processed
_LOSES_REPLY = 0.3  # the probability that a late call loses its reply although no fault was drawn for it
_LATEST = 25.0  # seconds after which ECS has processed a call whose reply was lost
_REFUSALS = {
    "denied": (AwsError("AccessDeniedException", "User is not authorized to perform this"), Reached.CALL_DENIED),
    "throttled": (AwsError("ThrottlingException", "Rate exceeded"), Reached.CALL_THROTTLED),
    "failed": (AwsError("ServerException", "Service Unavailable", 500), Reached.CALL_FAILED),
}


@dataclass
class Request:
    """A request of an actor. `call` is set if it is a RunTask call."""

    actor: Actor
    service: str
    operation: str
    parameters: dict[str, Any]
    call: Call | None = None

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"


class Requests(Cloud):
    """Performs requests, with the faults that are drawn for them."""

    trace: list[Line]
    _priorities: Priorities | None
    _late_chances: random.Random
    refusing: bool = False  # whether the calls that the settings name are refused now
    late_after: float | None = None  # process each RunTask and StopTask whose reply is lost after these seconds
    coming: list[tuple[datetime, str]]  # calls that are processed later

    def note(self, actor: str, action: str, subject: Any = None) -> None:
        """Add a line to the trace."""
        self.trace.append(Line(self.scheduler.now, actor, action, subject))

    def after_effect(self) -> None:
        """Deliver the events of AWS, and check the invariants that hold at every moment."""
        raise NotImplementedError

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Perform a request of the current actor to AWS, with the fault drawn for it."""
        actor = self.scheduler.current
        assert actor is not None, "a request outside of an actor"
        assert not actor.ended, f"{actor.name} continues after its end"
        if operation == "StopTask":
            self.ledger.alive.asks_to_stop(actor, str(parameters.get("task")))
        # A driver decides to call RunTask before it waits for its turn.
        call = self.ledger.alive.sends(actor, parameters) if operation == "RunTask" else None
        try:
            return self._answer(Request(actor, service, operation, parameters, call))
        finally:
            if call is not None and not self._is_coming(call):
                self.ledger.alive.over(call)

    def _answer(self, one: Request) -> dict[str, Any]:
        actor = one.actor
        plan = self.faults.plan(one.service, one.operation, again=actor.stricken)
        kind = self._kind(one, plan)
        before, after = self._pauses(one, plan, kind)
        if one.operation in CHANGES:
            kind, before = HostileServices.limited(kind, before)
        if kind is Kind.CRASH_BEFORE:
            self.note(actor.name, f"crashes before {one.name}")
            raise Crash
        if kind is Kind.OVERTAKEN:
            self._wait_for_a_change()
        self.scheduler.pause(before)
        if kind in (Kind.FAILED, Kind.DENIED, Kind.CONFLICT):
            self._is_over(one)
            self.note(actor.name, f"{one.name} fails ({kind})", one.parameters)
            self.scheduler.pause(after)
            raise self._error(kind, one)
        answer = self._perform(one, lost_after=before if kind in _LOST else None)
        if kind is Kind.CRASH_AFTER:
            self.note(actor.name, f"crashes after {one.name}")
            raise Crash
        self.scheduler.pause(after)
        if kind is Kind.REPEATED:
            answer = self._perform(one, " again")
            self.scheduler.pause(before)
        if kind is Kind.LOST:
            self.note(actor.name, f"{one.name}: the reply is lost")
            raise self._error(kind, one)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def _kind(self, one: Request, plan: Plan) -> Kind | None:
        actor = one.actor
        kind = None if actor.healed else plan.kind
        if kind is None and not actor.healed and one.operation == "SendCommand" and self.plans.loses_reply():
            kind = Kind.LOST
        late = one.operation in LATE_CALLS and self.hostility.calls_late and self.faults.on and not actor.healed
        if kind is None and late and self._late_chances.random() < _LOSES_REPLY:
            kind = Kind.LOST
        actor.stricken = kind is not None
        self.stats["calls"] += 1
        if kind:
            actor.disturbed = True
            actor.failed.add(one.operation)
            self.stats[f"fault: {kind}"] += 1
        return kind

    def _pauses(self, one: Request, plan: Plan, kind: Kind | None) -> tuple[float, float]:
        if not (one.actor.healed or (self._priorities and kind not in (Kind.SLOW, Kind.STALL))):
            return plan.before, plan.after
        before = self._priorities.pause(one.actor) if self._priorities else 0.01
        return before, self._priorities.pause(one.actor) if self._priorities else 0.01

    def _wait_for_a_change(self) -> None:
        seen = self.ledger.changes
        for _ in range(_LONGEST_STALL):
            self.scheduler.pause(1)
            if self.ledger.changes != seen:
                return

    def _error(self, kind: Kind, one: Request) -> Exception:
        items = len(one.parameters.get("TransactItems", [None]))
        error = self.faults.error(kind, one.service, one.operation, items)
        return error if isinstance(error, AwsError) else error()

    # --- processing ---------------------------------------------------------------------------------------------------

    def _perform(self, one: Request, again: str = "", *, lost_after: float | None = None) -> dict[str, Any] | AwsError:
        """Process a request now, or later if its reply is lost `lost_after` seconds after its beginning."""
        lost = lost_after is not None and one.operation in CHANGES
        if lost and self.hostile_services.later(one.actor, one.operation, one.parameters, lost_after or 0.0):
            return {}
        if lost_after is not None and self._is_late(one):
            return {}
        if (refused := self._refused(one)) is not None:
            self._is_over(one)
            return refused
        return self._process(one, again)

    def _process(self, one: Request, again: str) -> dict[str, Any] | AwsError:
        self.processing = one.call
        try:
            answer = self._handle(one.actor, one.service, one.operation, one.parameters)
        except AwsError as error:
            self.note(one.actor.name, f"{one.name}{again} -> {error.code}", one.parameters)
            one.actor.failed.add(one.operation)
            self._is_over(one)
            self.after_effect()
            return error
        finally:
            self.processing = None
        self._is_over(one)
        self.note(one.actor.name, f"{one.name}{again}", one.parameters)
        self.after_effect()
        return answer

    def _is_over(self, one: Request) -> None:
        if one.call is not None:
            self.ledger.alive.over(one.call)

    def _refused(self, one: Request) -> AwsError | None:
        """Return the error of a call that the settings refuse while `refusing` is set."""
        name, _, how = self.hostility.refused_call.partition(":")
        if not self.refusing or one.operation != name or one.actor.healed:
            return None
        error, reached = _REFUSALS[how]
        one.actor.disturbed = True
        one.actor.failed.add(name)
        self.reached(reached)
        self.stats[f"refused: {name} {how}"] += 1
        self.note(one.actor.name, f"{one.name} is refused ({how})", one.parameters)
        return error

    # --- calls that are processed later -------------------------------------------------------------------------------

    def _is_coming(self, call: Call) -> bool:
        return any(what == f"call {call.number}" for _, what in self.coming)

    def _is_late(self, one: Request) -> bool:
        """Process a RunTask or StopTask call after its reply was lost, if the run has such calls."""
        seconds = self.late_after
        if one.operation not in LATE_CALLS:
            return False
        if seconds is None:
            if self._late_chances.random() >= self.hostility.calls_late:
                return False
            seconds = self._late_chances.uniform(0, _LATEST)
        due = self.scheduler.now + timedelta(seconds=seconds)
        coming = (due, f"call {one.call.number}" if one.call else f"{one.operation} {one.parameters.get('task')}")
        self.coming.append(coming)

        def arrives() -> None:
            self.coming.remove(coming)
            self.reached(Reached.RUN_LATE if one.operation == "RunTask" else Reached.STOP_LATE)
            self._process(one, ", processed late")

        self.later(seconds, arrives)
        return True
