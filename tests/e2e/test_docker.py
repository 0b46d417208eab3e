"""Tests of the local stack with real Docker containers: the API reports the states that Docker reports.

Without a Docker engine the tests are skipped.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from invariants import all_rows, check
from settling import eventually

from local.emulator import StaticCatalog, TaskSimulation
from local.emulator.docker import BUSYBOX, STACK, DockerEngine, DockerUnavailableError, provide_busybox
from local.emulator.docker import check as check_docker
from local.seed import Seeder
from local.stack import LocalStack

# Writes ten lines a second.
COUNT = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1 & wait $!; done"
DEFINITIONS: dict[str, dict[str, Any]] = {
    "polite": {"command": ["sh", "-c", f"trap 'exit 0' TERM; {COUNT}"]},
    "deaf": {"command": ["sh", "-c", f"trap '' TERM; {COUNT}"], "stopTimeout": 2},
    "deaf-for-long": {"command": ["sh", "-c", f"trap '' TERM; {COUNT}"], "stopTimeout": 30},
    "told": {
        "entryPoint": ["sh", "-c"],
        "command": ['echo "$GREETING, $0"; exec sleep 60', "world"],
        "environment": [{"name": "GREETING", "value": "hello"}],
        "stopTimeout": 2,
    },
    "short": {"command": ["sh", "-c", "exit 0"]},
    "breakable": {"command": ["sh", "-c", "until [ -e /broken ]; do sleep 0.1; done; exit 3"]},
    "no-image": {"image": "registry.invalid/none:1", "command": ["true"]},
    "no-command": {"command": ["/no/such/program"]},
}


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def docker_state(runtime_id: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", runtime_id)


def lines(runtime_id: str) -> int:
    return docker("logs", runtime_id).count("\n")


def grows(runtime_id: str) -> bool:
    before = lines(runtime_id)
    time.sleep(0.5)
    return lines(runtime_id) > before


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    try:
        check_docker()
        provide_busybox()
    except DockerUnavailableError as missing:
        pytest.skip(str(missing))
    with LocalStack(port=0, docker=True, parameters=PARAMETERS, emulator_options=QUICK) as local:
        for family, settings in DEFINITIONS.items():
            Seeder(local).task_definition(family, **settings)
        yield local
    label = f"label={STACK}={DockerEngine().stack}"
    assert docker("ps", "--all", "--quiet", "--filter", label) == "", "the stack has left containers behind"


@pytest.fixture
def runtime_ids(stack: LocalStack, fresh_id: str) -> Callable[[], list[str]]:
    """A function that returns the Docker ids of the container's live task."""

    def find() -> list[str]:
        (task,) = stack.emulator.ecs.live(started_by=fresh_id)
        ids = [container.runtime_id for container in task.containers]
        assert all(identity and re.fullmatch("[0-9a-f]{64}", identity) for identity in ids)
        return [str(identity) for identity in ids]

    return find


@pytest.fixture
def run(api: Api, seeder: Seeder, fresh_id: str, runtime_ids: Callable[[], list[str]]) -> Callable[[str], str]:
    """A function that starts the container with a task definition, and returns its Docker id."""

    def start(family: str) -> str:
        seeder.add(fresh_id, ["stopped"], task_definition=family)
        assert perform(api, fresh_id, "start") == "running"
        (runtime_id,) = runtime_ids()
        return runtime_id

    return start


def perform(api: Api, container_id: str, operation: str) -> str:
    """Perform the operation, and return the resulting status."""
    response = api.post(container_id, operation)
    assert response.status_code == 200, response.text
    return str(response.json()["data"]["status"])


def last_row(stack: LocalStack, container_id: str) -> dict[str, Any]:
    return all_rows(stack, container_id)[-1]


def test_start_runs_the_task_definition(stack: LocalStack, run: Callable[[str], str], fresh_id: str) -> None:
    runtime_id = run("told")
    listed = docker("ps", "--no-trunc", "--filter", f"id={runtime_id}", "--format", "{{.Image}} {{.State}} {{.Names}}")
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    assert listed == f"{BUSYBOX} running ecs-told-1-app-{task.id[:12]}"
    assert docker("logs", runtime_id) == "hello, world"
    check(stack, fresh_id)


def test_a_paused_process_is_frozen(stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str) -> None:
    runtime_id = run("polite")
    assert grows(runtime_id)
    assert perform(api, fresh_id, "pause") == "paused"
    assert docker_state(runtime_id) == "paused"
    assert not grows(runtime_id)
    assert perform(api, fresh_id, "resume") == "running"
    assert docker_state(runtime_id) == "running"
    assert grows(runtime_id)
    check(stack, fresh_id)


