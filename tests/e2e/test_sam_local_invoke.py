"""Tests of every function in a Lambda container, with its event in `events/`.

The code is the output of `sam build`: a layer, and a folder for each function. The checks are those of
`tests/integration/test_sample_events.py`.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from e2e.sam import LambdaStack, remove_containers
from integration.test_sample_events import CHECKS, DEMO, FOLDERS, body_of, sample
from invariants import all_rows

from local.seed import Seeder, container_id

# An operation, a function of an event, and the authorizer. `sam local invoke` takes several times as long as a server.
ALONE = ["authorizer", "start", "task_state_change"]


@pytest.fixture(scope="module")
def server(lambdas: LambdaStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("start-lambda") / "log"
    with lambdas.serve_functions(log):
        yield
    assert remove_containers(lambdas.built) == [], log.read_text()


def check_sample(lambdas: LambdaStack, folder: str) -> None:
    """Invoke a function with its sample event, and check the effect."""
    # Undo the changes of earlier events.
    for number, statuses in DEMO.items():
        Seeder(lambdas).add(container_id(number), statuses, launch_type="FARGATE" if number == 16 else "EC2")
    if folder == "restart":
        check_restart(lambdas, sample(folder))
    else:
        CHECKS[folder](lambdas, sample(folder))


def check_restart(lambdas: LambdaStack, event: Any) -> None:
    """Restart a container. Without events, the stop takes the whole wait, and the start is completed by an event."""
    assert body_of(lambdas, "restart", event, 202)["data"]["message"] == "Container is restarting"
    # The tasks of earlier samples may still run.
    task = max(lambdas.emulator.ecs.live(started_by=container_id(16)), key=lambda each: each.created_at)
    described = lambdas.client("ecs").describe_tasks(cluster="default", tasks=[task.arn])["tasks"][0]
    running = sample("task_state_change") | {
        "detail": json.loads(json.dumps(described | {"lastStatus": "RUNNING"}, default=datetime.isoformat))
    }
    assert lambdas.invoke(FOLDERS["task_state_change"], running) == {"effect": "settled"}
    assert [row["to_status"] for row in all_rows(lambdas, container_id(16))][-2:] == ["stopped", "running"]


@pytest.mark.parametrize("folder", ALONE)
def test_sam_local_invoke(lambdas: LambdaStack, folder: str) -> None:
    check_sample(lambdas, folder)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_sam_local_start_lambda(lambdas: LambdaStack, folder: str) -> None:
    check_sample(lambdas, folder)
