"""Prepared responses instead of an API."""

from collections.abc import Callable
from typing import Any

import httpx
from longshore_client import Longshore

ID = "507f1f77bcf86cd799439011"
SECRET = "secret-token"
CONTAINER = {
    "id": ID,
    "project_id": "507f1f77bcf86cd799439033",
    "name": "orders",
    "status": "stopped",
    "status_since": "2026-01-15T10:30:00.000Z",
    "allowed_operations": ["start", "restart"],
    "pending_operation": None,
    "created_at": "2026-01-15T10:30:00.000Z",
    "updated_at": "2026-01-15T10:30:00.000Z",
}
STARTED = {
    "error": False,
    "operation": "start",
    "container_id": ID,
    "project_id": "507f1f77bcf86cd799439033",
    "message": "Container started successfully",
    "status": "running",
}
PENDING = {"operation": "start", "started_at": "2026-01-15T10:30:00.000Z", "triggered_by": "user"}

Reply = httpx.Response | Exception


class Script:
    """Replies to requests with the given replies in order, and records the requests."""

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = iter(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def sent(self) -> list[str]:
        return [f"{request.method} {request.url.path.rpartition('/')[2]}" for request in self.requests]

    @property
    def keys(self) -> set[str | None]:
        return {request.headers.get("Idempotency-Key") for request in self.requests if request.method == "POST"}


def ok(data: dict[str, Any], status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"statusCode": status, "message": "", "data": data})


def refused(status: int, code: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    body = {"statusCode": status, "error": "", "code": code, "message": code, **more}
    return httpx.Response(status, json=body, headers={"X-Request-Id": "the-id", **(headers or {})})


def page_of(status: int) -> httpx.Response:
    return httpx.Response(status, text="<html>Bad Gateway</html>")


Scripted = Callable[..., tuple[Longshore, Script]]

Command = Callable[..., tuple[int, Script]]
"""Runs a subcommand whose requests receive the given replies, and returns its exit code and the script."""
