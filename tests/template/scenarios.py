"""Scenarios that drive each function through every AWS call that its code can make.

Ordinary requests, Idempotency-Keys, races, failing services, recovery, events and schedules.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from settling import recover_all, set_looks_back
from template.scene import (
    ACTS,
    LONG_RUNNING,
    NOT_REPEATED,
    OPERATIONS,
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


def ordinary_requests(scene: Scene) -> None:
    for operation, (_, histories) in OPERATIONS.items():
        for history in histories:
            scene.post(scene.add(history), operation)
            if history in (RUNNING, PAUSED):
                scene.post(scene.add(history, launch_type="EXTERNAL", task_definition=WEB), operation)
    container = scene.add(STOPPED, server=INSTANCE)
    scene.post(container, "start")
    scene.get(container, "viewer")
    scene.update(container, "owner")
    scene.keep_alive(container, "owner")
    with scene.recorder.recording("IndexFunction"):
        assert scene.api.call("GET", "", None).status_code == 200
    with scene.recorder.recording("PagesFunction"):
        assert scene.api.call("GET", f"{scene.stack.url}/console/", None).status_code == 200
    with scene.recorder.recording("UnknownOperationFunction"):
        assert scene.api.post(container, "explode").status_code == 400


def lists(scene: Scene) -> None:
    scene.add(STOPPED)
    scene.list("ListProjectsFunction", "/projects")
    scene.list("ListContainersFunction", "/containers")
    for query in ({}, {"cursor": ""}, {"status": "stopped", "sort_by": "updated_at"}):
        scene.list("ListProjectContainersFunction", f"/projects/{PROJECT}/containers", **query)


def idempotency_keys(scene: Scene) -> None:
    for operation, (service, call, history) in ACTS.items():
        container = scene.add(history)
        scene.post(container, operation, key=f"{operation} new")
        scene.post(container, operation, key=f"{operation} new")
        # A conflict is stored with the key, without a commit. A restart has no conflict here.
        scene.post(container, operation, 200 if operation == "restart" else 400, key=f"{operation} again")
        # An error is not stored: the key can be used again.
        scene.stack.emulator.faults.add(service, call, "AccessDeniedException", status=400)
        if operation == "force-stop":
            # If the kill were accepted, the operation would have had an effect.
            scene.stack.emulator.faults.add("ssm", "SendCommand", "AccessDeniedException", status=400)
        scene.post(scene.add(history), operation, 500, key=f"{operation} refused")
    # A retry while the operation of the first request is pending and has no driver.
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", key="left behind", lost=True)
    scene.post(container, "start", key="left behind")


def user_of_many_projects(scene: Scene) -> None:
    for number in range(100):
        scene.seeder.grant("busy", f"{number:024x}", "viewer")
    scene.seeder.grant("busy", PROJECT, "operator")
    for operation, (_, (history, *_)) in OPERATIONS.items():
        container = scene.add(history)
        scene.post(container, operation, user="busy")
    scene.get(container, "busy")
    scene.update(container, "busy")
    scene.keep_alive(container, "busy")


def accepted_operations(scene: Scene) -> None:
    from longshore.wiring import api_functions

    with patch.object(api_functions.operations(), "wait", timedelta()):
        for key in ("", "noted"):
            scene.post(scene.add(STOPPED), "start", 202, key=key and f"{key} start")
            scene.post(scene.add(RUNNING), "stop", 202, key=key and f"{key} stop")


def expiry_before_the_commit(scene: Scene) -> None:
    """The container expires before the commit. The task that the start has run is stopped."""
    for operation, (_, _, history) in ACTS.items():
        container = scene.add(history, server=INSTANCE)
        with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
            scene.post(container, operation, 403)


def search_for_tasks(scene: Scene) -> None:
    """ECS rejects the client token of a repeated RunTask, so the task is searched for by `startedBy`."""
    from longshore.wiring import api_functions

    for operation, history in (("start", STOPPED), ("restart", STOPPED)):
        container = scene.add(history)
        scene.reject_the_client_token()
        with patch.object(api_functions.operations(), "wait", timedelta()):
            scene.post(container, operation, 202)


def force_stop_supersedes_a_start(scene: Scene) -> None:
    """RunTask with the start's client token finds its task, unless ECS refuses the call."""
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", lost=True)
    scene.post(container, "force-stop")
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", lost=True)
    scene.stack.emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)
    scene.post(container, "force-stop")


