"""The invariants hold in a hundred simulated runs, five hundred in CI, and a run replays exactly."""

import os

import pytest

from simulation.checks import Violation
from simulation.run import run

RUNS = 500 if os.environ.get("CI") else 100
_BATCH = 25


@pytest.mark.parametrize("first", range(1, RUNS + 1, _BATCH))
def test_invariants(first: int) -> None:
    for seed in range(first, first + _BATCH):
        report = run(str(seed))
        trace = "\n".join(report.trace)
        assert report.violation is None, f"seed {seed}: {report.violation}\n{trace}"


def test_replay() -> None:
    digests = {run("7", traced=True).digest for _ in range(3)}
    assert len(digests) == 1
    assert run("8", traced=True).digest not in digests


def test_runs_do_something() -> None:
    """Faults, crashes and answers of each kind occur: else nothing is proven."""
    stats = sum((run(str(seed)).stats for seed in range(1000, 1040)), start=type(run("1").stats)())
    for name in ("answer: completed", "answer: accepted", "answer: conflict", "actors crashed", "events retried"):
        assert stats[name], name
    assert {name for name in stats if name.startswith("fault: ")} >= {
        f"fault: {kind}"
        for kind in ("crash before", "crash after", "failed", "lost reply", "repeated", "conflict", "stall")
    }


def test_violation_cannot_be_caught() -> None:
    assert not issubclass(Violation, Exception)
