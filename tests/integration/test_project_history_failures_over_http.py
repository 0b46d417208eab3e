"""Tests of the history of a project while DynamoDB fails, throttles, or is still creating the index."""

from typing import Any

import pytest
from api_client import Api
from integration.project_logs import logs, refused

from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")


@pytest.mark.databases("moto")
def test_a_failure_of_the_database(api: Api, emulator: Any, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation in ("Query", "BatchGetItem"):
        emulator.faults.clear()
        emulator.faults.add("dynamodb", operation, "InternalServerError", status=500, times=None)
        refused(logs(api, PROJECT), 500, "EXTERNAL_SERVICE_ERROR")


@pytest.mark.databases("moto")  # the emulator injects the fault
def test_an_index_that_is_being_created(api: Api, emulator: Any) -> None:
    """The message is that of DynamoDB."""
    message = "Cannot read from backfilling global secondary index: by-project"
    index = {"match": lambda parameters: parameters.get("IndexName") == "by-project"}
    emulator.faults.add("dynamodb", "Query", "ValidationException", status=400, message=message, times=1, **index)
    body = refused(logs(api, PROJECT), 500, "EXTERNAL_SERVICE_ERROR")
    assert body["data"] == {"reason": "The index of project histories is being created; try again later"}
    assert logs(api, PROJECT).status_code == 200


def test_an_index_that_does_not_exist_yet(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from longshore.aws import project_history

    monkeypatch.setattr(project_history, "_INDEX", "no-such-index")
    body = refused(logs(api, PROJECT), 500, "EXTERNAL_SERVICE_ERROR")
    assert body["data"] == {"reason": "The index of project histories is being created; try again later"}
    # The rows of a single container come from the table.
    assert logs(api, PROJECT, container_id=container_id(11)).status_code == 200


def test_names_that_are_throttled_are_read_again(stack: LocalStack, api: Api) -> None:
    """DynamoDB may leave keys of a BatchGetItem unprocessed."""
    from longshore.wiring import api_functions

    events = api_functions.dynamodb().meta.events
    seen: list[int] = []

    def leave_one(parsed: dict[str, Any], **_: Any) -> None:
        ((table, items),) = parsed["Responses"].items()
        seen.append(len(items))
        if len(seen) == 1:
            left = items.pop()
            parsed["UnprocessedKeys"] = {table: {"Keys": [{"id": left["id"]}]}}

    events.register("after-call.dynamodb.BatchGetItem", leave_one)
    try:
        data = logs(api, PROJECT, limit=100, container_id=container_id(12)).json()["data"]
        every = logs(api, PROJECT, limit=100).json()["data"]
    finally:
        events.unregister("after-call.dynamodb.BatchGetItem", leave_one)
    assert seen[:2] == [1, 1]
    assert {row["container_name"] for row in data["logs"]} == {"payments"}
    assert all(row["container_name"] for row in every["logs"])
