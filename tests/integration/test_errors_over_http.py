"""Tests of errors for invalid requests over HTTP, and of the order in which a request is checked."""

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
    State,
    bearer,
    faults,
    quiet_stack,
    refused,
)

from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

ALL_OPERATIONS = faults(("operation", f"must be one of: {', '.join(OPERATIONS)}"))


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with quiet_stack() as local:
        yield local


# --- INVALID_ID_FORMAT ------------------------------------------------------------------------------------------------

INVALID_IDS = {
    "23 characters": RUNNING[:-1],
    "25 characters": f"{RUNNING}0",
    "one character": "5",
    "upper case": RUNNING.upper(),
    "no hexadecimal": "g" * 24,
    "unicode": "%EF%BC%95" * 24,
    "unicode among others": RUNNING[:-1] + "é",
    "not UTF-8": "%FF" * 24,
    "encoded slash": f"{RUNNING}%2Fstart",
    "slash inside": f"{RUNNING[:12]}%2F{RUNNING[13:]}",
    "backslash": f"{RUNNING[:-1]}%5C",
    "space after": f"{RUNNING}%20",
    "space before": f"%20{RUNNING}",
    "spaces": "%20" * 24,
    "newline after": f"{RUNNING}%0A",
    "null byte": f"{RUNNING[:-1]}%00",
    "null byte after": f"{RUNNING}%00",
    "encoded twice": RUNNING.replace("5", "%2535"),
    "quote": f"{RUNNING[:-1]}'",
    "dashes": "507f1f77-bcf8-6cd7-99439012",
}


@pytest.mark.parametrize("bad", INVALID_IDS.values(), ids=INVALID_IDS)
@pytest.mark.usefixtures("unchanged")
def test_an_invalid_id(api: Api, bad: str) -> None:
    refused(api.call("GET", f"/containers/{bad}"), "INVALID_ID_FORMAT")
    refused(api.call("GET", f"/containers/{bad}/status-logs"), "INVALID_ID_FORMAT")
    refused(api.call("POST", f"/containers/{bad}/stop"), "INVALID_ID_FORMAT")
    refused(api.call("POST", f"/containers/{bad}/no-such-operation"), "INVALID_ID_FORMAT")


@pytest.mark.usefixtures("unchanged")
def test_an_encoded_id_is_the_id(api: Api) -> None:
    encoded = "".join(f"%{ord(character):02X}" for character in RUNNING)
    response = api.call("GET", f"/containers/{encoded}")
    assert (response.status_code, response.json()["data"]["id"]) == (200, RUNNING)


# --- VALIDATION_ERROR -------------------------------------------------------------------------------------------------

INTEGER, ONCE = "must be integer", "must be given once"
NOT_A_TIME = "must be an RFC 3339 time with an offset, such as 2025-01-15T10:30:00Z"
SORT_BY = "must be one of: transition_time, created_at, to_status, from_status"
LARGEST = 2**53 - 1
INVALID_QUERIES = [
    *((f"{name}={value}", [(name, "must be >= 1")]) for name in ("page", "limit") for value in ("0", "-1", "-99")),
    *(
        (f"{name}={value}", [(name, INTEGER)])
        for name in ("page", "limit")
        for value in ("", "1.5", "1e9", "01", "%201", "1%20", "+1", "%2B1", "%EF%BC%91", "one", "1%00", "1,2", "%FF")
    ),
    ("limit=101", [("limit", "must be <= 100")]),
    (f"limit={10**30}", [("limit", "must be <= 100")]),
    (f"limit={'9' * 8000}", [("limit", "must be <= 100")]),
    (f"page={LARGEST + 1}", [("page", f"must be <= {LARGEST}")]),
    (f"page={'9' * 8000}", [("page", f"must be <= {LARGEST}")]),
    (f"page={'x' * 8000}", [("page", INTEGER)]),
    ("sort_by=id", [("sort_by", SORT_BY)]),
    ("sort_by=", [("sort_by", SORT_BY)]),
    ("sort_by=TO_STATUS", [("sort_by", SORT_BY)]),
    ("sort_order=ASC", [("sort_order", "must be one of: asc, desc")]),
    ("sort_order=up", [("sort_order", "must be one of: asc, desc")]),
    ("page=1&page=1", [("page", ONCE)]),
    ("limit=5&limit=6", [("limit", ONCE)]),
    ("sort_by=to_status&sort_by=to_status", [("sort_by", ONCE)]),
    ("sort_order=asc&limit=5&sort_order=desc", [("sort_order", ONCE)]),
    ("&".join(["limit=5"] * 1000), [("limit", ONCE)]),
    ("page=0&limit=101", [("page", "must be >= 1"), ("limit", "must be <= 100")]),
    ("limit=101&page=x", [("page", INTEGER), ("limit", "must be <= 100")]),
    ("limit=1&limit=1&page=0", [("page", "must be >= 1"), ("limit", ONCE)]),
    ("from=2025-01-15T10:30:00", [("from", NOT_A_TIME)]),
    ("to=2025-01-15", [("to", NOT_A_TIME)]),
    # A plus sign that is not encoded is a space.
    ("from=2025-01-15T10:30:00+02:00", [("from", NOT_A_TIME)]),
    ("from=2025-01-15T10:30:01Z&to=2025-01-15T10:30:00Z", [("from", "must not be after to")]),
    ("to_status=none", [("to_status", "must be one of: stopped, running, paused, failed, expired")]),
    ("to_status=running&from_status=running", [("from_status", "cannot be combined with to_status")]),
    (
        "to_status=running&sort_by=from_status",
        [("sort_by", "must be transition_time, created_at or to_status with the filter to_status")],
    ),
    (
        "from_status=running&sort_by=to_status",
        [("sort_by", "must be transition_time, created_at or from_status with the filter from_status")],
    ),
]


