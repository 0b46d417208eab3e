"""schedule: containers that do not exist are noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from admin.registry import Registry
from local.seed import Seeder, container_id
from local.stack import LocalStack


def test_unknown_containers_are_noticed(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """`add` refuses them. `list` names those that were unregistered later."""
    arguments = (
        "schedule",
        "add",
        "gone",
        "--cron",
        "0 18 ? * FRI *",
        "--container",
        container_id(11),
        "--container",
        fresh_id,
    )
    refused = run(*arguments)
    assert (refused.code, refused.err) == (1, f"error: These containers do not exist: {fresh_id}.\n")
    assert "gone" not in run("schedule", "list").out
    seeder.add(fresh_id, ["stopped"])
    assert run(*arguments).code == 0
    assert run("schedule", "list").err == ""
    stack.client("dynamodb").delete_item(TableName=stack.table_name("ContainersTable"), Key={"id": {"S": fresh_id}})
    assert f"warning: the schedule gone names unknown containers: {fresh_id}.\n" in run("schedule", "list").err
    (listed,) = [each for each in json.loads(run("schedule", "list", "--json").out) if each["name"] == "gone"]
    assert listed["unknown_containers"] == [fresh_id]
    assert run("schedule", "remove", "gone").code == 0


def test_an_input_that_is_too_long(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "known", lambda _, ids: set(ids))
    containers = [argument for number in range(310) for argument in ("--container", f"{number:024x}")]
    refused = run("schedule", "add", "weekend", "--cron", "0 18 ? * FRI *", *containers)
    assert (refused.code, refused.err.partition(",")[0]) == (1, "error: A schedule is limited to 8")
    assert "weekend" not in run("schedule", "list").out
