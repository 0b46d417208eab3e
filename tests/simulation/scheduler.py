"""Actors that take turns on a virtual clock: the actor due next runs, and the time jumps to its due time.

An actor is a greenlet. It yields only in `pause`, which the emulated AWS calls before and after the effect of every
call; the lengths of the pauses determine the interleaving. Nothing here depends on real time, threads or hashes.
"""

import heapq
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Protocol

from greenlet import getcurrent, greenlet


class Crash(BaseException):
    """Ends an actor immediately. Not an Exception, so that no code under test can catch it."""


class Machine(Protocol):
    """A component that changes on its own at known times."""

    def advance(self, now: datetime) -> None: ...

    def next_due(self) -> datetime | None: ...


class Actor:
    """An invocation of a Lambda function.

    Args:
        name: The name in the trace.
        skew: The deviation of its clock.
        killed_at: When Lambda ends it; None for no limit.
        healed: Whether its calls have no faults.
    """

    def __init__(self, name: str, skew: timedelta, killed_at: datetime | None, *, healed: bool = False) -> None:
        self.name = name
        self.skew = skew
        self.killed_at = killed_at
        self.healed = healed
        self.stricken = False  # whether its last call had a fault
        self.disturbed = False  # whether any of its calls had a fault
        self.failed: set[str] = set()  # the operations of AWS that have failed for it
        self.ended = False
        self.crashed = False


class Priorities:
    """Pauses by priority, as in PCT: an actor overtakes all actors of lower priority, except at a few change points.

    The pauses of an actor are so long compared with those of the next higher priority that the higher one completes
    many calls in between. At a change point the current actor drops to the lowest priority. Source: Burckhardt et al.,
    "A randomized scheduler with probabilistic guarantees of finding bugs" (ASPLOS 2010).
    """

    _LEVELS = (0.0005, 0.004, 0.03, 0.25, 2.0)  # seconds
    _CALLS = 250  # in a typical run
    _MOST_CHANGES = 3

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._levels: dict[int, int] = {}
        self._calls = 0
        self._changes = {rng.randrange(self._CALLS) for _ in range(rng.randint(1, self._MOST_CHANGES))}
        self._known: list[Actor] = []  # keeps the ids in `_levels` unique

    def pause(self, actor: Actor) -> float:
        """Return how long the actor pauses before or after a call, in seconds."""
        if id(actor) not in self._levels:
            self._known.append(actor)
            self._levels[id(actor)] = self._rng.randrange(len(self._LEVELS) - 1)
        self._calls += 1
        if self._calls in self._changes:
            self._levels[id(actor)] = len(self._LEVELS) - 1
        return self._LEVELS[self._levels[id(actor)]] * self._rng.uniform(0.8, 1.2)


class Scheduler:
    """The virtual time (`now`, in UTC) and the queue of due actors."""

    def __init__(self, start: datetime) -> None:
        self.now = start
        self.current: Actor | None = None
        self.machines: list[Machine] = []
        self.advanced: Callable[[], None] = lambda: None  # called when a machine has changed
        self.actors: list[Actor] = []
        self._agenda: list[tuple[datetime, int, Callable[[], Any]]] = []
        self._entries = count()
        self._hub = getcurrent()

    def at(self, moment: datetime, function: Callable[[], Any]) -> None:
        """Call the function at a time. The function must not pause."""
        heapq.heappush(self._agenda, (moment, next(self._entries), function))

    def spawn(self, actor: Actor, function: Callable[[], None], ended: Callable[[Actor], None]) -> None:
        """Run the function as an actor from now on. `ended` is called when it has returned or crashed."""

        def body() -> None:
            try:
                function()
            except Crash:
                actor.crashed = True
            actor.ended = True
            self.actors.remove(actor)
            ended(actor)

        self.actors.append(actor)
        thread = greenlet(body, self._hub)
        self.at(self.now, lambda: self._resume(actor, thread))

    def pause(self, seconds: float) -> None:
        """Let other actors run for this time. Raises Crash if the actor's time limit has passed then."""
        actor, thread = self.current, getcurrent()
        assert actor is not None
        self.at(self.now + timedelta(seconds=seconds), lambda: self._resume(actor, thread))
        self._hub.switch()
        if actor.killed_at is not None and self.now >= actor.killed_at:
            raise Crash

    def run(self, until: datetime) -> None:
        """Run until the given time."""
        while True:
            due = self._agenda[0][0] if self._agenda else None
            machine_due = min((at for machine in self.machines if (at := machine.next_due())), default=None)
            if machine_due is not None and machine_due <= until and (due is None or machine_due <= due):
                self.now = max(self.now, machine_due)
                for machine in self.machines:
                    machine.advance(self.now)
                self.advanced()
            elif due is not None and due <= until:
                self.now = max(self.now, due)
                heapq.heappop(self._agenda)[2]()
            else:
                self.now = max(self.now, until)
                return

    def _resume(self, actor: Actor, thread: greenlet) -> None:
        self.current = actor
        try:
            thread.switch()
        finally:
            self.current = None


class VirtualClock:
    """The clock that the current actor sees."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        actor = self._scheduler.current
        moment = self._scheduler.now + (actor.skew if actor else timedelta())
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def sleep(self, seconds: float) -> None:
        self._scheduler.pause(seconds)