def restart_of_a_failed_container_with_a_live_task(scene: Scene) -> None:
    scene.post(scene.failed_with_a_live_task(), "restart")


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
        container = scene.failed_with_a_live_task(launch_type)
        scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
        scene.task_event(container, "STOPPED")
        scene.leave_pending(container, "restart", by="RunTask", lost=True)
        scene.task_event(container, "RUNNING")
        scene.leave_pending(container, "force-stop", by="RunTask")
        if refuses:
            scene.stack.emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)
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
        UpdateExpression="SET #status = :failed REMOVE live_project_id",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":failed": {"S": "failed"}},
    )
    event = iso_times({"detail": task.to_api() | {"version": 99}})
    assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "recorded"}

    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_pending(container, "stop")
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        event = scene.task_event(container, "STOPPED")
        assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "stale"}


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


def saved_schedules(scene: Scene) -> None:
    path = f"/projects/{PROJECT}/schedules"
    container = scene.add(STOPPED)
    body = {"operation": "start", "expression": "rate(1 day)", "targets": {"container_ids": [container]}}
    for _ in range(2):
        with scene.recorder.recording("SaveScheduleFunction"):
            assert scene.api.call("PUT", f"{path}/hours", json=body).status_code == 200
    scene.list("ListSchedulesFunction", path)
    scene.list("GetScheduleFunction", f"{path}/hours")
    with scene.recorder.recording("DeleteScheduleFunction"):
        assert scene.api.call("DELETE", f"{path}/hours").status_code == 200


def terminated_servers(scene: Scene) -> None:
    scene.add(RUNNING, server="i-0eeeeeeeeeeeeeeee")
    assert scene.invoke("ServerTerminatedFunction", terminated("i-0eeeeeeeeeeeeeeee")) == {"expired": 1}


def published_events(scene: Scene) -> None:
    event = json.loads((template.ROOT / "events" / "publish_events.json").read_text(encoding="utf-8"))
    # The second row cannot be read, so it goes to the queue.
    event["Records"][1]["dynamodb"]["NewImage"]["to_status"] = {"S": "unknown"}
    assert scene.invoke("PublishEventsFunction", event) == {"batchItemFailures": []}


def services(scene: Scene) -> None:
    function = "TaskStateChangeFunction"
    for operation, status in (
        ("start", "stopped"),
        ("stop", "running"),
        ("force-stop", "running"),
        ("restart", "stopped"),
        ("restart", "running"),
    ):
        scene.post(scene.add_service(status), operation)
    # The function of the event finds the end of a stop, and a count that somebody has changed within the bounds.
    stopping = scene.add_service("running")
    with scene.no_wait():
        scene.post(stopping, "stop", 202)
    assert scene.invoke(function, scene.service_event(stopping)) == {"effect": "settled"}
    scaled = scene.add_service("running", old=True)
    scene.change_count(scaled, 3)
    assert scene.invoke(function, scene.service_event(scaled)) == {"effect": "recorded"}
    # ECS does not answer the operation, so the sweep makes all its calls.
    for status, operation in (("running", "stop"), ("stopped", "start")):
        container = scene.add_service(status)
        scene.stack.emulator.faults.add("ecs", "DescribeServices", "Down", status=NOT_REPEATED, times=None)
        with scene.no_wait():
            scene.post(container, operation, 500)
        scene.stack.emulator.faults.clear()
        scene.recover(container)
    running = scene.add_service("running")
    with scene.recorder.recording("UpdateContainerFunction"):
        assert scene.api.patch(running, {"desired_count": 3}, "owner").status_code == 200
    scene.invoke("ScheduledStopFunction", {"container_ids": [running]})


SCENARIOS = [
    ordinary_requests,
    lists,
    idempotency_keys,
    user_of_many_projects,
    accepted_operations,
    expiry_before_the_commit,
    search_for_tasks,
    force_stop_supersedes_a_start,
    restart_of_a_failed_container_with_a_live_task,
    task_events,
    command_events,
    recovery,
    drift,
    scheduled_stops,
    scheduled_operations,
    saved_schedules,
    terminated_servers,
    published_events,
    services,
]
