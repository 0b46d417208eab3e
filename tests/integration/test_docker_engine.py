"""Tests of the Docker engine with a fake Docker daemon: its requests to Docker, and its reports to the simulation."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import FakeDaemon
from settling import eventually

from local.emulator import StaticCatalog, TaskSimulation
from local.emulator.docker import STACK, TASK, DockerEngine, DockerUnavailableError, check, options
from local.emulator.ecs import SimulatedTask
from local.emulator.server import _utcnow

APP = {
    "name": "app",
    "image": "busybox:local",
    "entryPoint": ["sh", "-c"],
    "command": ["sleep 60"],
    "environment": [{"name": "GREETING", "value": "hello"}],
    "user": "1000",
    "workingDirectory": "/tmp",
    "cpu": 256,
    "memory": 64,
    "dockerLabels": {"team": "blue"},
    "stopTimeout": 7,
}

TASK_OF_ONE = {"cluster": "main", "taskDefinition": "web", "launchType": "EC2"}


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "docker.sock") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.url)
        monkeypatch.setattr("local.emulator.docker.check", lambda: None)
        yield daemon


class World:
    """A task simulation whose containers the Docker engine runs."""

    def __init__(self, **definition: Any) -> None:
        catalog = StaticCatalog()
        catalog.add_cluster("main")
        catalog.add_task_definition("web", [APP | definition])
        self.engine = DockerEngine()
        self.tasks = TaskSimulation(catalog, _utcnow, 0, 0, engine=self.engine)
        self.tasks.add_instance("main")
        self.engine.open(self.tasks)

    def run(self) -> SimulatedTask:
        answer = self.tasks.handle("RunTask", TASK_OF_ONE)
        return self.tasks.task(answer["tasks"][0]["taskArn"])

    def status(self, task: SimulatedTask) -> str:
        self.tasks.advance(_utcnow())
        return self.tasks.task(task.arn).last_status


@pytest.fixture
def world(daemon: FakeDaemon) -> Iterator[World]:
    world = World()
    yield world
    world.engine.close()


def running(world: World, daemon: FakeDaemon) -> tuple[SimulatedTask, str]:
    task = world.run()
    eventually(lambda: world.status(task) == "RUNNING")
    eventually(lambda: daemon.streams == 1)
    return task, str(task.containers[0].runtime_id)


def test_options_of_a_container_definition() -> None:
    assert options(APP) == {
        "entrypoint": ["sh", "-c"],
        "command": ["sleep 60"],
        "environment": {"GREETING": "hello"},
        "user": "1000",
        "working_dir": "/tmp",
        "cpu_shares": 256,
        "mem_limit": "64m",
    }
    assert options({"name": "app", "image": "busybox:local", "cpu": 0, "command": []}) == {}


def test_a_task_runs_as_a_container(world: World, daemon: FakeDaemon) -> None:
    task, identity = running(world, daemon)
    created = daemon.containers[identity]
    assert created["Name"] == f"ecs-web-1-app-{task.id[:12]}"
    assert created["Labels"]["team"] == "blue"
    assert (created["Labels"][STACK], created["Labels"][TASK]) == (world.engine.stack, task.arn)
    assert (created["Entrypoint"], created["Cmd"], created["Env"]) == (["sh", "-c"], ["sleep 60"], ["GREETING=hello"])
    assert (created["User"], created["WorkingDir"]) == ("1000", "/tmp")
    assert created["HostConfig"]["Memory"] == 64 * 2**20
    assert created["HostConfig"]["CpuShares"] == 256
    assert f"POST /containers/{identity}/start" in daemon.requests


def test_an_exit_is_reported(world: World, daemon: FakeDaemon) -> None:
    task, identity = running(world, daemon)
    daemon.containers[identity]["oom"] = True
    daemon.emit("die", identity, at=1, exitCode="5")  # earlier than the engine
    daemon.emit("die", identity, exitCode="137")
    eventually(lambda: world.status(task) == "STOPPED")
    (container,) = world.tasks.task(task.arn).containers
    assert container.exit_code == 137
    assert str(container.reason).startswith("OutOfMemoryError")


def test_events_after_a_restart_of_docker_are_reported(world: World, daemon: FakeDaemon) -> None:
    task, identity = running(world, daemon)
    daemon.end_streams()
    eventually(lambda: daemon.streams == 1)
    daemon.emit("die", identity, exitCode="0")
    eventually(lambda: world.status(task) == "STOPPED")


def test_stop_passes_the_stop_timeout(world: World, daemon: FakeDaemon) -> None:
    task, identity = running(world, daemon)
    world.tasks.handle("StopTask", {"cluster": "main", "task": task.arn})
    world.tasks.advance(_utcnow())
    eventually(lambda: f"POST /containers/{identity}/stop?t=7" in daemon.requests)


@pytest.mark.parametrize(
    ("refused", "image", "error"),
    [
        ({}, "registry.invalid/none:1", "CannotPullContainerError: pull access denied for registry.invalid/none"),
        (
            {"POST /containers/create": "no space"},
            "busybox:local",
            "CannotCreateContainerError: Error response from daemon: no space",
        ),
        (
            {"POST /containers/.*/start": "no such program"},
            "busybox:local",
            "CannotStartContainerError: Error response from daemon: no such program",
        ),
    ],
)
def test_a_container_that_cannot_start(daemon: FakeDaemon, refused: dict[str, str], image: str, error: str) -> None:
    daemon.refused = refused
    world = World(image=image)
    try:
        task = world.run()
        eventually(lambda: world.status(task) == "STOPPED")
        assert world.tasks.task(task.arn).containers[0].reason == error
        assert daemon.containers == {}
    finally:
        world.engine.close()


def test_close_removes_the_containers_and_ends_the_threads(world: World, daemon: FakeDaemon) -> None:
    running(world, daemon)
    world.engine.close()
    assert daemon.containers == {}
    assert not [thread for thread in threading.enumerate() if thread.name == "emulator-docker"]


def test_open_removes_the_containers_of_abandoned_stacks(daemon: FakeDaemon) -> None:
    node = DockerEngine().stack.rpartition("/")[0]
    stacks = {"1" * 64: f"{node}/{2**22 + 1}", "2" * 64: f"{node}/{os.getppid()}", "3" * 64: "another/1"}
    daemon.containers = {identity: {"Id": identity, "Labels": {STACK: stack}} for identity, stack in stacks.items()}
    World().engine.close()
    assert set(daemon.containers) == {"2" * 64, "3" * 64}


def test_docker_that_does_not_respond_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("flock", "setsid", "docker"):
        script = tmp_path / tool
        script.write_text("#!/bin/sh\necho Client:\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerUnavailableError, match="Docker does not respond: Cannot connect to the Docker daemon"):
        check()
    (tmp_path / "setsid").unlink()
    with pytest.raises(DockerUnavailableError, match="setsid of util-linux is not installed"):
        check()
