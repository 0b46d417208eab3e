"""Tests of the history of a project: walks with every filter while rows are added, and containers that move."""

import base64
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from api_client import Api
from integration.project_logs import logs, refused
from project_rows import START, ProjectRows

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")

FULL = os.environ.get("LONGSHORE_SCALE") == "full"
BIG = "b16b00000000000000000001"
OTHER = "07e500000000000000000001"
# Containers and rows of the big project. moto is slow.
SIZES = {"moto": (20, 600), "dynamodb-local": (100, 20_000) if FULL else (20, 2_000)}
ADDITIONS = 60  # at most, while a walk lasts
Matches = Callable[[dict[str, Any]], bool]


@pytest.fixture(scope="module")
def size(stack: LocalStack) -> tuple[int, int]:
    return SIZES["moto" if "moto" in stack.database else "dynamodb-local"]


@pytest.fixture(scope="module")
def project(stack: LocalStack, size: tuple[int, int]) -> ProjectRows:
    containers, count = size
    rows = ProjectRows(stack, BIG, containers)
    rows.add(count)
    return rows


def pages(api: Api, project_id: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """Walk the cursor, and yield the rows of each page."""
    cursor: str | None = ""
    while cursor is not None:
        response = logs(api, project_id, **query, cursor=cursor)
        body = response.json()
        assert response.status_code == 200, body
        assert (body["statusCode"], body["message"]) == (200, "Project status logs retrieved successfully")
        assert body["data"].keys() == {"logs", "pagination"}
        assert body["data"]["pagination"].keys() == {"limit", "next_cursor"}
        assert body["data"]["pagination"]["limit"] == int(query.get("limit", 50))
        assert len(body["data"]["logs"]) <= int(query.get("limit", 50))
        cursor = body["data"]["pagination"]["next_cursor"]
        yield body["data"]["logs"]


def walk(api: Api, project_id: str, **query: Any) -> list[dict[str, Any]]:
    return [row for page in pages(api, project_id, **query) for row in page]


def named(project: ProjectRows, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"container_name": project.containers[row["container_id"]].name}


def some_container(project: ProjectRows) -> str:
    return list(project.containers)[3]


def filters(project: ProjectRows) -> dict[str, tuple[dict[str, str], Matches]]:
    """Return each filter with its query and the rows that match."""
    last = max(row["transition_time"] for row in project.rows)
    times = sorted(row["transition_time"] for row in project.rows)
    low, high = times[len(times) // 4], times[len(times) // 2]
    own = some_container(project)
    ranges: dict[str, tuple[dict[str, str], Matches]] = {
        "none": ({}, lambda _: True),
        "from": ({"from": low}, lambda row: row["transition_time"] >= low),
        "to": ({"to": high}, lambda row: row["transition_time"] <= high),
        "from and to": ({"from": low, "to": high}, lambda row: low <= row["transition_time"] <= high),
        "one millisecond": ({"from": low, "to": low}, lambda row: row["transition_time"] == low),
        "nothing": ({"from": f"{low[:-1]}1Z", "to": f"{low[:-1]}2Z"}, lambda _: False),
        "to_status": ({"to_status": "failed"}, lambda row: row["to_status"] == "failed"),
        "triggered_by": ({"triggered_by": "recovery"}, lambda row: row["triggered_by"] == "recovery"),
        "actor": ({"actor": "grace"}, lambda row: (row["metadata"] or {}).get("actor") == "grace"),
        "unknown actor": ({"actor": "nobody"}, lambda _: False),
        "container_id": ({"container_id": own}, lambda row: row["container_id"] == own),
        "unknown container": ({"container_id": "e" * 24}, lambda _: False),
        "container and range": (
            {"container_id": own, "from": low, "to": last},
            lambda row: row["container_id"] == own and row["transition_time"] >= low,
        ),
        "all": (
            {"from": low, "to_status": "running", "triggered_by": "user", "actor": "ada"},
            lambda row: (
                row["transition_time"] >= low
                and (row["to_status"], row["triggered_by"]) == ("running", "user")
                and (row["metadata"] or {}).get("actor") == "ada"
            ),
        ),
        "container and status": (
            {"container_id": own, "to_status": "running"},
            lambda row: row["container_id"] == own and row["to_status"] == "running",
        ),
    }
    return ranges


FILTERS = (
    "none",
    "from",
    "to",
    "from and to",
    "one millisecond",
    "nothing",
    "to_status",
    "triggered_by",
    "actor",
    "unknown actor",
    "container_id",
    "unknown container",
    "container and range",
    "all",
    "container and status",
)


def test_the_project_meets_the_requirements_of_these_tests(project: ProjectRows, size: tuple[int, int]) -> None:
    assert (len(project.containers), len(project.rows)) == size
    together = Counter(row["transition_time"] for row in project.rows)
    assert sum(count > 1 for count in together.values()) > len(together) / 2
    assert list(filters(project)) == list(FILTERS)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("name", FILTERS)
def test_a_walk_with_each_filter(api: Api, project: ProjectRows, name: str, order: str) -> None:
    query, matches = filters(project)[name]
    before = [row for row in project.rows if matches(row)]
    found = walk(api, BIG, **query, sort_order=order, limit=100)
    times = [row["transition_time"] for row in found]
    assert times == sorted(times, reverse=order == "desc")
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in before)
    shown = {row["id"]: row for row in before}
    assert all(row == named(project, shown[row["id"]]) for row in found)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7])
