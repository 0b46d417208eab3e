"""Tests of the lists of containers and projects over HTTP: orders, filters, cursors, errors, and members."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from api_client import Api
from fleet import fleet, in_order, put
from integration.rejections import refused
from invariants import all_rows
from longshore.domain.listing import SORT_COLUMNS
from longshore.domain.models import Container

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("moto", "dynamodb-local")

FLEET, OTHER, UNKNOWN = "aa" * 12, "bb" * 12, "0123456789abcdef01234567"
SIZE = 45
ORDERS = [(sort_by, sort_order) for sort_by in SORT_COLUMNS for sort_order in ("asc", "desc")]
_projects = count(1)


@pytest.fixture(scope="module")
def containers(stack: LocalStack) -> list[Container]:
    """The containers of a project, which has the members of the demo. The user `manager` is in two projects."""
    seeder = Seeder(stack)
    seeder.members(FLEET)
    for project in (FLEET, OTHER):
        seeder.grant("manager", project, "owner")
    found = fleet(FLEET, SIZE)
    put(stack, found)
    return found


@pytest.fixture(scope="module")
def others(stack: LocalStack) -> list[Container]:
    """The containers of another project."""
    found = fleet(OTHER, 12)
    put(stack, found)
    return found


@pytest.fixture
def project(stack: LocalStack) -> str:
    """A project without containers that no other test uses, with the members of the demo."""
    fresh = f"ee{next(_projects):022x}"
    Seeder(stack).members(fresh)
    return fresh


def listed(api: Api, project: str | None = FLEET, user: str = "viewer", **query: Any) -> Any:
    """Return `data` of a list that must succeed."""
    path = "/containers" if project is None else f"/projects/{project}/containers"
    response = api.call("GET", path, user, params=query)
    body = response.json()
    assert response.status_code == 200, body
    assert body.keys() == {"statusCode", "message", "data"}
    assert (body["statusCode"], body["message"]) == (200, "Containers retrieved successfully")
    assert body["data"].keys() == {"containers", "pagination"}
    return body["data"]


def ids_of(data: Any) -> list[str]:
    return [container["id"] for container in data["containers"]]


def walk(api: Api, project: str, limit: int, sort_order: str = "asc", cursor: str = "") -> list[list[str]]:
    """Return the ids of all pages by cursor."""
    pages = []
    following: str | None = cursor
    while following is not None:
        data = listed(api, project, limit=limit, sort_order=sort_order, cursor=following)
        assert data["pagination"].keys() == {"limit", "next_cursor"}
        assert data["pagination"]["limit"] == limit
        following = data["pagination"]["next_cursor"]
        pages.append(ids_of(data))
    return pages


@contextmanager
def hooked(event: str, hook: Callable[..., None]) -> Iterator[None]:
    """Call a hook at an event of the functions' DynamoDB client."""
    from longshore.wiring import api_functions

    events = api_functions.dynamodb().meta.events
    events.register(event, hook)
    try:
        yield
    finally:
        events.unregister(event, hook)


@contextmanager
def before_the_items(*changes: Callable[[], object]) -> Iterator[None]:
    """Make changes between the read of the index and the first read of the items."""
    waiting = list(changes)

    def change(**_: Any) -> None:
        while waiting:
            waiting.pop()()

    with hooked("before-call.dynamodb.BatchGetItem", change):
        yield
    assert not waiting, "the function did not read the items"


@contextmanager
def small_pages(stack: LocalStack, table: str, limit: int) -> Iterator[None]:
    """Let each Query of a table return at most `limit` items, as DynamoDB does with 1 MB of items."""

    def restrict(params: dict[str, Any], **_: Any) -> None:
        if params["TableName"] == stack.table_name(table):
            params["Limit"] = limit

    with hooked("provide-client-params.dynamodb.Query", restrict):
        yield


def move(stack: LocalStack, container: Container, project: str) -> None:
    put(stack, [container.model_copy(update={"project_id": project})])


def delete(stack: LocalStack, container: Container) -> None:
    stack.client("dynamodb").delete_item(TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container.id}})


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


