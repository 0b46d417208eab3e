"""Tests of schedules over HTTP: every field and error, limits, and runs of saved schedules."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_client import Api
from integration.schedule_calls import (
    BODY,
    CRON,
    OPERATIONS,
    UNKNOWN,
    WRONG_ID,
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
from invariants import all_rows, check
from settling import PATIENCE, eventually

from local.seed import Seeder
from local.stack import LocalStack

# --- fields -----------------------------------------------------------------------------------------------------------


def test_the_life_of_a_schedule(stack: LocalStack, api: Api, project: str, save: Save) -> None:
    before = datetime.now(UTC)
    saved = save(timezone="Europe/Berlin")
    assert saved.status_code == 200
    body = saved.json()
    data = body["data"]
    assert (body["statusCode"], body["message"]) == (200, "Schedule saved successfully")
    assert list(data) == [
        "name",
        "operation",
        "expression",
        "timezone",
        "targets",
        "enabled",
        "created_by",
        "updated_at",
        "next_runs",
    ]
    assert data | {"updated_at": "", "next_runs": []} == {
        "name": "office-hours",
        "operation": "start",
        "expression": CRON,
        "timezone": "Europe/Berlin",
        "targets": {"all": True},
        "enabled": True,
        "created_by": "operator",
        "updated_at": "",
        "next_runs": [],
    }
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(data["updated_at"]) <= datetime.now(UTC)
    runs = [datetime.fromisoformat(run) for run in data["next_runs"]]
    assert len(runs) == 3
    assert all(run > before and run.weekday() < 5 and run.hour in (6, 7) and run.minute == 0 for run in runs)
    assert all(run.endswith(":00.000Z") for run in data["next_runs"])

    shown = get(api, project, "office-hours").json()
    assert shown == {"statusCode": 200, "message": "Schedule retrieved successfully", "data": data}
    listed = get(api, project).json()
    assert listed == {"statusCode": 200, "message": "Schedules retrieved successfully", "data": {"schedules": [data]}}

    replaced = save(user="owner", operation="stop", expression="cron(0 18 ? * MON-FRI *)", enabled=False).json()["data"]
    assert replaced["updated_at"] > data["updated_at"]
    assert (replaced["created_by"], replaced["enabled"], replaced["next_runs"]) == ("owner", False, [])
    # Settings that are not given have their defaults again.
    assert (replaced["operation"], replaced["timezone"]) == ("stop", "UTC")
    assert get(api, project, "office-hours").json()["data"] == replaced
    assert names(stack, project) == [f"{project}.office-hours"]

    deleted = delete(api, project, "office-hours").json()
    assert deleted == {
        "statusCode": 200,
        "message": "Schedule deleted successfully",
        "data": {"name": "office-hours"},
    }
    assert delete(api, project, "office-hours").json() == deleted
    assert get(api, project).json()["data"] == {"schedules": []}
    refused(get(api, project, "office-hours"), 404, "SCHEDULE_NOT_FOUND")
    assert get(api, project, "office-hours").json()["message"] == "Schedule not found"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_can_be_scheduled(api: Api, project: str, save: Save, operation: str) -> None:
    assert save(operation=operation).json()["data"]["operation"] == operation
    assert get(api, project, "office-hours").json()["data"]["operation"] == operation


@pytest.mark.parametrize("labels", [{"env": "dev"}, {"a.b_c-9": "", "odd": '<aws.scheduler.schedule-arn>"\\é🐳'}])
def test_labels(api: Api, project: str, save: Save, labels: dict[str, str]) -> None:
    assert save(targets={"labels": labels}).json()["data"]["targets"] == {"labels": labels}
    assert get(api, project, "office-hours").json()["data"]["targets"] == {"labels": labels}


def test_container_ids(stack: LocalStack, api: Api, seeder: Seeder, project: str, save: Save, fresh_id: str) -> None:
    inside, outside = f"1{fresh_id[1:]}", f"2{fresh_id[1:]}"
    seeder.add(inside, ["stopped"], project=project)
    seeder.add(outside, ["stopped"])
    targets = {"container_ids": [inside]}
    assert save(targets=targets).json()["data"]["targets"] == targets
    for wrong in (outside, UNKNOWN):
        expected = fault("/targets/container_ids/1", "must be a container of the project")
        refused(save(name="other", targets={"container_ids": [inside, wrong]}), 400, "VALIDATION_ERROR", expected)
    assert names(stack, project) == [f"{project}.office-hours"]


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(5 minutes)", 300), ("rate(1 hour)", 3600), ("rate(2 days)", 2 * 86400)]
)
def test_a_rate(api: Api, project: str, save: Save, expression: str, seconds: int) -> None:
    data = save(expression=expression).json()["data"]
    first, second, third = (datetime.fromisoformat(run) for run in data["next_runs"])
    assert second - first == third - second == timedelta(seconds=seconds)
    assert (
        timedelta(seconds=seconds - 1)
        < first - datetime.fromisoformat(data["updated_at"])
        <= timedelta(seconds=seconds)
    )
    # Saving the same rate again does not delay it.
    assert save(expression=expression, operation="stop").json()["data"]["next_runs"] == data["next_runs"]


def test_a_single_time(api: Api, project: str, save: Save) -> None:
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    data = save(expression=f"at({at:%Y-%m-%dT%H:%M:%S})").json()["data"]
    assert data["next_runs"] == [f"{at:%Y-%m-%dT%H:%M:%S}.000Z"]


def test_the_list_is_sorted_by_name(api: Api, project: str, save: Save) -> None:
    for name in ("b", "a-1", "0", "z" * 32):
        assert save(name).status_code == 200
    found = [each["name"] for each in get(api, project).json()["data"]["schedules"]]
    assert found == ["0", "a-1", "b", "z" * 32]


def test_schedules_belong_to_one_project(api: Api, seeder: Seeder, project: str, save: Save) -> None:
    other = f"{project[:-1]}{'0' if project[-1] != '0' else '1'}"
    seeder.members(other)
    save()
    assert get(api, other).json()["data"] == {"schedules": []}
    refused(get(api, other, "office-hours"), 404, "SCHEDULE_NOT_FOUND")
    assert delete(api, other, "office-hours").status_code == 200
    assert get(api, project, "office-hours").status_code == 200


def test_the_record(stack: LocalStack, project: str, save: Save) -> None:
    """The schedule in EventBridge Scheduler has all that it needs: role, retries and dead letters."""
    save(timezone="Europe/Berlin")
    found = stored(stack, project)
    assert stack.template is not None
    outputs = stack.template.outputs
    assert (found["ScheduleExpression"], found["ScheduleExpressionTimezone"]) == (CRON, "Europe/Berlin")
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert found["Target"]["Arn"] == outputs["ScheduledStopFunctionArn"]
    assert found["Target"]["RoleArn"] == "arn:aws:iam::123456789012:role/longshore-ScheduleRole"
    assert found["Target"]["DeadLetterConfig"]["Arn"] == outputs["DeadLettersArn"]
    assert found["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185}


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"operation": "explode"}, "/operation"),
        ({"expression": "every day"}, "/expression"),
        ({"expression": "cron(0 8 * * *)"}, "/expression"),
        ({"expression": "cron(0 8 30 2 ? *)"}, "/expression"),
        ({"expression": "at(2025-01-15T10:30:00)"}, "/expression"),
        ({"timezone": "Europe/Atlantis"}, "/timezone"),
        ({"targets": {}}, "/targets"),
        ({"targets": {"all": False}}, "/targets/all"),
        ({"targets": {"labels": {}}}, "/targets/labels"),
        ({"targets": {"container_ids": []}}, "/targets/container_ids"),
        ({"targets": {"container_ids": ["5" * 24] * 101}}, "/targets/container_ids"),
        ({"targets": {"container_ids": ["web"]}}, "/targets/container_ids/0"),
        ({"enabled": 1}, "/enabled"),
        ({"rule": "x"}, "/rule"),
    ],
)
def test_an_invalid_body_changes_nothing(
    stack: LocalStack, api: Api, project: str, save: Save, changes: dict[str, Any], path: str
) -> None:
    save()
    before = get(api, project, "office-hours").json()
    response = save(**changes)
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "VALIDATION_ERROR")
    assert [each["instancePath"] for each in body["data"]] == [path]
    assert path.lstrip("/") in body["message"]
    assert get(api, project, "office-hours").json() == before
    assert len(names(stack, project)) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 100_000])
def test_a_body_that_is_not_an_object(api: Api, project: str, body: bytes) -> None:
    response = api.call("PUT", f"/projects/{project}/schedules/x", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert [each["instancePath"] for each in response.json()["data"]] == [""]


@pytest.mark.parametrize("name", ["A", "a_b", "a.b", "n" * 33, "%20", "é"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_invalid_name(api: Api, project: str, method: str, name: str) -> None:
    response = api.call(method, f"/projects/{project}/schedules/{name}", json=BODY if method == "PUT" else None)
    refused(response, 400, "VALIDATION_ERROR", fault("/name", "must be 1 to 32 characters of a-z, 0-9 and -"))


ROUTES = [("GET", "", None), ("GET", "/hours", None), ("PUT", "/hours", BODY), ("DELETE", "/hours", None)]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_who_may_read_and_change(
    stack: LocalStack, api: Api, project: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    def call(user: str | None, of: str = project) -> httpx.Response:
        return api.call(method, f"/projects/{of}/schedules{path}", user, json=body)

    refused(call(None), 401, "MISSING_TOKEN")
    refused(call("operator", WRONG_ID), 400, "INVALID_ID_FORMAT")
    refused(call("banned"), 403, "ACCOUNT_BANNED")
    for user, of in (("stranger", project), ("operator", UNKNOWN)):
        response = call(user, of)
        refused(response, 404, "PROJECT_NOT_FOUND")
        assert response.json()["message"] == "Project not found"
    reads = method == "GET"
    response = call("viewer")
    if reads:
        assert response.status_code in (200, 404)
    else:
        refused(response, 403, "INSUFFICIENT_PERMISSIONS")
    assert names(stack, project) == []
    for user in ("operator", "owner"):
        assert call(user).status_code == 200 or (path and reads)


def test_the_order_of_the_checks(api: Api, project: str) -> None:
    """A bad body is reported before the ban; a container outside the project only to operators of the project."""
    path = f"/projects/{project}/schedules/hours"
    outside = BODY | {"targets": {"container_ids": [UNKNOWN]}}
    refused_codes = [
        api.call("PUT", path, user, json=body).json()["code"]
        for user, body in (
            ("banned", {}),
            ("banned", outside),
            ("stranger", outside),
            ("viewer", outside),
            ("operator", outside),
        )
    ]
    assert refused_codes == [
        "VALIDATION_ERROR",
        "ACCOUNT_BANNED",
        "PROJECT_NOT_FOUND",
        "INSUFFICIENT_PERMISSIONS",
        "VALIDATION_ERROR",
    ]


def test_the_101st_schedule_is_refused(stack: LocalStack, api: Api, project: str, save: Save) -> None:
    with ThreadPoolExecutor(8) as executor:
        saved = list(executor.map(lambda number: save(f"s-{number}").status_code, range(100)))
    assert saved == [200] * 100
    expected = fault("/name", "must be one of at most 100 of the project")
    refused(save("s-100"), 400, "VALIDATION_ERROR", expected)
    assert len(get(api, project).json()["data"]["schedules"]) == 100
    # An existing one can be replaced, and a deleted one leaves room.
    assert save("s-7", operation="stop").status_code == 200
    delete(api, project, "s-8")
    assert save("s-100").status_code == 200
    assert len(names(stack, project)) == 100


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_saved_schedule_runs(
    stack: LocalStack, api: Api, seeder: Seeder, project: str, save: Save, fresh_id: str
) -> None:
    """The history states the schedule, and who saved it."""
    ids = [f"{digit}{fresh_id[1:]}" for digit in "123"]
    for identity, env in zip(ids, ("dev", "dev", "prod"), strict=True):
        seeder.add(identity, ["stopped"], project=project)
        assert api.patch(identity, {"labels": {"env": env}}).status_code == 200
    save("mornings", targets={"labels": {"env": "dev"}})
    assert stack.scheduler.fire(f"{project}.mornings") == 1
    for identity in ids[:2]:
        eventually(lambda identity=identity: api.get(identity).json()["data"]["status"] == "running")  # type: ignore[misc]
        row = all_rows(stack, identity)[-1]
        assert (row["to_status"], row["triggered_by"]) == ("running", "schedule")
        assert (row["metadata"]["rule"], row["metadata"]["actor"]) == ("mornings", "operator")
        assert row["metadata"]["command"] == "start"
        check(stack, identity)
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    assert api.get(ids[2]).json()["data"]["status"] == "stopped"


def test_a_disabled_schedule_does_not_run(stack: LocalStack, project: str, save: Save) -> None:
    save(enabled=False)
    assert stack.scheduler.fire(f"{project}.office-hours") == 0


def test_a_schedule_fires_on_the_clock(
    stack: LocalStack, api: Api, seeder: Seeder, project: str, save: Save, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"], project=project)
    at = datetime.now(UTC) + timedelta(seconds=2)
    save(operation="stop", expression=f"at({at:%Y-%m-%dT%H:%M:%S})", targets={"container_ids": [fresh_id]})
    eventually(lambda: api.get(fresh_id).json()["data"]["status"] == "stopped")
    row = all_rows(stack, fresh_id)[-1]
    assert (row["triggered_by"], row["metadata"]["rule"]) == ("schedule", "office-hours")
    # It is over, and remains.
    assert get(api, project, "office-hours").json()["data"]["next_runs"] == []


@pytest.mark.parametrize("reason", ["revoked", "viewer", "banned"])
def test_the_schedule_of_a_user_without_the_role(
    stack: LocalStack,
    seeder: Seeder,
    project: str,
    fresh_id: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    """It does nothing, and says so in a warning of the log and in a metric."""
    user = f"user-{fresh_id}"
    seeder.grant(user, project, "operator")
    seeder.add(fresh_id, ["stopped"], project=project)
    client = Api(stack.url)
    assert client.call("PUT", f"/projects/{project}/schedules/hours", user, json=BODY).status_code == 200
    client.close()
    if reason == "banned":
        seeder.ban(user)
    else:
        seeder.grant(user, project, "viewer" if reason == "viewer" else "none")
    event = json.loads(
        stored(stack, project, "hours")["Target"]["Input"].replace(
            "<aws.scheduler.scheduled-time>", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )
    )
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    capsys.readouterr()
    answer = stack.invoke("ScheduledStopFunction", event)
    assert {effect: count for effect, count in answer.items() if count} == {"unauthorized": 1}
    assert [row["to_status"] for row in all_rows(stack, fresh_id)] == ["stopped"]
    (warning,) = [record for record in caplog.records if record.message.startswith("schedule skipped")]
    fields = vars(warning)
    assert (warning.levelname, fields["actor"], fields["rule"], fields["project_id"]) == (
        "WARNING",
        user,
        "hours",
        project,
    )
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    found = [each for each in metrics if each.get("effect") == "unauthorized"]
    assert [each["ScheduledStops"] for each in found] == [[1.0]]
