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

from longshore.aws.items import container_of
from longshore.domain.errors import LongshoreError
from longshore.domain.models import Container

from simulation.answers import Answers
from simulation.aws import clients
from simulation.cloud import TABLES, table_properties
from simulation.faults import Faults
from simulation.hostility import Hostility, Reached
from simulation.ledger import Ledger
from simulation.records import Asked, Violation
from simulation.requests import Requests
from simulation.scheduler import Actor, Priorities, Scheduler, VirtualClock
from simulation.setup import CLUSTER
from simulation.trace import START, Line
from simulation.versions import Versions
from simulation.wiring import Library, one_after_the_other

__all__ = ["CLUSTER", "TABLES", "World", "table_properties"]

_RESERVE = timedelta(seconds=8)  # the part of a function's time that a batch does not use
_RETRIES = (60.0, 120.0)  # seconds after which Lambda retries a failed event


class World(Requests):
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
        self._late_chances = self.rng("late calls")
        self.coming = []
        self.ledger = Ledger(self)
        self.answers = Answers(self.ledger)
        self.deliver: Callable[[dict[str, Any]], None] = lambda _: None  # receives the events of AWS
        self.claimed: Callable[[str], None] = lambda _: None  # receives the name of each operation that is claimed
        self.odd: dict[str, Reached] = {}  # id of an item: the behaviour to count when it is read
        self.malformed: set[str] = set()  # ids of containers whose pending operation is damaged
        self.moved: set[str] = set()  # ids of containers that were moved to another project
        self.kept_alive: dict[str, list[datetime]] = {}  # container id: when callers requested what was answered 200
        self._build_aws()
        self.scheduler.machines = [self.ssm, self.ecs, self.targets]
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
                for name in ("operations", "reader", "changes"):
                    module = import_module(f"{package}.engine.{name}")
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
            self.ledger.alive.ended(actor)

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

    def remark(self, what: str) -> None:
        """Count something that is not a violation but noteworthy: `--find` prints the runs in which it occurs."""
        self.stats[f"remark: {what}"] += 1

    def digest(self) -> str:
        """Return a hash of the whole trace."""
        return hashlib.sha256("\n".join(map(str, self.trace)).encode()).hexdigest()

    # --- observations -----------------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container:
        """Return the container as stored in the table."""
        return container_of(self.ledger.plain(self.dynamodb.tables["containers"].items[(container_id,)]))

    def after_effect(self) -> None:
        """Deliver the events of AWS, and check the invariants that hold at every moment."""
        events = self.ecs.drain_events()
        for event in events:
            match event["detail-type"]:
                case "ECS Task State Change":
                    detail = event["detail"]
                    self.note("ecs", f"task {detail['taskArn'][-6:]} v{detail['version']} {detail['lastStatus']}")
                    if "startedAt" in detail:
                        self.ledger.alive.started.add(str(detail.get("startedBy")))
                case "ECS Service Action" | "ECS Deployment State Change":  # like the template's rule
                    self.note("ecs", f"{event['resources'][0].rpartition('/')[2]}: {event['detail']['eventName']}")
                case _:
                    continue
            self.deliver(event)
        for event in self.ssm.drain_events():
            detail = event["detail"]
            if detail["status"] == "Success":  # like the template's rule
                self.note("ssm", f"command {detail['command-id'][-6:]} {detail['status']}")
                self.deliver(event)
        self.service_checks.observe()
        self.ledger.check(tasks_changed=bool(events))