def test_small_pages(api: Api, project: ProjectRows, order: str, limit: int) -> None:
    """Several rows have the same millisecond, so pages end between them."""
    times = sorted({row["transition_time"] for row in project.rows})[10:20]
    query = {"from": times[0], "to": times[-1], "sort_order": order, "limit": limit}
    within = [row["id"] for row in project.rows if times[0] <= row["transition_time"] <= times[-1]]
    found = list(pages(api, BIG, **query))
    assert sorted(row["id"] for page in found for row in page) == sorted(within)
    # Without a filter every page but the last is full, and the last one is not empty.
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert found[-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("name", ["none", "to_status", "container_id"])
def test_a_walk_while_rows_are_added(
    stack: LocalStack, api: Api, project: ProjectRows, size: tuple[int, int], name: str, order: str
) -> None:
    """Each row that was readable when the walk began is read exactly once, and no other row more than once."""
    query, matches = filters(project)[name]
    before = [row["id"] for row in project.rows if matches(row)]
    middle = START + timedelta(milliseconds=size[1] // 10)
    stopped = threading.Event()

    def add_newer() -> None:
        for day in range(ADDITIONS):
            if not stopped.wait(0.01):
                project.add(5, START + timedelta(days=1 + day))

    def add_between() -> None:
        """Add rows between existing ones, as functions do whose clocks differ."""
        other = ProjectRows(stack, BIG, 1, prefix="c10c0001" if order == "asc" else "c10c0002")
        for _ in range(ADDITIONS):
            if not stopped.wait(0.01):
                other.add(1, middle)

    threads = [threading.Thread(target=add_newer), threading.Thread(target=add_between)]
    for thread in threads:
        thread.start()
    try:
        found = [row["id"] for row in walk(api, BIG, **query, sort_order=order, limit=100)]
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert len(found) == len(set(found))
    assert set(before) <= set(found)


def test_the_newest_rows_come_first_and_fifty_of_them(api: Api, project: ProjectRows) -> None:
    data = logs(api, BIG).json()["data"]
    assert len(data["logs"]) == data["pagination"]["limit"] == 50
    assert data["logs"][0]["transition_time"] == max(row["transition_time"] for row in project.rows)
    assert list(data["logs"][0])[-1] == "container_name"


def test_the_work_of_a_request_is_limited(stack: LocalStack, api: Api, project: ProjectRows) -> None:
    """A filter without matches reads at most three times, and returns an empty page with a cursor."""
    calls = stack.emulator.calls
    calls.clear()
    data = logs(api, BIG, actor="nobody").json()["data"]
    assert data["logs"] == []
    assert calls.count("dynamodb", "Query") <= 4
    if len(project.rows) > 2300:
        assert data["pagination"]["next_cursor"] is not None


def test_a_row_is_readable_in_the_project(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], name="fresh")
    assert api.post(fresh_id, "start").status_code == 200
    (row, _) = walk(api, PROJECT, container_id=fresh_id)
    assert (row["to_status"], row["container_name"], row["metadata"]["actor"]) == ("running", "fresh", "operator")
    assert row == api.logs(fresh_id, limit=1).json()["data"]["logs"][0] | {"container_name": "fresh"}


def test_rows_belong_to_the_project_that_they_were_written_under(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    rows = ProjectRows(stack, OTHER, 2)
    rows.add(10)
    moved, stays = rows.containers
    rows.move(moved, PROJECT)
    before = [row["id"] for row in rows.rows if row["container_id"] == moved]
    rows.add(10, START + timedelta(hours=1))
    after = [row["id"] for row in rows.rows if row["container_id"] == moved and row["id"] not in before]
    assert before
    assert after
    found = {row["id"]: row for row in walk(api, OTHER)}
    assert found.keys() == {row["id"] for row in rows.rows} - set(after)
    # A member of the previous project sees neither new rows nor the new name of the container.
    assert {row["container_name"] for row in found.values() if row["container_id"] == moved} == {None}
    assert {row["container_name"] for row in found.values() if row["container_id"] == stays} == {"container 1"}
    assert [row["id"] for row in walk(api, OTHER, container_id=moved, sort_order="asc")] == before
    assert [row["id"] for row in walk(api, PROJECT, container_id=moved, sort_order="asc")] == after
    # The history of the container has all of them.
    rows.move(moved, PROJECT)
    assert api.logs(moved).json()["data"]["pagination"]["total"] == len(before) + len(after)


@pytest.mark.parametrize("user", ["viewer", "operator", "owner"])
def test_members_read_the_history(api: Api, user: str) -> None:
    assert logs(api, PROJECT, user).status_code == 200


CURSOR_FAULT = "must be the next_cursor of a response for the same project and sort_order"


@pytest.mark.parametrize(
    ("project_id", "user", "query", "status", "code"),
    [
        ("x", "banned", {"limit": "0"}, 400, "INVALID_ID_FORMAT"),
        (BIG, "banned", {"limit": "0"}, 400, "VALIDATION_ERROR"),
        (PROJECT, "banned", {}, 403, "ACCOUNT_BANNED"),
        ("e" * 24, "banned", {}, 403, "ACCOUNT_BANNED"),
        (PROJECT, "stranger", {}, 404, "PROJECT_NOT_FOUND"),
        ("e" * 24, "viewer", {}, 404, "PROJECT_NOT_FOUND"),
    ],
)
def test_the_order_of_the_checks(
    api: Api, project_id: str, user: str, query: dict[str, str], status: int, code: str
) -> None:
    body = refused(logs(api, project_id, user, **query), status, code)
    if code == "PROJECT_NOT_FOUND":
        assert body["message"] == "Project not found"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ({"limit": "101"}, {"instancePath": "/limit", "message": "must be <= 100"}),
        ({"sort_order": "up"}, {"instancePath": "/sort_order", "message": "must be one of: asc, desc"}),
        (
            {"triggered_by": "me"},
            {"instancePath": "/triggered_by", "message": "must be one of: user, schedule, system, recovery"},
        ),
        ({"container_id": "x"}, {"instancePath": "/container_id", "message": "must be 24 characters of 0-9a-f"}),
        ({"actor": ""}, {"instancePath": "/actor", "message": "must have 1 to 255 characters"}),
        ({"cursor": "x"}, {"instancePath": "/cursor", "message": CURSOR_FAULT}),
        (
            {"from": "2025-01-15T10:30:00"},
            {
                "instancePath": "/from",
                "message": "must be an RFC 3339 time with an offset, such as 2025-01-15T10:30:00Z",
            },
        ),
    ],
)
def test_invalid_queries(api: Api, query: dict[str, str], fault: dict[str, str]) -> None:
    assert refused(logs(api, PROJECT, **query), 400, "VALIDATION_ERROR")["data"] == [fault]


