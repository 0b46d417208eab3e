"""Tests of stop_at, hold_until, idle_timeout, keep-alive and protection over HTTP, on moto and on DynamoDB Local."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from api_client import Api
from integration.rejections import EXPIRED, UNKNOWN, State, faults, refused
from invariants import check
from longshore.domain.clock import to_text
from settling import LONG_AGO, eventually

from local.seed import PROJECT, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")

TIME = "must be an RFC 3339 time with an offset, or null"
UNKNOWN_KEY = "is unknown; the keys are: name, labels, stop_at, hold_until, idle_timeout, protection, desired_count"
REASON = {"reason": "Nightly build"}


def soon(**delta: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**delta)


def shown(api: Api, container: str) -> dict[str, Any]:
    data: dict[str, Any] = api.get(container).json()["data"]
    return data


def make_due(stack: LocalStack, container: str) -> None:
    """Set the container's `stop_at` back, as if the time had passed."""
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": container}},
        UpdateExpression="SET stop_at = :past, pending_deadline = :past",
        ConditionExpression="attribute_exists(stop_at) AND attribute_not_exists(#operation)",
        ExpressionAttributeNames={"#operation": "operation"},
        ExpressionAttributeValues={":past": {"S": LONG_AGO}},
    )


def sweep(stack: LocalStack, **event: str) -> dict[str, int]:
    result: dict[str, int] = stack.invoke("RecoverFunction", event or {"sweep": "operations"})
    return result


def settled(stack: LocalStack, api: Api, container: str, status: str) -> dict[str, Any]:
    return eventually(lambda: shown(api, container), lambda data: data["status"] == status)


# --- PATCH ------------------------------------------------------------------------------------------------------------


