"""Tests of the header `Prefer`, of GET container with `wait_for`, and of the index, over HTTP."""

import threading
import time
from typing import Any

import pytest
from api_client import Api
from conftest import PARAMETERS
from integration.rejections import RUNNING, faults, refused
from invariants import check

from local.seed import Seeder
from local.stack import LocalStack

WAIT = float(PARAMETERS["WaitSeconds"])
TARGETS = "must be one of: settled, stopped, running, paused, failed, expired"
HISTORIES = {
    "start": ["stopped"],
    "stop": ["stopped", "running"],
    "force-stop": ["stopped", "running"],
    "restart": ["stopped", "running"],
    "pause": ["stopped", "running"],
    "resume": ["stopped", "running", "paused"],
}
ENDS = {"start": "running", "restart": "running", "pause": "paused", "resume": "running"}


def never_runs(seeder: Seeder, container: str) -> None:
    seeder.task_definition("never-runs", labels={"simulate.start": "never"})
    seeder.add(container, ["stopped"], task_definition="never-runs")


# --- Prefer -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", HISTORIES)
def test_respond_async(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, operation: str) -> None:
    """The operation is answered 202, and events complete it with its usual rows."""
    seeder.add(fresh_id, HISTORIES[operation])
    response = api.post(fresh_id, operation, headers={"Prefer": "respond-async"})
    if operation == "force-stop" and response.status_code == 200:
        # The reply of StopTask may already show the effect of the kill.
        assert "Preference-Applied" not in response.headers
    else:
        assert (response.status_code, response.headers["Preference-Applied"]) == (202, "respond-async")
        assert response.json()["data"]["pending_operation"]["operation"] == operation
    settled = api.call("GET", f"/containers/{fresh_id}?wait_for=settled").json()["data"]
    assert (settled["status"], settled["pending_operation"]) == (ENDS.get(operation, "stopped"), None)
    check(stack, fresh_id)


@pytest.mark.parametrize(
    ("prefer", "waited", "applied"),
    [
        (["wait=1"], 1.0, "wait=1"),
        (["wait=0"], 0.0, "wait=0"),
        (['respond-async; a=b, wait="1"'], 1.0, "respond-async, wait=1"),
        (["handling=lenient", "WAIT=1, wait=5"], 1.0, "wait=1"),
        (["wait=60"], WAIT, f"wait={WAIT:g}"),
        (["wait=soon, respond_async, =,;"], WAIT, None),
        ([], WAIT, None),
    ],
)
def test_waits(api: Api, seeder: Seeder, fresh_id: str, prefer: list[str], waited: float, applied: str | None) -> None:
    never_runs(seeder, fresh_id)
    began = time.monotonic()
    headers = [("Prefer", value) for value in prefer] + [("Authorization", f"Bearer {api.token('operator')}")]
    response = api.call("POST", f"/containers/{fresh_id}/start", None, headers=headers)
    took = time.monotonic() - began
    assert (response.status_code, response.headers.get("Preference-Applied")) == (202, applied)
    assert took >= waited
    assert response.json()["data"]["pending_operation"]["operation"] == "start"
    api.post(fresh_id, "force-stop")


