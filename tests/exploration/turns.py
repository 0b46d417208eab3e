"""Two players whose calls to AWS are run in every order.

A player is an actor of the simulation that stops before each of its calls. Calls take no time: the clock advances only
if no player can continue, or if a player stalls until the wait of another is over.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from greenlet import GreenletExit, getcurrent, greenlet
from simulation.hostile_services import CHANGES
from simulation.scheduler import Actor, Scheduler

from exploration.faults import Fault
from exploration.search import FREE, Chooser, Cost

ENVIRONMENT = "environment"
"""The service of a pseudo-call: a change that a player makes in the cluster, without faults."""

_CONSISTENT = timedelta(seconds=30)  # after which ECS returns what it did not return before
_HORIZON = timedelta(minutes=5)  # how long a player waits for the event that starts it

Faulty = Callable[[str, str, bool], tuple[Fault, ...]]
"""Returns the faults to try at a call, given the service, the operation, and whether it is the player's first call."""


class Player(Actor):
    """An actor whose interleavings are explored.

    Args:
        name: The name in traces, which also determines the ids that it draws.
        begin: Starts it with `Scheduler.spawn`; returns False while it cannot start yet.
    """

    def __init__(self, name: str, begin: Callable[["Player"], bool]) -> None:
        super().__init__(name, timedelta(), None)
        self.begin = begin
        self.begun = False
        self.calls = 0
        self.call: tuple[str, str] | None = None  # its next call: the service and the operation
        self.thread: greenlet | None = None
        self.wakes_at: datetime | None = None
        # All that it has received so far: calls, answers and their times. Its code is deterministic, so this represents
        # its local variables and its position in the code.
        self.learned = hashlib.blake2b(name.encode(), digest_size=16)

    def learn(self, *facts: Any) -> None:
        self.learned.update(repr(facts).encode())

    @property
    def place(self) -> tuple[Any, ...]:
        """The player's part of the digest of a state."""
        return self.name, self.begun, self.ended, self.call, self.wakes_at, self.learned.digest()


class Option(NamedTuple):
    """An option: the player continues, and its call has the fault. Without a call, the time of its wait passes.

    Without a player, time passes until the next change in ECS or on a host.
    """

    player: Player | None
    fault: Fault | None
    cost: Cost


class Turns(Scheduler):
    """Runs the players in the order that the chooser determines. Everything else runs as in the simulation."""

    def __init__(self, start: datetime, chooser: Chooser, faulty: Faulty) -> None:
        super().__init__(start)
        self._chooser = chooser
        self._faulty = faulty
        self.players: list[Player] = []
        self.last: Player | None = None
        self.fault: Fault | None = None
        self.unknown_since: datetime | None = None  # when ECS first did not return something that exists

    def pause(self, seconds: float) -> None:
        """Wait. A call takes no time, so it is no wait."""
        if seconds <= 0:
            return
        player = self.current
        if not isinstance(player, Player):
            super().pause(seconds)
            return
        player.wakes_at, player.thread = self.now + timedelta(seconds=seconds), getcurrent()
        super().pause(seconds)
        player.wakes_at = None
        player.learn("woke", self.now)

    def before_call(self, player: Player, service: str, operation: str) -> Fault | None:
        """Stop the current player before a call until it is chosen. Returns the chosen fault of the call."""
        player.call, player.thread = (service, operation), getcurrent()
        self._hub.switch()
        player.call = None
        player.calls += service != ENVIRONMENT
        return self.fault

    def abandon(self) -> None:
        """End the players that have not ended. A waiting greenlet and the objects that it refers to are never
        collected.
        """
        for player in self.players:
            if player.thread is not None and not player.ended:
                player.thread.throw(GreenletExit)
        self.players.clear()
        self.actors.clear()

    def play(self, state: Callable[[], bytes]) -> None:
        """Run the players until all have ended."""
        until = self.now + _HORIZON
        while True:
            self.run(self.now)
            if self._begin():
                continue
            if any(player.call for player in self.players):
                self._turn(state)
                continue
            due = self._next_due()
            waits = any(not player.ended for player in self.players)
            if not waits or due is None or (due > until and not any(player.wakes_at for player in self.players)):
                return
            self.run(due)

    def _begin(self) -> bool:
        """Start the players that can start. Returns whether a player was started."""
        begun = False
        for player in self.players:
            if not player.begun and player.begin(player):
                player.begun = begun = True
        return begun

    def _turn(self, state: Callable[[], bytes]) -> None:
        options = self.options()
        index = self._chooser.choose(state, [option.cost for option in options])
        player, fault, _ = options[index]
        if player is None:
            due = self._machine_due()
            assert due is not None
            self.run(due)
            return
        self.last, self.fault = player, fault
        if fault is Fault.UNKNOWN and self.unknown_since is None:
            self.unknown_since = self.now
        if player.call is None:
            due = player.wakes_at or self._next_due()
            assert due is not None
            self.run(due)
            return
        assert player.thread is not None
        self._resume(player, player.thread)

    def options(self) -> list[Option]:
        """Return the possible next steps. The default is first: the player that ran last continues without a fault."""
        ready = [player for player in self.players if player.call]
        current = self.last if self.last in ready else ready[0]
        assert current is not None
        # The choice of the first player costs no preemption, nor does a later start.
        price = 0 if self.last is None else 1
        patience = Cost(1 if current.calls else 0)
        options: list[Option] = []
        for player in (current, *(other for other in self.players if other is not current)):
            preemptions = 0 if player is current else price
            if player.call:
                options.append(Option(player, None, Cost(preemptions)))
                options += [
                    Option(player, fault, Cost(preemptions, 1))
                    for fault in self._faulty(*player.call, player.calls == 0)
                    if fault is not Fault.UNKNOWN or self._may_be_unknown()
                ]
            elif not self._must_hurry() and (player.wakes_at or (not player.begun and self._machine_is_due())):
                options.append(Option(player, None, patience))
        if self._machine_is_due() and not self._must_hurry():
            options.append(Option(None, None, patience))
        assert options[0].cost == FREE
        return options

    def _must_hurry(self) -> bool:
        """Return whether a player is about to change a service, which it does soon after it has decided to."""
        return any(player.call is not None and player.call[1] in CHANGES for player in self.players)

    def _may_be_unknown(self) -> bool:
        """Return whether ECS may hide something now. Two lookups 30 seconds apart prove that it is gone."""
        return self.unknown_since is None or self.now < self.unknown_since + _CONSISTENT

    def _machine_is_due(self) -> bool:
        due = self._machine_due()
        return due is not None and due < self.now + _HORIZON

    def _machine_due(self) -> datetime | None:
        return min((due for machine in self.machines if (due := machine.next_due())), default=None)

    def _next_due(self) -> datetime | None:
        dues = [due for due in (self._machine_due(), self._agenda[0][0] if self._agenda else None) if due]
        return min(dues, default=None)
