"""Scenarios of events, sweeps and schedules, which drive each function through every AWS call of its code."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from settling import recover_all, set_looks_back
from template.scene import (
    ACTS,
    LONG_RUNNING,
    PAUSED,
    RUNNING,
    STOPPED,
    WITH_ROLES,
    Scene,
    terminated,
)

from local import template
from local.runtime import FunctionError
from local.seed import INSTANCE, PROJECT, WEB


def task_events(scene: Scene) -> None:
    container = scene.add(RUNNING)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.deliver(container, "STOPPED") == "recorded"

    # The start ran a task, but its request failed. The commit stores the answer, or releases the key.
    for family, status in ((WITH_ROLES, "RUNNING"), ("unpullable", "STOPPED")):
        container = scene.add(STOPPED, task_definition=family)
        scene.leave_pending(container, "start", key=f"{family} told", lost=True)
        assert scene.deliver(container, status) == "settled"

    # A restart continues with its second step.
    container = scene.add(RUNNING)
    scene.leave_pending(container, "restart")
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.deliver(container, "STOPPED") == "settled"

    # The event of the end of a failed container's task is late: a force-stop has superseded the restart by then. The
    # restart may have run another task, which has to be stopped too.
    for launch_type, refuses in (("EC2", False), ("EXTERNAL", False), ("EC2", True)):
        container = scene.failed_with_live_tasks(launch_type)
        scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
        scene.task_event(container, "STOPPED")
        scene.leave_pending(container, "restart", by="RunTask", lost=True)
        scene.task_event(container, "RUNNING")
        scene.leave_pending(container, "force-stop", by="RunTask")
        if refuses:
            scene.stack.emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)
        assert scene.deliver(container, "STOPPED") == "settled"

    # One of two tasks has ended while a force-stop ends both. The other one is killed.
    for launch_type in ("EC2", "EXTERNAL"):
        container = scene.failed_with_live_tasks(launch_type, number=2)
        scene.leave_pending(container, "force-stop")
        scene.stack.emulator.ecs.exit(scene.stack.emulator.ecs.live(started_by=container)[0].arn, 1)
        assert scene.deliver(container, "STOPPED") == "settled"

    # A stray task.
    container = scene.add(RUNNING)
    event = {"detail": scene.stack.emulator.ecs.task(scene.stray(container)).to_api()}
    event = iso_times(event)
    assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "stray-stopped"}

    # The container failed because ECS did not show its task. A later event shows the task again.
    container = scene.add(RUNNING)
    task = scene.stack.emulator.ecs.task(scene.task_of(container))
    scene.stack.client("dynamodb").update_item(
        TableName=scene.stack.table_name("ContainersTable"),
        Key={"id": {"S": container}},
        UpdateExpression="SET #status = :failed, last_task = :gone REMOVE live_project_id, task_arn, tasks",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":failed": {"S": "failed"},
            ":gone": {"M": {"id": {"S": task.id}, "gone": {"BOOL": True}}},
        },
    )
    event = iso_times({"detail": task.to_api() | {"version": 99}})
    assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "recorded"}

    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_pending(container, "stop")
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        event = scene.task_event(container, "STOPPED")
        # The end of the task is stored for the expired container.
        assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "recorded"}


def command_events(scene: Scene) -> None:
    function = "CommandFinishedFunction"
    for operation, history in (("pause", RUNNING), ("resume", PAUSED), ("stop", PAUSED)):
        container = scene.add(history)
        scene.post_without_waiting(container, operation, key=f"{operation} by its host")
        assert scene.invoke(function, scene.command_event(container)) == {"effect": "settled"}
    # The request failed: the commit stores the answer.
    container = scene.add(RUNNING)
    scene.leave_pending(container, "pause", key="pause by its host, lost", lost=True)
    assert scene.invoke(function, scene.command_event(container)) == {"effect": "settled"}

    # A restart continues with its second step if the task has already stopped.
    container = scene.add(PAUSED)
    scene.post_without_waiting(container, "restart")
    event = scene.command_event(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.invoke(function, event) == {"effect": "settled"}

    # The task of a restart's second step cannot be placed: the key is released.
    container = scene.add(PAUSED)
    scene.leave_pending(container, "restart", key="not placed after its host", lost=True)
    event = scene.command_event(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    with scene.no_capacity():
        assert scene.invoke(function, event) == {"effect": "settled"}

    # ECS rejects the client token of a restart's second step, so its task is searched for.
    container = scene.add(PAUSED)
    scene.post_without_waiting(container, "restart")
    event = scene.command_event(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    scene.reject_the_client_token()
    assert scene.invoke(function, event) == {"effect": "settled"}

    container = scene.add(RUNNING, server=INSTANCE)
    scene.post_without_waiting(container, "pause")
    event = scene.command_event(container)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        assert scene.invoke(function, event) == {"effect": "stale"}


def iso_times(node: Any) -> Any:
    """Convert times to the format that events use."""
    if isinstance(node, dict):
        return {key: iso_times(value) for key, value in node.items()}
    if isinstance(node, list):
        return [iso_times(item) for item in node]
    return node.isoformat() if hasattr(node, "isoformat") else node


def recovery(scene: Scene) -> None:
    for operation, (_, _, history) in ACTS.items():
        container = scene.add(history)
        scene.leave_pending(container, operation, key=f"{operation} recovered", lost=operation == "start")
        scene.recover(container)
    container = scene.add(STOPPED, task_definition="unpullable")
    scene.leave_pending(container, "start", key="unpullable recovered", lost=True)
    scene.recover(container)
    for launch_type in ("EC2", "EXTERNAL"):
        container = scene.add(PAUSED, launch_type=launch_type, task_definition=WEB)
        scene.leave_pending(container, "stop")
        scene.recover(container)
    container = scene.add(RUNNING)
    scene.leave_pending(container, "stop")
    scene.leave_pending(container, "force-stop")
    scene.recover(container)
    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_pending(container, "stop")
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        scene.recover(container)


def drift(scene: Scene) -> None:
    container = scene.add(LONG_RUNNING)
    scene.stack.emulator.ecs.forget(scene.task_of(container))
    scene.stray(scene.add(RUNNING))
    result = scene.invoke("RecoverFunction", {"sweep": "drift"})
    assert {"absent", "stray-stopped"} <= result.keys()
    assert set_looks_back(scene.stack, container)
    assert "repaired" in scene.invoke("RecoverFunction", {"sweep": "drift"})

    # The function runs out of time after its first page. Invoking the next one fails here.
    from longshore.aws import index
    from longshore.edge import lambda_events as events

    scene.add(RUNNING)
    scene.add(RUNNING)
    scene.stack.emulator.faults.add("lambda", "Invoke", "InvalidRequestContentException", status=400)
    with (
        patch.object(events, "_RESERVE", 10**9),
        patch.object(index, "BATCH", 1),
        scene.recorder.recording("RecoverFunction"),
        pytest.raises(FunctionError, match="ExternalServiceError"),
    ):
        scene.stack.invoke("RecoverFunction", {"sweep": "drift"})


def scheduled_stops(scene: Scene) -> None:
    function = "ScheduledStopFunction"
    # A run fails if a container has a pending operation.
    recover_all(scene.stack)
    scene.add(RUNNING)
    scene.invoke(function, {"project_id": PROJECT})
    scene.add(RUNNING)
    scene.invoke(function, {"all": True})
    for launch_type in ("EC2", "EXTERNAL"):
        paused = scene.add(PAUSED, launch_type=launch_type, task_definition=WEB)
        assert scene.invoke(function, {"container_ids": [paused], "rule": "nightly"})["stopped"] == 1

    # The task has ended, and the run records that.
    container = scene.add(RUNNING, server=INSTANCE)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 0)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        assert scene.invoke(function, {"container_ids": [container]})["skipped"] == 1

    # The function runs out of time. Invoking the next one fails here: otherwise they would never stop.
    from longshore.edge import lambda_events as events

    scene.stack.emulator.faults.add("lambda", "Invoke", "InvalidRequestContentException", status=400)
    with (
        patch.object(events, "_RESERVE", 10**9),
        scene.recorder.recording(function),
        pytest.raises(FunctionError, match="ExternalServiceError"),
    ):
        scene.stack.invoke(function, {"container_ids": [container]})


def scheduled_operations(scene: Scene) -> None:
    """The operations that rules do not perform, for a user who has saved a schedule."""
    function = "ScheduledStopFunction"
    recover_all(scene.stack)
    saved = {"project_id": PROJECT, "actor": "operator", "rule": "hours"}
    scene.add(STOPPED, labels={"scene": "schedules"})
    scene.invoke(function, saved | {"operation": "start", "labels": {"scene": "schedules"}})
    for launch_type in ("EC2", "EXTERNAL"):
        for operation, history in (
            ("pause", RUNNING),
            ("resume", PAUSED),
            ("restart", PAUSED),
            ("force-stop", RUNNING),
        ):
            container = scene.add(history, launch_type=launch_type, task_definition=WEB)
            scene.invoke(function, saved | {"operation": operation, "container_ids": [container]})
    # ECS rejects the client token of a repeated RunTask, so the task is searched for.
    container = scene.add(STOPPED)
    scene.reject_the_client_token()
    scene.invoke(function, saved | {"operation": "start", "container_ids": [container]})
    recover_all(scene.stack)


def terminated_servers(scene: Scene) -> None:
    scene.add(RUNNING, server="i-0eeeeeeeeeeeeeeee")
    assert scene.invoke("ServerTerminatedFunction", terminated("i-0eeeeeeeeeeeeeeee")) == {"expired": 1}


def published_events(scene: Scene) -> None:
    event = json.loads((template.ROOT / "events" / "publish_events.json").read_text(encoding="utf-8"))
    # The second row cannot be read, so it goes to the queue.
    event["Records"][1]["dynamodb"]["NewImage"]["to_status"] = {"S": "unknown"}
    assert scene.invoke("PublishEventsFunction", event) == {"batchItemFailures": []}
