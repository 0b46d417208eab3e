"""Tests of the throughput of starts, sweeps and scheduled stops under the default quotas of ECS.

The tests use small numbers, or the numbers of the documented bounds with LONGSHORE_SCALE=full.
"""

import os
from collections import Counter

import pytest
from longshore.domain.errors import LongshoreError
from longshore.engine.schedules import ScheduleInput

from local.emulator.ecs.quotas import DEFAULTS, Limit
from scale.model import Model
from scale.population import Population
from scale.throughput import starts

FULL = os.environ.get("LONGSHORE_SCALE") == "full"
# A bucket of the size of one second shows the sustained rate within a short time.
NO_BURST = {name: Limit(limit.rate, limit.rate) for name, limit in DEFAULTS.items()}


@pytest.mark.parametrize(
    ("fargate", "offered", "least"), [(False, 38, 35), (True, 19, 17), (False, 60, 35), (True, 30, 17)]
)
def test_sustained_starts_of_three_seconds(*, fargate: bool, offered: int, least: int) -> None:
    """Callers below and above the quota: starts that ECS throttles are answered 202, and settle."""
    figures = starts(per_second=offered, seconds=300 if FULL else 10, run_delay=3, fargate=fargate)
    print(figures)
    assert figures["reached"] >= least
    assert (figures["errors"], figures["unsettled"]) == (0, 0)
    assert figures["describe_tasks"] <= (0 if offered < least / 0.875 else 0.1)


def test_scheduled_stops() -> None:
    count = 5000 if FULL else 200
    model = Model(quotas=NO_BURST)
    population = Population(model)
    ids = [population.add(number, running=True).id for number in range(count)]
    with model.open():
        model.run_schedule(ScheduleInput(all=True, rule="nightly"))
        model.sweep_each_minute(300)
        while Counter(population.statuses().values())["stopped"] < count and model.now < 600:
            model.run(1)
        took = model.now
        model.run(300)
    print(f"{count} scheduled stops: {took:.0f} s, throttled {dict(model.throttled)}")
    assert took <= (180 if FULL else 12)
    assert model.dead_letters == []
    rows = Counter(key[0] for key in model.dynamodb.tables["status-logs"].items)
    assert {rows[identity] for identity in ids} == {2}


@pytest.mark.parametrize("fargate", [False, True], ids=["EC2", "Fargate"])
def test_overdue_operations_are_taken_up_within_a_minute(*, fargate: bool) -> None:
    # On Fargate, 18 starts a second for 50 seconds are 900.
    count = (900 if fargate else 1000) if FULL else 150
    model = Model(quotas=NO_BURST)
    population = Population(model, fargate=fargate)
    ids = [population.add(number, running=False).id for number in range(count + 1)]
    for number, identity in enumerate(ids):
        population.overdue(model.container(identity), number)
    population.damage(model.container(ids[0]))
    failures: list[str] = []
    with model.open():
        model.recover(lambda name, _: failures.append(name))
        model.run(60)
        taken = [identity for identity in ids[1:] if _attempts(model, identity) > 0]
        model.sweep_each_minute(180)
        model.run(240)
    first = next(each for each in model.invocations if each.kind == "recovery")
    print(f"{len(taken)} of {count} taken up; the sweep took {first.seconds:.0f} s: {first.result}")
    assert len(taken) == count
    assert first.seconds <= 55
    assert failures == ids[:1]
    assert Counter(population.statuses().values())["running"] == count
    assert sum(model.throttled.values()) == 0


def test_drift() -> None:
    """1 % of the containers are dead, half of them without a trace; 0.1 % of the items are unreadable."""
    count = 100_000 if FULL else 1_000
    model = Model()
    population = Population(model)
    dead, lost, unreadable = set[str](), set[str](), set[str]()
    for number in range(count):
        container = population.add(number, running=True)
        if number % 1000 == 500:
            unreadable.add(container.id)
            population.damage(container)
        elif number % 200 == 7:
            dead.add(container.id)
            assert container.task_arn is not None
            model.ecs.exit(container.task_arn, 1)
        elif number % 200 == 107:
            lost.add(container.id)
            assert container.task_arn is not None
            model.ecs.forget(container.task_arn)
    model.ecs.drain_events()
    failures: set[str] = set()

    def on_failure(name: str, _: LongshoreError) -> None:
        failures.add(name)

    with model.open():
        model.drift(on_failure=on_failure)
        model.sweep_each_minute(900)
        while Counter(population.statuses().values())["failed"] < len(dead | lost) and model.now < 900:
            model.run(10)
        took = model.now
        model.run(900)
    drifts = [each for each in model.invocations if each.kind == "drift"]
    print(f"{count} containers: {took:.0f} s, {len(drifts)} invocations, {[each.seconds for each in drifts]}")
    assert took <= 900
    statuses = population.statuses()
    assert {identity for identity, status in statuses.items() if status == "failed"} == dead | lost
    assert unreadable <= failures
    assert all(each.seconds <= 300 for each in model.invocations)
    assert sum(model.throttled.values()) == 0


def _attempts(model: Model, identity: str) -> int:
    """Return the number of attempts of the pending operation; 1 if it has ended."""
    operation = model.container(identity).operation
    return operation.attempts if operation else 1
