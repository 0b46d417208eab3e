"""Tests of errors over HTTP that depend on the caller or on the container's status: tokens, bans, roles, conflicts."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_client import Api
from integration.rejections import (
    EXPIRED,
    OPERATIONS,
    RUNNING,
    STOPPED,
    UNKNOWN,
    bearer,
    quiet_stack,
    refused,
    signed,
)

from local import tokens
from local.seed import PROJECT, Seeder
from local.stack import LocalStack

# One request of each kind. All would succeed with a valid token.
REQUESTS = [
    ("GET", f"/containers/{RUNNING}"),
    ("GET", f"/containers/{RUNNING}/status-logs"),
    ("POST", f"/containers/{RUNNING}/stop"),
    ("POST", f"/containers/{STOPPED}/start"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with quiet_stack() as local:
        yield local


# --- MISSING_TOKEN, INVALID_TOKEN, TOKEN_EXPIRED ----------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [*REQUESTS, ("POST", f"/containers/{STOPPED}/no-such-operation")])
@pytest.mark.usefixtures("unchanged")
def test_no_token(api: Api, method: str, path: str) -> None:
    refused(api.call(method, path, None), "MISSING_TOKEN")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "{token}", "Basic {token}", "Basic b3BlcmF0b3I6eA==", "Bearer {token} {token}", "Bearer {token},x"],
)
@pytest.mark.usefixtures("unchanged")
def test_not_a_bearer_token(api: Api, authorization: str) -> None:
    headers = {"Authorization": authorization.format(token=signed())}
    refused(api.call("POST", f"/containers/{STOPPED}/start", None, headers=headers), "MISSING_TOKEN")


@pytest.mark.usefixtures("unchanged")
def test_two_authorization_headers(stack: LocalStack) -> None:
    headers = [("Authorization", f"Bearer {signed()}"), ("Authorization", f"Bearer {signed()}")]
    refused(httpx.post(f"{stack.url}/api/v1/containers/{STOPPED}/start", headers=headers), "MISSING_TOKEN")


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.usefixtures("unchanged")
def test_a_wrong_signature(api: Api, method: str, path: str) -> None:
    refused(api.call(method, path, None, headers=bearer(signed("another-" * 8))), "INVALID_TOKEN")


@pytest.mark.parametrize("token", ["x", "a.b.c", "null", "x" * 8000, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcGVyYXRvciJ9."])
@pytest.mark.usefixtures("unchanged")
def test_not_a_token(api: Api, token: str) -> None:
    refused(api.call("GET", f"/containers/{RUNNING}", None, headers=bearer(token)), "INVALID_TOKEN")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": ...},
        {"exp": "2000000000"},
        {"exp": True},
        {"sub": ...},
        {"sub": ""},
        {"sub": "x" * 257},
        {"nbf": 4_000_000_000},
        {"exp": 1, "nbf": 4_000_000_000},
    ],
    ids=lambda claims: str(claims)[:30],
)
@pytest.mark.usefixtures("unchanged")
def test_a_signed_token_of_the_wrong_shape(api: Api, claims: dict[str, Any]) -> None:
    refused(api.call("GET", f"/containers/{RUNNING}", None, headers=bearer(signed(**claims))), "INVALID_TOKEN")


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.usefixtures("unchanged")
def test_an_expired_token(api: Api, method: str, path: str) -> None:
    headers = bearer(tokens.token("operator", -60))
    # The gateway caches a rejection, too.
    for _ in range(2):
        refused(api.call(method, path, None, headers=headers), "TOKEN_EXPIRED")


@pytest.mark.usefixtures("unchanged")
def test_a_token_that_expires_while_the_gateway_caches_its_result(api: Api) -> None:
    headers = bearer(tokens.token("operator", 3))
    path = f"/containers/{STOPPED}"
    assert api.call("GET", path, None, headers=headers).status_code == 200
    deadline = time.monotonic() + 10
    while (response := api.call("GET", path, None, headers=headers)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused(response, "TOKEN_EXPIRED")
    # The function has rejected it, not the authorizer: responses of the gateway have no such header.
    assert response.headers["Cache-Control"] == "no-store"
    refused(api.call("POST", f"/containers/{STOPPED}/start", None, headers=headers), "TOKEN_EXPIRED")


# --- ACCOUNT_BANNED, CONTAINER_NOT_FOUND, INSUFFICIENT_PERMISSIONS, expired, conflicts --------------------------------


@pytest.mark.parametrize("identity", [RUNNING, EXPIRED, UNKNOWN])
@pytest.mark.usefixtures("unchanged")
def test_banned(api: Api, identity: str) -> None:
    refused(api.get(identity, "banned"), "ACCOUNT_BANNED")
    refused(api.logs(identity, "banned"), "ACCOUNT_BANNED")
    for operation in OPERATIONS:
        refused(api.post(identity, operation, "banned"), "ACCOUNT_BANNED")


def test_a_ban_and_its_end_take_effect_immediately(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    seeder.grant("briefly-banned", PROJECT, "operator")
    assert api.get(STOPPED, "briefly-banned").status_code == 200
    table, dynamodb = stack.table_name("AccessTable"), stack.client("dynamodb")
    key = {"user_id": {"S": "briefly-banned"}, "scope": {"S": "account"}}
    dynamodb.put_item(TableName=table, Item={**key, "banned": {"BOOL": True}})
    refused(api.get(STOPPED, "briefly-banned"), "ACCOUNT_BANNED")
    dynamodb.put_item(TableName=table, Item={**key, "banned": {"BOOL": False}})
    assert api.get(STOPPED, "briefly-banned").status_code == 200


@pytest.mark.usefixtures("unchanged")
def test_unknown_and_inaccessible_containers_have_the_same_response(api: Api) -> None:
    asked = [(RUNNING, "stranger"), (UNKNOWN, "stranger"), (UNKNOWN, "owner"), (EXPIRED, "nobody")]
    for method, rest in [("GET", ""), ("GET", "/status-logs"), *(("POST", f"/{name}") for name in OPERATIONS)]:
        answers = [api.call(method, f"/containers/{identity}{rest}", user) for identity, user in asked]
        for answer in answers:
            refused(answer, "CONTAINER_NOT_FOUND")
        assert len({answer.content for answer in answers}) == 1
        varying = {"x-request-id", "date"}
        heads = [sorted((k, v) for k, v in answer.headers.items() if k not in varying) for answer in answers]
        assert all(head == heads[0] for head in heads)


def test_a_removed_role_takes_effect_immediately(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    seeder.grant("leaver", PROJECT, "owner")
    assert api.get(STOPPED, "leaver").status_code == 200
    key = {"user_id": {"S": "leaver"}, "scope": {"S": f"project#{PROJECT}"}}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("AccessTable"), Key=key)
    refused(api.get(STOPPED, "leaver"), "CONTAINER_NOT_FOUND")


def test_an_unknown_role_gives_no_access(api: Api, seeder: Seeder) -> None:
    seeder.grant("odd", PROJECT, "superuser")
    refused(api.get(STOPPED, "odd"), "CONTAINER_NOT_FOUND")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("identity", [STOPPED, RUNNING, EXPIRED])
@pytest.mark.usefixtures("unchanged")
def test_a_viewer_only_reads(api: Api, identity: str, operation: str) -> None:
    assert api.get(identity, "viewer").status_code == 200
    assert api.logs(identity, "viewer").status_code == 200
    refused(api.post(identity, operation, "viewer"), "INSUFFICIENT_PERMISSIONS")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("unchanged")
def test_expired(api: Api, operation: str) -> None:
    for user in ("operator", "owner"):
        refused(api.post(EXPIRED, operation, user), "OPERATION_NOT_PERMITTED_ON_EXPIRED")
    assert api.logs(EXPIRED).json()["data"]["pagination"]["total"] == 3


@pytest.mark.parametrize(
    ("identity", "operation", "message", "status", "allowed"),
    [
        (STOPPED, "stop", "Container is already stopped", "stopped", ["start", "restart"]),
        (RUNNING, "start", "Container is already running", "running", ["stop", "force-stop", "restart", "pause"]),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_conflict(api: Api, identity: str, operation: str, message: str, status: str, allowed: list[str]) -> None:
    data = {
        "error": True,
        "operation": operation,
        "container_id": identity,
        "project_id": PROJECT,
        "message": message,
        "status": status,
        "allowed_operations": allowed,
        "pending_operation": None,
    }
    refused(api.post(identity, operation), "OPERATION_STATE_CONFLICT", message, data=data)
