"""The simulations of tasks and commands on a virtual clock, without HTTP."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from emulated import DOCUMENT

from local.emulator import AwsError, CommandSimulation, StaticCatalog, TaskSimulation


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def virtual(seed: int = 1) -> tuple[Clock, TaskSimulation, CommandSimulation]:
    clock = Clock()
    catalog = StaticCatalog()
    catalog.add_cluster("main")
    catalog.add_task_definition("web", [{"name": "app", "image": "app:1", "memory": 10}])
    tasks = TaskSimulation(catalog, clock, rng=random.Random(seed))
    tasks.add_instance("main", "i-1")
    commands = CommandSimulation(tasks, lambda *_: DOCUMENT, clock, rng=random.Random(seed))
    return clock, tasks, commands


def story(seed: int) -> list[dict[str, Any]]:
    clock, tasks, commands = virtual(seed)
    answer = tasks.handle("RunTask", {"cluster": "main", "taskDefinition": "web"})
    arn = answer["tasks"][0]["taskArn"]
    clock.now += timedelta(seconds=1)
    runtime_id = str(tasks.task(arn).containers[0].runtime_id)
    parameters = {"action": ["pause"], "runtimeIds": [runtime_id]}
    commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": ["i-1"], "Parameters": parameters})
    clock.now += timedelta(seconds=1)
    commands.advance(clock.now)
    tasks.handle("StopTask", {"cluster": "main", "task": arn})
    while (due := tasks.next_due()) is not None:
        clock.now = due
        tasks.advance(due)
    return tasks.drain_events()


def test_the_same_seed_gives_the_same_events() -> None:
    events = story(7)
    assert events == story(7)
    detail = events[-1]["detail"]
    assert (detail["lastStatus"], detail["containers"][0]["exitCode"]) == ("STOPPED", 137)
    # Paused, it lasted the whole stopTimeout.
    assert detail["stoppingAt"] == "2030-01-01T00:00:02.000Z"
    assert detail["stoppedAt"] == "2030-01-01T00:00:32.000Z"


def test_tasks_and_tokens_expire() -> None:
    clock, tasks, _ = virtual()
    request = {"cluster": "main", "taskDefinition": "web", "clientToken": "t"}
    arn = tasks.handle("RunTask", request)["tasks"][0]["taskArn"]
    clock.now += timedelta(hours=23)
    assert tasks.handle("RunTask", request)["tasks"][0]["taskArn"] == arn
    tasks.exit(arn, 0)
    clock.now += timedelta(minutes=59)
    assert tasks.handle("DescribeTasks", {"cluster": "main", "tasks": [arn]})["failures"] == []
    clock.now += timedelta(minutes=1)
    failures = tasks.handle("DescribeTasks", {"cluster": "main", "tasks": [arn]})["failures"]
    assert failures == [{"arn": arn, "reason": "MISSING"}]
    assert tasks.handle("RunTask", request)["tasks"][0]["taskArn"] != arn
    with pytest.raises(AwsError, match="The referenced task was not found"):
        tasks.handle("StopTask", {"cluster": "main", "task": arn})


def test_an_invocation_is_unknown_at_first() -> None:
    clock, _, commands = virtual()
    parameters = {"action": ["kill"], "runtimeIds": ["0" * 64]}
    sent = commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": ["i-1"], "Parameters": parameters})
    question = {"CommandId": sent["Command"]["CommandId"], "InstanceId": "i-1"}
    with pytest.raises(AwsError, match="InvocationDoesNotExist"):
        commands.handle("GetCommandInvocation", question)
    seen = []
    for milliseconds in (20, 40, 60):
        clock.now += timedelta(milliseconds=milliseconds)
        seen.append(commands.handle("GetCommandInvocation", question)["Status"])
    assert seen == ["Pending", "InProgress", "Success"]


def test_an_unpaused_process_continues() -> None:
    clock, tasks, _ = virtual()
    catalog_task = tasks.adopt_running("main", "web")
    container = catalog_task.containers[0]
    container.exits_at = clock.now + timedelta(seconds=10)
    runtime_id = str(container.runtime_id)
    clock.now += timedelta(seconds=4)
    tasks.host_command("i-1", "pause", [runtime_id])
    clock.now += timedelta(hours=1)
    tasks.host_command("i-1", "unpause", [runtime_id])
    assert tasks.next_due() == clock.now + timedelta(seconds=6)
