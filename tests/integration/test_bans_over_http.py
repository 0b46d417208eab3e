"""Tests that a ban and a revoked role take effect: whatever other scopes a user has, and while a request waits."""

import threading
from typing import Any

import pytest
from api_client import Api
from httpx import Response
from integration.rejections import refused

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("moto", "real")

# More than one page of the grants that are read with a container. `!` and `0` sort before `account`, `b` after it.
SCOPES = [f"{first}{number:03}" for first in ("!", "0", "b") for number in range(101)]


@pytest.fixture
def user(stack: LocalStack, seeder: Seeder, fresh_id: str) -> str:
    """A user with a role in the project, and many items of other scopes."""
    seeder.grant(fresh_id, PROJECT, "operator")
    table = stack.table_name("AccessTable")
    for scope in SCOPES:
        item = {"user_id": {"S": fresh_id}, "scope": {"S": scope}, "role": {"S": "owner"}}
        stack.client("dynamodb").put_item(TableName=table, Item=item)
    return fresh_id


def waiting(api: Api, container: str, user: str) -> tuple[threading.Thread, list[Response]]:
    """Begin to wait for a status that the container does not get."""
    responses: list[Any] = []
    path = f"/containers/{container}?wait_for=failed&timeout=25"
    thread = threading.Thread(target=lambda: responses.append(api.call("GET", path, user)))
    thread.start()
    # The request looks at the container now, and waits before its next look.
    thread.join(1)
    assert thread.is_alive()
    return thread, responses


def test_other_scopes_do_not_hide_a_ban(api: Api, seeder: Seeder, user: str) -> None:
    seeder.add(user, ["stopped", "running"])
    requests = [
        ("GET", f"/containers/{user}"),
        ("GET", f"/containers/{user}/status-logs"),
        ("GET", f"/projects/{PROJECT}/containers"),
        ("GET", f"/projects/{PROJECT}/status-logs"),
        ("GET", "/projects"),
        ("POST", f"/containers/{user}/stop"),
    ]
    for method, path in requests[:-1]:
        assert api.call(method, path, user).status_code == 200, path
    seeder.ban(user)
    for method, path in requests:
        refused(api.call(method, path, user), "ACCOUNT_BANNED")


def test_a_ban_ends_a_wait(api: Api, seeder: Seeder, user: str) -> None:
    seeder.add(user, ["stopped", "running"])
    thread, responses = waiting(api, user, user)
    seeder.ban(user)
    thread.join()
    refused(responses[0], "ACCOUNT_BANNED")
    assert responses[0].elapsed.total_seconds() < 20


def test_a_revoked_role_ends_a_wait(stack: LocalStack, api: Api, seeder: Seeder, user: str) -> None:
    seeder.add(user, ["stopped", "running"])
    thread, responses = waiting(api, user, user)
    key = {"user_id": {"S": user}, "scope": {"S": f"project#{PROJECT}"}}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("AccessTable"), Key=key)
    thread.join()
    refused(responses[0], "CONTAINER_NOT_FOUND")
    assert responses[0].elapsed.total_seconds() < 20


def test_a_ban_just_before_the_awaited_change(api: Api, seeder: Seeder, user: str) -> None:
    """The change, which ends the wait, is not shown."""
    seeder.add(user, ["stopped", "running"])
    responses: list[Any] = []
    path = f"/containers/{user}?wait_for=stopped&timeout=25"
    thread = threading.Thread(target=lambda: responses.append(api.call("GET", path, user)))
    thread.start()
    thread.join(1)
    seeder.ban(user)
    assert api.post(user, "stop").status_code == 200
    thread.join()
    refused(responses[0], "ACCOUNT_BANNED")
