"""Tests of schedules over HTTP while EventBridge Scheduler fails, and of concurrent changes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_client import Api
from integration.schedule_calls import (
    CRON,
    Save,
    delete,
    fault,
    get,
    names,
    refused,
    stored,
)
from integration.schedule_calls import project as project
from integration.schedule_calls import save as save

from local.emulator import Emulator
from local.emulator.faults import DROP
from local.stack import LocalStack


@pytest.mark.parametrize("call", ["CreateSchedule", "UpdateSchedule"])
def test_a_lost_reply_of_a_save(
    stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save, call: str
) -> None:
    """botocore repeats the call, or else the caller does."""
    if call == "UpdateSchedule":
        save(operation="stop")
    emulator.faults.add("scheduler", call, DROP, after_effect=True)
    assert save().status_code == 200
    assert get(api, project, "office-hours").json()["data"]["operation"] == "start"
    emulator.faults.add("scheduler", call, "InternalServerException", status=505, after_effect=True)
    response = save("other" if call == "CreateSchedule" else "office-hours", operation="resume")
    refused(response, 500, "EXTERNAL_SERVICE_ERROR", {"reason": "EventBridge Scheduler failed"})
    repeated = save("other" if call == "CreateSchedule" else "office-hours", operation="resume")
    assert repeated.json()["data"]["operation"] == "resume"
    assert len(names(stack, project)) == (2 if call == "CreateSchedule" else 1)


def test_a_lost_reply_of_a_deletion(stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save) -> None:
    save()
    emulator.faults.add("scheduler", "DeleteSchedule", DROP, after_effect=True)
    assert delete(api, project, "office-hours").status_code == 200
    assert names(stack, project) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ThrottlingException", "EventBridge Scheduler is receiving too many requests"),
        ("ServiceQuotaExceededException", "The account has reached its quota of schedules"),
        ("ConflictException", "The schedule is being changed by another request"),
        ("InternalServerException", "EventBridge Scheduler failed"),
    ],
)
def test_a_service_that_refuses_every_call(
    stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save, code: str, reason: str
) -> None:
    save()
    before = get(api, project, "office-hours").json()
    for call in ("CreateSchedule", "UpdateSchedule", "DeleteSchedule"):
        emulator.faults.add("scheduler", call, code, status=400, times=None)
    refused(save(operation="stop"), 500, "EXTERNAL_SERVICE_ERROR", {"reason": reason})
    refused(delete(api, project, "office-hours"), 500, "EXTERNAL_SERVICE_ERROR", {"reason": reason})
    emulator.faults.clear()
    assert get(api, project, "office-hours").json() == before


@pytest.mark.parametrize("call", ["GetSchedule", "ListSchedules"])
def test_reads_that_fail(emulator: Emulator, api: Api, project: str, save: Save, call: str) -> None:
    save()
    emulator.faults.add("scheduler", call, "InternalServerException", status=400, times=None)
    refused(get(api, project), 500, "EXTERNAL_SERVICE_ERROR", {"reason": "EventBridge Scheduler failed"})


def test_an_expression_that_eventbridge_does_not_accept(
    stack: LocalStack, emulator: Emulator, project: str, save: Save
) -> None:
    emulator.faults.add("scheduler", "CreateSchedule", "ValidationException", status=400)
    refused(save(), 400, "VALIDATION_ERROR", fault("/expression", "is not accepted by EventBridge Scheduler"))
    assert names(stack, project) == []


def test_saves_and_deletions_at_the_same_time(api: Api, project: str, save: Save) -> None:
    def one(number: int) -> int:
        if number % 3:
            return save(expression=f"cron({number} 8 * * ? *)").status_code
        return delete(api, project, "office-hours").status_code

    with ThreadPoolExecutor(8) as executor:
        assert set(executor.map(one, range(48))) == {200}
    assert save().status_code == 200
    assert get(api, project, "office-hours").json()["data"]["expression"] == CRON


def test_a_schedule_that_cannot_be_read(stack: LocalStack, api: Api, project: str, save: Save) -> None:
    """It is left out of the list, and can be replaced and deleted."""
    save("good")
    save("odd")
    found = stored(stack, project, "odd")
    request = {key: found[key] for key in ("GroupName", "Name", "FlexibleTimeWindow", "ScheduleExpression")}
    damaged = found["Target"] | {"Input": json.dumps({"input": {"all": True}})}
    stack.client("scheduler").update_schedule(**request, Target=damaged)
    assert [each["name"] for each in get(api, project).json()["data"]["schedules"]] == ["good"]
    refused(get(api, project, "odd"), 500, "INTERNAL_SERVER_ERROR")
    assert save("odd").status_code == 200
    assert get(api, project, "odd").status_code == 200
