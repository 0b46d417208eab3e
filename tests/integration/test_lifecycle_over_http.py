"""Tests of every status and operation of the contract over HTTP: the exact body, the rows, and the counters."""

from typing import Any

import pytest
from api_client import Api
from invariants import all_rows, check

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

HISTORIES = {
    "stopped": ["stopped"],
    "running": ["stopped", "running"],
    "paused": ["stopped", "running", "paused"],
    "failed": ["stopped", "running", "failed"],
    "expired": ["stopped", "expired"],
}
DONE = {
    "start": "started",
    "stop": "stopped",
    "force-stop": "force-stopped",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
}
ALLOWED = {
    "stopped": ["start", "restart"],
    "running": ["stop", "force-stop", "restart", "pause"],
    "paused": ["stop", "force-stop", "restart", "resume"],
    "failed": ["force-stop", "restart"],
}
# The contract's table: the statuses that follow, or the message of the conflict.
TABLE: dict[str, dict[str, list[str] | str]] = {
    "stopped": {
        "start": ["running"],
        "stop": "Container is already stopped",
        "force-stop": "Container is already stopped",
        "restart": ["running"],
        "pause": "Container is not running",
        "resume": "Container is not paused",
    },
    "running": {
        "start": "Container is already running",
        "stop": ["stopped"],
        "force-stop": ["stopped"],
        "restart": ["stopped", "running"],
        "pause": ["paused"],
        "resume": "Container is already running",
    },
    "paused": {
        "start": "Container is paused",
        "stop": ["stopped"],
        "force-stop": ["stopped"],
        "restart": ["stopped", "running"],
        "pause": "Container is already paused",
        "resume": ["running"],
    },
    "failed": {
        "start": "Container has failed",
        "stop": "Container has failed",
        "force-stop": ["stopped"],
        "restart": ["running"],
        "pause": "Container is not running",
        "resume": "Container is not paused",
    },
    "expired": dict.fromkeys(DONE, "Operation not permitted on expired container"),
}
CELLS = [(status, operation, result) for status, row in TABLE.items() for operation, result in row.items()]


@pytest.mark.parametrize(("status", "operation", "result"), CELLS)
def test_a_cell_of_the_table(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    status: str,
    operation: str,
    result: list[str] | str,
) -> None:
    seeder.add(fresh_id, HISTORIES[status])
    before = all_rows(stack, fresh_id)

    response = api.post(fresh_id, operation)

    subject = {"operation": operation, "container_id": fresh_id, "project_id": PROJECT}
    if isinstance(result, list):
        message = f"Container {DONE[operation]} successfully"
        assert response.status_code == 200
        assert response.json() == {
            "statusCode": 200,
            "message": "Container operation completed successfully",
            "data": {"error": False, **subject, "message": message, "status": result[-1]},
        }
    elif status == "expired":
        assert response.status_code == 403
        assert response.json() == {
            "statusCode": 403,
            "error": "Forbidden",
            "code": "OPERATION_NOT_PERMITTED_ON_EXPIRED",
            "message": result,
        }
    else:
        assert response.status_code == 400
        state = {"status": status, "allowed_operations": ALLOWED[status], "pending_operation": None}
        assert response.json() == {
            "statusCode": 400,
            "error": "Bad Request",
            "code": "OPERATION_STATE_CONFLICT",
            "message": result,
            "data": {"error": True, **subject, "message": result, **state},
        }
    changes = result if isinstance(result, list) else []
    added = all_rows(stack, fresh_id)[len(before) :]
    assert [row["to_status"] for row in added] == changes
    for row in added:
        assert row["triggered_by"] == "user"
        assert row["metadata"]["command"] == operation
        assert row["metadata"]["actor"] == "operator"
        assert row["metadata"]["request_id"] == response.headers["X-Request-Id"]
        assert row["duration_ms"] >= 0
    check(stack, fresh_id)


@pytest.mark.parametrize(("operation", "status"), [("start", "stopped"), ("stop", "running"), ("restart", "running")])
def test_fargate_runs_and_stops(api: Api, seeder: Seeder, fresh_id: str, operation: str, status: str) -> None:
    seeder.add(fresh_id, HISTORIES[status], launch_type="FARGATE")
    assert api.post(fresh_id, operation).status_code == 200


@pytest.mark.parametrize("operation", ["pause", "resume"])
def test_fargate_cannot_be_paused(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, operation: str) -> None:
    seeder.add(fresh_id, HISTORIES["running"], launch_type="FARGATE")
    response = api.post(fresh_id, operation)
    message = f"{operation} is not supported on Fargate, which has no host to do it on"
    assert response.json() == {
        "statusCode": 400,
        "error": "Bad Request",
        "code": "VALIDATION_ERROR",
        "message": f"operation {message}",
        "data": [{"instancePath": "/operation", "message": message}],
    }
    assert api.get(fresh_id).json()["data"]["allowed_operations"] == ["stop", "force-stop", "restart"]
    assert check(stack, fresh_id)["log_count"] == 2


def test_the_life_of_a_container(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The history contains every change of a container from its first start to its last stop, in order."""
    seeder.add(fresh_id, ["stopped"])
    expected: list[Any] = [(None, "stopped", None)]
    for operation, changes in [
        ("start", [("stopped", "running")]),
        ("pause", [("running", "paused")]),
        ("resume", [("paused", "running")]),
        ("restart", [("running", "stopped"), ("stopped", "running")]),
        ("pause", [("running", "paused")]),
        ("stop", [("paused", "stopped")]),
        ("restart", [("stopped", "running")]),
        ("force-stop", [("running", "stopped")]),
    ]:
        assert api.post(fresh_id, operation).status_code == 200, operation
        expected += [(*change, operation) for change in changes]
    rows = api.rows(fresh_id)
    assert [(row["from_status"], row["to_status"], (row["metadata"] or {}).get("command")) for row in rows] == expected
    assert len({row["metadata"]["task_id"] for row in rows if row["to_status"] == "running"}) == 3
    check(stack, fresh_id)


def test_pause_and_resume_change_the_containers_of_the_task(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, HISTORIES["running"])
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    api.post(fresh_id, "pause")
    assert all(container.paused for container in task.containers)
    api.post(fresh_id, "resume")
    assert not any(container.paused for container in task.containers)
