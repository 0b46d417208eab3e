"""Tests over `sam local start-api`: HTTP, the authorizer, and the functions in Lambda containers.

SAM CLI serves the routes and invokes the authorizer, but supports neither gateway responses nor throttling nor
schedules. The responses of the gateway are tested on the local stack. Here a rejection has only the status of SAM CLI.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from e2e.sam import LambdaStack, remove_containers
from invariants import check

from local import tokens
from local.seed import PROJECT, Seeder

ID = "e2" * 12


@pytest.fixture(scope="module")
def api(lambdas: LambdaStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    log = tmp_path_factory.mktemp("start-api") / "log"
    with lambdas.serve(log) as url:
        client = Api(url)
        yield client
        client.close()
    assert remove_containers(lambdas.built) == [], log.read_text()


def completed(operation: str, done: str, status: str) -> dict[str, Any]:
    return {
        "statusCode": 200,
        "message": "Container operation completed successfully",
        "data": {
            "error": False,
            "operation": operation,
            "container_id": ID,
            "project_id": PROJECT,
            "message": f"Container {done} successfully",
            "status": status,
        },
    }


def test_the_life_of_a_container(lambdas: LambdaStack, api: Api) -> None:
    Seeder(lambdas).add(ID, ["stopped"])

    started = api.post(ID, "start")
    assert (started.status_code, started.json()) == (200, completed("start", "started", "running"))
    assert started.headers["Content-Type"] == "application/json"

    page = api.logs(ID, limit=1)
    assert page.status_code == 200
    assert page.json()["message"] == "Container status logs retrieved successfully"
    assert page.json()["data"]["pagination"] == {"total": 2, "page": 1, "limit": 1, "totalPages": 2}
    (row,) = page.json()["data"]["logs"]
    assert (row["container_id"], row["from_status"], row["to_status"]) == (ID, "stopped", "running")
    assert row["triggered_by"] == "user"
    assert row["metadata"]["command"] == "start"
    assert row["metadata"]["actor"] == "operator"
    assert row["metadata"]["request_id"] == started.headers["X-Request-Id"]

    (task,) = lambdas.emulator.ecs.live(started_by=ID)
    paused = api.post(ID, "pause")
    assert (paused.status_code, paused.json()) == (200, completed("pause", "paused", "paused"))
    assert all(container.paused for container in task.containers)

    conflict = api.post(ID, "start")
    assert conflict.status_code == 400
    assert conflict.json() == {
        "statusCode": 400,
        "error": "Bad Request",
        "code": "OPERATION_STATE_CONFLICT",
        "message": "Container is paused",
        "data": {
            "error": True,
            "operation": "start",
            "container_id": ID,
            "project_id": PROJECT,
            "message": "Container is paused",
            "status": "paused",
            "allowed_operations": ["stop", "force-stop", "restart", "resume"],
            "pending_operation": None,
        },
    }

    resumed = api.post(ID, "resume")
    assert (resumed.status_code, resumed.json()) == (200, completed("resume", "resumed", "running"))
    assert not any(container.paused for container in task.containers)

    killed = api.post(ID, "force-stop", headers={"Idempotency-Key": "once"})
    assert (killed.status_code, killed.json()) == (200, completed("force-stop", "force-stopped", "stopped"))
    repeated = api.post(ID, "force-stop", headers={"Idempotency-Key": "once"})
    assert (repeated.status_code, repeated.json()) == (200, killed.json())

    rows = api.rows(ID)
    assert [(row["from_status"], row["to_status"], row["metadata"].get("command")) for row in rows] == [
        (None, "stopped", None),
        ("stopped", "running", "start"),
        ("running", "paused", "pause"),
        ("paused", "running", "resume"),
        ("running", "stopped", "force-stop"),
    ]
    data = api.get(ID).json()["data"]
    assert (data["status"], data["allowed_operations"]) == ("stopped", ["start", "restart"])
    check(lambdas, ID)


def test_an_unknown_operation_lists_the_operations(api: Api) -> None:
    refused = api.post(ID, "reboot")
    assert refused.status_code == 400
    assert refused.json()["code"] == "VALIDATION_ERROR"
    assert "force-stop" in refused.json()["data"][0]["message"]


def test_a_stranger_gets_not_found(api: Api) -> None:
    refused = api.get(ID, user="stranger")
    assert refused.status_code == 404
    assert refused.json() == {
        "statusCode": 404,
        "error": "Not Found",
        "code": "CONTAINER_NOT_FOUND",
        "message": "Container not found",
    }


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer no-token", 403),
        (f"Bearer {tokens.token('operator', -60)}", 403),
        (f"Basic {tokens.token('operator')}", 403),
    ],
    ids=["none", "malformed", "expired", "not bearer"],
)
def test_without_a_valid_token_the_request_has_no_effect(
    lambdas: LambdaStack, api: Api, authorization: str | None, status: int
) -> None:
    identity = "e3" * 12
    Seeder(lambdas).add(identity, ["stopped"])
    headers = {} if authorization is None else {"Authorization": authorization}
    assert api.post(identity, "start", user=None, headers=headers).status_code == status
    assert check(lambdas, identity)["status"] == "stopped"
