"""`wait=True`: waiting for the outcome of an operation after a 202. The API itself does not wait here."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from client.conftest import EAGER
from conftest import QUICK
from invariants import all_rows, check
from longshore_client import AsyncLongshore, Longshore, OperationFailedError, OperationResult, WaitTimeoutError
from longshore_client import _containers as containers
from longshore_client._parsing import time_of
from longshore_client._waiting import Wait
from longshore_client.models import Container, Operation, StatusLog

from local import tokens
from local.seed import Seeder
from local.stack import LocalStack

PARAMETERS = {"WaitSeconds": "0", "ThrottleRate": "100000", "ThrottleBurst": "100000"}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, streams=False) as local:
        Seeder(local).task_definition("never", labels={"simulate.start": "never"})
        Seeder(local).task_definition("unpullable", labels={"simulate.start": "fail"})
        yield local


@pytest.fixture(autouse=True)
def slow_and_closely_watched(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make starting and stopping a task take longer than the API waits, and make the client poll often."""
    monkeypatch.setattr(stack.emulator.ecs, "_run_delay", timedelta(seconds=1.5))
    monkeypatch.setattr(stack.emulator.ecs, "_stop_delay", timedelta(seconds=1.5))
    monkeypatch.setattr(containers, "_FIRST_LOOK", 0.05)
    monkeypatch.setattr(containers, "_SLOWEST_LOOK", 0.2)