def test_all_values(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """PATCH and GET container return them, and so do the lists."""
    seeder.add(fresh_id, ["stopped", "running"])
    at = soon(hours=2)
    local = at.astimezone(timezone(timedelta(hours=-3))).isoformat()
    body = {"stop_at": local, "hold_until": to_text(at), "idle_timeout": 604_800, "protection": REASON}
    first = api.patch(fresh_id, body)
    assert (first.status_code, first.json()["message"]) == (200, "Container updated successfully")
    data = shown(api, fresh_id)
    assert first.json()["data"] == data
    assert {name: data[name] for name in body} == body | {"stop_at": to_text(at)}
    idle_at = datetime.fromisoformat(data["idle_at"])
    assert timedelta(days=7, minutes=-1) < idle_at - datetime.now(UTC) <= timedelta(days=7)
    assert data["allowed_operations"] == []
    listed = api.call("GET", f"/projects/{PROJECT}/containers", params={"limit": 100}).json()["data"]["containers"]
    assert [each for each in listed if each["id"] == fresh_id] == [data]
    cleared = api.patch(fresh_id, dict.fromkeys(body))
    assert {name: cleared.json()["data"][name] for name in (*body, "idle_at")} == dict.fromkeys((*body, "idle_at"))
    check(stack, fresh_id)


def test_a_new_container_has_no_values(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    names = ("stop_at", "hold_until", "idle_timeout", "idle_at", "protection")
    assert {name: shown(api, fresh_id)[name] for name in names} == dict.fromkeys(names)


BAD = [
    *(({name: "2030-01-15T10:30:00"}, [(name, TIME)]) for name in ("stop_at", "hold_until")),
    *(({name: 1}, [(name, TIME)]) for name in ("stop_at", "hold_until")),
    *(({name: "2020-01-15T10:30:00Z"}, [(name, "must be in the future")]) for name in ("stop_at", "hold_until")),
    ({"idle_timeout": 299}, [("idle_timeout", "must be 300 to 604800 seconds")]),
    ({"idle_timeout": 604_801}, [("idle_timeout", "must be 300 to 604800 seconds")]),
    ({"idle_timeout": "300"}, [("idle_timeout", "must be integer or null")]),
    ({"protection": {}}, [("protection", "must have: reason")]),
    ({"protection": {"reason": ""}}, [("protection/reason", "must be 1 to 256 characters")]),
    ({"protection": {"reason": "x" * 257}}, [("protection/reason", "must be 1 to 256 characters")]),
    ({"protection": {"reason": "x", "by": "y"}}, [("protection/by", "is unknown; the only key is: reason")]),
    ({"protection": True}, [("protection", "must be object or null")]),
    (
        {"idle_at": None},
        [("idle_at", UNKNOWN_KEY)],
    ),
]


@pytest.mark.parametrize(("body", "wrong"), BAD, ids=[str(body)[:40] for body, _ in BAD])
def test_bad_values(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, body: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    state = State(stack, fresh_id)
    before = (state.items(), state.effects())
    refused(api.patch(fresh_id, {"labels": {"a": "b"}, **body}), "VALIDATION_ERROR", **faults(*wrong))
    assert (state.items(), state.effects()) == before


@pytest.mark.parametrize("name", ["stop_at", "hold_until", "idle_timeout", "protection"])
def test_roles(api: Api, seeder: Seeder, fresh_id: str, name: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    values = {"idle_timeout": 300, "protection": REASON}
    for body in ({name: values.get(name, to_text(soon(hours=1)))}, {name: None}):
        refused(api.patch(fresh_id, body, "viewer"), "INSUFFICIENT_PERMISSIONS")
        operator = api.patch(fresh_id, body, "operator")
        if name == "protection":
            refused(operator, "INSUFFICIENT_PERMISSIONS")
        else:
            assert operator.status_code == 200
        assert api.patch(fresh_id, body, "owner").status_code == 200
    refused(api.patch(fresh_id, {name: None}, "banned"), "ACCOUNT_BANNED")
    refused(api.patch(UNKNOWN, {name: None}), "CONTAINER_NOT_FOUND")


# --- operations with stop_at ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "operation"), [(["stopped"], "start"), (["running"], "restart"), (["running", "paused"], "resume")]
)
def test_operations_set_stop_at(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, statuses: list[str], operation: str
) -> None:
    seeder.add(fresh_id, ["stopped", *statuses])
    at = to_text(soon(hours=1))
    response = api.post(fresh_id, operation, json={"stop_at": at, "other": 1})
    assert response.status_code in (200, 202), response.text
    assert settled(stack, api, fresh_id, "running")["stop_at"] == at


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"Stop_at": 1}', b'"stop_at"', b"\xff"])
def test_other_bodies_are_ignored(api: Api, seeder: Seeder, fresh_id: str, content: bytes) -> None:
    seeder.add(fresh_id, ["stopped"])
    assert api.post(fresh_id, "start", content=content).status_code in (200, 202)
    assert shown(api, fresh_id)["stop_at"] is None


@pytest.mark.parametrize("operation", ["stop", "force-stop", "pause"])
def test_other_operations_ignore_the_body(api: Api, seeder: Seeder, fresh_id: str, operation: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    assert api.post(fresh_id, operation, json={"stop_at": "nonsense"}).status_code in (200, 202)


@pytest.mark.parametrize(
    ("value", "message"), [("2030-01-15", TIME), (5, TIME), ("2020-01-01T00:00:00Z", "must be in the future")]
)
def test_a_bad_stop_at_of_an_operation(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, value: Any, message: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    state = State(stack, fresh_id)
    before = (state.items(), state.effects())
    for headers in ({}, {"Idempotency-Key": fresh_id}):
        response = api.post(fresh_id, "start", json={"stop_at": value}, headers=headers)
        refused(response, "VALIDATION_ERROR", **faults(("stop_at", message)))
    assert (state.items(), state.effects()) == before


def test_a_stored_answer_is_returned_although_the_time_has_passed(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    headers = {"Idempotency-Key": fresh_id}
    first = api.post(fresh_id, "start", json={"stop_at": to_text(soon(hours=1))}, headers=headers)
    again = api.post(fresh_id, "start", json={"stop_at": LONG_AGO}, headers=headers)
    assert first.status_code == 200
    assert again.json() == first.json()


# --- the sweep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statuses", [["stopped", "running"], ["stopped", "running", "paused"]])
def test_the_sweep_stops_the_container(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, statuses: list[str]
) -> None:
    seeder.add(fresh_id, statuses)
    api.patch(fresh_id, {"stop_at": to_text(soon(hours=1)), "hold_until": to_text(soon(hours=2))})
    make_due(stack, fresh_id)
    # The stack's own sweep may have stopped it already.
    sweep(stack)
    assert settled(stack, api, fresh_id, "stopped")["stop_at"] is None
    last = api.rows(fresh_id)[-1]
    assert (last["to_status"], last["triggered_by"], last["metadata"]["rule"]) == ("stopped", "schedule", "stop_at")
    assert "actor" not in last["metadata"]
    check(stack, fresh_id)


def test_a_protected_container_is_deferred(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    api.patch(fresh_id, {"stop_at": to_text(soon(hours=1)), "protection": REASON})
    make_due(stack, fresh_id)
    sweep(stack)
    assert sweep(stack).get("deferred", 0) == 0
    assert shown(api, fresh_id)["status"] == "running"
    api.patch(fresh_id, {"protection": None})
    sweep(stack)
    settled(stack, api, fresh_id, "stopped")


# --- keep-alive -------------------------------------------------------------------------------------------------------


def test_keep_alive(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    before = api.patch(fresh_id, {"idle_timeout": 300}).json()["data"]
    response = api.post(fresh_id, "keep-alive")
    assert (response.status_code, response.json()["message"]) == (200, "Container kept alive")
    assert response.json()["data"] == shown(api, fresh_id)
    assert response.json()["data"]["idle_at"] > before["idle_at"]


@pytest.mark.parametrize("status", ["stopped", "paused", "failed"])
def test_keep_alive_of_a_container_that_is_not_running(api: Api, seeder: Seeder, fresh_id: str, status: str) -> None:
    seeder.add(fresh_id, ["stopped", *([status] if status != "stopped" else [])])
    data = shown(api, fresh_id)
    conflict = {
        "error": True,
        "operation": "keep-alive",
        "container_id": fresh_id,
        "project_id": PROJECT,
        "message": "Container is not running",
        "status": status,
        "allowed_operations": data["allowed_operations"],
        "pending_operation": None,
    }
    refused(api.post(fresh_id, "keep-alive"), "OPERATION_STATE_CONFLICT", "Container is not running", data=conflict)


def test_other_errors_of_keep_alive(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    refused(api.post(fresh_id, "keep-alive", None), "MISSING_TOKEN")
    refused(api.post("x", "keep-alive"), "INVALID_ID_FORMAT")
    refused(api.post(fresh_id, "keep-alive", "banned"), "ACCOUNT_BANNED")
    refused(api.post(UNKNOWN, "keep-alive"), "CONTAINER_NOT_FOUND")
    refused(api.post(fresh_id, "keep-alive", "viewer"), "INSUFFICIENT_PERMISSIONS")
    refused(api.post(EXPIRED, "keep-alive"), "OPERATION_NOT_PERMITTED_ON_EXPIRED")


# --- protection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["stop", "force-stop", "restart", "pause"])
def test_a_protected_container(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, operation: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    api.patch(fresh_id, {"protection": REASON})
    state = State(stack, fresh_id)
    before = (state.items(), state.effects())
    data = {
        "error": True,
        "operation": operation,
        "container_id": fresh_id,
        "project_id": PROJECT,
        "message": "Container is protected",
        "status": "running",
        "allowed_operations": [],
        "pending_operation": None,
        "protection": REASON,
    }
    refused(api.post(fresh_id, operation), "CONTAINER_PROTECTED", data=data)
    assert (state.items(), state.effects()) == before
    refused(api.post(fresh_id, operation, "viewer"), "INSUFFICIENT_PERMISSIONS")


def test_a_protection_while_a_stop_is_pending(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    stack.emulator.faults.add("ecs", "StopTask", "ThrottlingException", times=None)
    try:
        # ECS throttles the stop, which stays pending.
        assert api.post(fresh_id, "stop").status_code == 202
        data = shown(api, fresh_id)
        conflict = {
            "error": True,
            "operation": "protect",
            "container_id": fresh_id,
            "project_id": PROJECT,
            "message": "Container is stopping",
            "status": "running",
            "allowed_operations": data["allowed_operations"],
            "pending_operation": data["pending_operation"],
        }
        response = api.patch(fresh_id, {"protection": REASON})
        refused(response, "OPERATION_STATE_CONFLICT", "Container is stopping", data=conflict)
    finally:
        stack.emulator.faults.clear()


def test_concurrent_stops_and_protections(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """A container never stops while it is protected."""
    seeder.add(fresh_id, ["stopped", "running"])
    with ThreadPoolExecutor(8) as executor:
        stops = [executor.submit(api.post, fresh_id, "stop") for _ in range(4)]
        protections = [executor.submit(api.patch, fresh_id, {"protection": REASON}) for _ in range(4)]
        answers = [future.result() for future in stops]
        protected = [future.result() for future in protections]
    stopped = any(answer.status_code in (200, 202) for answer in answers)
    codes = {answer.json().get("code") for answer in answers if answer.status_code not in (200, 202)}
    assert codes <= {"CONTAINER_PROTECTED", "OPERATION_STATE_CONFLICT"}
    if stopped:
        settled(stack, api, fresh_id, "stopped")
    else:
        assert shown(api, fresh_id)["status"] == "running"
        assert any(answer.status_code == 200 for answer in protected)
    check(stack, fresh_id)
