"""Tests of the pauses before the store repeats a write that conflicted with another."""

import random
from itertools import pairwise

import pytest

from engine.aws import Call
from engine.stage import Stage
from local.emulator.errors import AwsError

CONFLICT = AwsError("TransactionConflictException", "Transaction is ongoing for the item")


@pytest.mark.parametrize("share", [0.5, 1])
def test_pauses_double_up_to_half_a_second(stage: Stage, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """The pause starts at 25 ms and doubles up to half a second; a random factor of at least one half separates two
    writers.
    """
    container = stage.add("running")
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return share

    monkeypatch.setattr(random, "uniform", uniform)
    times: list[float] = []

    def note(_: Call) -> None:
        times.append(stage.clock.now().timestamp())
        stage.before("UpdateItem", note)

    stage.before("UpdateItem", note)
    stage.fail("UpdateItem", CONFLICT, times=9)
    stage.tick = 0
    stage.ask(container, "stop")
    pauses = [round((after - before) * 1000) for before, after in pairwise(times)][:9]
    whole = [25, 50, 100, 200, 400, 500, 500, 500, 500]
    assert pauses == [round(pause * share) for pause in whole]
    assert set(bounds) == {(0.5, 1)}
