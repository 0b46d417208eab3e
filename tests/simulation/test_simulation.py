"""Tests that the invariants hold in 100 simulated runs, and that a run is reproducible."""

from collections import Counter

import pytest

from simulation.checks import Violation
from simulation.faults import Kind
from simulation.hostility import BEHAVIOURS, Hostility
from simulation.run import run

RUNS = 100
_BATCH = 25


@pytest.mark.parametrize("first", range(1, RUNS + 1, _BATCH))
def test_invariants(first: int) -> None:
    for seed in range(first, first + _BATCH):
        report = run(str(seed))
        trace = "\n".join(report.trace)
        assert report.violation is None, f"seed {seed}: {report.violation}\n{trace}"


def test_a_run_is_reproducible() -> None:
    digests = {seed: run(str(seed), digested=True).digest for seed in range(10)}
    assert {seed: run(str(seed), digested=True).digest for seed in range(10)} == digests
    assert len(set(digests.values())) == len(digests)


def test_runs_contain_faults_crashes_and_all_answers() -> None:
    """Check that faults, crashes and answers of each kind occur; otherwise the runs prove nothing."""
    stats = sum((run(str(seed)).stats for seed in range(1000, 1060)), start=Counter[str]())
    for name in ("answer: completed", "answer: accepted", "answer: conflict", "actors crashed", "events retried"):
        assert stats[name], name
    kinds = (Kind.CRASH_BEFORE, Kind.CRASH_AFTER, Kind.FAILED, Kind.LOST, Kind.REPEATED, Kind.CONFLICT, Kind.STALL)
    assert {name for name in stats if name.startswith("fault: ")} >= {f"fault: {kind}" for kind in kinds}
    assert sum(name.startswith("hostile: ") for name in stats) > 15


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_behaviour_alone(behaviour: str) -> None:
    """Check that each behaviour can be enabled alone, and that such a run is reproducible."""
    first, second = (run("5", only=[behaviour], digested=True) for _ in range(2))
    assert first.behaviours == [behaviour]
    assert first.digest == second.digest


def test_a_run_without_hostility_has_no_hostile_behaviours() -> None:
    assert Hostility.none().behaviours == []
    report = run("3", hostility=Hostility.none(), faultless=True)
    assert report.violation is None
    assert not any(name.startswith(("hostile: ", "fault: ")) for name in report.stats)


def test_unknown_behaviours_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown behaviours: nonsense"):
        run("1", only=["nonsense"])


def test_violation_cannot_be_caught() -> None:
    assert not issubclass(Violation, Exception)
