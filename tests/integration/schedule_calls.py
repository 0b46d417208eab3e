"""Fixtures and calls for tests of schedules over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from api_client import Api

from local.seed import Seeder
from local.stack import LocalStack

CRON = "cron(0 8 ? * MON-FRI *)"
BODY: dict[str, Any] = {"operation": "start", "expression": CRON, "targets": {"all": True}}
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
UNKNOWN = "f" * 24
WRONG_ID = "507F1F77BCF86CD799439011"

Save = Callable[..., httpx.Response]


@pytest.fixture
def project(stack: LocalStack, seeder: Seeder, fresh_id: str) -> Iterator[str]:
    """A project of its own, with the seed's members. Its schedules are deleted after the test."""
    identity = f"5ced{fresh_id[4:]}"
    seeder.members(identity)
    yield identity
    stack.emulator.faults.clear()
    scheduler = stack.client("scheduler")
    for name in names(stack, identity):
        scheduler.delete_schedule(GroupName=group(stack), Name=name)


@pytest.fixture
def save(api: Api, project: str) -> Save:
    """Saves a schedule in the project."""

    def call(name: str = "office-hours", user: str | None = "operator", **changes: Any) -> httpx.Response:
        return api.call("PUT", f"/projects/{project}/schedules/{name}", user, json=BODY | changes)

    return call


def group(stack: LocalStack) -> str:
    return stack.table_name("ScheduleGroup")


def names(stack: LocalStack, project: str) -> list[str]:
    pages = stack.client("scheduler").get_paginator("list_schedules")
    found = pages.paginate(GroupName=group(stack), NamePrefix=f"{project}.")
    return [each["Name"] for page in found for each in page["Schedules"]]


def stored(stack: LocalStack, project: str, name: str = "office-hours") -> Any:
    return stack.client("scheduler").get_schedule(GroupName=group(stack), Name=f"{project}.{name}")


def get(api: Api, project: str, name: str = "", user: str | None = "viewer") -> httpx.Response:
    return api.call("GET", f"/projects/{project}/schedules{name and '/'}{name}", user)


def delete(api: Api, project: str, name: str, user: str | None = "operator") -> httpx.Response:
    return api.call("DELETE", f"/projects/{project}/schedules/{name}", user)


def refused(response: httpx.Response, status: int, code: str, data: Any = None) -> None:
    body = response.json()
    assert (response.status_code, body["statusCode"], body["code"]) == (status, status, code)
    assert body.get("data") == data
    assert response.headers["X-Request-Id"]


def fault(path: str, message: str) -> list[dict[str, str]]:
    return [{"instancePath": path, "message": message}]
