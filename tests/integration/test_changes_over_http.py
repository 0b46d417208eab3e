"""Tests of PATCH /containers/{id} over HTTP, on moto and on DynamoDB Local."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_client import Api
from integration.rejections import OPERATIONS, UNKNOWN, State, faults, refused
from invariants import all_rows, check
from settling import recover_all

from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")

KEYS = "the keys are: name, labels, stop_at, hold_until, idle_timeout, protection, desired_count"
CONTROL = "must not contain control characters"
NAME = "must be 1 to 128 characters"


def item(stack: LocalStack, container: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container}}, ConsistentRead=True
    )["Item"]
    return found


@pytest.mark.parametrize("status", [["stopped"], ["stopped", "running"], ["stopped", "expired"]])
def test_changes(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, status: list[str]) -> None:
    """Each answer is what GET container returns. Nothing but the name, the labels and the time is written."""
    seeder.add(fresh_id, status)
    first = item(stack, fresh_id)
    labels = {"env": "dev", "team.a_b-9": "", "n": "Zoë 🐳"}
    for body, name, expected in (
        ({"name": "Zoë's 🐳"}, "Zoë's 🐳", {}),
        ({"labels": labels}, "Zoë's 🐳", labels),
        ({"labels": {"env": "prod"}}, "Zoë's 🐳", {"env": "prod"}),
        ({"name": "x" * 128, "labels": None}, "x" * 128, {}),
        ({"labels": {}}, "x" * 128, {}),
    ):
        response = api.patch(fresh_id, body)
        shown = api.get(fresh_id).json()
        assert response.status_code == 200
        assert response.json() == shown | {"message": "Container updated successfully"}
        assert (shown["data"]["name"], shown["data"]["labels"]) == (name, expected)
    last = item(stack, fresh_id)
    assert last["updated_at"]["S"] > first["updated_at"]["S"]
    changed = {key for key in first.keys() | last.keys() if first.get(key) != last.get(key)}
    assert changed == {"name", "updated_at"}
    check(stack, fresh_id)


BAD_BODIES = [
    (b"", [("", "must be valid JSON")]),
    (b"{", [("", "must be valid JSON")]),
    (b'{"name": NaN}', [("", "must be valid JSON")]),
    (b"[" * 200_000, [("", "must be valid JSON")]),
    (b"[]", [("", "must be object")]),
    (b'"name"', [("", "must be object")]),
    (b"null", [("", "must be object")]),
    (b"{}", [("", f"must have at least one of: {KEYS.removeprefix('the keys are: ')}")]),
    (b'{"stop_at": null, "updated_at": null}', [("updated_at", f"is unknown; {KEYS}")]),
    (b'{"name": "a", "status": "running"}', [("status", f"is unknown; {KEYS}")]),
    (b'{"name": null}', [("name", "must be string")]),
    (b'{"name": ""}', [("name", NAME)]),
    (b'{"name": "a\\u0000"}', [("name", CONTROL)]),
    (b'{"name": "\\ud800"}', [("name", CONTROL)]),
    (b'{"\\ud800": 1}', [("?", f"is unknown; {KEYS}")]),
    (b'{"labels": {"Env": 1, "b": "\\n"}}', [("labels/Env", "must have a key that matches [a-z0-9._-]{1,63}")]),
    (b'{"labels": [1]}', [("labels", "must be object or null")]),
]


@pytest.mark.parametrize(("body", "wrong"), BAD_BODIES, ids=[body[:30].decode() for body, _ in BAD_BODIES])
def test_bad_bodies(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, body: bytes, wrong: list[tuple[str, str]]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    state = State(stack, fresh_id)
    before = (state.items(), state.effects())
    response = api.call("PATCH", f"/containers/{fresh_id}", "owner", content=body)
    if b"Env" in body:
        wrong = [*wrong, ("labels/Env", "must be string"), ("labels/b", CONTROL)]
    expected = faults(*wrong)
    if wrong[0][0] == "":
        expected = {"message": f"body {wrong[0][1]}", "data": [{"instancePath": "", "message": wrong[0][1]}]}
    refused(response, "VALIDATION_ERROR", **expected)
    assert (state.items(), state.effects()) == before


def test_too_many_labels_and_too_long_values(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for number, status in ((16, 200), (17, 400)):
        assert api.patch(fresh_id, {"labels": {f"k{n}": "v" for n in range(number)}}).status_code == status
    for length, status in ((128, 200), (129, 400)):
        assert api.patch(fresh_id, {"name": "x" * length}).status_code == status
        assert api.patch(fresh_id, {"labels": {"k": "🐳" * length}}).status_code == status
    for length, status in ((63, 200), (64, 400)):
        assert api.patch(fresh_id, {"labels": {"k" * length: "v"}}).status_code == status


def test_a_body_with_very_many_faults(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    response = api.patch(fresh_id, {"labels": {f"K{n}" * 50: n for n in range(20_000)}})
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert len(response.json()["data"]) == 100


@pytest.mark.parametrize(
    ("user", "body", "code"),
    [
        ("viewer", {"labels": {}}, "INSUFFICIENT_PERMISSIONS"),
        ("viewer", {"name": "a"}, "INSUFFICIENT_PERMISSIONS"),
        ("operator", {"name": "a"}, "INSUFFICIENT_PERMISSIONS"),
        ("operator", {"name": "a", "labels": {}}, "INSUFFICIENT_PERMISSIONS"),
        ("operator", {"labels": {}}, None),
        ("owner", {"name": "a", "labels": {}}, None),
        ("stranger", {"labels": {}}, "CONTAINER_NOT_FOUND"),
        ("banned", {"labels": {}}, "ACCOUNT_BANNED"),
        # The body is checked first.
        ("viewer", {"x": 1}, "VALIDATION_ERROR"),
        ("stranger", {"x": 1}, "VALIDATION_ERROR"),
        ("banned", {"x": 1}, "VALIDATION_ERROR"),
    ],
)
def test_users(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, user: str, body: Any, code: str | None
) -> None:
    seeder.add(fresh_id, ["stopped"])
    before = item(stack, fresh_id)
    response = api.patch(fresh_id, body, user)
    assert response.json().get("code") == code
    assert (item(stack, fresh_id) == before) is (code is not None)


def test_the_order_of_checks(api: Api) -> None:
    assert api.call("PATCH", "/containers/x", None, content=b"{").json()["code"] == "MISSING_TOKEN"
    assert api.call("PATCH", "/containers/x", content=b"{").json()["code"] == "INVALID_ID_FORMAT"
    assert api.patch(UNKNOWN, {"x": 1}).json()["code"] == "VALIDATION_ERROR"
    refused(api.patch(UNKNOWN, {"name": "a"}), "CONTAINER_NOT_FOUND")


def test_a_change_while_an_operation_is_pending(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The operation completes, and its commit keeps the change."""
    seeder.task_definition("never-runs", labels={"simulate.start": "never"})
    seeder.add(fresh_id, ["stopped"], task_definition="never-runs")
    assert api.post(fresh_id, "start", headers={"Prefer": "respond-async"}).status_code == 202
    pending = api.get(fresh_id).json()["data"]["pending_operation"]
    data = api.patch(fresh_id, {"name": "renamed", "labels": {"env": "dev"}}).json()["data"]
    assert (data["name"], data["pending_operation"]) == ("renamed", pending)
    assert api.post(fresh_id, "force-stop").status_code == 200
    data = api.get(fresh_id).json()["data"]
    assert (data["name"], data["labels"], data["pending_operation"]) == ("renamed", {"env": "dev"}, None)
    check(stack, fresh_id)


