"""Responses of the API over HTTP match openapi.yaml exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from api_client import Api
from documented import Documented, closed, load
from longshore.domain.errors import ErrorCode
from longshore.domain.lifecycle import Operation

from local import tokens
from local.gateway import BODY_LIMIT
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

DOCUMENT = load()
DOCUMENTED = Documented(closed(DOCUMENT))
STOPPED, RUNNING, EXPIRED, FARGATE, LONG = (container_id(number) for number in (11, 12, 15, 16, 17))
UNKNOWN = "0123456789abcdef01234567"
OPERATIONS = {
    "getContainer": ("GET", ""),
    "updateContainer": ("PATCH", ""),
    "getStatusLogs": ("GET", "/status-logs"),
    "keepAlive": ("POST", "/keep-alive"),
    "manage": ("POST", "/start"),
}


def as_documented(operation: str, response: httpx.Response) -> Any:
    """Assert that the response is documented for the operation, and return its body."""
    return DOCUMENTED.check(operation, response)


def assert_metadata_documented(page: Any) -> None:
    """Assert that all metadata of the rows is documented. The schema allows more, but Longshore writes no other."""
    documented = DOCUMENT["components"]["schemas"]["StatusLogMetadata"]["properties"].keys()
    assert page["data"]["logs"]
    for row in page["data"]["logs"]:
        assert (row["metadata"] or {}).keys() <= documented


def example(operation: str, status: int, name: str) -> Any:
    """Return an example from the document."""
    return DOCUMENTED.examples(DOCUMENTED.answer(operation, status))[name]


@dataclass
class Calls:
    """Makes the simplest call of an operation."""

    api: Api
    operation: str

    def __call__(self, identity: str = RUNNING, user: str | None = "operator", **options: Any) -> Any:
        method, below = OPERATIONS[self.operation]
        if method == "PATCH" and "content" not in options:
            options["json"] = {"labels": {"env": "dev"}}
        response = self.api.call(method, f"/containers/{identity}{below}", user, **options)
        return as_documented(self.operation, response)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack that waits only briefly for an operation, so that some return 202."""
    parameters = {"WaitSeconds": "5", "ThrottleRate": "100000", "ThrottleBurst": "100000"}
    quick = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}
    with LocalStack(port=0, parameters=parameters, emulator_options=quick) as local:
        yield local


@pytest.fixture(params=OPERATIONS)
def call(request: pytest.FixtureRequest, api: Api) -> Calls:
    return Calls(api, request.param)


@pytest.mark.parametrize("number", [11, 12, 13, 14, 15, 16, 17])
def test_containers(api: Api, number: int) -> None:
    body = as_documented("getContainer", api.get(container_id(number)))
    assert body["message"] == example("getContainer", 200, "running")["message"]


@pytest.mark.parametrize("query", [{}, {"page": 3, "limit": 100}, {"page": 10**9}, {"sort_by": "to_status"}])
def test_history(api: Api, query: dict[str, Any]) -> None:
    body = as_documented("getStatusLogs", api.logs(LONG, **query))
    assert body["message"] == example("getStatusLogs", 200, "page")["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2020-01-01T00:00:00Z", "to_status": "running"},
        {"to": "2100-01-01T00:00:00+02:00", "sort_by": "from_status"},
    ],
)
def test_filtered_history(api: Api, query: dict[str, Any]) -> None:
    assert as_documented("getStatusLogs", api.logs(LONG, **query))["data"]["logs"]


@pytest.mark.parametrize(
    "query", [{}, {"limit": 100, "actor": "operator"}, {"container_id": LONG}, {"to_status": "expired"}]
)
def test_history_of_a_project(api: Api, query: dict[str, Any]) -> None:
    body = as_documented("getProjectStatusLogs", api.call("GET", f"/projects/{PROJECT}/status-logs", params=query))
    assert body["message"] == example("getProjectStatusLogs", 200, "page")["message"]
    assert_metadata_documented(body)


