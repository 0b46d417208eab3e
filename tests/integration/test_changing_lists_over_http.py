"""Tests of the lists over HTTP: errors, failures, changes while a list is read, and the list of projects."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_client import Api
from fleet import fleet, in_order, put
from integration.listed import FLEET, OTHER, SIZE, UNKNOWN, before_the_items, delete, hooked, ids_of, listed, move
from integration.rejections import refused
from invariants import all_rows
from longshore.domain.models import Container

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")


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


def test_projects(api: Api, seeder: Seeder, containers: list[Container]) -> None:
    seeder.name_project(FLEET, "Flotte für alle")
    response = api.call("GET", "/projects", "manager")
    assert response.status_code == 200
    assert response.json() == {
        "statusCode": 200,
        "message": "Projects retrieved successfully",
        "data": {
            "projects": [
                {"id": FLEET, "name": "Flotte für alle", "role": "owner"},
                {"id": OTHER, "name": None, "role": "owner"},
            ]
        },
    }
    roles = {each["id"]: each["role"] for each in api.call("GET", "/projects", "viewer").json()["data"]["projects"]}
    assert roles[PROJECT] == roles[FLEET] == "viewer"
    assert OTHER not in roles


def test_names_of_projects_grant_nothing(api: Api, seeder: Seeder) -> None:
    """A token whose `sub` is the key of the names gives access to no project, and a named project to no member."""
    seeder.name_project(UNKNOWN, "Nobody's")
    assert api.call("GET", "/projects", "#projects").json()["data"] == {"projects": []}
    assert api.call("GET", f"/projects/{UNKNOWN}/containers", "#projects").status_code == 404
    assert api.call("GET", f"/projects/{UNKNOWN}/containers", "manager").status_code == 404
    assert UNKNOWN not in api.call("GET", "/projects", "manager").text


def test_a_stranger_has_no_projects(api: Api) -> None:
    assert api.call("GET", "/projects", "stranger").json()["data"] == {"projects": []}
