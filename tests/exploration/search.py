"""Depth-first search over sequences of choices, by running a program repeatedly.

The program asks a `Chooser` at each choice point. The first option is the default and is free; the others may cost
preemptions and faults, of which a run has a limited number. A run follows a given prefix of choices and then takes the
default everywhere; the alternatives on the way are queued for later runs.

Prefixes with the lowest cost run first, so a violation is first found with the fewest preemptions and faults.

A state that was expanded before, with at least as many preemptions and faults left, is not expanded again: the program
is deterministic, so its further behaviour is a function of the state and of the later choices, and each of these
choices was affordable then too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Cost(NamedTuple):
    """The price of an option, or the remaining budget of a run."""

    preemptions: int = 0
    faults: int = 0

    def covers(self, other: "Cost") -> bool:
        """Return whether this budget is at least as large as the other."""
        return self.preemptions >= other.preemptions and self.faults >= other.faults

    def minus(self, other: "Cost") -> "Cost":
        return Cost(self.preemptions - other.preemptions, self.faults - other.faults)


FREE = Cost()

State = Callable[[], bytes]
"""Computes the digest of the program's state."""


class Pruned(Exception):  # noqa: N818  (not an error)
    """The run has reached a state from which everything was explored already."""


class Chooser:
    """Makes the choices of a run. `taken` has the choices so far, each the index of an option."""

    def __init__(self, search: "Search | None", prefix: Sequence[int], budget: Cost) -> None:
        self._search = search
        self._prefix = prefix
        self._left = budget
        self.taken: list[int] = []

    def choose(self, state: State, costs: Sequence[Cost]) -> int:
        """Return the index of the option to take. The first option must be free.

        Raises:
            Pruned: The state was expanded before.
        """
        position = len(self.taken)
        if position < len(self._prefix):
            index = self._prefix[position]
            if index >= len(costs) or not self._left.covers(costs[index]):
                raise ValueError(f"choice {position} of the sequence is {index}, which is not possible there")
        else:
            index = 0
            if self._search is not None:
                self._search.expand(self.taken, state, costs, self._left)
        self._left = self._left.minus(costs[index])
        self.taken.append(index)
        return index

    def finish(self, state: State) -> None:
        """Record that no choices are left and that the rest of the run depends on the state alone.

        Raises:
            Pruned: Another run has ended in the same state.
        """
        if self._search is not None:
            self._search.expand(self.taken, state, (), FREE)


@dataclass
class Search:
    """A search within a budget. Without `prune`, equal states are expanded again."""

    budget: Cost
    prune: bool = True
    runs: int = 0
    _seen: dict[bytes, list[Cost]] = field(default_factory=dict)
    # The prefixes to run, by their cost.
    _waiting: list[list[tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = [[] for _ in range(sum(self.budget) + 1)]
        self._waiting[0].append(())

    @property
    def states(self) -> int:
        """The number of expanded states."""
        return len(self._seen)

    @property
    def waiting(self) -> int:
        """The number of prefixes to run, as far as known."""
        return sum(map(len, self._waiting))

    def next(self) -> Chooser | None:
        """Return the chooser for the next run, or None if everything was explored."""
        for prefixes in self._waiting:
            if prefixes:
                self.runs += 1
                return Chooser(self, prefixes.pop(), self.budget)
        return None

    def expand(self, taken: list[int], state: State, costs: Sequence[Cost], left: Cost) -> None:
        """Queue the alternatives at a choice point. Raises Pruned if its state was expanded before."""
        if self.prune:
            key = state()
            known = self._seen.get(key)
            if known is None:
                self._seen[key] = [left]
            elif any(budget.covers(left) for budget in known):
                raise Pruned
            else:
                known[:] = [budget for budget in known if not left.covers(budget)] + [left]
        for index in range(len(costs) - 1, 0, -1):
            if left.covers(costs[index]):
                spent = sum(self.budget) - sum(left.minus(costs[index]))
                self._waiting[spent].append((*taken, index))
