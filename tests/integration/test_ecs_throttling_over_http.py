"""Tests of operations while ECS throttles: the caller is answered 202, and the sweep completes the operation."""

from typing import Any

import pytest
from api_client import Api
from invariants import check
from settling import eventually, recover_all

from local.seed import Seeder
from local.stack import LocalStack

HISTORIES = {
    "stopped": ["stopped"],
    "running": ["stopped", "running"],
    "paused": ["stopped", "running", "paused"],
}
CASES = [
    # operation, status before, call that ECS throttles, status after
    ("start", "stopped", "RunTask", "running"),
    ("stop", "running", "StopTask", "stopped"),
    ("stop", "paused", "DescribeTasks", "stopped"),
    ("force-stop", "running", "StopTask", "stopped"),
    ("restart", "running", "StopTask", "running"),
    ("restart", "stopped", "RunTask", "running"),
    ("pause", "running", "DescribeTasks", "paused"),
    ("resume", "paused", "DescribeTasks", "running"),
]


@pytest.mark.parametrize(("operation", "status", "call", "after"), CASES)
def test_a_throttled_operation_is_answered_202_and_completed(
    stack: LocalStack,
    emulator: Any,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    operation: str,
    status: str,
    call: str,
    after: str,
) -> None:
    seeder.add(fresh_id, HISTORIES[status])
    throttled = emulator.faults.add("ecs", call, "ThrottlingException", status=400, times=None)
    headers = {"Idempotency-Key": f"throttled-{fresh_id}"}

    response = api.post(fresh_id, operation, headers=headers)

    assert response.status_code == 202
    # The function does not repeat the call.
    assert throttled.seen == 1
    if operation != "force-stop":  # whose kill on the host ends the task, too
        pending = api.get(fresh_id).json()["data"]["pending_operation"]
        assert pending["operation"] == operation
    # A retry gets the same answer, without another call.
    assert api.post(fresh_id, operation, headers=headers).json() == response.json()
    assert throttled.seen == 1
    emulator.faults.clear()
    recover_all(stack)
    eventually(lambda: api.get(fresh_id).json()["data"]["status"], lambda found: found == after)
    eventually(lambda: api.get(fresh_id).json()["data"]["pending_operation"], lambda found: found is None)
    check(stack, fresh_id)


def test_a_throttled_start_is_due_immediately(
    stack: LocalStack, emulator: Any, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("ecs", "RunTask", "ThrottlingException", status=400, times=1)
    assert api.post(fresh_id, "start").status_code == 202
    # The deadline has not to pass first.
    assert stack.invoke("RecoverFunction", {"sweep": "operations"})["accepted"] >= 1
    eventually(lambda: api.get(fresh_id).json()["data"]["status"], lambda found: found == "running")


def test_a_start_without_events_looks_up_its_task_once(
    stack: LocalStack, emulator: Any, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    with stack.eventbridge.losing_events():
        emulator.calls.clear()
        response = api.post(fresh_id, "start", headers={"Prefer": "wait=2"})
    assert response.status_code == 200
    assert emulator.calls.count("ecs", "DescribeTasks") == 1
    assert emulator.calls.count("ecs", "RunTask") == 1


def test_a_start_with_events_does_not_look_up_its_task(
    stack: LocalStack, emulator: Any, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.calls.clear()
    assert api.post(fresh_id, "start").status_code == 200
    assert emulator.calls.count("ecs", "DescribeTasks") == 0
    assert emulator.calls.count("ecs", "RunTask") == 1
