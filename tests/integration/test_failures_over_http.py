"""Tests of failures of AWS over HTTP, of unreadable items, and of headers and logs of every response."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api_client import Api
from integration.rejections import (
    OPERATIONS,
    RUNNING,
    UNKNOWN,
    State,
    bearer,
    changed_item,
    quiet_stack,
    refused,
    signed,
    without_runtime,
)
from invariants import all_rows, check

from local import tokens
from local.seed import PROJECT, Seeder
from local.stack import LocalStack


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with quiet_stack() as local:
        yield local


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
    # A typical AWS message, which contains details that callers must not see.
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


def test_a_transient_failure_of_the_database_is_retried(emulator: Any, api: Api) -> None:
    fault = emulator.faults.add("dynamodb", "GetItem", "InternalServerError", times=1)
    assert api.get(RUNNING).status_code == 200
    assert fault.seen == 1


# Operation, history, service and call that fails, its error, and the reason in the response.
SERVICE_ERRORS = [
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


@pytest.mark.parametrize(("operation", "history", "service", "call", "error", "reason"), SERVICE_ERRORS)
def test_a_service_rejects_a_call(
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
    """The response states the reason, the operation ends, and a retry with the same key tries again."""
    seeder.add(fresh_id, history)
    before, rows = check(stack, fresh_id), all_rows(stack, fresh_id)
    message = "arn:aws:ecs:us-east-1:123456789012:cluster/default said no"
    fault = emulator.faults.add(service, call, error, 400, message=message)
    headers = {"Idempotency-Key": f"errors-{fresh_id}"}
    refused(api.post(fresh_id, operation, headers=headers), "EXTERNAL_SERVICE_ERROR", data={"reason": reason})
    assert fault.seen == 1

    after = check(stack, fresh_id)
    # A command number is never used again, even if no command was sent.
    assert after["command_number"] > before.get("command_number", 0)
    assert after == before | {"command_number": after["command_number"]}
    assert all_rows(stack, fresh_id) == rows
    assert api.post(fresh_id, operation, headers=headers).status_code == 200
    assert len(all_rows(stack, fresh_id)) == len(rows) + 1


def test_a_task_that_cannot_be_placed(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.task_definition(f"huge-{fresh_id}", memory=1 << 30)
    seeder.add(fresh_id, ["stopped"], task_definition=f"huge-{fresh_id}")
    reason = "No instance of the cluster has enough memory left"
    refused(api.post(fresh_id, "start"), "EXTERNAL_SERVICE_ERROR", data={"reason": reason})
    assert check(stack, fresh_id)["status"] == "stopped"


def _unknown_status(item: dict[str, Any]) -> None:
    item["status"] = {"S": "melted"}


def _inconsistent_counters(item: dict[str, Any]) -> None:
    item["log_count"] = {"N": "99"}


@pytest.mark.parametrize("change", [without_runtime, _unknown_status])
def test_an_invalid_container_item(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, change: Callable[[dict[str, Any]], None]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    effects = State(stack).effects()
    with changed_item(stack, fresh_id, change):
        put = [("dynamodb", "PutItem")]
        refused(api.get(fresh_id), "INTERNAL_SERVER_ERROR")
        refused(api.post(fresh_id, "start"), "INTERNAL_SERVER_ERROR")
        assert State(stack).effects() == effects + put
        # The history does not read the invalid attributes.
        assert [row["to_status"] for row in api.logs(fresh_id).json()["data"]["logs"]] == ["stopped"]
    assert api.get(fresh_id).status_code == 200


def test_inconsistent_counters_of_an_item(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    with changed_item(stack, fresh_id, _inconsistent_counters):
        refused(api.logs(fresh_id, sort_by="to_status", limit=100), "INTERNAL_SERVER_ERROR")


# --- Every response ---------------------------------------------------------------------------------------------------


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
        "Access-Control-Request-Headers": "authorization,idempotency-key,prefer",
    }
    response = api.call("OPTIONS", path, None, headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(","))
    allowed = {name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key", "prefer"} <= allowed


def test_every_response_is_json_with_a_unique_request_id(api: Api) -> None:
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
    """Everything that is logged (from INFO) or printed while it is open."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._stream = io.StringIO()

    @contextmanager
    def open(self) -> Iterator[None]:
        found = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
        # A handler writes to the stdout of the time when it was created, not to the captured one.
        handlers = {h for logger in found for h in logger.handlers if type(h) is logging.StreamHandler}
        streams = {handler: handler.setStream(self._stream) for handler in handlers}
        own = logging.StreamHandler(self._stream)
        # Leave out the log of the HTTP client.
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
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
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
        with changed_item(stack, fresh_id, without_runtime):
            answers.append(api.call("GET", f"/containers/{fresh_id}", None, headers=bearer(good[1])))
    text = logs.text

    assert [answer.status_code for answer in answers] == [200, 400, 404, 200, 400, *[401] * 7, 500]
    # The captured text contains the logs of functions, gateway and authorizer, the metrics and the traceback.
    for answer in answers:
        assert answer.headers["X-Request-Id"] in text
    logged = ('"request answered"', '"token accepted"', '"token rejected"', '"_aws"', "Traceback", "logged-user")
    for expected in (*logged, "user=anonymous"):
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