def test_concurrent_changes_and_operations(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """No change is lost, none fails, and the history is consistent."""
    seeder.add(fresh_id, ["stopped"])
    with ThreadPoolExecutor(16) as executor:
        operations = [executor.submit(api.post, fresh_id, OPERATIONS[n % len(OPERATIONS)]) for n in range(24)]
        labels = [executor.submit(api.patch, fresh_id, {"labels": {"n": str(n)}}) for n in range(12)]
        names = [executor.submit(api.patch, fresh_id, {"name": f"n{n}"}) for n in range(12)]
    assert {future.result().status_code for future in operations} <= {200, 202, 400}
    assert {future.result().status_code for future in (*labels, *names)} == {200}
    recover_all(stack)
    last = api.patch(fresh_id, {"labels": {"n": "last"}}).json()["data"]
    assert last["labels"] == {"n": "last"}
    assert last["name"] in {f"n{n}" for n in range(12)}
    check(stack, fresh_id)
    assert all_rows(stack, fresh_id)[-1]["to_status"] == last["status"]


@pytest.mark.databases("moto")
def test_a_database_that_fails(api: Api, seeder: Seeder, emulator: Any, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("dynamodb", "UpdateItem", "InternalServerError", times=None)
    refused(api.patch(fresh_id, {"name": "a"}), "EXTERNAL_SERVICE_ERROR", data={"reason": "The database failed"})
    emulator.faults.clear()
    # The change takes effect, although its replies are lost. It can be repeated.
    emulator.faults.add("dynamodb", "UpdateItem", "InternalServerError", times=None, after_effect=True)
    assert api.patch(fresh_id, {"name": "b"}).status_code == 500
    emulator.faults.clear()
    assert api.get(fresh_id).json()["data"]["name"] == "b"
    assert api.patch(fresh_id, {"name": "b"}).json()["data"]["name"] == "b"
