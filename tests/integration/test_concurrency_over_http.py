"""Tests of many concurrent callers over HTTP, on moto and on DynamoDB Local."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from api_client import Api
from invariants import all_rows, check

from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("moto", "dynamodb-local")

CALLERS = 32
ROUNDS = {"moto": 10, "dynamodb-local": 20}  # moto copies whole tables for each transaction
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]


def at_once(calls: list[Any]) -> list[httpx.Response]:
    """Make all calls at the same time, and return the responses."""
    with ThreadPoolExecutor(len(calls)) as executor:
        return [future.result() for future in [executor.submit(call) for call in calls]]


def test_one_of_many_starts_wins(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])

    responses = at_once([lambda: api.post(fresh_id, "start")] * CALLERS)

    assert Counter(response.status_code for response in responses) == {200: 1, 400: CALLERS - 1}
    conflicts = [response.json() for response in responses if response.status_code == 400]
    assert {body["code"] for body in conflicts} == {"OPERATION_STATE_CONFLICT"}
    assert {body["message"] for body in conflicts} <= {"Container is starting", "Container is already running"}
    tasks = [task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]
    assert len(tasks) == 1
    assert check(stack, fresh_id)["log_count"] == 2


def test_mixed_operations_leave_a_consistent_history(
    request: pytest.FixtureRequest, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    """Each round results in a chain of rows, correct counters, and at most one live task."""
    seeder.add(fresh_id, ["stopped"])
    choose = random.Random(32)
    answered: Counter[int] = Counter()
    rounds = ROUNDS[request.node.callspec.params["stack"]]
    for _ in range(rounds):
        chosen = [choose.choice(OPERATIONS) for _ in range(CALLERS)]
        before = len(all_rows(stack, fresh_id))

        responses = at_once([lambda name=name: api.post(fresh_id, name) for name in chosen])

        answered.update(response.status_code for response in responses)
        check(stack, fresh_id)
        rows = all_rows(stack, fresh_id)[before:]
        row_counts = Counter(row["metadata"]["request_id"] for row in rows)
        for response in responses:
            assert response.status_code in (200, 400), response.text
            own = row_counts[response.headers["X-Request-Id"]]
            if response.status_code == 200:
                # An operation with response 200 has one row. A restart of a running container has two.
                assert own in ((1, 2) if response.json()["data"]["operation"] == "restart" else (1,))
            else:
                assert response.json()["code"] == "OPERATION_STATE_CONFLICT"
    assert answered[200] >= rounds


def test_the_same_key_starts_one_task(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    key = {"Idempotency-Key": f"key-{fresh_id}"}

    responses = at_once([lambda: api.post(fresh_id, "start", headers=key)] * 16)

    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert len([task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]) == 1
    assert check(stack, fresh_id)["log_count"] == 2


def test_the_same_key_returns_the_same_conflict(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """A conflict is stored with the key, and returned even after it no longer exists."""
    seeder.add(fresh_id, ["stopped", "running"])
    key = {"Idempotency-Key": f"key-{fresh_id}"}
    first = at_once([lambda: api.post(fresh_id, "start", headers=key)] * 8)
    assert api.post(fresh_id, "stop").status_code == 200

    later = api.post(fresh_id, "start", headers=key)

    assert {response.content for response in first} == {later.content}
    assert later.json()["message"] == "Container is already running"
    assert check(stack, fresh_id)["status"] == "stopped"


def test_a_force_stop_supersedes_a_concurrent_start(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The start returns a conflict, and its task is stopped."""
    seeder.task_definition("slow-start", labels={"simulate.start": "never"})
    seeder.add(fresh_id, ["stopped"], task_definition="slow-start")
    with ThreadPoolExecutor(1) as executor:
        start = executor.submit(api.post, fresh_id, "start")
        while api.get(fresh_id).json()["data"]["pending_operation"] is None:
            assert not start.done()
        pending = api.post(fresh_id, "stop")
        stopped = api.post(fresh_id, "force-stop")
        started = start.result()
    assert pending.json()["message"] == "Container is starting"
    assert pending.json()["data"]["allowed_operations"] == ["force-stop"]
    assert pending.json()["data"]["pending_operation"]["operation"] == "start"
    assert (stopped.status_code, stopped.json()["data"]["status"]) == (200, "stopped")
    assert (started.status_code, started.json()["code"]) == (400, "OPERATION_STATE_CONFLICT")
    check(stack, fresh_id)
    (row,) = all_rows(stack, fresh_id)[1:]
    assert (row["from_status"], row["to_status"]) == ("stopped", "stopped")
    assert (row["metadata"]["command"], row["metadata"]["superseded"]) == ("force-stop", "start")