@pytest.mark.parametrize("prefer", ["wait=5", "respond-async, wait=5", "nonsense"])
def test_an_effect_within_the_wait(api: Api, seeder: Seeder, fresh_id: str, prefer: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    response = api.post(fresh_id, "start", headers={"Prefer": prefer})
    assert (response.status_code, response.json()["data"]["status"]) == (200, "running")
    assert response.headers.get("Preference-Applied") == ("wait=5" if "wait" in prefer else None)


def test_a_refusal_applies_no_preference(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation, status in (("stop", 400), ("explode", 400)):
        response = api.post(fresh_id, operation, headers={"Prefer": "respond-async, wait=5"})
        assert response.status_code == status
        assert "Preference-Applied" not in response.headers


def test_a_repeat_with_the_key_gets_the_202(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    headers = {"Prefer": "respond-async", "Idempotency-Key": fresh_id}
    first = api.post(fresh_id, "start", headers=headers)
    repeat = api.post(fresh_id, "start", headers={"Idempotency-Key": fresh_id})
    assert (first.status_code, repeat.json()) == (202, first.json())
    assert api.call("GET", f"/containers/{fresh_id}?wait_for=running").json()["data"]["status"] == "running"
    assert len(api.rows(fresh_id)) == 2


# --- wait_for ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait_for", ["settled", "running"])
def test_a_state_that_the_container_has(api: Api, seeder: Seeder, fresh_id: str, wait_for: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    waited = api.call("GET", f"/containers/{fresh_id}?wait_for={wait_for}&timeout=25")
    assert (waited.status_code, waited.json()) == (200, api.get(fresh_id).json())


def test_a_change_of_status(api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The request is answered as soon as another caller has stopped the container."""
    seeder.add(fresh_id, ["stopped", "running"])
    stopper = threading.Timer(0.5, api.post, (fresh_id, "stop"))
    stopper.start()
    found = api.call("GET", f"/containers/{fresh_id}?wait_for=stopped&timeout=25").json()["data"]
    stopper.join()
    assert found["status"] == "stopped"


@pytest.mark.parametrize("wait_for", ["settled", "running"])
def test_a_timeout(api: Api, seeder: Seeder, fresh_id: str, wait_for: str) -> None:
    never_runs(seeder, fresh_id)
    api.post(fresh_id, "start", headers={"Prefer": "respond-async"})
    began = time.monotonic()
    response = api.call("GET", f"/containers/{fresh_id}?wait_for={wait_for}&timeout=1")
    assert time.monotonic() - began >= 1
    assert response.status_code == 200
    assert response.json()["message"] == "Container retrieved successfully"
    assert response.json()["data"]["pending_operation"]["operation"] == "start"
    api.post(fresh_id, "force-stop")


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("wait_for=", [("wait_for", TARGETS)]),
        ("wait_for=done", [("wait_for", TARGETS)]),
        ("wait_for=settled&wait_for=settled", [("wait_for", "must be given once")]),
        ("wait_for=settled&timeout=0", [("timeout", "must be >= 1")]),
        ("wait_for=settled&timeout=26", [("timeout", "must be <= 25")]),
        ("wait_for=settled&timeout=1.5", [("timeout", "must be integer")]),
        ("timeout=&wait_for=x", [("wait_for", TARGETS), ("timeout", "must be integer")]),
    ],
)
def test_bad_queries(api: Api, query: str, wrong: list[tuple[str, str]]) -> None:
    refused(api.call("GET", f"/containers/{RUNNING}?{query}"), "VALIDATION_ERROR", **faults(*wrong))


def test_who_may_wait(api: Api) -> None:
    path = f"/containers/{RUNNING}?wait_for=stopped&timeout=25"
    refused(api.call("GET", path, "stranger"), "CONTAINER_NOT_FOUND")
    refused(api.call("GET", path, "banned"), "ACCOUNT_BANNED")


# --- clients of the original service ----------------------------------------------------------------------------------


def test_without_the_new_header_and_parameters_nothing_changes(api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    started = api.post(fresh_id, "start")
    assert (started.status_code, started.json()["data"]["status"]) == (200, "running")
    assert "Preference-Applied" not in started.headers
    never_runs(seeder, fresh_id)
    assert api.post(fresh_id, "start", headers={"Prefer": "respond-async"}).status_code == 202
    # A container with a pending operation is returned at once, and unknown parameters are ignored.
    for query in ("", "?waitfor=settled", "?status=running&status=stopped"):
        response = api.call("GET", f"/containers/{fresh_id}{query}")
        assert response.json()["data"]["pending_operation"]["operation"] == "start"
        assert response.elapsed.total_seconds() < 10
    api.post(fresh_id, "force-stop")


# --- the index --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/"])
def test_the_index(stack: LocalStack, api: Api, path: str) -> None:
    """It takes no token, and its links lead to pages."""
    links = {"reference": "/docs", "console": "/console", "openapi": "/openapi.yaml"}
    for headers in ({}, {"Authorization": "Bearer x"}):
        response: Any = api._http.get(f"{stack.url}{path}", headers=headers)
        assert response.status_code == 200
        data = {"links": links, "sign_in": None}
        assert response.json() == {"statusCode": 200, "message": "Longshore API", "data": data}
        assert response.headers["X-Request-Id"]
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    for link in links.values():
        assert api._http.get(f"{stack.url}{link}", follow_redirects=True).status_code == 200
    assert api._http.post(f"{stack.url}{path}").status_code == 404
    assert api._http.options(f"{stack.url}{path}").status_code == 200
