"""Every error of the contract over HTTP, in the contract's order: its exact body, and that it has changed nothing."""

import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import pytest
from api_client import Api
from invariants import all_rows, check

from local import tokens
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

STOPPED, RUNNING, EXPIRED = container_id(11), container_id(12), container_id(15)
UNKNOWN = "0123456789abcdef01234567"
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
PHRASES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}

# What the contract's table says of each code, but for the messages that name something.
STATUS_AND_MESSAGE: dict[str, tuple[int, str]] = {
    "MISSING_TOKEN": (401, "Authentication token required"),
    "INVALID_TOKEN": (401, "Invalid authentication token"),
    "TOKEN_EXPIRED": (401, "Authentication token has expired"),
    "INVALID_ID_FORMAT": (400, "Invalid ID format"),
    "VALIDATION_ERROR": (400, ""),
    "ACCOUNT_BANNED": (403, "Account has been banned"),
    "CONTAINER_NOT_FOUND": (404, "Container not found"),
    "INSUFFICIENT_PERMISSIONS": (403, "Insufficient permissions"),
    "OPERATION_NOT_PERMITTED_ON_EXPIRED": (403, "Operation not permitted on expired container"),
    "OPERATION_STATE_CONFLICT": (400, ""),
    "EXTERNAL_SERVICE_ERROR": (500, "A required external service is unavailable or returned an error"),
    "INTERNAL_SERVER_ERROR": (500, "An unexpected error occurred"),
    "ROUTE_NOT_FOUND": (404, "Route not found"),
}
# Never in a response.
INTERNALS = re.compile(r"arn:|longshore-|Traceback|boto|[Dd]ynamo|Exception|\w+Error\b|pydantic|\.py|127\.0\.0\.1")


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """Without events and sweeps: what changes, a request has changed."""
    parameters = {"WaitSeconds": "8", "ThrottleRate": "100000", "ThrottleBurst": "100000"}
    quick = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}
    with LocalStack(port=0, parameters=parameters, emulator_options=quick, events=False) as local:
        yield local


def refused(response: httpx.Response, code: str, message: str | None = None, **data: Any) -> None:
    """Assert that the answer is exactly this error. `data` is compared when it is given, and absent otherwise."""
    status, usual = STATUS_AND_MESSAGE[code]
    body = {"statusCode": status, "error": PHRASES[status], "code": code, "message": message or usual}
    assert (response.status_code, response.json()) == (status, body | data)
    assert response.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-Id"])
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    told = response.text.replace(f'"error":"{PHRASES[status]}"', "").replace(code, "").replace(usual, "")
    assert not INTERNALS.search(told)


def faults(*of: tuple[str, str]) -> dict[str, Any]:
    """The message and data of a VALIDATION_ERROR."""
    return {
        "message": "; ".join(f"{name} {message}" for name, message in of),
        "data": [{"instancePath": f"/{name}", "message": message} for name, message in of],
    }


ALL_OPERATIONS = faults(("operation", f"must be one of: {', '.join(OPERATIONS)}"))


class State:
    """The items of the tables that a request could change, and what was asked of AWS."""

    def __init__(self, stack: LocalStack, *containers: str) -> None:
        self._stack = stack
        self._containers = containers

    def items(self) -> dict[str, Any]:
        dynamodb = self._stack.client("dynamodb")
        tables = {
            name: dynamodb.scan(TableName=self._stack.table_name(name), ConsistentRead=True)["Items"]
            for name in ("ContainersTable", "IdempotencyTable", "AccessTable")
        }
        return tables | {name: all_rows(self._stack, name) for name in self._containers}

    def effects(self) -> list[tuple[str, str]]:
        """The calls so far that may have had an effect."""
        reads = ("Get", "Query", "Scan", "Describe", "List")
        calls = [(call.service, call.operation) for call in self._stack.emulator.calls]
        return [call for call in calls if call[0] in ("dynamodb", "ecs", "ssm") and not call[1].startswith(reads)]


@pytest.fixture(scope="module")
def seen() -> list[tuple[Any, Any]]:
    """The items and the effects when they were last looked at: what one test leaves, the next one finds."""
    return []


@pytest.fixture
def unchanged(stack: LocalStack, seen: list[tuple[Any, Any]]) -> Iterator[None]:
    """Nothing of the tables changes during the test, and nothing is asked of ECS and SSM."""
    state = State(stack, STOPPED, RUNNING, EXPIRED)
    items, effects = seen[-1] if seen and seen[-1][1] == state.effects() else (state.items(), state.effects())
    # What is compared is there.
    assert len(items["ContainersTable"]) >= 7
    assert all(items[name] for name in (STOPPED, RUNNING, EXPIRED, "AccessTable"))
    yield
    seen[:] = [(state.items(), state.effects())]
    assert seen == [(items, effects)]


