"""Tests of every function in a Lambda container, with its event in `events/`.

The code is the output of `sam build`: a layer, and a folder for each function. The checks are those of
`tests/integration/test_sample_events.py`.
"""

from collections.abc import Iterator

import pytest
from e2e.sam import LambdaStack, remove_containers
from integration.test_sample_events import CHECKS, DEMO, FOLDERS, sample

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
    CHECKS[folder](lambdas, sample(folder))


@pytest.mark.parametrize("folder", ALONE)
def test_sam_local_invoke(lambdas: LambdaStack, folder: str) -> None:
    check_sample(lambdas, folder)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_sam_local_start_lambda(lambdas: LambdaStack, folder: str) -> None:
    check_sample(lambdas, folder)