def test_a_cursor_belongs_to_its_project_and_order(api: Api, project: ProjectRows) -> None:
    cursor = logs(api, BIG, limit=1).json()["data"]["pagination"]["next_cursor"]
    assert logs(api, BIG, cursor=cursor).status_code == 200
    for project_id, query in [(PROJECT, {}), (BIG, {"sort_order": "asc"})]:
        refused(logs(api, project_id, **query, cursor=cursor), 400, "VALIDATION_ERROR")
    # The cursor states no more than the position of a row that the caller has read.
    assert base64.urlsafe_b64decode(cursor).decode().split()[:3] == ["1", BIG, "desc"]


def test_a_cursor_outside_the_range(api: Api, project: ProjectRows) -> None:
    """The walk continues within the range, or is over."""
    times = sorted({row["transition_time"] for row in project.rows})
    query = {"from": times[20], "to": times[30]}
    within = sorted(row["id"] for row in project.rows if times[20] <= row["transition_time"] <= times[30])
    early = logs(api, BIG, limit=1, sort_order="asc").json()["data"]["pagination"]["next_cursor"]
    late = logs(api, BIG, limit=1, sort_order="desc").json()["data"]["pagination"]["next_cursor"]
    for order, cursor in (("asc", early), ("desc", late)):
        data = logs(api, BIG, **query, sort_order=order, limit=100, cursor=cursor).json()["data"]
        assert sorted(row["id"] for row in data["logs"]) == within
    for order, until in (("desc", times[5]), ("asc", times[-1])):
        edge = logs(api, BIG, limit=1, sort_order=order, **({"to": until} if order == "desc" else {"from": until}))
        cursor = edge.json()["data"]["pagination"]["next_cursor"]
        if cursor is not None:
            data = logs(api, BIG, **query, sort_order=order, cursor=cursor).json()["data"]
            assert data == {"logs": [], "pagination": {"limit": 50, "next_cursor": None}}
