"""Tests that requests with the same Idempotency-Key have one effect and the same response."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from api_client import Api
from invariants import check
from settling import recover_all

from local.emulator import Emulator
from local.seed import Seeder
from local.stack import LocalStack


@pytest.fixture
def key(fresh_id: str) -> dict[str, str]:
    return {"Idempotency-Key": f"key-{fresh_id}"}


def test_a_retry_returns_the_first_response(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, key: dict[str, str]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    first = api.post(fresh_id, "start", headers=key)
    api.post(fresh_id, "stop")
    second = api.post(fresh_id, "start", headers=key)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert check(stack, fresh_id)["log_count"] == 3


def test_the_key_of_another_operation(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, key: dict[str, str]
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    api.post(fresh_id, "pause", headers=key)
    response = api.post(fresh_id, "stop", headers=key)
    fault = "was used for another container or operation in the last 24 hours"
    assert response.json() == {
        "statusCode": 400,
        "error": "Bad Request",
        "code": "VALIDATION_ERROR",
        "message": f"Idempotency-Key {fault}",
        "data": [{"instancePath": "/Idempotency-Key", "message": fault}],
    }
    assert check(stack, fresh_id)["status"] == "paused"


def test_keys_of_two_callers_are_independent(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, key: dict[str, str]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    assert api.post(fresh_id, "start", "operator", headers=key).status_code == 200
    assert api.post(fresh_id, "stop", "owner", headers=key).status_code == 200
    assert check(stack, fresh_id)["status"] == "stopped"


def test_a_ban_applies_to_retries(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, key: dict[str, str]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    user = f"user-{fresh_id}"
    seeder.grant(user, "507f1f77bcf86cd799439033", "operator")
    assert api.post(fresh_id, "start", user, headers=key).status_code == 200
    seeder.ban(user)
    assert api.post(fresh_id, "start", user, headers=key).json()["code"] == "ACCOUNT_BANNED"


def test_an_error_is_not_stored(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, key: dict[str, str]
) -> None:
    """ECS has rejected the call without an effect, so a retry tries again."""
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("ecs", "RunTask", error="AccessDeniedException", status=400)
    assert api.post(fresh_id, "start", headers=key).json()["code"] == "EXTERNAL_SERVICE_ERROR"
    assert api.get(fresh_id).json()["data"]["pending_operation"] is None
    assert api.post(fresh_id, "start", headers=key).status_code == 200
    assert check(stack, fresh_id)["log_count"] == 2


def test_a_retry_continues_the_pending_operation(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, key: dict[str, str]
) -> None:
    """RunTask took effect but all replies were lost. The retry finds the task and completes the operation."""
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("ecs", "RunTask", error="ServerException", after_effect=True, times=None)
    first = api.post(fresh_id, "start", headers=key)
    assert first.json()["code"] == "EXTERNAL_SERVICE_ERROR"
    emulator.faults.clear()
    second = api.post(fresh_id, "start", headers=key)
    assert (second.status_code, second.json()["data"]["status"]) == (200, "running")
    assert len([task for task in emulator.ecs.tasks() if task.started_by == fresh_id]) == 1
    assert check(stack, fresh_id)["log_count"] == 2


def test_a_rejection_after_an_accepted_retry_does_not_undo_the_operation(
    stack: LocalStack, api: Api, seeder: Seeder, emulator: Emulator, fresh_id: str, key: dict[str, str]
) -> None:
    """After RunTask, a retry receives a 202 just before the first request commits, which then calls RunTask again."""
    from longshore.wiring import api_functions

    seeder.add(fresh_id, ["stopped"])
    writes: list[int] = []
    answers: list[int] = []

    def before_write(**_: Any) -> None:
        writes.append(len(writes))
        if writes == [0, 1]:
            answers.append(api.post(fresh_id, "start", headers=key).status_code)
            emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)

    events = api_functions.dynamodb().meta.events
    events.register("before-call.dynamodb.TransactWriteItems", before_write)
    try:
        # The test delays the start of the task, whose event would complete the operation before the rejection.
        with (
            patch.object(api_functions.operations(), "wait", timedelta()),
            patch.object(emulator.ecs, "_run_delay", timedelta(hours=1)),
        ):
            first = api.post(fresh_id, "start", headers=key)
    finally:
        events.unregister("before-call.dynamodb.TransactWriteItems", before_write)
    assert (answers, first.json()["code"]) == ([202], "EXTERNAL_SERVICE_ERROR")
    (task,) = emulator.ecs.live(started_by=fresh_id)
    emulator.ecs.come_up(task.arn)
    recover_all(stack)
    assert check(stack, fresh_id)["status"] == "running"
    assert len(emulator.ecs.live(started_by=fresh_id)) == 1
