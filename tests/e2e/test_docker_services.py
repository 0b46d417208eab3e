"""Services of the local stack with real Docker containers."""

import subprocess
from collections.abc import Iterator

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from invariants import check
from service_seed import COUNT, add_service
from settling import eventually

from local.emulator.docker import STACK, DockerEngine, DockerUnavailableError, provide_busybox
from local.emulator.docker import check as check_docker
from local.stack import LocalStack

SERVICE = "web-in-docker"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    try:
        check_docker()
        provide_busybox()
    except DockerUnavailableError as missing:
        pytest.skip(str(missing))
    with LocalStack(port=0, docker=True, parameters=PARAMETERS, emulator_options=QUICK) as local:
        yield local


def running() -> set[str]:
    """Return the ids of the stack's running Docker containers that belong to the service."""
    label = f"label={STACK}={DockerEngine().stack}"
    listed = ["docker", "ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=running"]
    return set(subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split())


def operate(api: Api, container_id: str, operation: str, status: str) -> None:
    """Perform the operation, and wait until it has led to the status."""
    assert api.post(container_id, operation).status_code in (200, 202)
    view = eventually(lambda: api.get(container_id).json()["data"], lambda data: data["pending_operation"] is None)
    assert view["status"] == status


def test_a_service_runs_as_docker_containers(stack: LocalStack, api: Api) -> None:
    others = running()
    container = add_service(stack, SERVICE, "stopped")
    assert running() == others
    operate(api, container, "start", "running")
    first = running() - others
    assert len(first) == COUNT
    operate(api, container, "restart", "running")
    eventually(lambda: running() - others, lambda found: len(found) == COUNT and not found & first)
    operate(api, container, "stop", "stopped")
    eventually(lambda: running() == others)
    operate(api, container, "start", "running")
    assert len(running() - others) == COUNT
    operate(api, container, "force-stop", "stopped")
    eventually(lambda: running() == others)
    rows = api.rows(container)
    assert [row["to_status"] for row in rows] == ["stopped", "running", "running", "stopped", "running", "stopped"]
    assert check(stack, container)["desired_count"] == COUNT
