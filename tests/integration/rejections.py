"""Helpers of the tests of errors over HTTP: the exact response of each error, and checks that nothing has changed."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
from conftest import PARAMETERS, QUICK
from invariants import all_rows

from local import tokens
from local.seed import container_id
from local.stack import LocalStack

STOPPED, RUNNING, EXPIRED = container_id(11), container_id(12), container_id(15)
UNKNOWN = "0123456789abcdef01234567"
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
PHRASES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}

# Status and message of each code, from the contract. Messages that contain values are empty here.
STATUS_AND_MESSAGE: dict[str, tuple[int, str]] = {
    "MISSING_TOKEN": (401, "Authentication token required"),
    "INVALID_TOKEN": (401, "Invalid authentication token"),
    "TOKEN_EXPIRED": (401, "Authentication token has expired"),
    "INVALID_ID_FORMAT": (400, "Invalid ID format"),
    "VALIDATION_ERROR": (400, ""),
    "ACCOUNT_BANNED": (403, "Account has been banned"),
    "CONTAINER_NOT_FOUND": (404, "Container not found"),
    "PROJECT_NOT_FOUND": (404, "Project not found"),
    "INSUFFICIENT_PERMISSIONS": (403, "Insufficient permissions"),
    "OPERATION_NOT_PERMITTED_ON_EXPIRED": (403, "Operation not permitted on expired container"),
    "CONTAINER_PROTECTED": (400, "Container is protected"),
    "OPERATION_STATE_CONFLICT": (400, ""),
    "EXTERNAL_SERVICE_ERROR": (500, "A required external service is unavailable or returned an error"),
    "INTERNAL_SERVER_ERROR": (500, "An unexpected error occurred"),
    "ROUTE_NOT_FOUND": (404, "Route not found"),
}
# Internal details that no response may contain.
INTERNALS = re.compile(r"arn:|longshore-|Traceback|boto|[Dd]ynamo|Exception|\w+Error\b|pydantic|\.py|127\.0\.0\.1")


def quiet_stack() -> LocalStack:
    """Create a stack without events and sweeps, so that only requests change anything."""
    return LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, events=False)


def refused(response: httpx.Response, code: str, message: str | None = None, **data: Any) -> None:
    """Check that the response is exactly this error. Without `data`, the body must not contain any."""
    status, usual = STATUS_AND_MESSAGE[code]
    body = {"statusCode": status, "error": PHRASES[status], "code": code, "message": message or usual}
    assert (response.status_code, response.json()) == (status, body | data)
    assert response.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-Id"])
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    text = response.text.replace(f'"error":"{PHRASES[status]}"', "").replace(code, "").replace(usual, "")
    assert not INTERNALS.search(text)


def faults(*of: tuple[str, str]) -> dict[str, Any]:
    """Return the message and data of a VALIDATION_ERROR."""
    return {
        "message": "; ".join(f"{name} {message}" for name, message in of),
        "data": [{"instancePath": f"/{name}", "message": message} for name, message in of],
    }


class State:
    """The items that a request could change, and the calls of AWS."""

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
        """Return the calls so far that may have had an effect."""
        reads = ("Get", "Query", "Scan", "Describe", "List")
        calls = [(call.service, call.operation) for call in self._stack.emulator.calls]
        return [call for call in calls if call[0] in ("dynamodb", "ecs", "ssm") and not call[1].startswith(reads)]


@contextmanager
def changed_item(stack: LocalStack, identity: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Change the container's item inside the block, and restore it afterwards."""
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
    """Return a new token with these claims. Each token is different, because the gateway caches results by token."""
    claims = {"sub": "operator", "exp": int(time.time()) + 600, "jti": str(time.monotonic_ns())} | more
    return jwt.encode({k: v for k, v in claims.items() if v is not ...}, key or tokens.key(), algorithm="HS256")


def without_runtime(item: dict[str, Any]) -> None:
    del item["runtime"]
