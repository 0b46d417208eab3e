"""Tests that the explorer misses nothing within its bounds, and that the pairs that CI explores have no violations."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import comb

import pytest

from exploration import plan
from exploration.explore import Job, explore, outcomes, replay
from exploration.scenarios import TRIPLES, Other, Scenario, every, scenarios, skipped
from exploration.search import FREE, Chooser, Cost, Pruned, Search
from exploration.starts import STARTS

Step = Callable[[dict[str, int]], None]


class Toy:
    """Two threads with shared memory. Each is a list of steps; a fault omits a step."""

    def __init__(self, *threads: list[Step]) -> None:
        self.threads = threads

    def run(self, chooser: Chooser) -> tuple[tuple[int, ...], dict[str, int]]:
        """Return the order in which the threads ran, and the final memory."""
        memory: dict[str, int] = {}
        places, order = [0] * len(self.threads), list[int]()

        def state() -> bytes:
            return repr((sorted(memory.items()), places, order[-1:])).encode()

        while ready := [n for n, steps in enumerate(self.threads) if places[n] < len(steps)]:
            current = order[-1] if order and order[-1] in ready else ready[0]
            price = 1 if current in order[-1:] else 0
            options = [(current, False, FREE), (current, True, Cost(0, 1))]
            options += [(n, fault, Cost(price, int(fault))) for n in ready if n != current for fault in (False, True)]
            thread, fault, _ = options[chooser.choose(state, [cost for *_, cost in options])]
            if not fault:
                self.threads[thread][places[thread]](memory)
            places[thread] += 1
            order.append(thread)
        chooser.finish(state)
        return tuple(order), memory

    def explore(self, search: Search) -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
        while (chooser := search.next()) is not None:
            try:
                yield self.run(chooser)
            except Pruned:
                continue


def _increment(name: str) -> list[Step]:
    """An increment that is not atomic: a read and a write."""

    def read(memory: dict[str, int]) -> None:
        memory[name] = memory.get("shared", 0)

    def write(memory: dict[str, int]) -> None:
        memory["shared"] = memory[name] + 1 if name in memory else 1

    return [read, write]


def _nothing(_: dict[str, int]) -> None:
    pass


def test_every_interleaving_is_run_exactly_once() -> None:
    runs = [order for order, _ in Toy([_nothing] * 4, [_nothing] * 4).explore(Search(Cost(7, 0), prune=False))]
    assert len(runs) == len(set(runs)) == comb(8, 4)


@pytest.mark.parametrize("most", range(4))
def test_preemptions_are_bounded(most: int) -> None:
    """The number of orders equals a count by preemptions that does not use the explorer."""
    runs = [order for order, _ in Toy([_nothing] * 3, [_nothing] * 3).explore(Search(Cost(most, 0), prune=False))]
    orders = {tuple(1 if place in chosen else 0 for place in range(6)) for chosen in _subsets(6, 3)}
    assert Counter(runs) == Counter(order for order in orders if _preemptions(order) <= most)


def _subsets(size: int, chosen: int) -> list[set[int]]:
    return [
        subset
        for number in range(1 << size)
        if len(subset := {place for place in range(size) if number >> place & 1}) == chosen
    ]


def _preemptions(order: tuple[int, ...]) -> int:
    """Return how often a thread is interrupted and continued later."""
    return sum(a != b and a in order[place + 1 :] for place, (a, b) in enumerate(pairwise(order)))


def test_faults_are_tried_at_every_step() -> None:
    search = Search(Cost(0, 1), prune=False)
    runs = list(Toy([_nothing] * 3, [_nothing] * 2).explore(search))
    # Either thread first; a fault at none or one of the five steps.
    assert len(runs) == search.runs == 2 * (1 + 5)


@pytest.mark.parametrize("budget", [Cost(1, 0), Cost(3, 0), Cost(1, 1), Cost(2, 2)])
def test_pruning_reaches_the_same_final_states(budget: Cost) -> None:
    toy = Toy(_increment("a") + _increment("a"), _increment("b"))
    searches = Search(budget), Search(budget, prune=False)
    pruned, unpruned = ({repr(sorted(memory.items())) for _, memory in toy.explore(search)} for search in searches)
    assert pruned == unpruned
    assert searches[0].runs <= searches[1].runs


def test_a_lost_update_needs_a_preemption() -> None:
    toy = Toy(_increment("a"), _increment("b"))
    assert {memory["shared"] for _, memory in toy.explore(Search(Cost(0, 0)))} == {2}
    assert {memory["shared"] for _, memory in toy.explore(Search(Cost(1, 0)))} == {1, 2}


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="choice 1"):
        Toy(_increment("a"), _increment("b")).run(Chooser(None, [0, 2], Cost(0, 0)))


def test_pruning_loses_no_outcome_of_a_real_pair() -> None:
    name, budget = "start+force-stop:stopped", Cost(1, 0)
    pruned, unpruned = (outcomes(name, budget, prune=prune) for prune in (True, False))
    assert pruned.seen == unpruned.seen
    assert pruned.runs <= unpruned.runs
    assert len(pruned.seen) > 1


@pytest.mark.parametrize(
    ("scenario", "mutation", "preemptions"),
    [
        # A start stores its task before it waits, which refuses a claim that was computed before. The second claim
        # must interrupt the first start between its claim and this write.
        ("start+start:stopped", "simulation.mutants:nothing_pending", 2),
        ("restart+recovery:service-running", "simulation.service_mutants:overtaken_driver_calls", 1),
        ("recovery+change-stop-at:ending", "simulation.lifetime_mutants:claim_ignores_lifetime", 1),
    ],
)
def test_a_planted_bug_is_found_and_replayed(scenario: str, mutation: str, preemptions: int) -> None:
    budget = Cost(preemptions, 0)
    (found,) = explore(Job(scenario, budget, mutation=mutation)).found
    repeated = replay(found.replay, mutation)
    assert repeated.violation == found.ending.violation is not None
    assert repeated.trace == found.ending.trace
    assert explore(Job(scenario, budget)).exhausted
    assert replay(found.replay).violation is None


def test_an_exploration_is_deterministic() -> None:
    job = Job("stop+exit:running", Cost(1, 0))
    first, second = explore(job), explore(job)
    assert (first.runs, first.states) == (second.runs, second.states)


def test_an_exploration_ends_at_its_timeout() -> None:
    result = explore(Job("start+start:stopped", Cost(1, 1), until=0.0))
    assert (result.runs, result.exhausted) == (0, False)


def test_every_pair_is_explored_or_skipped_for_a_reason() -> None:
    explored = {scenario.name for scenario in scenarios()}
    for scenario in every():
        assert (scenario.name in explored) is (skipped(scenario) is None)
    assert {*TRIPLES} <= explored
    actors = {actor for scenario in scenarios() for actor in scenario.actors}
    assert actors >= set(Other)
    assert {scenario.start for scenario in scenarios()} == set(STARTS)
    assert all(Scenario.parse(name).name in explored for name in (*plan.QUICK, *plan.COMPARED))
