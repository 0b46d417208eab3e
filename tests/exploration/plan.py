"""The phases of the exploration, and the comparison with an exploration without pruning."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from exploration.explore import Job, Outcomes, Result, outcomes
from exploration.scenarios import Scenario, scenarios
from exploration.search import Cost

FIRST = (Cost(2, 0), Cost(1, 1))
SECOND = (Cost(2, 1), Cost(1, 2))

# Each status, actor and kind of conflict at least once; at most one minute on two cores.
QUICK = (
    "start+start:stopped",
    "start+force-stop:stopped",
    "start+exit:stopped",
    "start+late-schedule:stopped",
    "start+repeat:full",
    "start+repeat:broken",
    "stop+stop:running",
    "stop+exit:running",
    "stop+pause:running",
    "pause+exit:running",
    "exit+drift:running",
    "stop+resume:paused",
    "resume+exit:paused",
    "stop+recovery:slow",
    "restart+recovery:slow-full",
    "recovery+recovery:kill-overdue",
    "force-stop+recovery:start-overdue",
    "recovery+drift:restart-overdue",
    "recovery+change-stop-at:ending",
    "recovery+change-protection:ending",
    "stop+change-protection:ending",
    "recovery+change-keep-alive:idle",
    "recovery+recovery:service-roll-overdue",
)
# With a preemption and a fault, each of these has more than 780 runs. CI explores them without faults only.
LARGE = {
    "force-stop+recovery:start-overdue",
    "pause+exit:running",
    "recovery+drift:restart-overdue",
    "recovery+recovery:kill-overdue",
    "restart+recovery:slow-full",
    "resume+exit:paused",
    "start+exit:stopped",
    "start+force-stop:stopped",
    "start+late-schedule:stopped",
    "start+repeat:broken",
    "stop+pause:running",
    "stop+resume:paused",
}
COMPARED = ("start+force-stop:stopped", "stop+pause:running", "restart+exit:running")
COMPARED_WITHIN = Cost(1, 1)


@dataclass(frozen=True)
class Phase:
    """Scenarios to explore within a budget, in the order of the number of runs in earlier phases."""

    name: str
    budget: Cost
    scenarios: Sequence[str]

    def jobs(self, before: Sequence[Result], template: Job) -> list[Job]:
        """Return the jobs of the phase, without scenarios that had violations before.

        Args:
            before: The results of the earlier phases.
            template: The common settings of the jobs.
        """
        wrong = {result.job.scenario for result in before if result.found}
        runs = {result.job.scenario: result.runs for result in before}
        names = sorted((name for name in self.scenarios if name not in wrong), key=lambda name: runs.get(name, 0))
        return [replace(template, scenario=name, budget=self.budget) for name in names]


def phases(only: Sequence[str] | None, bound: Cost | None) -> list[Phase]:
    """Return the phases for all scenarios or for the named ones. Raises ValueError for an unknown name."""
    names = [Scenario.parse(name).name for name in only or [scenario.name for scenario in scenarios()]]
    budgets = (bound,) if bound else (*FIRST, *SECOND)
    return [Phase(f"P={budget.preemptions} F={budget.faults}", budget, names) for budget in budgets]


def quick() -> list[Phase]:
    """Return the phases that CI runs."""
    small = tuple(name for name in QUICK if name not in LARGE)
    return [
        Phase(f"quick, P={budget.preemptions} F={budget.faults}", budget, small if budget.faults else QUICK)
        for budget in FIRST
    ]


def compare(jobs: int) -> int:
    """Explore some pairs with and without pruning, and compare their outcomes. Returns 1 if they differ."""
    different = 0
    with ProcessPoolExecutor(jobs) as executor:
        futures = [
            [executor.submit(outcomes, name, COMPARED_WITHIN, prune=prune) for prune in (True, False)]
            for name in COMPARED
        ]
        for name, (pruned, unpruned) in zip(COMPARED, futures, strict=True):
            different += _compared(name, pruned.result(), unpruned.result())
    return 1 if different else 0


def _compared(name: str, pruned: Outcomes, unpruned: Outcomes) -> bool:
    same = pruned.seen == unpruned.seen
    print(
        f"{name}, P={COMPARED_WITHIN.preemptions} F={COMPARED_WITHIN.faults}: {len(pruned.seen)} outcomes in "
        f"{pruned.runs} pruned runs, {len(unpruned.seen)} in {unpruned.runs} unpruned runs: "
        f"{'equal' if same else 'DIFFERENT'}",
        flush=True,
    )
    for outcome in sorted(unpruned.seen - pruned.seen):
        print(f"  only without pruning: {outcome}")
    for outcome in sorted(pruned.seen - unpruned.seen):
        print(f"  only with pruning: {outcome}")
    return not same