def test_an_operation_completes_without_waiting_for_the_host(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str
) -> None:
    """The event of the command on the host completes the operation."""
    from longshore.wiring import api_functions

    runtime_id = run("polite")
    with patch.object(api_functions.operations(), "wait", timedelta()):
        for operation, status in (("pause", "paused"), ("resume", "running")):
            assert api.post(fresh_id, operation).status_code == 202
            eventually(lambda: api.get(fresh_id).json()["data"]["status"], status.__eq__)
            assert docker_state(runtime_id) == status
            check(stack, fresh_id)


def test_stop_lets_a_process_handle_sigterm(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str
) -> None:
    runtime_id = run("polite")
    assert perform(api, fresh_id, "stop") == "stopped"
    assert docker_state(runtime_id) == "exited"
    metadata = last_row(stack, fresh_id)["metadata"]
    assert (metadata["exit_code"], metadata["stop_code"]) == (0, "UserInitiated")
    check(stack, fresh_id)


def test_stop_kills_a_process_that_ignores_sigterm(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str
) -> None:
    runtime_id = run("deaf")
    began = time.monotonic()
    assert perform(api, fresh_id, "stop") == "stopped"
    assert time.monotonic() - began >= 2
    assert docker_state(runtime_id) == "exited"
    metadata = last_row(stack, fresh_id)["metadata"]
    assert (metadata["exit_code"], metadata["stop_code"]) == (137, "UserInitiated")
    check(stack, fresh_id)


def test_force_stop_does_not_wait(stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str) -> None:
    runtime_id = run("deaf-for-long")
    began = time.monotonic()
    assert perform(api, fresh_id, "force-stop") == "stopped"
    assert time.monotonic() - began < 3
    assert docker_state(runtime_id) == "exited"
    assert last_row(stack, fresh_id)["metadata"]["exit_code"] == 137
    check(stack, fresh_id)


def test_force_stop_of_a_paused_container(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str
) -> None:
    runtime_id = run("deaf-for-long")
    assert perform(api, fresh_id, "pause") == "paused"
    began = time.monotonic()
    assert perform(api, fresh_id, "force-stop") == "stopped"
    assert time.monotonic() - began < 3
    assert docker_state(runtime_id) == "exited"
    check(stack, fresh_id)


def test_restart_runs_a_new_container(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str, runtime_ids: Callable[[], list[str]]
) -> None:
    old = run("polite")
    assert perform(api, fresh_id, "restart") == "running"
    (new,) = runtime_ids()
    assert new != old
    assert (docker_state(old), docker_state(new)) == ("exited", "running")
    check(stack, fresh_id)


@pytest.mark.parametrize("paused", [False, True])
def test_stop_unpauses_a_paused_container(
    stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str, paused: bool
) -> None:
    """This includes a container that another process has unpaused."""
    runtime_id = run("polite")
    assert perform(api, fresh_id, "pause") == "paused"
    if not paused:
        docker("unpause", runtime_id)
    assert perform(api, fresh_id, "stop") == "stopped"
    assert docker_state(runtime_id) == "exited"
    assert last_row(stack, fresh_id)["metadata"]["exit_code"] == 0
    check(stack, fresh_id)


def test_ecs_stops_a_paused_container(stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str) -> None:
    """Docker unpauses it, so the process receives SIGTERM."""
    runtime_id = run("polite")
    assert perform(api, fresh_id, "pause") == "paused"
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.client("ecs").stop_task(cluster=task.cluster.name, task=task.arn)
    eventually(lambda: api.get(fresh_id).json()["data"]["status"] != "paused")
    assert docker_state(runtime_id) == "exited"
    row = last_row(stack, fresh_id)
    assert (row["to_status"], row["triggered_by"], row["metadata"]["exit_code"]) == ("stopped", "system", 0)
    check(stack, fresh_id)


def test_an_external_kill_is_a_failure(stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str) -> None:
    runtime_id = run("polite")
    docker("kill", runtime_id)
    eventually(lambda: api.get(fresh_id).json()["data"]["status"] == "failed")
    row = last_row(stack, fresh_id)
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "failed", "system")
    assert (row["metadata"]["exit_code"], row["metadata"]["stop_code"]) == (137, "EssentialContainerExited")
    check(stack, fresh_id)


def test_a_process_that_exits(stack: LocalStack, api: Api, run: Callable[[str], str], fresh_id: str) -> None:
    docker("exec", run("breakable"), "sh", "-c", ": >/broken")
    eventually(lambda: api.get(fresh_id).json()["data"]["status"] == "failed")
    metadata = last_row(stack, fresh_id)["metadata"]
    assert (metadata["exit_code"], metadata["stop_code"]) == (3, "EssentialContainerExited")
    check(stack, fresh_id)