@pytest.mark.parametrize(("query", "wrong"), INVALID_QUERIES, ids=[query[:40] for query, _ in INVALID_QUERIES])
@pytest.mark.usefixtures("unchanged")
def test_an_invalid_query(api: Api, query: str, wrong: list[tuple[str, str]]) -> None:
    response = api.call("GET", f"/containers/{RUNNING}/status-logs?{query}")
    refused(response, "VALIDATION_ERROR", **faults(*wrong))


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=x&cursor=y", "LIMIT=500", "limit%5B%5D=500", "q=" + "x" * 8000, "=", "&&", "%FF=%00"]
)
@pytest.mark.usefixtures("unchanged")
def test_unknown_parameters_are_ignored(api: Api, query: str) -> None:
    response = api.call("GET", f"/containers/{RUNNING}/status-logs?{query}")
    assert response.status_code == 200
    assert response.json() == api.logs(RUNNING).json()


@pytest.mark.parametrize(
    "operation", ["no-such-operation", "START", "start%20", "%20", "force_stop", "%00", "é", "x" * 5000]
)
@pytest.mark.usefixtures("unchanged")
def test_an_unknown_operation(api: Api, operation: str) -> None:
    refused(api.call("POST", f"/containers/{STOPPED}/{operation}"), "VALIDATION_ERROR", **ALL_OPERATIONS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([b""], "must be 1 to 128 visible ASCII characters"),
        ([b"x" * 129], "must be 1 to 128 visible ASCII characters"),
        ([b"a b"], "must be 1 to 128 visible ASCII characters"),
        (["ключ".encode()], "must be 1 to 128 visible ASCII characters"),
        ([b"a", b"a"], ONCE),
        ([b"a", b"b"], ONCE),
    ],
    ids=["empty", "129", "space", "unicode", "twice", "two"],
)
@pytest.mark.usefixtures("unchanged")
def test_an_invalid_idempotency_key(stack: LocalStack, api: Api, keys: list[bytes], message: str) -> None:
    headers = [(b"Idempotency-Key", key) for key in keys]
    headers.append((b"Authorization", f"Bearer {api.token('operator')}".encode()))
    for operation in OPERATIONS:
        response = httpx.post(f"{stack.url}/api/v1/containers/{RUNNING}/{operation}", headers=headers)
        refused(response, "VALIDATION_ERROR", **faults(("Idempotency-Key", message)))