@pytest.mark.parametrize(
    ("project_id", "user", "query", "code"),
    [
        ("x", "viewer", {}, ErrorCode.INVALID_ID_FORMAT),
        (PROJECT, "viewer", {"cursor": "x"}, ErrorCode.VALIDATION_ERROR),
        (PROJECT, "banned", {}, ErrorCode.ACCOUNT_BANNED),
        (PROJECT, "stranger", {}, ErrorCode.PROJECT_NOT_FOUND),
    ],
)
def test_refusals_of_a_history_of_a_project(
    api: Api, project_id: str, user: str, query: dict[str, Any], code: ErrorCode
) -> None:
    response = api.call("GET", f"/projects/{project_id}/status-logs", user, params=query)
    assert as_documented("getProjectStatusLogs", response)["code"] == code


@pytest.mark.parametrize("query", [{}, {"cursor": "", "limit": 2}, {"page": 9}, {"status": "running,paused"}])
def test_lists(api: Api, query: dict[str, Any]) -> None:
    as_documented("listProjectContainers", api.call("GET", f"/projects/{PROJECT}/containers", params=query))
    if "cursor" not in query:
        as_documented("listContainers", api.call("GET", "/containers", params=query))
    as_documented("listProjects", api.call("GET", "/projects"))


@pytest.mark.parametrize(
    ("project", "user", "query", "code"),
    [
        ("x", "operator", {}, ErrorCode.INVALID_ID_FORMAT),
        (PROJECT, "operator", {"limit": 101, "cursor": "x"}, ErrorCode.VALIDATION_ERROR),
        (PROJECT, "banned", {}, ErrorCode.ACCOUNT_BANNED),
        (UNKNOWN, "operator", {}, ErrorCode.PROJECT_NOT_FOUND),
    ],
)
def test_refused_lists(api: Api, project: str, user: str, query: dict[str, Any], code: ErrorCode) -> None:
    response = api.call("GET", f"/projects/{project}/containers", user, params=query)
    assert as_documented("listProjectContainers", response)["code"] == code


@pytest.mark.parametrize("operation", Operation)
def test_a_completed_operation(api: Api, seeder: Seeder, fresh_id: str, operation: Operation) -> None:
    before = {Operation.START: "stopped", Operation.RESUME: "paused"}.get(operation, "running")
    seeder.add(fresh_id, ["stopped", "running", "paused"][: ["stopped", "running", "paused"].index(before) + 1])
    body = as_documented("manage", api.post(fresh_id, operation))
    expected = example("manage", 200, operation)
    ours = {"container_id": fresh_id}
    assert body == {**expected, "data": {**expected["data"], **ours}}
    assert_metadata_documented(as_documented("getStatusLogs", api.logs(fresh_id)))


def test_a_preference(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    response = api.post(fresh_id, "start", headers={"Prefer": "respond-async"})
    as_documented("manage", response)
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "respond-async")
    shown = as_documented("getContainer", api.call("GET", f"/containers/{fresh_id}?wait_for=settled"))["data"]
    assert (shown["status"], shown["pending_operation"]) == ("running", None)


