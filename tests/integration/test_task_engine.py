"""Tests of simulated tasks whose containers run in an engine, such as Docker."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.emulator import StaticCatalog, TaskSimulation
from local.emulator.ecs import NotStartedError, SimulatedContainer, SimulatedTask

IDS = {"app": "a" * 64, "side": "b" * 64}


class Engine:
    """An engine that records its calls and does nothing."""

    FAMILIES = ("web", "web-fargate")

    def __init__(self) -> None:
        self.recorded: list[tuple[str, ...]] = []
        self.fails = False

    def start(self, task: SimulatedTask) -> None:
        self._record(task, "start")

    def launch(self, task: SimulatedTask, paused: bool) -> dict[str, str]:
        if self.fails:
            raise NotStartedError("app", "CannotStartContainerError: no")
        self._record(task, "launch", "paused" if paused else "running")
        return IDS

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        self._record(task, "stop", container.name)

    def remove(self, task: SimulatedTask) -> None:
        self._record(task, "remove")

    def _record(self, task: SimulatedTask, *what: str) -> None:
        assert task.definition.family in self.FAMILIES
        self.recorded.append(what)


class World:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.engine = Engine()
        catalog = StaticCatalog()
        catalog.add_cluster("main")
        app = {"name": "app", "image": "app:1", "memory": 64, "dockerLabels": {"simulate.exit-after": "1"}}
        side = {"name": "side", "image": "side:1", "memory": 64, "essential": False}
        catalog.add_task_definition("web", [app, side])
        catalog.add_task_definition("web-fargate", [app, side], compatibilities=["FARGATE"])
        self.tasks = TaskSimulation(catalog, lambda: self.time, rng=random.Random(1), engine=self.engine)
        self.instance = self.tasks.add_instance("main")

    def advance(self, seconds: float = 3600 * 0.9) -> None:
        self.time += timedelta(seconds=seconds)
        self.tasks.advance(self.time)

    def run(self, launch_type: str = "EC2") -> SimulatedTask:
        family = "web-fargate" if launch_type == "FARGATE" else "web"
        parameters = {"cluster": "main", "taskDefinition": family, "launchType": launch_type}
        answer = self.tasks.handle("RunTask", parameters)
        return self.tasks.task(answer["tasks"][0]["taskArn"])

    def running(self) -> SimulatedTask:
        task = self.run()
        assert self.tasks.started(task.arn, IDS)
        return task

    def stop(self, task: SimulatedTask) -> None:
        self.tasks.handle("StopTask", {"cluster": "main", "task": task.arn})

    def events(self) -> list[str]:
        return [event["detail"]["lastStatus"] for event in self.tasks.drain_events()]


@pytest.fixture
def world() -> World:
    return World()


def codes(task: SimulatedTask) -> list[Any]:
    return [container.exit_code for container in task.containers]


def test_a_task_is_running_when_the_engine_reports_it(world: World) -> None:
    task = world.run()
    world.advance()
    assert (task.last_status, world.engine.recorded) == ("PENDING", [("start",)])
    assert world.tasks.started(task.arn, IDS)
    world.advance()
    assert task.last_status == "RUNNING", "the labels of a simulated process have no effect"
    assert [container.runtime_id for container in task.containers] == list(IDS.values())
    assert world.events() == ["PENDING", "RUNNING"]


def test_the_tasks_of_a_service_run_in_the_engine(world: World) -> None:
    service = {"cluster": "main", "serviceName": "web", "taskDefinition": "web", "desiredCount": 2}
    world.tasks.handle("CreateService", service)
    world.advance()
    assert world.engine.recorded == [("start",), ("start",)]
    for task in world.tasks.live():
        assert world.tasks.started(task.arn, IDS)
    world.tasks.handle("UpdateService", {"cluster": "main", "service": "web", "desiredCount": 1})
    world.advance()
    assert world.engine.recorded[2:] == [("stop", "app"), ("stop", "side")]


def test_fargate_containers_start_after_provisioning(world: World) -> None:
    task = world.run("FARGATE")
    assert world.engine.recorded == []
    world.advance()
    assert world.engine.recorded == [("start",)]
    world.tasks.started(task.arn, IDS)
    assert all(str(container.runtime_id).startswith(task.id) for container in task.containers)


def test_a_task_is_stopped_after_its_last_container(world: World) -> None:
    task = world.running()
    world.stop(task)
    world.advance()
    assert task.last_status == "STOPPING"
    assert world.engine.recorded == [("start",), ("stop", "app"), ("stop", "side")]
    world.tasks.exited(task.arn, "app", 0)
    assert task.last_status == "STOPPING"
    world.tasks.exited(task.arn, "side", 137, "OutOfMemoryError: Container killed due to memory usage")
    assert (task.last_status, task.stop_code, codes(task)) == ("STOPPED", "UserInitiated", [0, 137])
    assert task.to_api()["containers"][1]["reason"].startswith("OutOfMemoryError")
    assert world.events() == ["PENDING", "RUNNING", "RUNNING", "STOPPING", "STOPPING", "STOPPED"]


def test_the_end_of_an_essential_container_stops_the_others(world: World) -> None:
    task = world.running()
    world.tasks.exited(task.arn, "app", 3)
    assert world.engine.recorded == [("start",), ("stop", "side")]
    world.tasks.exited(task.arn, "side", 0)
    assert (task.last_status, task.stop_code, codes(task)) == ("STOPPED", "EssentialContainerExited", [3, 0])


def test_an_exit_reported_before_the_start(world: World) -> None:
    task = world.run()
    world.tasks.exited(task.arn, "app", 3)
    world.tasks.exited(task.arn, "side", 0)
    assert task.last_status == "PENDING"
    assert world.tasks.started(task.arn, IDS)
    assert (task.last_status, codes(task)) == ("STOPPED", [3, 0])
    assert world.events() == ["PENDING", "RUNNING", "RUNNING", "STOPPED"]


def test_a_task_that_fails_to_start_stops_with_a_reason(world: World) -> None:
    task = world.run()
    world.tasks.not_started(task.arn, "side", "CannotPullContainerError: no")
    assert (task.last_status, task.stop_code, task.stopped_reason) == (
        "STOPPED",
        "TaskFailedToStart",
        "Task failed to start",
    )
    assert task.to_api()["containers"][1]["reason"] == "CannotPullContainerError: no"
    assert task.started_at is None


@pytest.mark.parametrize("starts", [True, False])
def test_a_stop_while_it_starts_waits_for_the_engine(world: World, starts: bool) -> None:
    task = world.run()
    world.stop(task)
    world.advance()
    assert task.last_status == "PENDING", "a container may run already"
    if starts:
        assert not world.tasks.started(task.arn, IDS), "the task is no longer wanted"
    else:
        world.tasks.not_started(task.arn, "app", "CannotPullContainerError: no")
    assert (task.last_status, task.stop_code, task.started_at) == ("STOPPED", "UserInitiated", None)
    assert codes(task) == [None, None]


def exit_and_expire(world: World, task: SimulatedTask) -> None:
    world.tasks.exited(task.arn, "app", 0)
    world.tasks.exited(task.arn, "side", 0)
    world.advance(3601)


@pytest.mark.parametrize(
    "removal",
    [
        lambda world, _task: world.tasks.terminate_instance(world.instance),
        lambda world, task: world.tasks.forget(task.arn),
        exit_and_expire,
    ],
    ids=["its host is terminated", "ECS forgets it alive", "ECS forgets it an hour after its end"],
)
def test_containers_are_removed_with_their_task(world: World, removal: Callable[[World, SimulatedTask], None]) -> None:
    task = world.running()
    removal(world, task)
    assert world.engine.recorded.count(("remove",)) == 1
    # Late notifications have no effect.
    world.tasks.exited(task.arn, "app", 1)
    world.tasks.not_started(task.arn, "app", "no")
    world.tasks.frozen(task.arn, "app", True)
    assert not world.tasks.started(task.arn, IDS)


def test_a_task_that_ran_before_the_stack(world: World) -> None:
    task = world.tasks.adopt_running("main", "web", paused=True)
    assert (task.last_status, world.events(), world.engine.recorded) == ("RUNNING", [], [("launch", "paused")])
    assert [(container.runtime_id, container.paused) for container in task.containers] == [
        (identity, True) for identity in IDS.values()
    ]
    world.tasks.frozen(task.arn, "app", False)
    assert [container.paused for container in task.containers] == [False, True]


def test_a_task_that_ran_before_the_stack_fails_to_start(world: World) -> None:
    world.engine.fails = True
    with pytest.raises(NotStartedError, match="CannotStartContainerError"):
        world.tasks.adopt_running("main", "web")
    assert world.tasks.tasks() == []
