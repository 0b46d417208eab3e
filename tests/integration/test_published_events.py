"""Tests of published events on the local stack: from an operation over HTTP to a webhook, through faults of AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK, database_url
from invariants import all_rows
from jsonschema import Draft202012Validator
from settling import eventually
from web_hook import Hook

from local import template
from local.emulator import Credentials
from local.emulator.faults import DROP
from local.seed import PROJECT, Seeder
from local.stack import LocalStack
from local.webhooks import subscribe

pytestmark = pytest.mark.databases("moto", "dynamodb-local")

BUS = "platform"
SCHEMA = template.ROOT / "docs" / "status-change.schema.json"
LABELS = {"env": "prod"}


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, hook: Hook) -> Iterator[LocalStack]:
    """A local stack that publishes on a bus of its own, with a rule that sends the events to the hook."""
    with LocalStack(
        port=0,
        dynamodb=database_url(request.param),
        credentials=Credentials.random(),
        parameters=PARAMETERS | {"EventBusName": BUS},
        emulator_options=QUICK,
        webhook=hook.url,
        history_rows=10,
    ) as local:
        yield local


@pytest.fixture
def container(stack: LocalStack, seeder: Seeder, hook: Hook, fresh_id: str) -> str:
    """A stopped container, whose first row has been published."""
    seeder.add(fresh_id, ["stopped"])
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": fresh_id}},
        UpdateExpression="SET labels = :labels",
        ExpressionAttributeValues={":labels": {"M": {name: {"S": value} for name, value in LABELS.items()}}},
    )
    eventually(lambda: hook.of(fresh_id))
    return fresh_id


def test_a_status_change_arrives_at_the_webhook(stack: LocalStack, api: Api, hook: Hook, container: str) -> None:
    answer = api.post(container, "start")
    assert answer.status_code == 200
    event = eventually(lambda: hook.of(container)[1:])[0]
    (row,) = api.logs(container, limit=1).json()["data"]["logs"]
    assert {name: event["detail"][name] for name in row} == row
    added = {name: value for name, value in event["detail"].items() if name not in row}
    name = api.get(container).json()["data"]["name"]
    assert added == {"project_id": PROJECT, "container_name": name, "labels": LABELS, "seq": 2}
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(event["detail"])
    assert (event["source"], event["detail-type"]) == ("longshore", "Container Status Change")
    assert event["resources"] == ["arn:aws:cloudformation:us-east-1:123456789012:stack/longshore/local"]
    assert event["time"] == row["transition_time"][:19] + "Z"
    assert hook.headers[-1]["X-Api-Key"] == "local"


def test_a_webhook_needs_a_bus(stack: LocalStack, hook: Hook) -> None:
    with pytest.raises(template.TemplateError, match="the webhook needs EventBusName"):
        subscribe(stack.client("events"), "", hook.url)


def test_the_demo_data_is_not_published(hook: Hook, container: str) -> None:
    assert hook.of(container)
    assert not any(event["detail"]["container_id"].startswith("507f1f77bcf86cd7994390") for event in hook.events)


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "InternalFailure"},
        {"error": DROP, "after_effect": True},
        {"error": "ThrottlingException", "status": 400, "times": 4},
    ],
    ids=["failed", "lost", "throttled"],
)
def test_every_row_arrives_after_a_fault(
    stack: LocalStack, emulator: Any, api: Api, hook: Hook, container: str, fault: dict[str, Any]
) -> None:
    emulator.faults.add("events", "PutEvents", **fault)
    for operation in ("start", "stop"):
        assert api.post(container, operation).status_code == 200
    rows = {row["id"]: number for number, row in enumerate(all_rows(stack, container), 1)}
    assert len(rows) == 3
    eventually(lambda: rows.keys() == {event["detail"]["id"] for event in hook.of(container)})
    # A repeated event has the same id and number.
    assert all(rows[event["detail"]["id"]] == event["detail"]["seq"] for event in hook.of(container))


def test_a_webhook_that_fails_receives_the_event_again(api: Api, hook: Hook, container: str) -> None:
    hook.statuses.append(503)
    assert api.post(container, "start").status_code == 200
    assert eventually(lambda: hook.of(container)[1:])[0]["detail"]["to_status"] == "running"
    assert hook.statuses == []


def test_a_row_that_cannot_be_read_goes_to_the_queue(stack: LocalStack, api: Api, hook: Hook, container: str) -> None:
    """Later rows are published."""
    row = all_rows(stack, container)[-1]
    stack.client("dynamodb").put_item(
        TableName=stack.table_name("StatusLogsTable"),
        Item={"container_id": {"S": "dd" * 12}, "transition_time": {"S": row["transition_time"]}},
    )
    assert api.post(container, "start").status_code == 200
    eventually(lambda: hook.of(container)[1:])
    queue = stack.client("sqs").get_queue_url(QueueName="longshore-UndeliveredEvents")["QueueUrl"]
    (message,) = stack.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    record = json.loads(message["Body"])
    assert record["eventName"] == "INSERT"
    assert record["dynamodb"]["NewImage"]["container_id"] == {"S": "dd" * 12}
    # The row is corrected, and the record is published again.
    record["dynamodb"]["NewImage"] = stack_row(stack, container)
    assert stack.invoke("PublishEventsFunction", {"Records": [record]}) == {"batchItemFailures": []}
    eventually(lambda: len(hook.of(container)) == 3)


def stack_row(stack: LocalStack, container: str) -> dict[str, Any]:
    """Return the newest row of a container as it is stored."""
    found: dict[str, Any] = stack.client("dynamodb").query(
        TableName=stack.table_name("StatusLogsTable"),
        KeyConditionExpression="container_id = :id",
        ExpressionAttributeValues={":id": {"S": container}},
        ScanIndexForward=False,
        Limit=1,
    )["Items"][0]
    return found
