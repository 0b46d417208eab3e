"""Lists, projects, filters, updates and preferences. Uses prepared responses instead of an API, and does not wait."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from client.script import CONTAINER, ID, PENDING, STARTED, Script, Scripted, ok, refused
from longshore_client import AsyncLongshore, Container, Longshore, StatusLog
from longshore_client.errors import ProjectNotFoundError, ValidationError
from longshore_client.models import ContainersPage

PROJECT = "507f1f77bcf86cd799439033"
ROW: dict[str, Any] = {
    "id": "507f1f77bcf86cd799439077",
    "container_id": ID,
    "from_status": None,
    "to_status": "stopped",
    "transition_time": "2026-01-15T10:30:00.000Z",
    "created_at": "2026-01-15T10:30:00.012Z",
    "duration_ms": None,
    "triggered_by": "system",
    "metadata": None,
}


def identity(number: int) -> str:
    return f"{number:024x}"


def container(number: int, **more: Any) -> dict[str, Any]:
    return {**CONTAINER, "id": identity(number), "name": f"web-{number}", **more}


def page(numbers: Iterable[int], page: int, pages: int) -> httpx.Response:
    pagination = {"total": 100 * pages, "page": page, "limit": 100, "totalPages": pages, "next_cursor": None}
    return ok({"containers": [container(number) for number in numbers], "pagination": pagination})


def cursor_page(numbers: Iterable[int], cursor: str | None) -> httpx.Response:
    pagination = {"limit": 100, "next_cursor": cursor}
    return ok({"containers": [container(number) for number in numbers], "pagination": pagination})


def logs_page(numbers: Iterable[int], cursor: str | None) -> httpx.Response:
    rows = [{**ROW, "id": identity(number), "container_name": "web"} for number in numbers]
    return ok({"logs": rows, "pagination": {"limit": 100, "next_cursor": cursor}})


def ids(found: Iterable[Container | StatusLog]) -> list[str]:
    return [each.id for each in found]


def queries(script: Script) -> list[dict[str, str]]:
    return [dict(request.url.params) for request in script.requests]


def test_the_list_of_a_project_is_read_with_the_cursor(scripted: Scripted) -> None:
    client, script = scripted(cursor_page([1, 2], "c1"), cursor_page([], "c2"), cursor_page([3], None))
    assert ids(client.api.containers.iter(PROJECT, sort_order="desc")) == [identity(1), identity(2), identity(3)]
    assert {request.url.path for request in script.requests} == {f"/prod/api/v1/projects/{PROJECT}/containers"}
    order = {"sort_by": "name", "sort_order": "desc", "limit": "100"}
    assert queries(script) == [{**order, "cursor": cursor} for cursor in ("", "c1", "c2")]


@pytest.mark.parametrize(
    ("project", "filters", "query"),
    [
        (None, {}, {}),
        (PROJECT, {"sort_by": "id"}, {"sort_by": "id"}),
        (PROJECT, {"status": "running"}, {"status": "running"}),
        (PROJECT, {"status": ["running", "paused"]}, {"status": "running,paused"}),
        (PROJECT, {"name": "web"}, {"name": "web"}),
        (PROJECT, {"labels": {"env": "dev"}}, {"label": "env:dev"}),
    ],
)
def test_other_lists_are_read_by_page(
    scripted: Scripted, project: str | None, filters: dict[str, Any], query: dict[str, str]
) -> None:
    """The list has changed between the pages: container 2 is on both, and is returned once."""
    client, script = scripted(page([1, 2], 1, 2), page([2, 3], 2, 2))
    assert ids(client.api.containers.iter(project, **filters)) == [identity(1), identity(2), identity(3)]
    order = {"sort_by": "name", "sort_order": "asc", "limit": "100", **query}
    assert queries(script) == [{**order, "page": "1"}, {**order, "page": "2"}]
    path = "/containers" if project is None else f"/projects/{PROJECT}/containers"
    assert {request.url.path for request in script.requests} == {f"/prod/api/v1{path}"}


def test_an_empty_list(scripted: Scripted) -> None:
    client, script = scripted(page([], 1, 0), cursor_page([], None))
    assert ids(client.api.containers.iter()) == []
    assert ids(client.api.containers.iter(PROJECT)) == []
    assert len(script.requests) == 2


def test_several_labels(scripted: Scripted) -> None:
    client, script = scripted(page([1], 1, 1))
    list(client.api.containers.iter(labels={"env": "dev", "team": None}))
    assert script.requests[0].url.params.get_list("label") == ["env:dev", "team"]


def test_a_page(scripted: Scripted) -> None:
    client, script = scripted(page([1], 3, 7), cursor_page([2], "next"))
    found = client.api.containers.get_page(page=3, limit=100, sort_by="status")
    assert (found.page, found.total_pages, found.total, found.next_cursor) == (3, 7, 700, None)
    found = client.api.containers.get_page(PROJECT, cursor="")
    assert (found.page, found.total_pages, found.total, found.next_cursor) == (None, None, None, "next")
    assert "page" not in queries(script)[1]


def test_the_fields_of_a_container(scripted: Scripted) -> None:
    """An API that does not return the new fields is tolerated."""
    new = {"server_id": "i-1", "launch_type": "EC2", "task_definition": "web:3", "labels": {"env": "dev"}}
    client, _ = scripted(ok({**CONTAINER, **new}), ok(CONTAINER), ok({**CONTAINER, "labels": None, "server_id": None}))
    found = client.api.containers.get(ID)
    assert (found.server_id, found.launch_type, found.task_definition) == ("i-1", "EC2", "web:3")
    assert found.labels == {"env": "dev"}
    for _ in range(2):
        found = client.api.containers.get(ID)
        assert (found.server_id, found.launch_type, found.task_definition, found.labels) == (None, None, None, {})


def test_projects(scripted: Scripted) -> None:
    projects = [{"id": PROJECT, "name": "shop", "role": "owner"}, {"id": ID, "name": None, "role": "viewer"}]
    client, script = scripted(ok({"projects": projects}))
    shop, other = client.api.projects.get_all()
    assert (shop.id, shop.name, shop.role) == (PROJECT, "shop", "owner")
    assert (other.id, other.name, other.role) == (ID, None, "viewer")
    assert script.sent == ["GET projects"]


def test_a_project_that_does_not_exist(scripted: Scripted) -> None:
    client, _ = scripted(refused(404, "PROJECT_NOT_FOUND"))
    with pytest.raises(ProjectNotFoundError):
        list(client.api.containers.iter(PROJECT))


def test_the_history_of_a_project(scripted: Scripted) -> None:
    """A page may be empty and still have a next page."""
    client, script = scripted(logs_page([1, 2], "c1"), logs_page([], "c2"), logs_page([3], None))
    since = datetime(2026, 3, 2, 9, tzinfo=timezone(timedelta(hours=1)))
    rows = list(client.api.projects.iter_status_logs(PROJECT, since=since, actor="a+b", triggered_by="user"))
    assert ids(rows) == [identity(1), identity(2), identity(3)]
    assert rows[0].container_name == "web"
    query = {"sort_order": "desc", "from": "2026-03-02T09:00:00+01:00", "actor": "a+b", "triggered_by": "user"}
    query["limit"] = "100"
    assert queries(script) == [query, {**query, "cursor": "c1"}, {**query, "cursor": "c2"}]
    assert script.requests[0].url.path == f"/prod/api/v1/projects/{PROJECT}/status-logs"


def test_a_filtered_history(scripted: Scripted) -> None:
    pagination = {"total": 1, "page": 1, "limit": 100, "totalPages": 1}
    client, script = scripted(ok({"logs": [ROW], "pagination": pagination}))
    until = datetime(2026, 3, 2, 9, tzinfo=UTC)
    (row,) = client.api.containers.iter_status_logs(ID, until=until, to_status="stopped", sort_order="asc")
    assert row.container_name is None
    assert queries(script)[0] == {
        "sort_by": "transition_time",
        "sort_order": "asc",
        "to": "2026-03-02T09:00:00+00:00",
        "to_status": "stopped",
        "page": "1",
        "limit": "100",
    }


def test_a_time_without_a_time_zone_is_refused(scripted: Scripted) -> None:
    client, script = scripted()
    local = datetime(2026, 3, 2, 9)  # noqa: DTZ001
    with pytest.raises(ValueError, match="2026-03-02T09:00:00 has no time zone"):
        client.api.containers.get_status_logs(ID, since=local)
    assert script.requests == []


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"name": "orders"}, {"name": "orders"}),
        ({"labels": {"env": "dev"}}, {"labels": {"env": "dev"}}),
        ({"labels": {}}, {"labels": None}),
        ({"name": "a", "labels": {"env": "dev"}}, {"name": "a", "labels": {"env": "dev"}}),
    ],
)
def test_an_update(scripted: Scripted, changes: dict[str, Any], body: dict[str, Any]) -> None:
    """An update is repeated if no response arrives."""
    client, script = scripted(httpx.ReadError("lost"), ok({**CONTAINER, "name": "changed"}))
    assert client.api.containers.update(ID, **changes).name == "changed"
    assert script.sent == [f"PATCH {ID}"] * 2
    assert [json.loads(request.content) for request in script.requests] == [body] * 2


def test_an_update_that_is_refused(scripted: Scripted) -> None:
    client, _ = scripted(refused(400, "VALIDATION_ERROR"))
    with pytest.raises(ValidationError):
        client.api.containers.update(ID, name="")


@pytest.mark.parametrize(
    ("preferences", "header"),
    [
        ({}, None),
        ({"respond_async": True}, "respond-async"),
        ({"api_wait": 3}, "wait=3"),
        ({"respond_async": True, "api_wait": 3}, "respond-async, wait=3"),
    ],
)
def test_a_preference(scripted: Scripted, preferences: dict[str, Any], header: str | None) -> None:
    response = ok(STARTED)
    response.headers["Preference-Applied"] = "something"
    client, script = scripted(response)
    result = client.api.containers.manage(ID, "start", **preferences)
    assert script.requests[0].headers.get("Prefer") == header
    assert result.preference_applied == "something"


def test_waiting_in_the_api(scripted: Scripted) -> None:
    """The client's timeout is extended by the time that the API may wait."""
    client, script = scripted(ok(CONTAINER))
    client.api.containers.get(ID, wait_for="stopped", timeout=25)
    assert queries(script) == [{"wait_for": "stopped", "timeout": "25"}]
    assert script.requests[0].extensions["timeout"]["read"] == 60


