"""The world of a run: its AWS, the library wired to it, the actors, and the trace."""

import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from unittest import mock

from longshore.domain.errors import LongshoreError
from longshore.domain.models import Container

from local.emulator.errors import AwsError
from simulation.answers import Answers
from simulation.aws import clients
from simulation.cloud import TABLES, Cloud, table_properties
from simulation.faults import Faults, Kind
from simulation.hostile_services import CHANGES, HostileServices
from simulation.hostility import Hostility, Reached
from simulation.ledger import Ledger
from simulation.records import Asked, Violation
from simulation.scheduler import Actor, Crash, Priorities, Scheduler, VirtualClock
from simulation.setup import CLUSTER
from simulation.trace import START, Line
from simulation.versions import Versions
from simulation.wiring import Library, one_after_the_other

__all__ = ["CLUSTER", "TABLES", "World", "table_properties"]

_RESERVE = timedelta(seconds=8)  # the part of a function's time that a batch does not use
_LONGEST_STALL = 400  # seconds
_LOST = (Kind.CRASH_AFTER, Kind.LOST)  # the caller does not learn whether the call was processed
_RETRIES = (60.0, 120.0)  # seconds after which Lambda retries a failed event


class World(Cloud):
    """The environment of the actors. All draws come from the seed, each kind of draw from its own stream.

    Args:
        seed: Determines the whole run.
        hostility: The settings of the simulated AWS; drawn by default.
        faults: Draws the faults of calls; by default from the seed.
        scheduler: The virtual time; a new one by default.
        only: The names of the behaviours that the run has, instead of drawing them.
        liveness: Replaces the setting in `hostility`.
    """

    operations: Any
    reader: Any
    events: Any
    service_events: Any
    commands: Any
    servers: Any
    schedules: Any
    recovery: Any
    drift: Any
    changes: Any

    def __init__(
        self,
        seed: str,
        *,
        hostility: Hostility | None = None,
        faults: Faults | None = None,
        scheduler: Scheduler | None = None,
        only: Collection[str] | None = None,
        liveness: bool | None = None,
    ) -> None:
        self._seed = seed
        self.trace: list[Line] = []
        self.stats: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.waiting = 0  # scheduled calls of `later` that have not run
        settings = hostility or Hostility.draw(self.rng("hostility"), only)
        self.hostility = settings if liveness is None else replace(settings, liveness=liveness)
        self.scheduler = scheduler or Scheduler(START)
        self.clock = VirtualClock(self.scheduler)
        self.faults = faults or Faults(self.rng("faults"))
        self._priorities = Priorities(self.rng("priorities")) if self.hostility.priorities else None
        self._chances = self.rng("world")
        self.ledger = Ledger(self)
        self.answers = Answers(self.ledger)
        self.deliver: Callable[[dict[str, Any]], None] = lambda _: None  # receives the events of AWS
        self.claimed: Callable[[str], None] = lambda _: None  # receives the name of each operation that is claimed
        self.odd: dict[str, Reached] = {}  # id of an item: the behaviour to count when it is read
        self.moved: set[str] = set()  # ids of containers that were moved to another project
        self.kept_alive: dict[str, list[datetime]] = {}  # container id: when callers requested what was answered 200
        self._build_aws()
        self.scheduler.machines = [self.ssm, self.ecs, self.services]
        self.scheduler.advanced = self.after_effect
        self.versions = Versions(self.hostility, self.clock, self.enough_time)
        self.document = self.versions.document(self.versions.first)
        self.use(self.versions.first)

    def use(self, library: Library) -> None:
        """Run this library's code in every later invocation."""
        self.library = library
        of_events = ("events", "service_events", "commands", "servers")
        for name in ("operations", "reader", *of_events, "schedules", "recovery", "drift", "changes"):
            setattr(self, name, getattr(library, name))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Direct AWS requests and randomness to this world, and run parallel reads one after another."""
        entropy = self.rng("entropy")
        random.seed(f"{self._seed}/global")
        clients().endpoint = self
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(os, "urandom", entropy.randbytes))
            for package in self.versions.packages:
                engine = f"{package}.engine" if package == "longshore" else package
                for name in ("operations", "reader", *(["changes"] if package == "longshore" else [])):
                    module = import_module(f"{engine}.{name}")
                    if hasattr(module, "together"):
                        stack.enter_context(mock.patch.object(module, "together", one_after_the_other))
            yield

    # --- actors ----------------------------------------------------------------------------------------------------

    def invoke(
        self,
        name: str,
        function: Callable[[], Any],
        *,
        seconds: float,
        ended: Callable[[Actor, Any], None] = lambda *_: None,
        healed: bool = False,
    ) -> None:
        """Run a function like Lambda.

        Args:
            name: The actor's name.
            function: The function. Any exception other than a LongshoreError is a violation.
            seconds: The timeout of the function. Some invocations have none.
            ended: Receives the result, or the LongshoreError that was raised.
            healed: Whether the actor's calls have no faults.
        """
        killed_at = None
        if self._chances.random() < 0.7:
            killed_at = self.scheduler.now + timedelta(seconds=seconds)
        most = self.hostility.clock_skew
        skew = timedelta(seconds=round(self._chances.uniform(-most, most), 3))
        actor = Actor(name, skew, killed_at, healed=healed)
        result: list[Any] = [None]

        def body() -> None:
            try:
                result[0] = function()
            except self.versions.errors as error:
                result[0] = self.versions.as_current(error)
            except Exception as error:
                self.note(name, f"raised {type(error).__name__}: {error}")
                raise Violation(f"an unexpected exception: {type(error).__name__}: {error}") from error

        def over(actor: Actor) -> None:
            self.note(name, "crashed" if actor.crashed else "ended", result[0])
            self.stats["actors crashed" if actor.crashed else "actors ended"] += 1
            ended(actor, result[0])

        self.note(name, "starts")
        self.scheduler.spawn(actor, body, over)

    def invoke_event(
        self, name: str, function: Callable[[], Any], *, seconds: float, attempt: int = 0, healed: bool = False
    ) -> None:
        """Run a function for an asynchronous event. A failed event is retried twice."""

        def ended(actor: Actor, result: Any) -> None:
            if (actor.crashed or isinstance(result, LongshoreError)) and attempt < len(_RETRIES):
                self.stats["events retried"] += 1
                self.later(
                    _RETRIES[attempt],
                    lambda: self.invoke_event(name, function, seconds=seconds, attempt=attempt + 1, healed=healed),
                )

        self.invoke(f"{name}~{attempt}" if attempt else name, function, seconds=seconds, ended=ended, healed=healed)

    def enough_time(self) -> bool:
        """Return whether the current actor has time for another item."""
        actor = self.scheduler.current
        return actor is None or actor.killed_at is None or self.scheduler.now + _RESERVE < actor.killed_at

    def note(self, actor: str, action: str, subject: Any = None) -> None:
        """Add a line to the trace."""
        self.trace.append(Line(self.scheduler.now, actor, action, subject))

    def remark(self, what: str) -> None:
        """Count something that is not a violation but noteworthy: `--find` prints the runs in which it occurs."""
        self.stats[f"remark: {what}"] += 1

    def digest(self) -> str:
        """Return a hash of the whole trace."""
        return hashlib.sha256("\n".join(map(str, self.trace)).encode()).hexdigest()

    # --- requests --------------------------------------------------------------------------------------------------

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Perform a request of the current actor to AWS, with the fault drawn for it."""
        actor = self.scheduler.current
        assert actor is not None, "a request outside of an actor"
        assert not actor.ended, f"{actor.name} continues after its end"
        plan = self.faults.plan(service, operation, again=actor.stricken)
        kind = None if actor.healed else plan.kind
        if kind is None and not actor.healed and operation == "SendCommand" and self.plans.loses_reply():
            kind = Kind.LOST
        actor.stricken = kind is not None
        self.stats["calls"] += 1
        if kind:
            actor.disturbed = True
            self.stats[f"fault: {kind}"] += 1
        before, after = plan.before, plan.after
        if operation in CHANGES:
            kind, before = HostileServices.limited(kind, before)
        if actor.healed or (self._priorities and kind not in (Kind.SLOW, Kind.STALL)):
            before = self._priorities.pause(actor) if self._priorities else 0.01
            after = self._priorities.pause(actor) if self._priorities else 0.01
        name = f"{service}:{operation}"
        if kind is Kind.CRASH_BEFORE:
            self.note(actor.name, f"crashes before {name}")
            raise Crash
        if kind is Kind.OVERTAKEN:
            self._wait_for_a_change()
        self.scheduler.pause(before)
        if kind in (Kind.FAILED, Kind.DENIED, Kind.CONFLICT):
            self.note(actor.name, f"{name} fails ({kind})", parameters)
            self.scheduler.pause(after)
            raise self._error(kind, service, operation, parameters)
        answer = self._perform(
            actor, name, service, operation, parameters, lost_after=before if kind in _LOST else None
        )
        if kind is Kind.CRASH_AFTER:
            self.note(actor.name, f"crashes after {name}")
            raise Crash
        self.scheduler.pause(after)
        if kind is Kind.REPEATED:
            answer = self._perform(actor, f"{name} again", service, operation, parameters)
            self.scheduler.pause(before)
        if kind is Kind.LOST:
            self.note(actor.name, f"{name}: the reply is lost")
            raise self._error(kind, service, operation, parameters)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def _wait_for_a_change(self) -> None:
        seen = self.ledger.changes
        for _ in range(_LONGEST_STALL):
            self.scheduler.pause(1)
            if self.ledger.changes != seen:
                return

    def _error(self, kind: Kind, service: str, operation: str, parameters: dict[str, Any]) -> Exception:
        items = len(parameters.get("TransactItems", [None]))
        error = self.faults.error(kind, service, operation, items)
        return error if isinstance(error, AwsError) else error()

    def _perform(
        self,
        actor: Actor,
        name: str,
        service: str,
        operation: str,
        parameters: dict[str, Any],
        *,
        lost_after: float | None = None,
    ) -> dict[str, Any] | AwsError:
        """Process a request now, or later if its reply is lost `lost_after` seconds after its beginning."""
        lost = lost_after is not None and operation in CHANGES
        if lost and self.hostile_services.later(actor, operation, parameters, lost_after or 0.0):
            return {}
        try:
            answer = self._handle(actor, service, operation, parameters)
        except AwsError as error:
            self.note(actor.name, f"{name} -> {error.code}", parameters)
            self.after_effect()
            return error
        self.note(actor.name, name, parameters)
        self.after_effect()
        return answer

    # --- observations -----------------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container:
        """Return the container as stored in the table."""
        return Container.model_validate(self.ledger.plain(self.dynamodb.tables["containers"].items[(container_id,)]))

    def after_effect(self) -> None:
        """Deliver the events of AWS, and check the invariants that hold at every moment."""
        self.services.watch()
        events = self.ecs.drain_events()
        for event in events:
            detail = event["detail"]
            self.note("ecs", f"task {detail['taskArn'][-6:]} v{detail['version']} {detail['lastStatus']}")
            self.deliver(event)
        for event in self.ssm.drain_events():
            detail = event["detail"]
            if detail["status"] == "Success":  # like the template's rule
                self.note("ssm", f"command {detail['command-id'][-6:]} {detail['status']}")
                self.deliver(event)
        for event in self.services.drain_events():
            self.note("ecs", f"{event['resources'][0].rpartition('/')[2]}: {event['detail']['eventName']}")
            self.deliver(event)
        self.service_checks.observe()
        self.ledger.check(tasks_changed=bool(events))
