"""schedule: the schedules of the API are listed, paused and removed together with the rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from api_client import Api

from local.seed import PROJECT, container_id
from local.stack import LocalStack

NAME = f"{PROJECT}.hours"
BODY = {"operation": "start", "expression": "cron(0 8 ? * MON-FRI *)", "timezone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
def saved(stack: LocalStack, api: Api) -> Iterator[None]:
    """Save a schedule, and delete it after the test."""
    path = f"/projects/{PROJECT}/schedules/hours"
    body = BODY | {"targets": {"labels": {"env": "dev"}}}
    assert api.call("PUT", path, json=body).status_code == 200
    yield
    stack.emulator.faults.clear()
    assert api.call("DELETE", path).status_code == 200


def shown(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"/projects/{PROJECT}/schedules/hours").json()
    return found


def test_the_list_shows_both(run: Any, api: Api) -> None:
    assert run("schedule", "add", "weekend", "--cron", "0 18 ? * FRI *", "--all").code == 0
    lines = run("schedule", "list").out.splitlines()
    (line,) = [line for line in lines if line.startswith(NAME)]
    assert "cron(0 8 ? * MON-FRI *) Europe/Berlin" in line
    assert f"start env:dev in project {PROJECT}" in line
    assert any(line.startswith("weekend ") and " stop all " in line for line in lines)
    found = {each["name"]: each for each in json.loads(run("schedule", "list", "--json").out)}
    assert found["weekend"]["rule"] == "longshore.weekend"
    ours = found[NAME]
    assert datetime.fromisoformat(ours["next"]) == datetime.fromisoformat(shown(api)["data"]["next_runs"][0])
    assert ours["input"]["actor"] == "operator"
    assert ours | {"input": {}, "next": ""} == {
        "name": NAME,
        "schedule": NAME,
        "expression": BODY["expression"],
        "timezone": "Europe/Berlin",
        "enabled": True,
        "input": {},
        "next": "",
        "removable": True,
        "unknown_containers": [],
    }
    assert run("schedule", "remove", "weekend").code == 0


def test_a_schedule_is_paused_and_resumed(run: Any, api: Api) -> None:
    before = shown(api)
    for _ in range(2):
        paused = run("schedule", "pause", NAME)
        assert (paused.code, paused.err) == (0, f"Paused the schedule {NAME}.\n")
        assert shown(api)["data"] == before["data"] | {"enabled": False, "next_runs": []}
    resumed = run("schedule", "resume", NAME)
    assert (resumed.code, resumed.err) == (0, f"Resumed the schedule {NAME}.\n")
    assert shown(api) == before


def test_a_rule_is_paused_and_resumed(run: Any, stack: LocalStack) -> None:
    assert run("schedule", "add", "weekend", "--cron", "0 18 ? * FRI *", "--all").code == 0
    for command, state in (("pause", "DISABLED"), ("pause", "DISABLED"), ("resume", "ENABLED")):
        assert run("schedule", command, "weekend").code == 0
        assert stack.client("events").describe_rule(Name="longshore.weekend")["State"] == state
    assert run("schedule", "remove", "weekend").code == 0
    assert run("schedule", "pause", "weekend").err == "error: The schedule weekend does not exist.\n"
    assert run("schedule", "pause", "ScheduledStopFunctionNightly").code == 1


def test_a_schedule_is_removed(run: Any, api: Api) -> None:
    removed = run("schedule", "remove", NAME)
    assert (removed.code, removed.err) == (0, f"Removed the schedule {NAME}.\n")
    assert api.call("GET", f"/projects/{PROJECT}/schedules/hours").status_code == 404
    for command in ("remove", "pause", "resume"):
        again = run("schedule", command, NAME)
        assert (again.code, again.err) == (1, f"error: The schedule {NAME} does not exist.\n")


def test_a_rule_cannot_have_the_name_of_a_schedule(run: Any) -> None:
    refused = run("schedule", "add", NAME, "--rate", "1 day", "--container", container_id(11))
    assert refused.code == 1
    assert "may not consist of the id of a project" in refused.err


def test_a_failure_of_eventbridge_scheduler(run: Any, stack: LocalStack) -> None:
    stack.emulator.faults.add("scheduler", "ListSchedules", "InternalServerException", status=400, times=None)
    failed = run("schedule", "list")
    assert (failed.code, failed.err) == (3, "error: EventBridge Scheduler failed.\n")
