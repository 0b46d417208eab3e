"""Tests of operations while the cluster differs from the container's item, or while AWS calls fail."""

import time
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from api_client import Api
from invariants import all_rows, check
from settling import make_overdue, set_looks_back

from local.emulator import Emulator
from local.seed import INSTANCE, Seeder
from local.stack import LocalStack

RUNNING = ["stopped", "running"]
PAUSED = ["stopped", "running", "paused"]


def external_error(reason: str) -> dict[str, Any]:
    return {
        "statusCode": 500,
        "error": "Internal Server Error",
        "code": "EXTERNAL_SERVICE_ERROR",
        "message": "A required external service is unavailable or returned an error",
        "data": {"reason": reason},
    }


def task_of(emulator: Emulator, container_id: str) -> Any:
    (task,) = emulator.ecs.live(started_by=container_id)
    return task


def accepted_without_waiting(api: Api, container_id: str, operation: str) -> Any:
    """Request an operation that observes once and does not wait. Returns the response, which is a 202."""
    from longshore.wiring import api_functions

    with patch.object(api_functions.operations(), "wait", timedelta()):
        response = api.post(container_id, operation)
    assert response.status_code == 202, response.text
    return response


def last_row(stack: LocalStack, container_id: str) -> dict[str, Any]:
    return all_rows(stack, container_id)[-1]


def test_no_capacity(stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.ecs.set_capacity(INSTANCE, memory=0)
    try:
        response = api.post(fresh_id, "start")
    finally:
        emulator.ecs.set_capacity(INSTANCE)
    assert response.json() == external_error("No instance of the cluster has enough memory left")
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == ("stopped", 1)
    assert "operation" not in container
    assert api.post(fresh_id, "start").status_code == 200


def test_an_image_pull_that_fails(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str
) -> None:
    seeder.task_definition("no-image", labels={"simulate.start": "fail"})
    seeder.add(fresh_id, ["stopped"], task_definition="no-image")
    response = api.post(fresh_id, "start")
    assert response.status_code == 500
    assert "CannotPullContainerError" in response.json()["data"]["reason"]
    assert check(stack, fresh_id)["status"] == "failed"
    row = last_row(stack, fresh_id)
    assert row["metadata"]["reason"] == response.json()["data"]["reason"]
    assert (row["from_status"], row["triggered_by"]) == ("stopped", "user")


def test_a_task_that_exits_immediately(
    stack: LocalStack, api: Api, seeder: Seeder, quiet_emulator: Emulator, fresh_id: str
) -> None:
    """The start and the exit have one row each."""
    labels = {"simulate.exit-after": "0", "simulate.exit-code": "0"}
    seeder.task_definition("short-job", labels=labels)
    seeder.add(fresh_id, ["stopped"], task_definition="short-job")
    response = api.post(fresh_id, "start")
    assert (response.status_code, response.json()["data"]["message"]) == (200, "Container started successfully")
    assert response.json()["data"]["status"] == "running"
    changes = [(row["to_status"], row["triggered_by"]) for row in all_rows(stack, fresh_id)[1:]]
    assert changes == [("running", "user"), ("stopped", "system")]
    check(stack, fresh_id)


@pytest.mark.parametrize("operation", ["stop", "pause"])
@pytest.mark.parametrize(("exit_code", "status"), [(0, "stopped"), (137, "failed")])
def test_an_operation_on_a_task_that_has_exited(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    quiet_emulator: Emulator,
    fresh_id: str,
    operation: str,
    exit_code: int,
    status: str,
) -> None:
    seeder.add(fresh_id, RUNNING)
    task = task_of(quiet_emulator, fresh_id)
    quiet_emulator.ecs.exit(task.arn, exit_code)
    until_stopped(quiet_emulator, task.arn)
    response = api.post(fresh_id, operation)
    assert response.status_code == 400
    assert response.json()["data"]["status"] == status
    assert check(stack, fresh_id)["status"] == status
    row = last_row(stack, fresh_id)
    assert (row["triggered_by"], row["metadata"]["exit_code"]) == ("system", exit_code)
    assert row["metadata"]["reason"].startswith("Essential container in task exited")


def test_a_restart_of_a_task_that_has_exited(
    stack: LocalStack, api: Api, seeder: Seeder, quiet_emulator: Emulator, fresh_id: str
) -> None:
    seeder.add(fresh_id, RUNNING)
    task = task_of(quiet_emulator, fresh_id)
    quiet_emulator.ecs.exit(task.arn, 1)
    until_stopped(quiet_emulator, task.arn)
    assert api.post(fresh_id, "restart").status_code == 200
    changes = [(row["to_status"], row["triggered_by"]) for row in all_rows(stack, fresh_id)[2:]]
    assert changes == [("failed", "system"), ("running", "user")]
    check(stack, fresh_id)


@pytest.mark.parametrize("operation", ["stop", "pause", "resume", "restart", "force-stop"])
def test_a_task_unknown_to_ecs(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, operation: str
) -> None:
    """The operation is pending until a second lookup, at least 30 seconds later, does not find the task either."""
    statuses = PAUSED if operation == "resume" else RUNNING
    seeder.add(fresh_id, statuses)
    emulator.ecs.forget(task_of(emulator, fresh_id).arn)
    assert accepted_without_waiting(api, fresh_id, operation).json()["data"]["status"] == statuses[-1]
    # A second lookup within 30 seconds does not count.
    assert make_overdue(stack, fresh_id)
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"accepted": 1}
    assert [row["to_status"] for row in all_rows(stack, fresh_id)] == statuses

    assert set_looks_back(stack, fresh_id)
    assert make_overdue(stack, fresh_id)
    # A sweep does not wait for the new task of a restart, whose event completes the operation.
    ends = {"restart": "accepted", "force-stop": "completed"}.get(operation, "conflict")
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {ends: 1}
    until_settled(stack, fresh_id)

    goals = {"restart": [("running", "user")], "force-stop": [("stopped", "user")]}
    rows = all_rows(stack, fresh_id)[len(statuses) :]
    changes = [(row["to_status"], row["triggered_by"]) for row in rows]
    assert changes == [("failed", "system"), *goals.get(operation, [])]
    assert rows[0]["metadata"]["reason"] == "The task is no longer known to ECS"
    assert "operation" not in check(stack, fresh_id)