class LosingTransport(httpx.BaseTransport):
    """Loses the response to the first POST."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self._lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if request.method == "POST" and not self._lost:
            self._lost = True
            response.close()
            raise httpx.ReadError("lost", request=request)
        return response

    def close(self) -> None:
        self._inner.close()


CASES: list[tuple[Operation, list[str], str, int]] = [
    ("start", ["stopped"], "Container started successfully", 1),
    ("stop", ["stopped", "running"], "Container stopped successfully", 1),
    ("force-stop", ["stopped", "running"], "Container force-stopped successfully", 1),
    ("restart", ["stopped", "running"], "Container restarted successfully", 2),
]


@pytest.mark.parametrize(("operation", "statuses", "message", "rows"), CASES)
def test_an_operation_that_succeeds(
    stack: LocalStack,
    client: Longshore,
    seeder: Seeder,
    fresh_id: str,
    operation: Operation,
    statuses: list[str],
    message: str,
    rows: int,
) -> None:
    seeder.add(fresh_id, statuses)
    accepted = client.api.containers.manage(fresh_id, operation, idempotency_key=fresh_id)
    assert not accepted.completed
    assert accepted.pending_operation is not None
    assert accepted.pending_operation.operation == operation
    # The key returns the same 202 again. This time the client waits.
    result = client.api.containers.manage(fresh_id, operation, idempotency_key=fresh_id, wait=True)
    assert (result.completed, result.message) == (True, message)
    kept = {name: value for name, value in accepted.raw.items() if name != "pending_operation"}
    assert result.raw == kept | {"message": message, "status": result.status}
    container = check(stack, fresh_id)
    assert (container["status"], container["log_count"]) == (result.status, len(statuses) + rows)


def test_the_first_response_is_lost(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """The client does not know the id of the request that started the operation."""
    seeder.add(fresh_id, ["stopped", "running", "stopped"])
    http = httpx.Client(transport=LosingTransport())
    with http, Longshore(stack.url, tokens.token("operator"), retries=EAGER, http_client=http) as client:
        result = client.api.containers.manage(fresh_id, "start", wait=True)
    row = all_rows(stack, fresh_id)[-1]
    assert result.completed
    assert row["metadata"]["request_id"] != result.request_id
    assert check(stack, fresh_id)["log_count"] == 4


def test_an_operation_that_fails(client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="unpullable")
    with pytest.raises(OperationFailedError, match="start failed: ") as failed:
        client.api.containers.manage(fresh_id, "start", wait=True)
    error = failed.value
    assert (error.operation, error.container.status) == ("start", "failed")
    assert error.reason == error.logs[-1].metadata["reason"]
    assert error.logs[-1].metadata["request_id"] == error.request_id
    assert error.idempotency_key


def test_a_timeout(stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    with pytest.raises(WaitTimeoutError, match=r"start is still pending after 0\.3 s") as waited:
        client.api.containers.manage(fresh_id, "start", wait=True, timeout=0.3)
    pending = waited.value.container.pending_operation
    assert pending is not None
    assert pending.operation == "start"
    assert check(stack, fresh_id)["log_count"] == 1


def test_an_operation_that_is_superseded(stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    accepted = client.api.containers.manage(fresh_id, "start", idempotency_key=fresh_id)
    assert not accepted.completed
    client.api.containers.manage(fresh_id, "force-stop")
    with pytest.raises(OperationFailedError) as failed:
        client.api.containers.manage(fresh_id, "start", idempotency_key=fresh_id, wait=True)
    assert failed.value.reason == "superseded by a force-stop"
    assert check(stack, fresh_id)["status"] == "stopped"


def test_asyncio(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])

    async def use() -> OperationResult:
        async with AsyncLongshore(stack.url, tokens.token("operator")) as client:
            return await client.api.containers.manage(fresh_id, "restart", wait=True)

    assert asyncio.run(use()).status == "running"


# Outcomes determined from rows, without an API.

BEGAN = "2026-01-15T10:30:00.000Z"
ID = "507f1f77bcf86cd799439011"


def row(to: str, at: float, by: str = "user", took: int | None = None, **metadata: Any) -> dict[str, Any]:
    """Return a row written `at` seconds after the operation started."""
    moment = (time_of(BEGAN) + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    duration = max(0, round(at * 1000)) if took is None else took
    return {
        "id": f"{hash((to, at)) & (1 << 60) - 1:024x}",
        "container_id": ID,
        "from_status": "stopped",
        "to_status": to,
        "transition_time": moment,
        "created_at": moment,
        "duration_ms": duration,
        "triggered_by": by,
        "metadata": metadata or None,
    }


def waited(operation: str, status: str, *rows: dict[str, Any], ids: frozenset[str] = frozenset()) -> OperationResult:
    """Return the outcome of an ended operation with these rows (oldest first)."""
    pending = {"operation": operation, "started_at": BEGAN, "triggered_by": "user"}
    subject = {"operation": operation, "container_id": ID, "project_id": ID, "message": "", "status": "stopped"}
    accepted = OperationResult.of({**subject, "pending_operation": pending}, "r1", "key")
    times = dict.fromkeys(("status_since", "created_at", "updated_at"), BEGAN)
    container = Container.of(
        {"id": ID, "project_id": ID, "name": "", "status": status, "allowed_operations": [], **times}
        | {"pending_operation": None}
    )
    return Wait(accepted, ids).result(container, [StatusLog.of(each) for each in reversed(rows)])


OWN: dict[str, Any] = {"operation_id": "o1", "request_id": "r0"}
OTHER: dict[str, Any] = {"operation_id": "o2", "request_id": "r9"}

Rows = list[dict[str, Any]]
COMPLETED: dict[str, tuple[str, str, Rows]] = {
    "identified by the request": (
        "start",
        "running",
        [row("running", 3, command="start", operation_id="o1", request_id="r1")],
    ),
    "identified by the time": ("start", "running", [row("running", 3, command="start", **OWN)]),
    "identified by the rounded time": ("start", "running", [row("running", 3, took=3001, command="start", **OWN)]),
    "observed before the start by another clock": ("stop", "stopped", [row("stopped", -0.4, command="stop", **OWN)]),
    "time moved after the previous row": (
        "stop",
        "stopped",
        [row("stopped", 9, took=2000, command="stop", observed_at="2026-01-15T10:30:02.000Z", **OWN)],
    ),
    "both rows of a restart": (
        "restart",
        "running",
        [row("stopped", 2, command="restart", **OWN), row("running", 4, command="restart", **OWN)],
    ),
    "followed by another operation": (
        "start",
        "paused",
        [row("running", 2, command="start", **OWN), row("paused", 9, took=1000, command="pause", **OTHER)],
    ),
    "followed by an exit of the task": (
        "start",
        "failed",
        [row("running", 2, command="start", **OWN), row("failed", 9, "system", reason="Exited", exit_code=1)],
    ),
}
NOT_COMPLETED: dict[str, tuple[str, str, Rows, str]] = {
    "the step failed": (
        "start",
        "failed",
        [row("failed", 3, command="start", reason="No such image", **OWN)],
        "No such image",
    ),
    "the second step of a restart failed": (
        "restart",
        "failed",
        [row("stopped", 2, command="restart", **OWN), row("failed", 4, command="restart", reason="No room", **OWN)],
        "No room",
    ),
    "superseded": (
        "stop",
        "stopped",
        [row("stopped", 4, took=1000, command="force-stop", superseded="stop", **OTHER)],
        "superseded by a force-stop",
    ),
    "superseded between the steps of a restart": (
        "restart",
        "stopped",
        [
            row("stopped", 2, command="restart", **OWN),
            row("stopped", 4, took=500, command="force-stop", superseded="restart", **OTHER),
        ],
        "superseded by a force-stop",
    ),
    "the task exited first": ("pause", "failed", [row("failed", 1, "system", reason="Exited")], "Exited"),
    "no effect, shortly after another row": (
        "start",
        "stopped",
        [row("stopped", -1, "system", reason="Exited")],
        "the operation had no effect, and the container is stopped",
    ),
    "no effect": ("start", "stopped", [], "the operation had no effect, and the container is stopped"),
    "no effect, and started by another operation": (
        "start",
        "running",
        [row("running", 60, took=2000, command="start", **OTHER)],
        "the operation had no effect, and the container is running",
    ),
    "only an older operation of the same kind": (
        "start",
        "stopped",
        [row("running", -60, took=0, command="start", **OTHER)],
        "the operation had no effect, and the container is stopped",
    ),
}


@pytest.mark.parametrize(("operation", "status", "rows"), COMPLETED.values(), ids=COMPLETED)
def test_rows_of_a_completed_operation(operation: str, status: str, rows: Rows) -> None:
    result = waited(operation, status, *rows, ids=frozenset({"r1"}))
    assert result.completed
    assert result.status == goal(operation)


@pytest.mark.parametrize(("operation", "status", "rows", "reason"), NOT_COMPLETED.values(), ids=NOT_COMPLETED)
def test_rows_of_an_operation_without_effect(operation: str, status: str, rows: Rows, reason: str) -> None:
    with pytest.raises(OperationFailedError) as failed:
        waited(operation, status, *rows, ids=frozenset({"r1"}))
    assert failed.value.reason == reason


def goal(operation: str) -> str:
    return {"pause": "paused", "stop": "stopped", "force-stop": "stopped"}.get(operation, "running")
