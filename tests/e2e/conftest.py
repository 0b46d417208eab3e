"""Fixtures of the end-to-end tests: the output of `sam build`, and a stack whose functions run from it.

The tests need Docker, and SAM CLI, which `make e2e` installs. Without them they are skipped.
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
    """Skip the test if no Lambda container can run."""
    _need(sam.lacks_containers())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the template and the code that `sam build` creates."""
    _need(sam.lacks_sam())
    folder = tmp_path_factory.mktemp("sam") / "build"
    ran = sam.build(folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def lambdas(docker: None, built: Path) -> Iterator[sam.LambdaStack]:
    """The seeded local stack with its functions in Lambda containers, on DynamoDB Local if available."""
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