@pytest.mark.parametrize(
    ("statuses", "operation", "status"),
    [
        (RUNNING, "stop", "stopped"),
        (RUNNING, "force-stop", "stopped"),
        (RUNNING, "restart", "running"),
        (RUNNING, "pause", "paused"),
        (PAUSED, "resume", "running"),
        (PAUSED, "stop", "stopped"),
    ],
)
def test_a_task_that_is_temporarily_not_shown(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    emulator: Emulator,
    fresh_id: str,
    statuses: list[str],
    operation: str,
    status: str,
) -> None:
    """ECS is eventually consistent. The operation is pending until ECS shows the task, and then it completes."""
    seeder.add(fresh_id, statuses)
    task = task_of(emulator, fresh_id)
    emulator.ecs.hide(task.arn)
    assert accepted_without_waiting(api, fresh_id, operation).json()["data"]["status"] == statuses[-1]
    container = check(stack, fresh_id)
    assert list(container["operation"]["absent"]) == [task.arn]
    assert (container["status"], container["log_count"]) == (statuses[-1], len(statuses))
    # A lookup that finds the task clears the earlier one, even if that was long ago.
    assert set_looks_back(stack, fresh_id)
    emulator.ecs.show(task.arn)

    settled = recovered(stack, fresh_id)

    assert settled["status"] == status
    added = all_rows(stack, fresh_id)[len(statuses) :]
    assert {(row["triggered_by"], row["metadata"]["command"]) for row in added} == {("user", operation)}
    assert len(added) == (2 if operation == "restart" else 1)
    assert emulator.ecs.task(task.arn).live is (operation in ("pause", "resume"))


def test_a_task_of_a_start_that_is_temporarily_not_shown(
    stack: LocalStack, api: Api, seeder: Seeder, quiet_emulator: Emulator, fresh_id: str
) -> None:
    """RunTask has returned the task, so the operation does not run a second one."""
    emulator = quiet_emulator
    seeder.add(fresh_id, ["stopped"])
    with patch.object(emulator.ecs, "_run_delay", timedelta(hours=1)):
        assert accepted_without_waiting(api, fresh_id, "start").json()["data"]["status"] == "stopped"
    task = task_of(emulator, fresh_id)
    emulator.ecs.hide(task.arn)
    for _ in range(2):
        assert make_overdue(stack, fresh_id)
        assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"accepted": 1}
    assert list(check(stack, fresh_id)["operation"]["absent"]) == [task.arn]
    emulator.ecs.show(task.arn)
    emulator.ecs.come_up(task.arn)

    assert recovered(stack, fresh_id)["status"] == "running"
    assert task_of(emulator, fresh_id).arn == task.arn
    runs = [call for call in emulator.calls.list("ecs", "RunTask") if call.parameters["startedBy"] == fresh_id]
    assert len(runs) == 1


CALLS = [
    ("ecs", "RunTask", "start", ["stopped"]),
    ("ecs", "StopTask", "stop", RUNNING),
    ("ecs", "DescribeTasks", "pause", RUNNING),
    ("ecs", "DescribeContainerInstances", "pause", RUNNING),
    ("ssm", "SendCommand", "pause", RUNNING),
    ("ssm", "SendCommand", "resume", PAUSED),
    ("ssm", "SendCommand", "stop", PAUSED),
]


@pytest.mark.parametrize(("service", "call", "operation", "statuses"), CALLS)
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_a_rejected_call(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    emulator: Emulator,
    fresh_id: str,
    service: str,
    call: str,
    operation: str,
    statuses: list[str],
    times: int | None,
) -> None:
    """The container is unchanged and has no pending operation."""
    seeder.add(fresh_id, statuses)
    emulator.faults.add(service, call, error="AccessDeniedException", status=400, times=times)
    response = api.post(fresh_id, operation)
    emulator.faults.clear()
    body = response.json()
    assert body == external_error(body["data"]["reason"])
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == (statuses[-1], len(statuses))
    assert "operation" not in container


