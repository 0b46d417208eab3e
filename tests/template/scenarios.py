"""Scenarios that drive each function through every AWS call that its code can make.

Ordinary requests, Idempotency-Keys, races and failing services. The other scenarios are in `event_scenarios`.
"""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from template.event_scenarios import (
    command_events,
    drift,
    published_events,
    recovery,
    scheduled_operations,
    scheduled_stops,
    task_events,
    terminated_servers,
)
from template.scene import (
    ACTS,
    NOT_REPEATED,
    OPERATIONS,
    PAUSED,
    RUNNING,
    STOPPED,
    Scene,
)

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
    with scene.recorder.recording("GetContainerFunction"):
        # A wait takes a place, and gives it back.
        path = f"/containers/{container}?wait_for=failed&timeout=1"
        assert scene.api.call("GET", path, "viewer").status_code == 200
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
    scene.post(scene.failed_with_live_tasks(), "restart")


def saved_schedules(scene: Scene) -> None:
    path = f"/projects/{PROJECT}/schedules"
    container = scene.add(STOPPED)
    body = {"operation": "start", "expression": "rate(1 day)", "targets": {"container_ids": [container]}}
    for _ in range(2):
        with scene.recorder.recording("SaveScheduleFunction"):
            assert scene.api.call("PUT", f"{path}/hours", json=body).status_code == 200
    scene.list("ListSchedulesFunction", path)
    scene.stack.emulator.age_schedules(60)
    scene.list("ListSchedulesFunction", path)
    scene.list("GetScheduleFunction", f"{path}/hours")
    with scene.recorder.recording("DeleteScheduleFunction"):
        assert scene.api.call("DELETE", f"{path}/hours").status_code == 200


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
    restarting = scene.add_service("running")
    with scene.no_wait():
        scene.post(restarting, "restart", 202)
    assert scene.invoke(function, scene.service_event(restarting)) == {"effect": "settled"}
    scaled = scene.add_service("running", old=True)
    scene.change_count(scaled, 3)
    assert scene.invoke(function, scene.service_event(scaled)) == {"effect": "recorded"}
    # ECS does not answer the operation, so the sweep makes all its calls.
    for status, operation in (("running", "stop"), ("stopped", "start"), ("running", "restart")):
        container = scene.add_service(status)
        scene.stack.emulator.faults.add("ecs", "DescribeServices", "Down", status=NOT_REPEATED, times=None)
        with scene.no_wait():
            scene.post(container, operation, 500)
        scene.stack.emulator.faults.clear()
        scene.recover(container)
    running = scene.add_service("running")
    with scene.recorder.recording("UpdateContainerFunction"):
        assert scene.api.patch(running, {"desired_count": 3}, "owner").status_code == 200
    # The count of the service above has just been changed, so a run would leave its stop to the recovery sweep.
    assert scene.invoke("ScheduledStopFunction", {"container_ids": [scene.add_service("running")]})["stopped"] == 1


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