# --- Errors, in the order of their checks -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/projects", "/containers", f"/projects/{FLEET}/containers"])
def test_a_token_is_required(api: Api, path: str) -> None:
    refused(api.call("GET", path, None), "MISSING_TOKEN")


@pytest.mark.parametrize("project", ["x", FLEET.upper(), FLEET + "a"])
def test_an_invalid_project_id(api: Api, project: str) -> None:
    refused(api.call("GET", f"/projects/{project}/containers", "banned", params={"limit": 0}), "INVALID_ID_FORMAT")


@pytest.mark.parametrize("path", ["/containers", f"/projects/{FLEET}/containers", f"/projects/{UNKNOWN}/containers"])
@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ({"limit": 101}, {"limit": "must be <= 100"}),
        ({"page": 0}, {"page": "must be >= 1"}),
        ({"limit": ["1", "2"]}, {"limit": "must be given once"}),
        ({"sort_by": "project_id"}, {"sort_by": "must be one of: name, status, created_at, updated_at, id"}),
        ({"sort_order": "up"}, {"sort_order": "must be one of: asc, desc"}),
        (
            {"status": "melted"},
            {"status": "must be one or more of, separated by commas: stopped, running, paused, failed, expired"},
        ),
        (
            {"label": "A b", "page": "x"},
            {
                "page": "must be integer",
                "label": "must be key or key:value; a key has 1 to 63 characters of a-z, 0-9, . _ -",
            },
        ),
    ],
)
def test_invalid_parameters(api: Api, path: str, query: dict[str, Any], faults: dict[str, str]) -> None:
    """They are reported before the ban and the membership are checked."""
    data = [{"instancePath": f"/{name}", "message": message} for name, message in faults.items()]
    message = "; ".join(f"{name} {message}" for name, message in faults.items())
    for user in ("viewer", "banned", "stranger"):
        refused(api.call("GET", path, user, params=query), "VALIDATION_ERROR", message, data=data)


@pytest.mark.parametrize(
    "path", ["/projects", "/containers", f"/projects/{FLEET}/containers", f"/projects/{UNKNOWN}/containers"]
)
def test_a_banned_user(api: Api, containers: list[Container], path: str) -> None:
    refused(api.call("GET", path, "banned"), "ACCOUNT_BANNED")


@pytest.mark.parametrize("query", [{}, {"cursor": ""}, {"status": "running"}])
@pytest.mark.parametrize(("project", "user"), [(FLEET, "stranger"), (UNKNOWN, "viewer"), (OTHER, "viewer")])
def test_a_project_of_others_does_not_exist(
    api: Api, containers: list[Container], others: list[Container], project: str, user: str, query: dict[str, str]
) -> None:
    refused(api.call("GET", f"/projects/{project}/containers", user, params=query), "PROJECT_NOT_FOUND")


def test_an_unknown_role_grants_nothing(stack: LocalStack, api: Api, seeder: Seeder, containers: Any) -> None:
    seeder.grant("auditor", FLEET, "auditor")
    refused(api.call("GET", f"/projects/{FLEET}/containers", "auditor"), "PROJECT_NOT_FOUND")
    assert listed(api, None, "auditor")["containers"] == []
    assert api.call("GET", "/projects", "auditor").json()["data"]["projects"] == []


@pytest.mark.databases("moto")  # the emulator injects the fault
@pytest.mark.parametrize("query", [{}, {"cursor": ""}])
@pytest.mark.parametrize("operation", ["Query", "BatchGetItem"])
def test_dynamodb_fails(api: Api, emulator: Any, containers: Any, operation: str, query: dict[str, str]) -> None:
    emulator.faults.add("dynamodb", operation, "InternalServerError", times=None)
    response = api.call("GET", f"/projects/{FLEET}/containers", params=query)
    refused(response, "EXTERNAL_SERVICE_ERROR", data={"reason": "The database failed"})