def test_a_process_that_exits_immediately(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="short")
    assert api.post(fresh_id, "start").status_code == 200
    eventually(lambda: len(all_rows(stack, fresh_id)) == 3)
    assert [row["to_status"] for row in all_rows(stack, fresh_id)] == ["stopped", "running", "stopped"]
    check(stack, fresh_id)


@pytest.mark.parametrize(
    ("family", "error"), [("no-image", "CannotPullContainerError"), ("no-command", "CannotStartContainerError")]
)
def test_a_task_that_cannot_start(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, family: str, error: str
) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition=family)
    response = api.post(fresh_id, "start")
    assert (response.status_code, response.json()["code"]) == (500, "EXTERNAL_SERVICE_ERROR")
    assert response.json()["data"]["reason"].startswith(f"Task failed to start: {error}: ")
    assert check(stack, fresh_id)["status"] == "failed"
    (task,) = [task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]
    assert docker("ps", "--all", "--quiet", "--filter", f"name={task.id[:12]}") == ""


def test_all_containers_of_a_task_are_paused_and_killed(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, runtime_ids: Callable[[], list[str]]
) -> None:
    command = DEFINITIONS["deaf-for-long"]["command"]
    stack.client("ecs").register_task_definition(
        family="pair",
        containerDefinitions=[
            {"name": name, "image": BUSYBOX, "memory": 64, "command": command, "stopTimeout": 30}
            for name in ("app", "side")
        ],
    )
    seeder.add(fresh_id, ["stopped"], task_definition="pair")
    assert perform(api, fresh_id, "start") == "running"
    ids = runtime_ids()
    assert len(set(ids)) == 2
    assert perform(api, fresh_id, "pause") == "paused"
    assert [docker_state(runtime_id) for runtime_id in ids] == ["paused", "paused"]
    assert perform(api, fresh_id, "resume") == "running"
    assert [docker_state(runtime_id) for runtime_id in ids] == ["running", "running"]
    assert perform(api, fresh_id, "force-stop") == "stopped"
    assert [docker_state(runtime_id) for runtime_id in ids] == ["exited", "exited"]
    check(stack, fresh_id)


def test_a_task_that_has_lost_a_container_is_paused_and_resumed(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, runtime_ids: Callable[[], list[str]]
) -> None:
    command = DEFINITIONS["polite"]["command"]
    app = {"name": "app", "image": BUSYBOX, "memory": 64, "command": command}
    side = {**app, "name": "side", "essential": False}
    stack.client("ecs").register_task_definition(family="app-and-side", containerDefinitions=[app, side])
    seeder.add(fresh_id, ["stopped"], task_definition="app-and-side")
    assert perform(api, fresh_id, "start") == "running"
    app_id, side_id = runtime_ids()
    docker("kill", side_id)
    for operation, status in (("pause", "paused"), ("resume", "running")):
        assert perform(api, fresh_id, operation) == status
        assert [docker_state(runtime_id) for runtime_id in (app_id, side_id)] == [status, "exited"]
    check(stack, fresh_id)


def test_fargate_runs_and_stops(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The runtime ids of Fargate are not Docker's, so commands on a host cannot change the container."""
    seeder.add(fresh_id, ["stopped"], launch_type="FARGATE")
    assert perform(api, fresh_id, "start") == "running"
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    runs = ["ps", "--quiet", "--filter", f"name={task.id[:12]}"]
    assert docker(*runs)
    assert perform(api, fresh_id, "force-stop") == "stopped"
    assert not docker(*runs)
    assert last_row(stack, fresh_id)["metadata"]["exit_code"] == 0
    check(stack, fresh_id)


def test_the_containers_of_the_seed_run(stack: LocalStack) -> None:
    """The containers of the seed that are running or paused when the stack starts."""
    states = {}
    for number in (12, 13):
        (task,) = stack.emulator.ecs.live(started_by=f"507f1f77bcf86cd7994390{number}")
        states[number] = docker_state(str(task.containers[0].runtime_id))
    assert states == {12: "running", 13: "paused"}


def test_containers_of_a_crashed_stack_are_removed(stack: LocalStack) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    node = DockerEngine().stack.rpartition("/")[0]
    made = [
        docker("run", "--detach", "--label", f"{STACK}={node}/{process}", BUSYBOX, "sleep", "60")
        for process in (ended.pid, os.getppid())
    ]
    engine = DockerEngine()
    engine.stack = "another/1"
    try:
        engine.open(TaskSimulation(StaticCatalog(), stack.emulator.ecs._now, engine=engine))
        found = docker("ps", "--quiet", "--no-trunc", "--filter", f"label={STACK}")
        assert made[0] not in found, "its process has ended"
        assert made[1] in found, "its process is running"
    finally:
        engine.close()
        subprocess.run(["docker", "rm", "--force", *made], check=True, capture_output=True)