def test_an_idempotency_key_of_another_request(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    headers = {"Idempotency-Key": f"errors-{fresh_id}"}
    assert api.post(fresh_id, "start", headers=headers).status_code == 200
    state = State(stack, STOPPED, fresh_id)
    items, effects = state.items(), state.effects()
    message = "was used for another container or operation in the last 24 hours"
    for container, operation in [(STOPPED, "start"), (fresh_id, "stop")]:
        response = api.post(container, operation, headers=headers)
        refused(response, "VALIDATION_ERROR", **faults(("Idempotency-Key", message)))
    assert (state.items(), state.effects()) == (items, effects)


# --- ROUTE_NOT_FOUND --------------------------------------------------------------------------------------------------

NO_ROUTES = [
    ("POST", "/containers"),
    ("DELETE", f"/containers/{RUNNING}"),
    ("PUT", f"/containers/{RUNNING}"),
    ("POST", f"/containers/{RUNNING}"),
    ("GET", f"/containers/{RUNNING}/start"),
    ("PUT", f"/containers/{RUNNING}/start"),
    ("GET", f"/containers/{RUNNING}/no-such-operation"),
    ("POST", f"/containers/{RUNNING}/start/now"),
    ("POST", f"/containers//{RUNNING}/start"),
    ("POST", "/containers//start"),
    ("GET", f"/Containers/{RUNNING}"),
    ("GET", f"/containers/{RUNNING}/status-logs/1"),
    ("POST", f"/containers/{RUNNING}/status-logs"),
    ("GET", f"/../v2/containers/{RUNNING}"),
    ("GET", f"/projects/{PROJECT}"),
]


@pytest.mark.parametrize(("method", "path"), NO_ROUTES)
@pytest.mark.usefixtures("unchanged")
def test_no_route(api: Api, method: str, path: str) -> None:
    for user in (None, "operator", "banned"):
        refused(api.call(method, path, user), "ROUTE_NOT_FOUND")
    refused(api.call(method, path, None, headers=bearer("x")), "ROUTE_NOT_FOUND")
    refused(api.call(method, path, None, headers={"Authorization": "Basic x"}), "ROUTE_NOT_FOUND")


# --- Order of the checks ----------------------------------------------------------------------------------------------

LONG_KEY = {"Idempotency-Key": "x" * 129}
PRECEDENCE: dict[str, tuple[str, str, str | None, dict[str, str], str, dict[str, Any]]] = {
    "no token, no route": ("GET", "/nowhere", None, {}, "ROUTE_NOT_FOUND", {}),
    "no token, bad id": ("GET", "/containers/x", None, {}, "MISSING_TOKEN", {}),
    "wrong token, bad id": ("GET", "/containers/x", None, bearer("x.y.z"), "INVALID_TOKEN", {}),
    "wrong token, unknown operation": ("POST", "/containers/x/y", None, bearer("x.y.z"), "INVALID_TOKEN", {}),
    "bad id, bad query": ("GET", "/containers/x/status-logs?limit=0", "operator", {}, "INVALID_ID_FORMAT", {}),
    "bad id, bad key": ("POST", "/containers/x/start", "operator", LONG_KEY, "INVALID_ID_FORMAT", {}),
    "bad id, unknown operation": ("POST", "/containers/x/fly", "operator", {}, "INVALID_ID_FORMAT", {}),
    "bad id, banned": ("GET", "/containers/x", "banned", {}, "INVALID_ID_FORMAT", {}),
    "bad query, banned": (
        "GET",
        f"/containers/{UNKNOWN}/status-logs?limit=0",
        "banned",
        {},
        "VALIDATION_ERROR",
        faults(("limit", "must be >= 1")),
    ),
    "bad key, banned": (
        "POST",
        f"/containers/{UNKNOWN}/start",
        "banned",
        LONG_KEY,
        "VALIDATION_ERROR",
        faults(("Idempotency-Key", "must be 1 to 128 visible ASCII characters")),
    ),
    "unknown operation, banned": (
        "POST",
        f"/containers/{UNKNOWN}/fly",
        "banned",
        {},
        "VALIDATION_ERROR",
        ALL_OPERATIONS,
    ),
    "unknown operation, stranger": (
        "POST",
        f"/containers/{RUNNING}/fly",
        "stranger",
        {},
        "VALIDATION_ERROR",
        ALL_OPERATIONS,
    ),
    "banned, unknown container": ("POST", f"/containers/{UNKNOWN}/start", "banned", {}, "ACCOUNT_BANNED", {}),
    "banned, expired": ("POST", f"/containers/{EXPIRED}/start", "banned", {}, "ACCOUNT_BANNED", {}),
    "stranger, expired": ("POST", f"/containers/{EXPIRED}/start", "stranger", {}, "CONTAINER_NOT_FOUND", {}),
    "stranger, conflict": ("POST", f"/containers/{RUNNING}/start", "stranger", {}, "CONTAINER_NOT_FOUND", {}),
    "viewer, expired": ("POST", f"/containers/{EXPIRED}/start", "viewer", {}, "INSUFFICIENT_PERMISSIONS", {}),
    "viewer, conflict": ("POST", f"/containers/{RUNNING}/start", "viewer", {}, "INSUFFICIENT_PERMISSIONS", {}),
    "viewer, Fargate": ("POST", f"/containers/{container_id(16)}/pause", "viewer", {}, "INSUFFICIENT_PERMISSIONS", {}),
    "expired, conflict": ("POST", f"/containers/{EXPIRED}/stop", "owner", {}, "OPERATION_NOT_PERMITTED_ON_EXPIRED", {}),
}


@pytest.mark.parametrize(("method", "path", "user", "headers", "code", "error"), PRECEDENCE.values(), ids=PRECEDENCE)
@pytest.mark.usefixtures("unchanged")
def test_precedence(
    api: Api, method: str, path: str, user: str | None, headers: dict[str, str], code: str, error: dict[str, Any]
) -> None:
    refused(api.call(method, path, user, headers=headers), code, **error)