def test_a_change(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    body = as_documented("updateContainer", api.patch(fresh_id, {"name": "orders", "labels": {"env": "dev"}}))
    expected = example("updateContainer", 200, "labels")
    assert body["message"] == expected["message"]
    assert body["data"] == as_documented("getContainer", api.get(fresh_id))["data"]
    refused = as_documented("updateContainer", api.patch(fresh_id, {"name": ""}))
    assert refused == example("updateContainer", 400, "validation-error-body")
    assert as_documented("updateContainer", api.patch(fresh_id, []))["code"] == ErrorCode.VALIDATION_ERROR
    denied = as_documented("updateContainer", api.patch(fresh_id, {"name": "x"}, "operator"))
    assert denied["code"] == ErrorCode.INSUFFICIENT_PERMISSIONS


def test_a_pending_operation(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.task_definition("never-runs", labels={"simulate.start": "never"})
    seeder.add(fresh_id, ["stopped"], task_definition="never-runs")
    accepted = api.post(fresh_id, "start")
    assert accepted.status_code == 202
    pending = as_documented("manage", accepted)["data"]["pending_operation"]
    shown = as_documented("getContainer", api.get(fresh_id))["data"]
    conflict = as_documented("manage", api.post(fresh_id, "stop"))["data"]
    assert pending == shown["pending_operation"] == conflict["pending_operation"]
    as_documented("manage", api.post(fresh_id, "force-stop"))
    assert_metadata_documented(as_documented("getStatusLogs", api.logs(fresh_id)))


@pytest.mark.parametrize(
    ("operation", "identity", "code"),
    [
        ("start", RUNNING, ErrorCode.OPERATION_STATE_CONFLICT),
        ("resume", STOPPED, ErrorCode.OPERATION_STATE_CONFLICT),
        ("pause", FARGATE, ErrorCode.VALIDATION_ERROR),
        ("explode", RUNNING, ErrorCode.VALIDATION_ERROR),
        ("start", EXPIRED, ErrorCode.OPERATION_NOT_PERMITTED_ON_EXPIRED),
    ],
)
def test_refusals(api: Api, operation: str, identity: str, code: ErrorCode) -> None:
    assert as_documented("manage", api.post(identity, operation))["code"] == code


def test_a_bad_query(api: Api) -> None:
    waiting = api.call("GET", f"/containers/{RUNNING}?timeout=26")
    assert as_documented("getContainer", waiting) == example("getContainer", 400, "validation-error-timeout")
    assert as_documented("getStatusLogs", api.logs(RUNNING, limit=101, page=0))["code"] == ErrorCode.VALIDATION_ERROR


def test_no_token(call: Calls) -> None:
    assert call(user=None)["code"] == ErrorCode.MISSING_TOKEN


@pytest.mark.parametrize(
    ("token", "code"),
    [("x", ErrorCode.INVALID_TOKEN), (tokens.token("operator", -1), ErrorCode.TOKEN_EXPIRED)],
    ids=["invalid", "expired"],
)
def test_a_bad_token(call: Calls, token: str, code: ErrorCode) -> None:
    assert call(user=None, headers={"Authorization": f"Bearer {token}"})["code"] == code


@pytest.mark.parametrize(
    ("identity", "user", "code"),
    [
        ("x", "operator", ErrorCode.INVALID_ID_FORMAT),
        (RUNNING, "banned", ErrorCode.ACCOUNT_BANNED),
        (RUNNING, "stranger", ErrorCode.CONTAINER_NOT_FOUND),
        (UNKNOWN, "operator", ErrorCode.CONTAINER_NOT_FOUND),
        ("a/b", "operator", ErrorCode.ROUTE_NOT_FOUND),
    ],
)
def test_callers_and_ids(call: Calls, identity: str, user: str, code: ErrorCode) -> None:
    assert call(identity, user)["code"] == code


def test_a_viewer(api: Api) -> None:
    refused = as_documented("manage", api.post(RUNNING, "stop", "viewer"))
    assert refused["code"] == ErrorCode.INSUFFICIENT_PERMISSIONS
    as_documented("getContainer", api.get(RUNNING, "viewer"))


def test_a_service_fails(emulator: Any, call: Calls) -> None:
    emulator.faults.add("dynamodb", "GetItem", "InternalServerError", times=None)
    assert call()["code"] == ErrorCode.EXTERNAL_SERVICE_ERROR


def test_a_defect(stack: LocalStack, seeder: Seeder, call: Calls, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": fresh_id}},
        UpdateExpression="SET log_count = :text",
        ExpressionAttributeValues={":text": {"S": "many"}},
    )
    assert call(fresh_id)["code"] == ErrorCode.INTERNAL_SERVER_ERROR


def test_a_request_that_is_too_large(call: Calls) -> None:
    assert call(content=bytes(BODY_LIMIT + 1))["code"] == ErrorCode.VALIDATION_ERROR
