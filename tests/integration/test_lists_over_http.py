"""Tests of the lists of containers over HTTP: pages in all orders, filters, cursors, and all projects of a user."""

from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from fleet import fleet, in_order, put
from integration.listed import FLEET, OTHER, SIZE, delete, ids_of, listed, small_pages, walk
from integration.rejections import refused
from longshore.domain.listing import SORT_COLUMNS
from longshore.domain.models import Container

from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")

ORDERS = [(sort_by, sort_order) for sort_by in SORT_COLUMNS for sort_order in ("asc", "desc")]


# --- Pages and orders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 50, 100])
@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_joined_pages_are_the_sorted_list(
    api: Api, containers: list[Container], sort_by: str, sort_order: str, limit: int
) -> None:
    joined: list[str] = []
    pages = -(-SIZE // limit)
    for page in range(1, pages + 1):
        data = listed(api, sort_by=sort_by, sort_order=sort_order, limit=limit, page=page)
        pagination = data["pagination"]
        assert (pagination.pop("next_cursor") is not None) == (sort_by == "name" and page < pages)
        assert pagination == {"total": SIZE, "page": page, "limit": limit, "totalPages": pages}
        joined += ids_of(data)
    assert joined == in_order(containers, sort_by, sort_order)


def test_the_default_page(api: Api, seeder: Seeder, project: str, stack: LocalStack) -> None:
    own = fleet(project, 51)
    put(stack, own)
    data = listed(api, project)
    assert ids_of(data) == in_order(own)[:50]
    assert data["pagination"].pop("next_cursor")
    assert data["pagination"] == {"total": 51, "page": 1, "limit": 50, "totalPages": 2}


def test_an_element_is_what_the_container_returns(api: Api, containers: list[Container]) -> None:
    for container in listed(api, limit=5)["containers"]:
        assert container == api.get(container["id"], "viewer").json()["data"]
        assert container.keys() >= {"server_id", "launch_type", "task_definition", "labels", "allowed_operations"}


@pytest.mark.parametrize("page", [2, 10**9, 2**53 - 1])
def test_a_page_past_the_end_is_empty(api: Api, containers: list[Container], page: int) -> None:
    data = listed(api, limit=50, page=page)
    assert data["containers"] == []
    pagination = {"total": SIZE, "page": page, "limit": 50, "totalPages": 1, "next_cursor": None}
    assert data["pagination"] == pagination


def test_an_empty_project(api: Api, project: str) -> None:
    pagination = {"total": 0, "page": 1, "limit": 50, "totalPages": 0, "next_cursor": None}
    assert listed(api, project) == {"containers": [], "pagination": pagination}
    assert walk(api, project, 10) == [[]]


@pytest.mark.parametrize("sort_by", SORT_COLUMNS)
def test_a_project_of_several_index_pages(
    stack: LocalStack, api: Api, containers: list[Container], sort_by: str
) -> None:
    with small_pages(stack, "ContainersTable", 10):
        data = listed(api, sort_by=sort_by, limit=100)
    assert ids_of(data) == in_order(containers, sort_by)


# --- Filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"status": "running"}, lambda each: each.status == "running"),
        ({"status": "failed,expired"}, lambda each: each.status in ("failed", "expired")),
        ({"name": "WORKER 1"}, lambda each: "worker 1" in each.name),
        ({"name": "STRASSE"}, lambda each: each.name == "straße"),
        ({"name": "no such name"}, lambda _: False),
        ({"label": "env"}, lambda each: "env" in each.labels),
        ({"label": "env:dev"}, lambda each: each.labels.get("env") == "dev"),
        ({"label": ["env:dev", "team"]}, lambda each: each.labels == {"env": "dev", "team": "c"}),
        ({"label": "team:a:b"}, lambda each: each.labels.get("team") == "a:b"),
        (
            {"status": "running,paused", "name": "w", "label": "env"},
            lambda each: each.status in ("running", "paused") and "w" in each.name.lower() and "env" in each.labels,
        ),
    ],
)
@pytest.mark.parametrize("sort_by", ["name", "updated_at"])
def test_filters(
    api: Api, containers: list[Container], query: dict[str, Any], fits: Callable[[Container], bool], sort_by: str
) -> None:
    expected = in_order(list(filter(fits, containers)), sort_by)
    assert len(expected) < SIZE
    joined = []
    for page in range(1, -(-len(expected) // 4) + 1):
        data = listed(api, sort_by=sort_by, limit=4, page=page, **query)
        assert data["pagination"]["total"] == len(expected)
        assert data["pagination"]["next_cursor"] is None
        joined += ids_of(data)
    assert joined == expected
    assert listed(api, sort_by=sort_by, **query)["pagination"]["total"] == len(expected)


def test_unknown_parameters_are_ignored(api: Api, containers: list[Container]) -> None:
    assert listed(api, colour="red", limit=5) == listed(api, limit=5)


# --- The cursor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 9, 44, 45, 100])
def test_a_walk_returns_the_sorted_list(api: Api, containers: list[Container], sort_order: str, limit: int) -> None:
    pages = walk(api, FLEET, limit, sort_order)
    assert len(pages) == -(-SIZE // limit)
    assert [identity for page in pages for identity in page] == in_order(containers, "name", sort_order)


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_a_walk_may_begin_after_a_page(api: Api, containers: list[Container], sort_order: str) -> None:
    ordered = in_order(containers, "name", sort_order)
    for page in range(1, 7):
        data = listed(api, limit=7, page=page, sort_order=sort_order)
        (rest,) = walk(api, FLEET, 100, sort_order, data["pagination"]["next_cursor"])
        assert ids_of(data) + rest == ordered[(page - 1) * 7 :]


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_a_walk_over_containers_of_the_same_name(stack: LocalStack, api: Api, project: str, sort_order: str) -> None:
    own = fleet(project, 25, names=["same"])
    put(stack, own)
    pages = walk(api, project, 4, sort_order)
    assert [identity for page in pages for identity in page] == in_order(own, "name", sort_order)


def test_a_walk_while_containers_come_and_go(stack: LocalStack, api: Api, project: str) -> None:
    """Containers before the cursor and after it are deleted and added. The others are returned once."""
    own = fleet(project, 20, names=[f"web-{number:02}" for number in range(20)])
    put(stack, own)
    data = listed(api, project, limit=5, cursor="")
    for number in (4, 5, 12):
        delete(stack, own[number])
    late = own[0].model_copy(update={"id": "ff" * 12, "name": "web-08b"})
    put(stack, [late])
    rest = walk(api, project, 5, cursor=data["pagination"]["next_cursor"])
    expected = [*own[6:9], late, *own[9:12], *own[13:]]
    assert [identity for page in rest for identity in page] == [container.id for container in expected]


@pytest.mark.parametrize(
    "query", [{"sort_by": "id"}, {"status": "running"}, {"name": "a"}, {"label": "env"}, {"page": 1}]
)
def test_a_cursor_excludes_other_sorts_filters_and_pages(api: Api, query: dict[str, Any]) -> None:
    fault = {"instancePath": "/cursor", "message": "requires a project and sort_by=name, and excludes filters and page"}
    response = api.call("GET", f"/projects/{FLEET}/containers", params={"cursor": "", **query})
    refused(response, "VALIDATION_ERROR", f"cursor {fault['message']}", data=[fault])


def test_a_cursor_of_another_list_is_refused(api: Api, containers: list[Container], others: list[Container]) -> None:
    cursor = listed(api, user="manager", limit=5, cursor="")["pagination"]["next_cursor"]
    fault = {"instancePath": "/cursor", "message": "must be the next_cursor of a page of the same list"}
    message = f"cursor {fault['message']}"
    own, other = f"/projects/{FLEET}/containers", f"/projects/{OTHER}/containers"
    for path, query in [
        (other, {"cursor": cursor}),
        (own, {"cursor": cursor, "sort_order": "desc"}),
        (own, {"cursor": cursor[:-2]}),
    ]:
        refused(api.call("GET", path, "manager", params=query), "VALIDATION_ERROR", message, data=[fault])
    assert api.call("GET", "/containers", "manager", params={"cursor": cursor}).json()["code"] == "VALIDATION_ERROR"


# --- All projects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_the_list_over_all_projects(
    api: Api, containers: list[Container], others: list[Container], sort_by: str, sort_order: str
) -> None:
    joined = []
    for page in range(1, 7):
        data = listed(api, None, "manager", sort_by=sort_by, sort_order=sort_order, limit=10, page=page)
        pagination = {"total": SIZE + 12, "page": page, "limit": 10, "totalPages": 6, "next_cursor": None}
        assert data["pagination"] == pagination
        joined += ids_of(data)
    assert joined == in_order([*containers, *others], sort_by, sort_order)


def test_filters_over_all_projects(api: Api, containers: list[Container], others: list[Container]) -> None:
    expected = [each for each in [*containers, *others] if each.status == "paused" and "env" in each.labels]
    assert ids_of(listed(api, None, "manager", status="paused", label="env")) == in_order(expected)


def test_a_user_without_projects_has_an_empty_list(api: Api) -> None:
    assert listed(api, None, "stranger")["pagination"]["total"] == 0


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_all_grants_of_a_user_are_read(stack: LocalStack, api: Api, seeder: Seeder, limit: int) -> None:
    """A Query of the access table returns at most 1 MB of roles."""
    own = fleet("cc" * 12, 1)
    put(stack, own)
    for number in range(4):
        seeder.grant("busy", f"{number:024x}", "viewer")
    seeder.grant("busy", "cc" * 12, "viewer")
    with small_pages(stack, "AccessTable", limit):
        assert ids_of(listed(api, None, "busy")) == [own[0].id]
        assert ids_of(listed(api, "cc" * 12, "busy")) == [own[0].id]
        assert len(api.call("GET", "/projects", "busy").json()["data"]["projects"]) == 5
