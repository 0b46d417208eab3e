"""The list of schedules: it reads only those with GetSchedule that were modified since, and is never outdated."""

from __future__ import annotations

from typing import Any

import pytest
from api_client import Api
from integration.schedule_calls import BODY, Save, delete, get, group, names, refused, stored
from integration.schedule_calls import project as project
from integration.schedule_calls import save as save

from local.emulator import Emulator
from local.stack import LocalStack

OLD = 60.0  # seconds; definitions that were modified more recently are not copied


def listed(api: Api, project: str) -> dict[str, dict[str, Any]]:
    response = get(api, project)
    assert response.status_code == 200, response.text
    # The next run times depend on the time of the request.
    return {each["name"]: {**each, "next_runs": None} for each in response.json()["data"]["schedules"]}


def refuse_reads(emulator: Emulator) -> None:
    emulator.faults.add("scheduler", "GetSchedule", "ThrottlingException", status=400, times=None)


def refused_read(api: Api, project: str) -> None:
    reason = "EventBridge Scheduler is receiving too many requests"
    refused(get(api, project), 500, "EXTERNAL_SERVICE_ERROR", {"reason": reason})


@pytest.fixture
def copied(stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save) -> dict[str, dict[str, Any]]:
    """Three schedules, whose definitions are copied. GetSchedule fails."""
    schedules: dict[str, dict[str, Any]] = {
        "morning": {"targets": {"labels": {"env": "dev"}}},
        "evening": {"operation": "stop", "timezone": "Europe/Berlin", "enabled": False},
        "hourly": {"expression": "rate(1 hour)"},
    }
    for name, changes in schedules.items():
        assert save(name, **changes).status_code == 200
    emulator.age_schedules(OLD)
    found = listed(api, project)
    refuse_reads(emulator)
    return found


def test_a_list_without_changes_reads_no_schedule(
    api: Api, emulator: Emulator, project: str, copied: dict[str, Any]
) -> None:
    assert listed(api, project) == copied
    emulator.faults.clear()
    single = {name: get(api, project, name).json()["data"] for name in copied}
    assert {name: {**each, "next_runs": None} for name, each in single.items()} == copied


def test_a_hundred_schedules(stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save) -> None:
    assert save("s-0").status_code == 200
    kept = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target", "State")
    like = {key: stored(stack, project, "s-0")[key] for key in kept}
    for number in range(1, 100):
        request = like | {"GroupName": group(stack), "Name": f"{project}.s-{number}"}
        stack.client("scheduler").create_schedule(**request)
    emulator.age_schedules(OLD)
    first = listed(api, project)
    assert len(first) == 100
    refuse_reads(emulator)
    assert listed(api, project) == first


def test_only_a_changed_schedule_is_read(
    api: Api, emulator: Emulator, project: str, save: Save, copied: dict[str, Any]
) -> None:
    emulator.faults.clear()
    changed = save("morning", operation="pause").json()["data"]
    emulator.faults.add("scheduler", "GetSchedule", "ThrottlingException", status=400, times=None)
    refused_read(api, project)
    emulator.faults.clear()
    assert listed(api, project) == copied | {"morning": {**changed, "next_runs": None}}


def test_a_change_just_after_a_list(api: Api, project: str, save: Save) -> None:
    """Two modifications may have the same time, so that a copy of the first would be taken for the second."""
    for operation in ["start", "stop", "pause"] * 3:
        save(operation=operation)
        assert listed(api, project)["office-hours"]["operation"] == operation


def test_a_change_with_another_tool(
    stack: LocalStack, api: Api, emulator: Emulator, project: str, copied: dict[str, Any]
) -> None:
    found = stored_without_faults(stack, emulator, project, "morning")
    stack.client("scheduler").update_schedule(**found, State="DISABLED")
    assert listed(api, project) == copied | {"morning": {**copied["morning"], "enabled": False}}


def stored_without_faults(stack: LocalStack, emulator: Emulator, project: str, name: str) -> dict[str, Any]:
    emulator.faults.clear()
    found = stored(stack, project, name)
    kept = ("GroupName", "Name", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target")
    return {key: found[key] for key in kept}


def test_a_deleted_schedule_that_is_saved_again(
    stack: LocalStack, api: Api, emulator: Emulator, project: str, save: Save, copied: dict[str, Any]
) -> None:
    assert delete(api, project, "morning").status_code == 200
    assert listed(api, project).keys() == copied.keys() - {"morning"}
    emulator.faults.clear()
    assert save("morning", operation="resume").status_code == 200
    assert listed(api, project)["morning"]["operation"] == "resume"
    assert len(names(stack, project)) == 3


@pytest.mark.parametrize(
    "damaged", [{"S": "{"}, {"S": "[]"}, {"S": '{"morning": {}}'}, {"S": '{"morning": 1}'}, {"N": "1"}]
)
def test_copies_that_cannot_be_read(
    stack: LocalStack, api: Api, emulator: Emulator, project: str, copied: dict[str, Any], damaged: dict[str, str]
) -> None:
    item = {"project_id": {"S": project}, "definitions": damaged}
    stack.client("dynamodb").put_item(TableName=stack.table_name("ScheduleCacheTable"), Item=item)
    refused_read(api, project)
    emulator.faults.clear()
    assert listed(api, project) == copied
    refuse_reads(emulator)
    assert listed(api, project) == copied


def test_copies_that_cannot_be_written(api: Api, emulator: Emulator, project: str, save: Save) -> None:
    save()
    emulator.age_schedules(OLD)
    emulator.faults.add("dynamodb", "PutItem", "AccessDeniedException", status=400, times=None)
    assert listed(api, project)["office-hours"]["operation"] == BODY["operation"]


def test_a_user_who_is_not_a_member_gets_no_copies(api: Api, project: str, copied: dict[str, Any]) -> None:
    assert copied
    refused(get(api, project, user="stranger"), 404, "PROJECT_NOT_FOUND")
