"""Containers of services over HTTP: every operation in every status, with exact bodies, rows and counters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest import mock

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from invariants import all_rows, check
from service_seed import COUNT, MAXIMUM, MINIMUM, add_service

from local.emulator import server
from local.seed import PROJECT, Seeder
from local.stack import LocalStack

_numbers = count(1)

# The status that each operation leads to, or the message of the refusal.
TABLE: dict[str, dict[str, str]] = {
    "stopped": {
        "start": "running",
        "stop": "Container is already stopped",
        "force-stop": "Container is already stopped",
        "restart": "running",
    },
    "running": {
        "start": "Container is already running",
        "stop": "stopped",
        "force-stop": "stopped",
        "restart": "running",
    },
    "failed": {
        "start": "Container has failed",
        "stop": "Container has failed",
        "force-stop": "stopped",
        "restart": "running",
    },
    "expired": {},
}
ALLOWED = {
    "stopped": ["start", "restart"],
    "running": ["stop", "force-stop", "restart"],
    "failed": ["force-stop", "restart"],
}
DONE = {"start": "started", "stop": "stopped", "force-stop": "force-stopped", "restart": "restarted"}
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]


class Clock:
    """The clock of the emulated AWS, which a test can set ahead of the real time."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    with mock.patch.object(server, "_utcnow", Clock()) as clock:
        yield clock


@pytest.fixture(scope="module")
def stack(clock: Clock) -> Iterator[LocalStack]:
    options = {**QUICK, "service_delay": 0.05}
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=options, seed=False, streams=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        yield local


def tasks_of(stack: LocalStack, name: str) -> int:
    cluster = str(stack.parameters["ClusterName"])
    (service,) = stack.client("ecs").describe_services(cluster=cluster, services=[name])["services"]
    assert service["desiredCount"] == service["runningCount"]
    return int(service["desiredCount"])


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_in_every_status(stack: LocalStack, api: Api, status: str, operation: str) -> None:
    name = f"web-{next(_numbers)}"
    container_id = add_service(stack, name, status, scales=True)
    response = api.post(container_id, operation)
    result = TABLE[status].get(operation)
    subject = {"operation": operation, "container_id": container_id, "project_id": PROJECT}
    expected: dict[str, Any]
    if status == "expired":
        message = "Operation not permitted on expired container"
        expected = {"statusCode": 403, "error": "Forbidden", "code": "OPERATION_NOT_PERMITTED_ON_EXPIRED"}
        expected |= {"message": message}
    elif result is None:
        message = f"{operation} is not supported for services, because a load balancer replaces frozen tasks"
        expected = {"statusCode": 400, "error": "Bad Request", "code": "VALIDATION_ERROR"}
        expected |= {"message": f"operation {message}", "data": [{"instancePath": "/operation", "message": message}]}
    elif result in ("running", "stopped"):
        message = f"Container {DONE[operation]} successfully"
        data = {"error": False, **subject, "message": message, "status": result}
        expected = {"statusCode": 200, "message": "Container operation completed successfully", "data": data}
    else:
        state = {"status": status, "allowed_operations": ALLOWED[status], "pending_operation": None}
        expected = {"statusCode": 400, "error": "Bad Request", "code": "OPERATION_STATE_CONFLICT", "message": result}
        expected |= {"data": {"error": True, **subject, "message": result, **state}}
    assert (response.status_code, response.json()) == (expected["statusCode"], expected)
    rows = all_rows(stack, container_id)[1:]
    done = [result] if result in ("running", "stopped") and status != "expired" else []
    assert [row["to_status"] for row in rows] == done
    for row in rows:
        running = COUNT if result == "running" else 0
        facts = {"command": operation, "actor": "operator", "desired_count": COUNT, "running_count": running}
        assert {name: row["metadata"][name] for name in facts} == facts
        assert row["metadata"].get("rolling", False) is ((operation, status) == ("restart", "running"))
        assert tasks_of(stack, name) == running
    check(stack, container_id)