@pytest.mark.parametrize(("service", "call", "operation", "statuses"), CALLS)
@pytest.mark.parametrize("after_effect", [False, True], ids=["no-effect", "lost-reply"])
def test_a_service_that_fails_temporarily(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    emulator: Emulator,
    fresh_id: str,
    service: str,
    call: str,
    operation: str,
    statuses: list[str],
    after_effect: bool,
) -> None:
    """botocore or the operation retries the call. There is one effect and one response."""
    seeder.add(fresh_id, statuses)
    emulator.faults.add(service, call, error="InternalServerError", status=500, times=2, after_effect=after_effect)
    response = api.post(fresh_id, operation)
    assert response.status_code == 200, response.text
    container = check(stack, fresh_id)
    assert container["log_count"] == len(statuses) + 1


@pytest.mark.parametrize(("service", "call", "operation", "statuses"), CALLS)
def test_a_service_that_is_down(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    emulator: Emulator,
    fresh_id: str,
    service: str,
    call: str,
    operation: str,
    statuses: list[str],
) -> None:
    """The response has a reason. The operation is pending or undone, and settles when the service is back."""
    seeder.add(fresh_id, statuses)
    emulator.faults.add(service, call, error="InternalServerError", status=500, times=None)
    response = api.post(fresh_id, operation)
    emulator.faults.clear()
    body = response.json()
    assert body == external_error(body["data"]["reason"])
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == (statuses[-1], len(statuses))
    settled = recovered(stack, fresh_id)
    assert settled["log_count"] - len(statuses) == (1 if "operation" in container else 0)


@pytest.mark.parametrize("status", ["Failed", "Undeliverable"])
def test_a_host_command_that_fails(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, status: str
) -> None:
    seeder.add(fresh_id, RUNNING)
    emulator.ssm.fail_next(status=status)
    response = api.post(fresh_id, "pause")
    assert response.json()["code"] == "EXTERNAL_SERVICE_ERROR"
    assert response.json()["data"]["reason"]
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == ("running", 2)
    assert "operation" not in container
    assert api.post(fresh_id, "pause").status_code == 200


def test_a_host_that_cannot_be_reached(
    stack: LocalStack, api: Api, seeder: Seeder, quiet_emulator: Emulator, fresh_id: str
) -> None:
    """A pause needs the host. A force-stop does not, because ECS can still stop the task."""
    emulator = quiet_emulator
    seeder.add(fresh_id, RUNNING)
    emulator.ssm.disconnect(INSTANCE)
    try:
        paused = api.post(fresh_id, "pause")
        stopped = api.post(fresh_id, "force-stop")
    finally:
        emulator.ssm.connect(INSTANCE)
    assert paused.json() == external_error("The instance is not reachable through Systems Manager")
    assert stopped.status_code == 200
    assert last_row(stack, fresh_id)["metadata"]["kill_refused"].startswith("The instance is not reachable")
    check(stack, fresh_id)


@pytest.mark.parametrize("call", ["GetItem", "Query", "UpdateItem", "TransactWriteItems"])
def test_the_database_is_down(
    stack: LocalStack, api: Api, seeder: Seeder, quiet_emulator: Emulator, fresh_id: str, call: str
) -> None:
    emulator = quiet_emulator
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("dynamodb", call, error="InternalServerError", status=500, times=None)
    response = api.post(fresh_id, "start")
    emulator.faults.clear()
    body = response.json()
    assert body == external_error(body["data"]["reason"])
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == ("stopped", 1)
    # If the task is already running, the operation is pending and the sweep completes it.
    if "operation" in container:
        seeder.make_overdue(fresh_id)
        assert recovered(stack, fresh_id)["status"] == "running"


@pytest.mark.parametrize("call", ["UpdateItem", "TransactWriteItems"])
def test_the_reply_of_a_write_is_lost(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, call: str
) -> None:
    """The claim or the commit took effect but its reply was lost. The retry recognizes its own write."""
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("dynamodb", call, error="drop", after_effect=True)
    assert api.post(fresh_id, "start").status_code == 200
    assert check(stack, fresh_id)["log_count"] == 2


@pytest.fixture
def quiet_emulator(stack: LocalStack, emulator: Emulator) -> Any:
    """Deliver no events, so that only the operation can detect that a task has stopped."""
    with stack.eventbridge.losing_events():
        yield emulator


def recovered(stack: LocalStack, container_id: str) -> dict[str, Any]:
    """Let the deadline pass and run a sweep. Returns the container when nothing is pending."""
    make_overdue(stack, container_id)
    stack.invoke("RecoverFunction", {})
    return until_settled(stack, container_id)


def until_settled(stack: LocalStack, container_id: str) -> dict[str, Any]:
    """Wait until nothing is pending. Returns the container."""
    while "operation" in (container := check(stack, container_id)):
        time.sleep(0.05)
    return container


def until_stopped(emulator: Emulator, task_arn: str) -> None:
    while emulator.ecs.task(task_arn).live:
        pass
