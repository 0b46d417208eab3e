"""Actors that take turns, on a virtual clock: whoever is due next goes on, and time jumps there.

An actor is a greenlet. It gives way only by `pause`, which the emulated AWS calls before and after the effect of every
call; how long it is to pause decides the interleaving. Nothing here depends on real time, threads or hashes.
"""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Protocol

from greenlet import getcurrent, greenlet


class Crash(BaseException):
    """Ends an actor where it stands. Not an Exception: no code under test may catch it."""


class Machine(Protocol):
    """Something that changes by itself at known times."""

    def advance(self, now: datetime) -> None: ...

    def next_due(self) -> datetime | None: ...


class Actor:
    """One invocation of a function. `skew`: how far its clock is off; `killed_at`: when its time is up."""

    def __init__(self, name: str, skew: timedelta, killed_at: datetime | None) -> None:
        self.name = name
        self.skew = skew
        self.killed_at = killed_at
        self.stricken = False  # whether something has happened to its last call
        self.ended = False
        self.crashed = False


class Scheduler:
    """The virtual time, and who does what when. `now` is in UTC."""

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
        """Call the function at a time. It may not pause."""
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
        """Let the others go on for so long. Raises Crash when the actor's time is up then."""
        actor, thread = self.current, getcurrent()
        assert actor is not None
        self.at(self.now + timedelta(seconds=seconds), lambda: self._resume(actor, thread))
        self._hub.switch()
        if actor.killed_at is not None and self.now >= actor.killed_at:
            raise Crash

    def run(self, until: datetime) -> None:
        """Go on until that time."""
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
    """The clock of the actor that looks at it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        actor = self._scheduler.current
        moment = self._scheduler.now + (actor.skew if actor else timedelta())
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def sleep(self, seconds: float) -> None:
        self._scheduler.pause(seconds)