def test_a_service_is_stopped_and_started_as_it_was(stack: LocalStack, api: Api) -> None:
    container_id = add_service(stack, "shop", "running", scales=True)
    found = api.get(container_id).json()["data"]
    assert (found["kind"], found["desired_count"], found["running_count"]) == ("service", COUNT, COUNT)
    assert found["allowed_operations"] == ALLOWED["running"]
    (listed,) = [
        each
        for each in api.call("GET", f"/projects/{PROJECT}/containers").json()["data"]["containers"]
        if each["id"] == container_id
    ]
    assert listed == found
    assert api.patch(container_id, {"desired_count": 4}).json()["data"]["desired_count"] == 4
    for operation, tasks in (("stop", 0), ("start", 4), ("restart", 4)):
        assert api.post(container_id, operation).status_code == 200
        assert tasks_of(stack, "shop") == tasks
        found = api.get(container_id).json()["data"]
        assert (found["desired_count"], found["running_count"]) == (4, tasks)
    cluster = str(stack.parameters["ClusterName"])
    (target,) = stack.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[f"service/{cluster}/shop"]
    )["ScalableTargets"]
    assert (target["MinCapacity"], set(target["SuspendedState"].values())) == (MINIMUM, {False})
    check(stack, container_id)


def test_a_service_of_12_tasks_behind_an_autoscaler(stack: LocalStack, api: Api, clock: Clock) -> None:
    container_id = add_service(stack, "scaled", "running", scales=True, desired=12, minimum=3)
    policies, client = stack.emulator.scaling, stack.client("application-autoscaling")
    identity = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
    resource = f"service/{stack.parameters['ClusterName']}/scaled"
    client.register_scalable_target(**identity, ResourceId=resource, SuspendedState={"DynamicScalingInSuspended": True})

    def target() -> dict[str, Any]:
        answer = client.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource])
        found: dict[str, Any] = answer["ScalableTargets"][0]
        return found

    before = target()
    assert (before["MinCapacity"], before["MaxCapacity"]) == (3, MAXIMUM)
    assert api.post(container_id, "stop").status_code == 200
    for _ in range(5):
        # A policy and a scheduled action try to raise the count. A registration moves it into the bounds.
        assert policies.scale(resource, 15) is None
        assert not policies.set_bounds(resource, minimum=5)
        client.register_scalable_target(**identity, ResourceId=resource)
        clock.ahead += timedelta(minutes=1)
        assert tasks_of(stack, "scaled") == 0
        found = api.get(container_id).json()["data"]
        assert (found["status"], found["desired_count"], found["running_count"]) == ("stopped", 12, 0)
    assert [row["to_status"] for row in all_rows(stack, container_id)] == ["running", "stopped"]
    assert api.post(container_id, "start").status_code == 200
    assert (tasks_of(stack, "scaled"), target()) == (12, before)
    assert policies.scale(resource, 15) == 15
    check(stack, container_id)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"desired_count": 0}, "must be 1 to 5000"),
        ({"desired_count": 5001}, "must be 1 to 5000"),
        ({"desired_count": None}, "must be integer"),
        ({"desired_count": True}, "must be integer"),
    ],
)
def test_invalid_counts(stack: LocalStack, api: Api, body: dict[str, Any], message: str) -> None:
    response = api.patch(add_service(stack, f"web-{next(_numbers)}", "stopped"), body)
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert response.json()["data"] == [{"instancePath": "/desired_count", "message": message}]


def test_a_count_needs_an_owner_and_a_service(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    service = add_service(stack, f"web-{next(_numbers)}", "stopped")
    assert api.patch(service, {"desired_count": 3}, "operator").status_code == 403
    seeder.add(fresh_id, ["stopped"])
    response = api.patch(fresh_id, {"desired_count": 3})
    assert (response.status_code, response.json()["message"]) == (
        400,
        "desired_count is supported for services only",
    )
    task = api.get(fresh_id).json()["data"]
    assert (task["kind"], task["desired_count"], task["running_count"]) == ("task", None, None)