def test_waiting_for_an_accepted_operation(
    scripted: Scripted, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a request that has waited in the API, the client does not wait. It waits if the API has not."""
    clock = iter([0.0, 0.0, 20.0, 20.0, 20.1, 20.1, 20.2])
    pending = ok({**CONTAINER, "pending_operation": PENDING})
    row = {**ROW, "to_status": "running", "duration_ms": 3000, "transition_time": "2026-01-15T10:30:03.000Z"}
    row |= {"created_at": "2026-01-15T10:30:03.000Z", "metadata": {"command": "start", "operation_id": "o1"}}
    rows = {"logs": [row], "pagination": {"total": 1, "page": 1, "limit": 100, "totalPages": 1}}
    client, script = scripted(
        ok({**STARTED, "status": "stopped", "pending_operation": PENDING}, 202),
        pending,
        pending,
        ok({**CONTAINER, "status": "running"}),
        ok(rows),
    )
    accepted = client.api.containers.manage(ID, "start", respond_async=True)
    assert not accepted.completed
    monkeypatch.setattr("longshore_client._containers.time.monotonic", lambda: next(clock))
    result = client.api.containers.wait(accepted, timeout=300)
    assert (result.completed, result.status) == (True, "running")
    assert result.idempotency_key == accepted.idempotency_key
    assert queries(script)[1:4] == [{"wait_for": "settled", "timeout": "20"}] * 3
    assert len(pauses) == 1
    assert client.api.containers.wait(result) is result


@pytest.mark.parametrize("url", ["http://host", "http://10.0.0.1:3000", "http://127.evil.example", "http://[::2]"])
def test_a_token_is_not_sent_unencrypted(url: str) -> None:
    for kind in (Longshore, AsyncLongshore):
        with pytest.raises(ValueError, match="would receive the token unencrypted: use https"):
            kind(url, "token")
    with Longshore(url, "token", allow_http=True) as client:
        assert client.base_url.startswith("http://")


@pytest.mark.parametrize("url", ["http://localhost:3000", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:3000"])
def test_loopback_addresses_need_no_encryption(url: str) -> None:
    with Longshore(url, "token") as client:
        assert client.base_url == f"{url}/api/v1"


def test_asyncio() -> None:
    script = Script(
        [
            cursor_page([1], "c1"),
            cursor_page([2], None),
            page([3], 1, 1),
            ok({"projects": [{"id": PROJECT, "name": "shop", "role": "owner"}]}),
            logs_page([4], "c1"),
            logs_page([5], None),
            ok({**CONTAINER, "name": "changed"}),
            ok(CONTAINER),
            ok(STARTED),
        ]
    )

    async def collect(found: AsyncIterator[Any]) -> list[str]:
        return ids([each async for each in found])

    async def use() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(script))
        async with http, AsyncLongshore("https://api.example/prod", "token", http_client=http) as client:
            containers, projects = client.api.containers, client.api.projects
            assert await collect(containers.iter(PROJECT)) == [identity(1), identity(2)]
            found: ContainersPage = await containers.get_page(name="web")
            assert ids(found.containers) == [identity(3)]
            assert [project.name for project in await projects.get_all()] == ["shop"]
            assert await collect(projects.iter_status_logs(PROJECT)) == [identity(4), identity(5)]
            assert (await containers.update(ID, name="changed")).name == "changed"
            assert (await containers.get(ID, wait_for="settled")).id == ID
            result = await containers.manage(ID, "start", respond_async=True)
            assert await containers.wait(result) is result

    asyncio.run(use())
    assert script.requests[-1].headers["Prefer"] == "respond-async"