@contextmanager
def changed_item(stack: LocalStack, identity: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """The container's item with a change to it, and then as it was."""
    table, dynamodb = stack.table_name("ContainersTable"), stack.client("dynamodb")
    key = {"id": {"S": identity}}
    kept = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    broken = json.loads(json.dumps(kept))
    change(broken)
    assert broken != kept
    dynamodb.put_item(TableName=table, Item=broken)
    yield
    assert dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"] == broken
    dynamodb.put_item(TableName=table, Item=kept)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(key: str | None = None, **more: Any) -> str:
    """A token with these claims, new each time: the gateway keeps its answers by token."""
    claims = {"sub": "operator", "exp": int(time.time()) + 600, "jti": str(time.monotonic_ns())} | more
    return jwt.encode({k: v for k, v in claims.items() if v is not ...}, key or tokens.key(), algorithm="HS256")


# Every kind of request, each of which would succeed.
REQUESTS = [
    ("GET", f"/containers/{RUNNING}"),
    ("GET", f"/containers/{RUNNING}/status-logs"),
    ("POST", f"/containers/{RUNNING}/stop"),
    ("POST", f"/containers/{STOPPED}/start"),
]

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
    # The gateway keeps a refusal too.
    for _ in range(2):
        refused(api.call(method, path, None, headers=headers), "TOKEN_EXPIRED")


@pytest.mark.usefixtures("unchanged")
def test_a_token_that_expires_while_the_gateway_keeps_its_answer(api: Api) -> None:
    headers = bearer(tokens.token("operator", 3))
    path = f"/containers/{STOPPED}"
    assert api.call("GET", path, None, headers=headers).status_code == 200
    give_up = time.monotonic() + 10
    while (response := api.call("GET", path, None, headers=headers)).status_code == 200:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    refused(response, "TOKEN_EXPIRED")
    # The function has refused it, not the authorizer: the gateway's own answers have no such header.
    assert response.headers["Cache-Control"] == "no-store"
    refused(api.call("POST", f"/containers/{STOPPED}/start", None, headers=headers), "TOKEN_EXPIRED")


# --- INVALID_ID_FORMAT ------------------------------------------------------------------------------------------------

BAD_IDS = {
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


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
@pytest.mark.usefixtures("unchanged")
def test_a_bad_id(api: Api, bad: str) -> None:
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
SORT_BY = "must be one of: transition_time, created_at, to_status, from_status"
LARGEST = 2**53 - 1
BAD_QUERIES = [
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
    ("limit=1&limit=1&page=0", [("limit", ONCE), ("page", "must be >= 1")]),
]


@pytest.mark.parametrize(("query", "wrong"), BAD_QUERIES, ids=[query[:40] for query, _ in BAD_QUERIES])
@pytest.mark.usefixtures("unchanged")
def test_a_bad_query(api: Api, query: str, wrong: list[tuple[str, str]]) -> None:
    response = api.call("GET", f"/containers/{RUNNING}/status-logs?{query}")
    refused(response, "VALIDATION_ERROR", **faults(*wrong))


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=x&cursor=y", "LIMIT=500", "limit%5B%5D=500", "q=" + "x" * 8000, "=", "&&", "%FF=%00"]
)
@pytest.mark.usefixtures("unchanged")
def test_a_query_that_is_ignored(api: Api, query: str) -> None:
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
def test_a_bad_idempotency_key(stack: LocalStack, api: Api, keys: list[bytes], message: str) -> None:
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


# --- ACCOUNT_BANNED, CONTAINER_NOT_FOUND, INSUFFICIENT_PERMISSIONS, expired, conflicts --------------------------------


@pytest.mark.parametrize("identity", [RUNNING, EXPIRED, UNKNOWN])
@pytest.mark.usefixtures("unchanged")
def test_banned(api: Api, identity: str) -> None:
    refused(api.get(identity, "banned"), "ACCOUNT_BANNED")
    refused(api.logs(identity, "banned"), "ACCOUNT_BANNED")
    for operation in OPERATIONS:
        refused(api.post(identity, operation, "banned"), "ACCOUNT_BANNED")


def test_a_ban_takes_effect_at_once_and_so_does_its_end(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    seeder.grant("briefly-banned", PROJECT, "operator")
    assert api.get(STOPPED, "briefly-banned").status_code == 200
    table, dynamodb = stack.table_name("AccessTable"), stack.client("dynamodb")
    key = {"user_id": {"S": "briefly-banned"}, "scope": {"S": "account"}}
    dynamodb.put_item(TableName=table, Item={**key, "banned": {"BOOL": True}})
    refused(api.get(STOPPED, "briefly-banned"), "ACCOUNT_BANNED")
    dynamodb.put_item(TableName=table, Item={**key, "banned": {"BOOL": False}})
    assert api.get(STOPPED, "briefly-banned").status_code == 200


@pytest.mark.usefixtures("unchanged")
def test_what_is_not_there_and_what_is_not_the_caller_s_look_the_same(api: Api) -> None:
    asked = [(RUNNING, "stranger"), (UNKNOWN, "stranger"), (UNKNOWN, "owner"), (EXPIRED, "nobody")]
    for method, rest in [("GET", ""), ("GET", "/status-logs"), *(("POST", f"/{name}") for name in OPERATIONS)]:
        answers = [api.call(method, f"/containers/{identity}{rest}", user) for identity, user in asked]
        for answer in answers:
            refused(answer, "CONTAINER_NOT_FOUND")
        assert len({answer.content for answer in answers}) == 1
        varying = {"x-request-id", "date"}
        heads = [sorted((k, v) for k, v in answer.headers.items() if k not in varying) for answer in answers]
        assert all(head == heads[0] for head in heads)


def test_a_role_that_is_taken_away_is_gone_at_once(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    seeder.grant("leaver", PROJECT, "owner")
    assert api.get(STOPPED, "leaver").status_code == 200
    key = {"user_id": {"S": "leaver"}, "scope": {"S": f"project#{PROJECT}"}}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("AccessTable"), Key=key)
    refused(api.get(STOPPED, "leaver"), "CONTAINER_NOT_FOUND")


def test_a_role_that_nobody_knows_gives_nothing(api: Api, seeder: Seeder) -> None:
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


# --- EXTERNAL_SERVICE_ERROR, INTERNAL_SERVER_ERROR --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "error", "status", "reason"),
    [
        ("GetItem", "InternalServerError", 500, "The database failed"),
        ("Query", "InternalServerError", 500, "The database failed"),
        ("GetItem", "AccessDeniedException", 400, "The database failed"),
        ("GetItem", "ProvisionedThroughputExceededException", 400, "The database failed"),
        ("GetItem", "drop", 500, "The database did not answer"),
    ],
)
def test_the_database_fails(
    stack: LocalStack, emulator: Any, api: Api, operation: str, error: str, status: int, reason: str
) -> None:
    # A message such as AWS gives: it says more than a caller may know.
    message = "User arn:aws:sts::123456789012:assumed-role/x is not authorized on longshore-ContainersTable"
    for method, rest in (("GET", ""), ("GET", "/status-logs"), ("POST", "/stop")):
        state = State(stack, RUNNING)
        items, effects = state.items(), state.effects()
        fault = emulator.faults.add("dynamodb", operation, error, status, times=None, message=message)
        response = api.call(method, f"/containers/{RUNNING}{rest}")
        refused(response, "EXTERNAL_SERVICE_ERROR", data={"reason": reason})
        assert fault.seen
        emulator.faults.clear()
        assert (state.items(), state.effects()) == (items, effects)


def test_a_failure_of_the_database_that_passes_is_not_told(emulator: Any, api: Api) -> None:
    fault = emulator.faults.add("dynamodb", "GetItem", "InternalServerError", times=1)
    assert api.get(RUNNING).status_code == 200
    assert fault.seen == 1


# Operation, status, the call that fails, its error, and what is said of it.
REFUSALS = [
    (
        "start",
        ["stopped"],
        "ecs",
        "RunTask",
        "AccessDeniedException",
        "Longshore is not permitted to do this on the cluster",
    ),
    ("start", ["stopped"], "ecs", "RunTask", "ClusterNotFoundException", "The cluster does not exist"),
    (
        "start",
        ["stopped"],
        "ecs",
        "RunTask",
        "ClientException",
        "ECS refused the request: check the container's task definition",
    ),
    ("start", ["stopped"], "ecs", "RunTask", "SomethingNewException", "ECS returned an error"),
    (
        "stop",
        ["stopped", "running"],
        "ecs",
        "StopTask",
        "AccessDeniedException",
        "Longshore is not permitted to do this on the cluster",
    ),
    (
        "pause",
        ["stopped", "running"],
        "ssm",
        "SendCommand",
        "InvalidInstanceId",
        "The instance is not reachable through Systems Manager",
    ),
    (
        "resume",
        ["stopped", "running", "paused"],
        "ssm",
        "SendCommand",
        "AccessDeniedException",
        "Systems Manager refused the command",
    ),
]


@pytest.mark.parametrize(("operation", "history", "service", "call", "error", "reason"), REFUSALS)
def test_a_service_refuses(
    stack: LocalStack,
    emulator: Any,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    operation: str,
    history: list[str],
    service: str,
    call: str,
    error: str,
    reason: str,
) -> None:
    """The reason is told in plain words, the operation has ended, and a repeat with the same key tries again."""
    seeder.add(fresh_id, history)
    before, rows = check(stack, fresh_id), all_rows(stack, fresh_id)
    message = "arn:aws:ecs:us-east-1:123456789012:cluster/default said no"
    fault = emulator.faults.add(service, call, error, 400, message=message)
    headers = {"Idempotency-Key": f"errors-{fresh_id}"}
    refused(api.post(fresh_id, operation, headers=headers), "EXTERNAL_SERVICE_ERROR", data={"reason": reason})
    assert fault.seen == 1

    after = check(stack, fresh_id)
    # A number for commands to hosts is never used again, also when no command was sent.
    assert after["command_number"] > before["command_number"]
    assert after == before | {name: after[name] for name in ("command_number", "updated_at")}
    assert all_rows(stack, fresh_id) == rows
    assert api.post(fresh_id, operation, headers=headers).status_code == 200
    assert len(all_rows(stack, fresh_id)) == len(rows) + 1


def test_a_task_that_cannot_be_placed(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.task_definition(f"huge-{fresh_id}", memory=1 << 30)
    seeder.add(fresh_id, ["stopped"], task_definition=f"huge-{fresh_id}")
    reason = "No instance of the cluster has enough memory left"
    refused(api.post(fresh_id, "start"), "EXTERNAL_SERVICE_ERROR", data={"reason": reason})
    assert check(stack, fresh_id)["status"] == "stopped"


def _without_runtime(item: dict[str, Any]) -> None:
    del item["runtime"]


def _status_from_elsewhere(item: dict[str, Any]) -> None:
    item["status"] = {"S": "melted"}


def _counters_that_do_not_add_up(item: dict[str, Any]) -> None:
    item["log_count"] = {"N": "99"}


@pytest.mark.parametrize("change", [_without_runtime, _status_from_elsewhere])
def test_an_impossible_container(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, change: Callable[[dict[str, Any]], None]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    effects = State(stack).effects()
    with changed_item(stack, fresh_id, change):
        put = [("dynamodb", "PutItem")]
        refused(api.get(fresh_id), "INTERNAL_SERVER_ERROR")
        refused(api.post(fresh_id, "start"), "INTERNAL_SERVER_ERROR")
        assert State(stack).effects() == effects + put
        # The history needs nothing of what is impossible.
        assert [row["to_status"] for row in api.logs(fresh_id).json()["data"]["logs"]] == ["stopped"]
    assert api.get(fresh_id).status_code == 200


def test_impossible_counters(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    with changed_item(stack, fresh_id, _counters_that_do_not_add_up):
        refused(api.logs(fresh_id, sort_by="to_status", limit=100), "INTERNAL_SERVER_ERROR")


# --- ROUTE_NOT_FOUND --------------------------------------------------------------------------------------------------

NO_ROUTES = [
    ("GET", "/"),
    ("GET", "/containers"),
    ("POST", "/containers"),
    ("GET", "/containers/"),
    ("DELETE", f"/containers/{RUNNING}"),
    ("PUT", f"/containers/{RUNNING}"),
    ("PATCH", f"/containers/{RUNNING}"),
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


# --- what is checked first --------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(("method", "path", "user", "headers", "code", "told"), PRECEDENCE.values(), ids=PRECEDENCE)
@pytest.mark.usefixtures("unchanged")
def test_precedence(
    api: Api, method: str, path: str, user: str | None, headers: dict[str, str], code: str, told: dict[str, Any]
) -> None:
    refused(api.call(method, path, user, headers=headers), code, **told)


# --- what every answer has --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        f"/containers/{RUNNING}",
        f"/containers/{RUNNING}/status-logs",
        *(f"/containers/{RUNNING}/{operation}" for operation in (*OPERATIONS, "no-such-operation")),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_preflight_needs_no_token(api: Api, path: str) -> None:
    headers = {
        "Origin": "https://console.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    response = api.call("OPTIONS", path, None, headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert {"GET", "POST"} <= set(response.headers["Access-Control-Allow-Methods"].split(","))
    allowed = {name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key"} <= allowed


def test_every_answer_has_an_id_of_its_own_and_is_json(api: Api) -> None:
    answers = [
        api.get(RUNNING),
        api.get(RUNNING),
        api.logs(RUNNING),
        api.post(RUNNING, "start"),
        api.get(UNKNOWN),
        api.get("x"),
        api.get(RUNNING, None),
        api.call("GET", "/nowhere", None),
        api.call("GET", f"/containers/{RUNNING}", None, headers=bearer("x")),
        api.call("GET", f"/containers/{RUNNING}", headers={"X-Large": "x" * 11_000}),
    ]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["statusCode"] == answer.status_code
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


class Logs:
    """All that is logged and printed while it is open, at any level from INFO."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._stream = io.StringIO()

    @contextmanager
    def open(self) -> Iterator[None]:
        found = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
        # A handler keeps the stdout of when it was made, which is not the one that is captured.
        handlers = {h for logger in found for h in logger.handlers if type(h) is logging.StreamHandler}
        streams = {handler: handler.setStream(self._stream) for handler in handlers}
        own = logging.StreamHandler(self._stream)
        # The client's log is not ours.
        own.addFilter(lambda record: not record.name.startswith("http"))
        level = logging.root.level
        logging.root.addHandler(own)
        logging.root.setLevel(logging.INFO)
        self._capfd.readouterr()
        yield
        logging.root.setLevel(level)
        logging.root.removeHandler(own)
        for handler, stream in streams.items():
            if stream is not None:
                handler.setStream(stream)

    @property
    def text(self) -> str:
        return self._stream.getvalue() + "".join(self._capfd.readouterr())


def test_no_log_holds_a_token_or_a_secret(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from longshore.edge import metrics

    # Whether they are off is asked once for each function.
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    monkeypatch.setattr(metrics, "_described", metrics._described.__wrapped__)
    seeder.add(fresh_id, ["stopped"])
    seeder.grant("logged-user", PROJECT, "operator")
    good = [signed(sub="logged-user"), signed(sub="logged-user")]
    bad = [signed("another-" * 8), signed(exp=1), signed(sub=""), signed().rsplit(".", 1)[0] + "."]
    odd = ["Basic {}", "{}", "Bearer {} x"]
    key = "an-idempotency-key-of-the-caller"
    logs = Logs(capfd)
    with logs.open():
        answers = [
            api.call("GET", f"/containers/{fresh_id}", None, headers=bearer(good[0])),
            api.call("GET", f"/containers/{fresh_id}/status-logs?limit=0", None, headers=bearer(good[0])),
            api.call("GET", f"/nowhere?token={good[0]}", None, headers=bearer(good[0])),
            api.call("POST", f"/containers/{fresh_id}/start", None, headers=bearer(good[1]) | {"Idempotency-Key": key}),
            api.call("POST", f"/containers/{fresh_id}/start", None, headers=bearer(good[1])),
        ]
        answers += [api.call("GET", f"/containers/{fresh_id}", None, headers=bearer(token)) for token in bad]
        answers += [
            api.call("GET", f"/containers/{fresh_id}", None, headers={"Authorization": form.format(good[0])})
            for form in odd
        ]
        with changed_item(stack, fresh_id, _without_runtime):
            answers.append(api.call("GET", f"/containers/{fresh_id}", None, headers=bearer(good[1])))
    text = logs.text

    assert [answer.status_code for answer in answers] == [200, 400, 404, 200, 400, *[401] * 7, 500]
    # Everything was captured: the functions' log, the gateway's, the authorizer's, the metrics and the traceback.
    for answer in answers:
        assert answer.headers["X-Request-Id"] in text
    for expected in ('"answered"', '"admitted"', '"refused"', '"_aws"', "Traceback", "logged-user", "user=anonymous"):
        assert expected in text
    secrets = {part for token in good + bad for part in token.split(".")[1:] if part}
    secrets |= {
        tokens.key(),
        stack.client("secretsmanager").get_secret_value(SecretId="longshore-TokenSecret")["SecretString"],
    }
    for secret in secrets:
        assert len(secret) > 20
        assert secret not in text
    assert "Bearer" not in text
    assert "Authorization" not in text
