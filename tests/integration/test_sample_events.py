"""Tests of the sample events in `events/`: each function has one, and handles it correctly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from host_script import FAR_FUTURE, parameters
from invariants import all_rows, check
from jsonschema import Draft202012Validator
from settling import eventually

from local import template, tokens
from local.seed import INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack

LATER = "2999-01-01T00:00:00.000Z"
NUMBER = "1"  # of the command
EVENTS = template.ROOT / "events"
SCHEMA = template.ROOT / "docs" / "status-change.schema.json"
HISTORY_ROWS = 1000
# The containers of the seed that the samples change.
DEMO = {
    11: ["stopped", "running", "stopped"],
    12: ["stopped", "running"],
    13: ["stopped", "running", "paused"],
    14: ["stopped", "running", "failed"],
    16: ["stopped", "running"],
}
FOLDERS = {function.code_path.name: logical_id for logical_id, function in template.load().functions.items()}


def sample(folder: str) -> Any:
    return json.loads(Path(EVENTS / f"{folder}.json").read_text(encoding="utf-8"))


def test_functions_and_samples_correspond() -> None:
    assert sorted(file.stem for file in EVENTS.iterdir()) == sorted(FOLDERS)
    assert FOLDERS.keys() == CHECKS.keys()


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_sample(stack: LocalStack, folder: str) -> None:
    # Undo the changes of earlier samples.
    for number, statuses in DEMO.items():
        Seeder(stack).add(container_id(number), statuses, launch_type="FARGATE" if number == 16 else "EC2")
    CHECKS[folder](stack, sample(folder))


def answer(stack: LocalStack, folder: str, event: Any) -> Any:
    return stack.invoke(FOLDERS[folder], event)


def body_of(stack: LocalStack, folder: str, event: Any, status: int = 200) -> Any:
    """Invoke the function, check status and request id, and return the body of the response."""
    response = answer(stack, folder, event)
    assert response["statusCode"] == status, response["body"]
    assert response["headers"]["X-Request-Id"] == event["requestContext"]["requestId"]
    return json.loads(response["body"])


def authorizer(stack: LocalStack, event: Any) -> None:
    refused = answer(stack, "authorizer", event)
    assert refused["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert refused["context"] == {"code": "INVALID_TOKEN", "message": "Invalid authentication token"}

    token = tokens.token("operator")
    event["multiValueHeaders"]["Authorization"] = [event["headers"]["Authorization"].replace("TOKEN", token)]
    admitted = answer(stack, "authorizer", event)
    assert admitted["principalId"] == admitted["context"]["user_id"] == "operator"
    (statement,) = admitted["policyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": "arn:aws:execute-api:us-east-1:123456789012:local/live/*",
    }


def index(stack: LocalStack, event: Any) -> None:
    links = {"reference": "/live/docs", "console": "/live/console", "openapi": "/live/openapi.yaml"}
    assert body_of(stack, "index", event)["data"] == {"links": links, "sign_in": None}


def pages(stack: LocalStack, event: Any) -> None:
    response = answer(stack, "pages", event)
    assert response["statusCode"] == 200
    assert response["headers"]["X-Request-Id"] == event["requestContext"]["requestId"]
    assert response["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>Longshore API</title>" in response["body"]


def status_logs(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "status_logs", event)
    assert body["message"] == "Container status logs retrieved successfully"
    assert body["data"]["pagination"] == {"total": 1000, "page": 2, "limit": 2, "totalPages": 500}
    newest_first = all_rows(stack, container_id(17))[::-1]
    assert [row["id"] for row in body["data"]["logs"]] == [row["id"] for row in newest_first[2:4]]


def project_status_logs(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "project_status_logs", event)
    assert body["message"] == "Project status logs retrieved successfully"
    assert body["data"]["pagination"]["limit"] == 2
    newest = [row for row in all_rows(stack, container_id(17)) if row["to_status"] == "failed"][-1]
    assert newest["id"] in [row["id"] for row in body["data"]["logs"]]
    assert {row["to_status"] for row in body["data"]["logs"]} == {"failed"}


def get_container(stack: LocalStack, event: Any) -> None:
    data = body_of(stack, "get_container", event)["data"]
    assert (data["id"], data["project_id"], data["status"]) == (container_id(12), PROJECT, "running")
    assert data["allowed_operations"] == ["stop", "force-stop", "restart", "pause"]


def list_projects(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "list_projects", event)
    assert body["data"] == {"projects": [{"id": PROJECT, "name": None, "role": "operator"}]}


def list_containers(stack: LocalStack, event: Any) -> None:
    data = body_of(stack, "list_containers", event)["data"]
    assert [each["id"] for each in data["containers"]] == [container_id(15), container_id(14)]
    assert data["pagination"] == {"total": 7, "page": 1, "limit": 2, "totalPages": 4, "next_cursor": None}


def list_project_containers(stack: LocalStack, event: Any) -> None:
    data = body_of(stack, "list_project_containers", event)["data"]
    assert {each["id"]: each["status"] for each in data["containers"]} == {
        container_id(12): "running",
        container_id(13): "paused",
        container_id(16): "running",
    }
    assert data["pagination"]["total"] == 3


def keep_alive(stack: LocalStack, event: Any) -> None:
    assert body_of(stack, "keep_alive", event)["message"] == "Container kept alive"


def update_container(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "update_container", event)
    assert body["message"] == "Container updated successfully"
    assert (body["data"]["id"], body["data"]["name"]) == (container_id(12), "orders")
    assert body["data"]["labels"] == {"env": "dev", "team": ""}


def operation(folder: str, number: int, done: str, statuses: list[str]) -> Callable[[LocalStack, Any], None]:
    """Return a check of a completed operation: its response, and the rows that it adds."""

    def checked(stack: LocalStack, event: Any) -> None:
        before = all_rows(stack, container_id(number))
        assert body_of(stack, folder, event)["data"] == {
            "error": False,
            "operation": folder.replace("_", "-"),
            "container_id": container_id(number),
            "project_id": PROJECT,
            "message": f"Container {done} successfully",
            "status": statuses[-1],
        }
        added = all_rows(stack, container_id(number))[len(before) :]
        assert [row["to_status"] for row in added] == statuses
        assert {row["metadata"]["request_id"] for row in added} == {event["requestContext"]["requestId"]}

    return checked


def unknown_operation(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "unknown_operation", event, 400)
    assert body["code"] == "VALIDATION_ERROR"
    assert "force-stop" in body["data"][0]["message"]


def task_state_change(stack: LocalStack, event: Any) -> None:
    """The test first assigns the task of the sample to the container."""
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": container_id(12)}},
        UpdateExpression="SET task_arn = :arn, tasks = :tasks",
        ExpressionAttributeValues={
            ":arn": {"S": event["detail"]["taskArn"]},
            ":tasks": {"M": {event["detail"]["taskArn"].rsplit("/", 1)[-1]: {"M": {}}}},
        },
    )
    assert answer(stack, "task_state_change", event) == {"effect": "recorded"}
    row = all_rows(stack, container_id(12))[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "failed", "system")
    facts = row["metadata"]
    assert (facts["exit_code"], facts["stop_code"]) == (137, "EssentialContainerExited")
    assert answer(stack, "task_state_change", event) == {"effect": "stale"}


def command_finished(stack: LocalStack, event: Any) -> None:
    """The command of the sample does not exist. The second event is that of a command for a pending pause."""
    assert answer(stack, "command_finished", event) == {"effect": "foreign"}
    container, operation = container_id(12), "5e" * 12
    pending = {"id": operation, "operation": "pause", "step": "pause", "triggered_by": "user", "actor": "operator"}
    number = {"command_number": {"N": NUMBER}}
    times = dict.fromkeys(("started_at", "since"), "2025-01-15T10:30:00.000Z") | {"deadline": LATER}
    changed = stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": container}},
        ReturnValues="ALL_NEW",
        UpdateExpression="SET #operation = :operation, pending_shard = :shard, pending_deadline = :later",
        ExpressionAttributeNames={"#operation": "operation"},
        ExpressionAttributeValues={
            ":operation": {"M": {name: {"S": value} for name, value in (pending | times).items()} | number},
            ":shard": {"S": "0"},
            ":later": {"S": LATER},
        },
    )
    arn = changed["Attributes"]["task_arn"]["S"]
    (task,) = stack.client("ecs").describe_tasks(cluster="default", tasks=[arn])["tasks"]
    detail = event["detail"]
    sent = stack.client("ssm").send_command(
        DocumentName=detail["document-name"],
        InstanceIds=[detail["instance-id"]],
        Parameters=parameters(
            "pause", *(each["runtimeId"] for each in task["containers"]), container=container, expires=FAR_FUTURE
        ),
        Comment=f"Longshore operation {operation}, container {container}, command {NUMBER}",
    )["Command"]
    eventually(lambda: all(each.ended for each in stack.emulator.ssm.invocations()))
    # If events are delivered, the event of the command may be processed first.
    effect = answer(stack, "command_finished", {**event, "detail": {**detail, "command-id": sent["CommandId"]}})
    assert effect in ({"effect": "settled"}, {"effect": "stale"})
    row = all_rows(stack, container)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "paused", "user")
    assert row["metadata"]["operation_id"] == operation


def server_terminated(stack: LocalStack, event: Any) -> None:
    identity = "5a" * 12
    Seeder(stack).add(identity, ["stopped"], server=INSTANCE)
    assert answer(stack, "server_terminated", event) == {"expired": 1}
    assert check(stack, identity)["status"] == "expired"
    assert answer(stack, "server_terminated", event) == {"expired": 0}


def scheduled_stop(stack: LocalStack, event: Any) -> None:
    """Three of the containers are running or paused. The time in the sample is long past."""
    counts = {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0, "unauthorized": 0}
    assert answer(stack, "scheduled_stop", event) == counts | {"late": 1}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert answer(stack, "scheduled_stop", event | {"time": now}) == counts | {"stopped": 3}


def save_schedule(stack: LocalStack, event: Any) -> None:
    body = body_of(stack, "save_schedule", event)
    assert body["message"] == "Schedule saved successfully"
    assert body["data"].items() >= json.loads(event["body"]).items()


def list_schedules(stack: LocalStack, event: Any) -> None:
    save_schedule(stack, sample("save_schedule"))
    data = body_of(stack, "list_schedules", event)["data"]
    assert "working-hours" in [each["name"] for each in data["schedules"]]


def get_schedule(stack: LocalStack, event: Any) -> None:
    save_schedule(stack, sample("save_schedule"))
    assert body_of(stack, "get_schedule", event)["data"]["name"] == "working-hours"


def delete_schedule(stack: LocalStack, event: Any) -> None:
    save_schedule(stack, sample("save_schedule"))
    assert body_of(stack, "delete_schedule", event)["data"] == {"name": "working-hours"}
    assert body_of(stack, "get_schedule", sample("get_schedule"), 404)["code"] == "SCHEDULE_NOT_FOUND"


def recover(stack: LocalStack, event: Any) -> None:
    assert answer(stack, "recover", event) == {}


def publish_events(stack: LocalStack, event: Any) -> None:
    stack.emulator.calls.clear()
    assert answer(stack, "publish_events", event) == {"batchItemFailures": []}
    (call,) = stack.emulator.calls.list("events", "PutEvents")
    details = [json.loads(entry["Detail"]) for entry in call.parameters["Entries"]]
    assert [detail["container_id"] for detail in details] == [container_id(12), container_id(11)]
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for detail, record in zip(details, event["Records"], strict=True):
        validator.validate(detail)
        image = record["dynamodb"]["NewImage"]
        assert (detail["id"], detail["seq"]) == (image["id"]["S"], int(image["seq"]["N"]))
        assert detail["container_name"]


CHECKS: dict[str, Callable[[LocalStack, Any], None]] = {
    "authorizer": authorizer,
    "index": index,
    "pages": pages,
    "status_logs": status_logs,
    "project_status_logs": project_status_logs,
    "get_container": get_container,
    "list_projects": list_projects,
    "list_containers": list_containers,
    "list_project_containers": list_project_containers,
    "keep_alive": keep_alive,
    "update_container": update_container,
    "start": operation("start", 11, "started", ["running"]),
    "stop": operation("stop", 12, "stopped", ["stopped"]),
    "force_stop": operation("force_stop", 14, "force-stopped", ["stopped"]),
    "restart": operation("restart", 16, "restarted", ["stopped", "running"]),
    "pause": operation("pause", 12, "paused", ["paused"]),
    "resume": operation("resume", 13, "resumed", ["running"]),
    "unknown_operation": unknown_operation,
    "task_state_change": task_state_change,
    "command_finished": command_finished,
    "server_terminated": server_terminated,
    "scheduled_stop": scheduled_stop,
    "list_schedules": list_schedules,
    "get_schedule": get_schedule,
    "save_schedule": save_schedule,
    "delete_schedule": delete_schedule,
    "recover": recover,
    "publish_events": publish_events,
}
