"""Upgrades from version 0.2 and rollbacks to it, under the faults that version 0.2 withstands."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from longshore.aws.attributes import deserialize_item
from longshore.aws.items import container_item, container_of
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Container, Runtime

from simulation.hostility import Hostility
from simulation.run import Report, run
from simulation.versions import first_version_is_there
from simulation.world import World

pytestmark = pytest.mark.skipif(not first_version_is_there(), reason="requires the history of the repository")

DIRECTIONS = {"before": "upgrade", "after": "rollback"}
OPERATIONS = ("start", "stop", "force-stop", "restart", "pause", "resume")
RUNS = 8


def simulate(seed: int, first_version: str, operation: str, *, digested: bool = False) -> Report:
    settings = Hostility.of_deployment(random.Random(f"{seed}/hostility"), first_version, operation)
    return run(str(seed), hostility=settings, digested=digested)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("first_version", DIRECTIONS, ids=DIRECTIONS.get)
def test_an_operation_is_pending_at_the_deployment(first_version: str, operation: str) -> None:
    stats: Counter[str] = Counter()
    for seed in range(1, RUNS + 1):
        report = simulate(seed, first_version, operation)
        trace = "\n".join(report.trace)
        assert report.violation is None, f"seed {seed}: {report.violation}\n{trace}"
        stats += report.stats
    # Otherwise the runs prove nothing.
    assert stats[f"deployment: {operation} pending"] > 0


def test_a_run_is_reproducible() -> None:
    digests = [simulate(1, "before", "restart", digested=True).digest for _ in range(2)]
    assert digests[0] == digests[1] != simulate(1, "after", "restart", digested=True).digest


def test_version_0_2_writes_its_own_form() -> None:
    world = World("1", hostility=Hostility(first_version="before"))
    row = {"id": {"S": "1"}, "seq": {"N": "1"}, "schema": {"N": "3"}}
    assert world.versions.as_first_writes(row) == row | {"schema": {"N": "2"}}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    container = Container(
        id="1",
        project_id="2",
        name="demo",
        status=Status.RUNNING,
        status_since=at,
        runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        tasks=ledger_of("arn:aws:ecs:eu-central-1:123456789012:task/default/0", version=3),
        created_at=at,
        updated_at=at,
    )
    item = container_item(container)
    written = world.versions.as_first_writes(item)
    assert written == {name: value for name, value in item.items() if name != "tasks"} | {"schema": {"N": "2"}}
    assert container_of(deserialize_item(written)).tasks == container.tasks
