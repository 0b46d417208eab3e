"""What the end-to-end tests share: the folder that `sam build` made, and a stack whose functions run from it.

They need SAM CLI and Docker, which `make e2e` sets up: without them they are skipped.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import sam

from local.dynamodb_local import DynamoDbLocalUnavailableError

QUICK = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}

pytest.register_assert_rewrite("integration.test_sample_events")


@pytest.fixture(scope="session")
def docker() -> None:
    """Skips where no Lambda container can be run."""
    _need(sam.lacks_containers())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the template and the code as `sam build` leaves them."""
    _need(sam.lacks_sam())
    folder = tmp_path_factory.mktemp("sam") / "build"
    ran = sam.build(folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def lambdas(docker: None, built: Path) -> Iterator[sam.LambdaStack]:
    """The seeded local stack, its functions in Lambda containers. On DynamoDB Local where it can be had."""
    database = "local" if os.environ.get("CI") or (shutil.which("java") and shutil.which("npm")) else "moto"
    stack = sam.LambdaStack(built, dynamodb=database, emulator_options=QUICK)
    try:
        stack.start()
    except DynamoDbLocalUnavailableError as missing:
        _need(str(missing))
    yield stack
    stack.stop()
    assert sam.remove_containers(built) == []


def _need(reason: str | None) -> None:
    if reason is not None:
        pytest.skip(reason)