@pytest.mark.parametrize("query", [{}, {"cursor": ""}, {"status": "running"}])
def test_an_index_that_does_not_exist_yet(
    api: Api, containers: list[Container], monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    from longshore.aws import listing

    reason = {"reason": "The index of containers is being created; try again later"}
    monkeypatch.setattr(listing, "_INDEX", "no-such-index")
    for path in (f"/projects/{FLEET}/containers", "/containers"):
        if "cursor" not in query or path != "/containers":
            refused(api.call("GET", path, params=query), "EXTERNAL_SERVICE_ERROR", data=reason)
    # Everything else works.
    assert api.get(containers[0].id).status_code == 200
    assert api.call("GET", "/projects").status_code == 200


@pytest.mark.databases("moto")  # the emulator injects the fault
def test_an_index_that_is_being_created(api: Api, emulator: Any, containers: list[Container]) -> None:
    """The message is that of DynamoDB."""
    message = "Cannot read from backfilling global secondary index: by-project"
    index = {"match": lambda parameters: parameters.get("IndexName") == "by-project"}
    emulator.faults.add("dynamodb", "Query", "ValidationException", status=400, message=message, times=1, **index)
    reason = {"reason": "The index of containers is being created; try again later"}
    response = api.call("GET", f"/projects/{FLEET}/containers")
    refused(response, "EXTERNAL_SERVICE_ERROR", data=reason)
    assert len(ids_of(listed(api))) == SIZE


# --- Changes between the read of the index and the read of the items --------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"cursor": ""}, {"status": "running,stopped,failed,expired,paused"}])
def test_a_deleted_or_moved_container_is_left_out(
    stack: LocalStack, api: Api, project: str, query: dict[str, str]
) -> None:
    own = fleet(project, 5)
    put(stack, own)
    with before_the_items(lambda: move(stack, own[1], OTHER), lambda: delete(stack, own[3])):
        data = listed(api, project, **query)
    assert ids_of(data) == in_order([own[0], own[2], own[4]])
    assert OTHER not in json.dumps(data)
    delete(stack, own[1])


def test_a_container_that_is_moved_to_another_project_of_the_user(
    stack: LocalStack, api: Api, project: str, seeder: Seeder
) -> None:
    """The list of all projects returns it. The list of its former project does not."""
    target = f"{project[:-1]}f"
    for each in (project, target):
        seeder.grant(f"member of {project}", each, "viewer")
    own = fleet(project, 3)
    put(stack, own)
    with before_the_items(lambda: move(stack, own[1], target)):
        data = listed(api, None, f"member of {project}")
    assert {each["id"]: each["project_id"] for each in data["containers"]}[own[1].id] == target
    move(stack, own[1], project)
    with before_the_items(lambda: move(stack, own[1], target)):
        assert own[1].id not in ids_of(listed(api, project, f"member of {project}"))


def test_two_entries_of_one_container(stack: LocalStack, api: Api, project: str) -> None:
    """While a container is renamed, the index may contain it twice."""
    own = fleet(project, 4, names=["a", "b", "c", "d"])
    put(stack, own)

    def twice(parsed: dict[str, Any], **_: Any) -> None:
        items = parsed.get("Items", [])
        if items and "name" in items[0]:
            items.append({**items[0], "name": {"S": "e"}})

    with hooked("after-call.dynamodb.Query", twice):
        assert ids_of(listed(api, project)) == [own[number].id for number in (1, 2, 3, 0)]
        assert sorted(ids_of(listed(api, project, cursor=""))) == sorted(each.id for each in own)


def test_an_unreadable_container_is_left_out_and_logged(
    stack: LocalStack, api: Api, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = fleet(project, 4)
    put(stack, own)
    for container, value in ((own[0], {"S": "many"}), (own[2], {"SS": ["many"]})):
        stack.client("dynamodb").update_item(
            TableName=stack.table_name("ContainersTable"),
            Key={"id": {"S": container.id}},
            UpdateExpression="SET log_count = :value",
            ExpressionAttributeValues={":value": value},
        )
    data = listed(api, project)
    assert ids_of(data) == in_order([own[1], own[3]])
    assert data["pagination"]["total"] == 4
    logged = [vars(record)["item"] for record in caplog.records if record.message == "item failed"]
    assert sorted(logged) == sorted([own[0].id, own[2].id])


def test_unprocessed_keys_are_requested_again(stack: LocalStack, api: Api, project: str) -> None:
    own = fleet(project, 10)
    put(stack, own)
    table = stack.table_name("ContainersTable")
    sizes: list[int] = []

    def process_four(parsed: dict[str, Any], **_: Any) -> None:
        found = parsed["Responses"][table]
        sizes.append(len(found))
        left = [{"id": item["id"]} for item in found[4:]]
        del found[4:]
        parsed["UnprocessedKeys"] = {table: {"Keys": left, "ConsistentRead": True}} if left else {}

    with hooked("after-call.dynamodb.BatchGetItem", process_four):
        assert ids_of(listed(api, project)) == in_order(own)
    assert sizes == [10, 6, 2]


def test_keys_that_are_never_processed(
    stack: LocalStack, api: Api, containers: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longshore.aws import listing

    table = stack.table_name("ContainersTable")
    calls: list[str] = []

    def process_nothing(parsed: dict[str, Any], **_: Any) -> None:
        calls.append("BatchGetItem")
        left = [{"id": item["id"]} for item in parsed["Responses"].pop(table, [])]
        parsed["UnprocessedKeys"] = {table: {"Keys": left}}

    monkeypatch.setattr(listing, "_PAUSE", 0.001)
    with hooked("after-call.dynamodb.BatchGetItem", process_nothing):
        response = api.call("GET", f"/projects/{FLEET}/containers")
    refused(response, "EXTERNAL_SERVICE_ERROR", data={"reason": "The database is busy"})
    assert len(calls) == 8


# --- Changes of status ------------------------------------------------------------------------------------------------


def test_a_list_shows_only_statuses_that_a_container_had(stack: LocalStack, api: Api, project: str) -> None:
    """Lists are read while containers start and stop. Each status that they show has a history row."""
    seeder = Seeder(stack)
    own = [f"dd{number:02x}{project[4:]}" for number in range(4)]
    for number, identity in enumerate(own):
        seeder.add(identity, ["stopped"], project=project, name=f"web-{number}")
    done = threading.Event()

    def operate(identity: str) -> None:
        for operation in ("start", "stop", "start", "restart", "force-stop"):
            assert api.post(identity, operation).status_code == 200

    def read(query: dict[str, str]) -> list[Any]:
        seen = []
        while not done.is_set():
            seen += listed(api, project, **query)["containers"]
        return seen

    with ThreadPoolExecutor() as executor:
        readers = [
            executor.submit(read, query)
            for query in ({}, {"cursor": ""}, {"status": "running"}, {"sort_by": "updated_at", "sort_order": "desc"})
        ]
        changes = [executor.submit(operate, identity) for identity in own]
        try:
            for change in changes:
                change.result()
        finally:
            done.set()
        seen = [container for reader in readers for container in reader.result()]
    rows = {
        (row["container_id"], row["to_status"], row["transition_time"])
        for identity in own
        for row in all_rows(stack, identity)
    }
    shown = {(each["id"], each["status"], each["status_since"]) for each in seen}
    assert shown <= rows
    assert {status for _, status, _ in shown} == {"stopped", "running"}


# --- Projects ---------------------------------------------------------------------------------------------------------


def test_projects(api: Api, containers: list[Container]) -> None:
    response = api.call("GET", "/projects", "manager")
    assert response.status_code == 200
    assert response.json() == {
        "statusCode": 200,
        "message": "Projects retrieved successfully",
        "data": {
            "projects": [
                {"id": FLEET, "name": None, "role": "owner"},
                {"id": OTHER, "name": None, "role": "owner"},
            ]
        },
    }
    roles = {each["id"]: each["role"] for each in api.call("GET", "/projects", "viewer").json()["data"]["projects"]}
    assert roles[PROJECT] == roles[FLEET] == "viewer"
    assert OTHER not in roles


def test_a_stranger_has_no_projects(api: Api) -> None:
    assert api.call("GET", "/projects", "stranger").json()["data"] == {"projects": []}
