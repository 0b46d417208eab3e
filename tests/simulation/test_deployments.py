"""Upgrades from version 0.1 and rollbacks to it, under the faults that version 0.1 withstands."""

import random
from collections import Counter

import pytest
from longshore.aws.items import CHANGEABLE
from longshore.domain.service import ServiceState

from simulation.hostility import Hostility
from simulation.run import Report, run
from simulation.versions import FIRST_TEMPLATE, first_version_is_there, host_document
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


def test_each_version_deploys_its_own_document() -> None:
    first, current = host_document(FIRST_TEMPLATE), host_document()
    assert first["parameters"].keys() < current["parameters"].keys()


def test_version_0_1_writes_fewer_attributes() -> None:
    world = World("1", hostility=Hostility(first_version="before"))
    row = dict.fromkeys(("id", "container_id", "seq", "to_rank", "metadata", "schema", "project_id", "to_n", "from_n"))
    assert world.versions.as_first_writes(row).keys() == row.keys() - {"schema", "project_id", "to_n", "from_n"}
    item = dict.fromkeys((*CHANGEABLE, "id", "project_id", "name", "labels"))
    later = {
        "ended_task_arn",
        "paused_task_arn",
        "command_number",
        "requested_at",
        "absent_since",
        "history_full",
        "schema",
    }
    later |= {"reached_without_row", "history_retention", "labels", *ServiceState.model_fields}
    assert world.versions.as_first_writes(item).keys() == item.keys() - later
