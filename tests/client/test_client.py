"""The client against the local stack: typed responses, errors, pages and asyncio."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from client.conftest import EAGER
from invariants import check
from longshore_client import (
    AsyncLongshore,
    Longshore,
    OperationStateConflictError,
    StatusLog,
    TransportError,
    UnexpectedAnswerError,
)
from longshore_client.errors import BY_CODE, ApiError, ExternalServiceError
from longshore_client.models import Operation, SortBy, SortOrder

from local import tokens
from local.seed import PROJECT, Seeder, container_id, long_history
from local.stack import LocalStack

ORDERS = [(by, order) for by in get_args(SortBy) for order in get_args(SortOrder)]
ROWS = 250  # three pages


@pytest.fixture(scope="module")
def long_one(stack: LocalStack) -> str:
    """Add a container with a history of several pages, and return its id."""
    identity = "c0ffee000000000000000001"
    Seeder(stack).add(identity, long_history(ROWS))
    return identity


def test_a_container(client: Longshore) -> None:
    container = client.api.containers.get(container_id(12))
    assert (container.id, container.project_id, container.name) == (container_id(12), PROJECT, "payments")
    assert container.status == "running"
    assert container.allowed_operations == ("stop", "force-stop", "restart", "pause")
    assert container.pending_operation is None
    assert timedelta(0) < datetime.now(UTC) - container.status_since < timedelta(days=1)
    assert container.created_at < container.status_since <= container.updated_at
    assert container.raw["name"] == "payments"


def test_an_operation(stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    result = client.api.containers.manage(fresh_id, "start")
    assert (result.operation, result.container_id, result.project_id) == ("start", fresh_id, PROJECT)
    assert (result.status, result.message) == ("running", "Container started successfully")
    assert result.completed
    (row, _) = client.api.containers.get_status_logs(fresh_id).logs
    assert row.metadata["request_id"] == result.request_id
    assert check(stack, fresh_id)["status"] == "running"


def test_a_conflict_contains_the_state(client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running", "paused"])
    with pytest.raises(OperationStateConflictError, match="Container is paused") as conflict:
        client.api.containers.manage(fresh_id, "start", idempotency_key="the-key")
    error = conflict.value
    assert (error.code, error.status_code, error.message) == ("OPERATION_STATE_CONFLICT", 400, "Container is paused")
    assert error.status == "paused"
    assert error.allowed_operations == ("stop", "force-stop", "restart", "resume")
    assert error.pending_operation is None
    assert error.idempotency_key == "the-key"
    assert error.data["operation"] == "start"
    assert error.request_id


def test_an_idempotency_key_of_the_caller(stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    first = client.api.containers.manage(fresh_id, "start", idempotency_key=f"deploy-{fresh_id}")
    client.api.containers.manage(fresh_id, "stop")
    second = client.api.containers.manage(fresh_id, "start", idempotency_key=f"deploy-{fresh_id}")
    assert first.raw == second.raw
    assert check(stack, fresh_id)["log_count"] == 3


def test_a_task_that_fails_to_start_is_not_run_again(
    stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str
) -> None:
    """The API does not store this error for the key, so a retry would run another task."""
    seeder.task_definition("unpullable", labels={"simulate.start": "fail"})
    seeder.add(fresh_id, ["stopped"], task_definition="unpullable")
    with pytest.raises(ExternalServiceError) as failed:
        client.api.containers.manage(fresh_id, "restart")
    assert failed.value.reason
    assert len([task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]) == 1
    assert check(stack, fresh_id)["log_count"] == 2


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda c: c.get("xyz"), "INVALID_ID_FORMAT"),
        (lambda c: c.get(""), "INVALID_ID_FORMAT"),
        (lambda c: c.get(".."), "INVALID_ID_FORMAT"),
        (lambda c: c.get("507f1f77bcf86cd799439012/start"), "INVALID_ID_FORMAT"),
        (lambda c: c.get("507f1f77bcf86cd799439012?x=y"), "INVALID_ID_FORMAT"),
        (lambda c: c.get("f" * 24), "CONTAINER_NOT_FOUND"),
        (lambda c: c.manage(container_id(12), "explode"), "VALIDATION_ERROR"),
        (lambda c: c.manage(container_id(12), "start/../pause"), "VALIDATION_ERROR"),
        (lambda c: c.manage(container_id(12), "stop", idempotency_key="k" * 129), "VALIDATION_ERROR"),
        (lambda c: c.get_status_logs(container_id(12), limit=101), "VALIDATION_ERROR"),
        (lambda c: c.manage(container_id(15), "start"), "OPERATION_NOT_PERMITTED_ON_EXPIRED"),
    ],
)
def test_invalid_requests(client: Longshore, call: Callable[[Any], Any], code: str) -> None:
    with pytest.raises(BY_CODE[code]) as refused:
        call(client.api.containers)
    assert refused.value.code == code
    assert client.api.containers.get(container_id(12)).status == "running"


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("not.a.token", "INVALID_TOKEN"),
        (tokens.token("operator", -60), "TOKEN_EXPIRED"),
        (tokens.token("banned"), "ACCOUNT_BANNED"),
        (tokens.token("stranger"), "CONTAINER_NOT_FOUND"),
        (tokens.token("viewer"), "INSUFFICIENT_PERMISSIONS"),
    ],
    ids=lambda value: value if value.isupper() else "token",
)
def test_refused_users(stack: LocalStack, token: str, code: str) -> None:
    with Longshore(stack.url, token, retries=EAGER) as client, pytest.raises(BY_CODE[code]) as refused:
        client.api.containers.manage(container_id(12), "stop")
    assert type(refused.value) is BY_CODE[code]
    assert refused.value.resolution


def test_a_function_for_the_token_is_called_for_each_request(stack: LocalStack) -> None:
    given = iter([tokens.token("operator"), tokens.token("operator", -60)])
    with Longshore(stack.url, lambda: next(given)) as client:
        client.api.containers.get(container_id(12))
        with pytest.raises(BY_CODE["TOKEN_EXPIRED"]):
            client.api.containers.get(container_id(12))


def test_the_base_url_with_the_path_of_the_api(stack: LocalStack) -> None:
    with Longshore(f"{stack.url}/api/v1/", tokens.token("operator")) as client:
        assert client.base_url == f"{stack.url}/api/v1"
        assert client.api.containers.get(container_id(12)).name == "payments"


def test_another_base_url(stack: LocalStack) -> None:
    with Longshore(f"{stack.url}/elsewhere", tokens.token("operator")) as client, pytest.raises(ApiError) as refused:
        client.api.containers.get(container_id(12))
    assert refused.value.code == "ROUTE_NOT_FOUND"


def test_another_service_at_the_url(stack: LocalStack) -> None:
    with (
        Longshore(stack.emulator.url, tokens.token("operator"), retries=EAGER) as client,
        pytest.raises(UnexpectedAnswerError, match="check the URL"),
    ):
        client.api.containers.get(container_id(12))


def test_no_service_at_the_url() -> None:
    with (
        Longshore("http://127.0.0.1:1", tokens.token("operator"), retries=EAGER) as client,
        pytest.raises(TransportError, match=r"no response to GET http://127\.0\.0\.1:1/api/v1/containers/"),
    ):
        client.api.containers.get(container_id(12))


def test_a_page(client: Longshore, long_one: str) -> None:
    page = client.api.containers.get_status_logs(long_one, sort_by="to_status", sort_order="asc", page=2, limit=20)
    assert (page.total, page.page, page.limit, page.total_pages) == (ROWS, 2, 20, 13)
    assert len(page.logs) == 20
    assert {row.container_id for row in page.logs} == {long_one}


def test_the_default_page_is_the_newest_ten(client: Longshore, long_one: str) -> None:
    page = client.api.containers.get_status_logs(long_one)
    assert (page.page, page.limit, len(page.logs)) == (1, 10, 10)
    times = [row.transition_time for row in page.logs]
    assert times == sorted(times, reverse=True)


def test_the_first_row_has_no_from_status(client: Longshore, long_one: str) -> None:
    (first,) = client.api.containers.get_status_logs(long_one, sort_order="asc", limit=1).logs
    assert (first.from_status, first.to_status, first.duration_ms) == (None, "stopped", None)


def in_order(rows: list[StatusLog], by: SortBy, order: SortOrder) -> list[StatusLog]:
    """Sort the rows as the API does: by the field, then by time in the same direction."""
    return sorted(rows, key=lambda row: (row.raw[by] or "", row.transition_time), reverse=order == "desc")


@pytest.mark.parametrize(("by", "order"), ORDERS)
def test_the_whole_history(client: Longshore, long_one: str, by: SortBy, order: SortOrder) -> None:
    rows = list(client.api.containers.iter_status_logs(long_one, sort_by=by, sort_order=order))
    assert len({row.id for row in rows}) == len(rows) == ROWS
    assert rows == in_order(rows, by, order)


@pytest.mark.parametrize(("order", "new"), [("asc", 2), ("desc", 0)])
def test_the_whole_history_while_it_grows(
    client: Longshore, seeder: Seeder, fresh_id: str, order: SortOrder, new: int
) -> None:
    """A row is added during each of the first two pages. No old row is skipped, and no row is returned twice."""
    seeder.add(fresh_id, long_history(ROWS))
    old = [row.id for row in client.api.containers.iter_status_logs(fresh_id)]
    additions: dict[int, Operation] = {50: "start", 150: "stop"}
    rows = []
    for number, row in enumerate(client.api.containers.iter_status_logs(fresh_id, sort_order=order)):
        if number in additions:
            client.api.containers.manage(fresh_id, additions[number])
        rows.append(row)
    seen = [row.id for row in rows]
    assert len(set(seen)) == len(seen) == ROWS + new
    assert set(old) <= set(seen)
    assert rows == in_order(rows, "transition_time", order)


def test_asyncio(stack: LocalStack, seeder: Seeder, fresh_id: str, long_one: str) -> None:
    seeder.add(fresh_id, ["stopped"])

    async def token() -> str:
        return tokens.token("operator")

    async def use() -> None:
        async with AsyncLongshore(stack.url, token, retries=EAGER) as client:
            containers = client.api.containers
            assert (await containers.get(fresh_id)).status == "stopped"
            results = await asyncio.gather(
                *(containers.manage(fresh_id, "start", idempotency_key=f"all-{fresh_id}") for _ in range(5))
            )
            assert [result.status for result in results] == ["running"] * 5
            assert (await containers.manage(fresh_id, "pause", wait=True)).status == "paused"
            with pytest.raises(OperationStateConflictError):
                await containers.manage(fresh_id, "pause")
            page = await containers.get_status_logs(long_one, page=3, limit=100)
            assert len(page.logs) == 50
            assert len([row async for row in containers.iter_status_logs(long_one, sort_by="from_status")]) == ROWS
        for shown in (repr(client), str(client)):
            assert "Bearer" not in shown

    asyncio.run(use())
    assert check(stack, fresh_id)["log_count"] == 3
