"""Scheduled stops: many containers while ECS throttles and time runs short, and what a rule may ask for.

LONGSHORE_SCALE=full stops 5,000 containers, otherwise it is 500: on DynamoDB Local where it can be had, else on moto.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import QUICK
from invariants import all_rows, check
from settling import PATIENCE, eventually, recover_all

from local import template
from local.dynamodb_local import DynamoDbLocalUnavailableError
from local.eventbridge import EventBridge
from local.runtime import FunctionError, LambdaContext
from local.seed import PROJECT, WEB, Seeder
from local.stack import LocalStack

FULL = os.environ.get("LONGSHORE_SCALE") == "full"
COUNT = 5000 if FULL else 500
SECONDS = 20 if FULL else 1
BIG_PROJECT = "b16" + "0" * 21
RULE = "ScheduledStopFunctionNightly"
FUNCTION = "ScheduledStopFunction"
PARAMETERS = {
    "WaitSeconds": "1",
    "StopInput": json.dumps({"project_id": BIG_PROJECT, "rule": "nightly"}),
    "StopSchedule": "cron(0 0 1 1 ? 2199)",
    "StopScheduleState": "ENABLED",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    def started(database: str) -> LocalStack:
        return LocalStack(
            port=0,
            dynamodb=database,
            parameters=PARAMETERS,
            seed=False,
            emulator_options=QUICK,
        ).start()

    try:
        local = started("local")
    except DynamoDbLocalUnavailableError:
        # A transaction of moto's takes longer the more items there are.
        local = started("moto")
    Seeder(local).cluster()
    yield local
    local.stop()


@pytest.fixture
def _short_of_time(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight seconds of a function's time are kept back. What is left is too short for the batch."""
    assert stack._runtime is not None
    functions: Any = stack._runtime._functions
    monkeypatch.setitem(functions, FUNCTION, replace(functions[FUNCTION], timeout=8 + SECONDS))


def many_running(stack: LocalStack, count: int) -> list[str]:
    """Put running containers, with their tasks, into one project. Much faster than the seeder."""
    from longshore.aws.items import container_item, log_item
    from longshore.domain.history import append
    from longshore.domain.lifecycle import LaunchType, Status
    from longshore.domain.models import Change, Container, Runtime, Trigger

    began = datetime.now(UTC) - timedelta(minutes=10)
    cluster = str(stack.parameters["ClusterName"])
    runtime = Runtime(cluster=cluster, task_definition=WEB, launch_type=LaunchType.EC2)
    ids = [f"b16{number:021x}" for number in range(1, count + 1)]
    containers, rows = [], []
    for identity in ids:
        container = Container(
            id=identity,
            project_id=BIG_PROJECT,
            name="one of many",
            status=Status.STOPPED,
            status_since=began,
            runtime=runtime,
            created_at=began,
            updated_at=began,
        )
        task = stack.emulator.ecs.adopt_running(cluster, WEB, started_by=identity)
        change = Change(
            to_status=Status.RUNNING,
            observed_at=began,
            triggered_by=Trigger.USER,
            task_arn=task.arn,
            task_version=task.version,
        )
        container, entry = append(container, change, identity, began)
        containers.append(container_item(container))
        rows.append(log_item(entry))
    seeder = Seeder(stack)
    for table, items in (("ContainersTable", containers), ("StatusLogsTable", rows)):
        seeder._batch(stack.table_name(table), [{"PutRequest": {"Item": item}} for item in items])
    return ids


@pytest.mark.usefixtures("_short_of_time")
def test_many_are_stopped_once_each_whatever_ecs_says(stack: LocalStack) -> None:
    ids = many_running(stack, COUNT)
    stack.emulator.calls.clear()
    throttled = stack.emulator.faults.add(
        "ecs", "StopTask", "ThrottlingException", status=400, times=None, probability=1 / 3
    )
    began = time.monotonic()

    assert stack.fire(RULE) == 1
    assert stack.eventbridge.invocations.wait_idle(900 if FULL else 120)
    # What the events have left: StopTask was throttled for every one of its tries.
    left = Counter(_status(stack, identity) for identity in ids)
    sweeps = recover_all(stack, patience=600 if FULL else 120)
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    took = time.monotonic() - began

    stack.emulator.faults.clear()
    handed_on = stack.emulator.calls.count("lambda", "Invoke")
    print(
        f"{COUNT} containers: {took:.1f} s, {handed_on} continuations, {throttled.seen} throttled StopTask of "
        f"{stack.emulator.calls.count('ecs', 'StopTask')}, before recovery {dict(left)}, {sweeps} sweeps"
    )
    assert handed_on >= 2
    assert throttled.seen >= COUNT / 5
    assert stack.dead_letters == []
    assert Counter(_status(stack, identity) for identity in ids) == {"stopped": COUNT}
    rows = Counter[str]()
    for identity in ids:
        _, *later = all_rows(stack, identity)
        for row in later:
            assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "stopped", "schedule")
            assert row["metadata"]["rule"] == "nightly"
            rows[identity] += 1
    assert set(rows) == set(ids)
    assert set(rows.values()) == {1}
    for identity in ids[:: COUNT // 50]:
        check(stack, identity)


def _status(stack: LocalStack, identity: str) -> str:
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )
    return str(answer["Item"]["status"]["S"])


BAD = [
    {},
    {"all": False},
    {"project_id": PROJECT, "all": True},
    {"project_id": PROJECT, "container_ids": []},
    {"container_ids": []},
    {"all": True, "container_ids": ["5" * 24]},
    {"all": True, "time": "tomorrow"},
    {"all": True, "time": "2025-01-15T20:00:00"},
    {"time": "2025-01-15T20:00:00Z"},
    {"time": "2025-01-15T20:00:00Z", "input": {}},
    {"input": {"all": True}},
    {"time": None, "input": {"all": True}},
    {"time": "2025-01-15T20:00:00Z", "input": {"all": True}, "rule": "r"},
    {"project_id": PROJECT, "unknown": 1},
    {"project_id": "507F1F77BCF86CD799439033"},
    {"container_ids": ["507f1f77bcf86cd79943903"]},
    {"container_ids": "507f1f77bcf86cd799439033"},
    {"all": True, "rule": "r" * 65},
]


@pytest.mark.parametrize("event", BAD)
def test_an_input_that_is_wrong_raises(stack: LocalStack, event: dict[str, Any]) -> None:
    with pytest.raises(FunctionError, match="ValidationError"):
        stack.invoke(FUNCTION, event)


def test_inputs_that_are_wrong_become_dead_letters(stack: LocalStack) -> None:
    functions = stack.client("lambda")
    name = f"{template.STACK_NAME}-{FUNCTION}"
    stack.dead_letters.clear()
    for event in BAD:
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    letters = list(stack.dead_letters)
    assert {letter.function for letter in letters} == {FUNCTION}
    assert sorted(str(letter.event) for letter in letters) == sorted(map(str, BAD))
    assert {(letter.attempts, letter.error_type) for letter in letters} == {(3, "ValidationError")}


def effects(**counts: int) -> dict[str, int]:
    """The answer of the function: the counts that are not given are 0."""
    return {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0} | counts


def ids_of(fresh_id: str, count: int) -> list[str]:
    return [f"{number:x}{fresh_id[1:]}" for number in range(1, count + 1)]


def test_what_is_not_running_is_skipped(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    running, paused, stopped, failed, expired, missing = ids_of(fresh_id, 6)
    seeder.add(running, ["stopped", "running"])
    seeder.add(paused, ["stopped", "running", "paused"])
    seeder.add(stopped, ["stopped"])
    seeder.add(failed, ["stopped", "running", "failed"])
    seeder.add(expired, ["stopped", "expired"])
    event = {"container_ids": [running, paused, stopped, failed, expired, missing, running], "rule": "r"}
    assert stack.invoke(FUNCTION, event) == effects(stopped=2, skipped=4)
    for identity in (running, paused):
        eventually(lambda identity=identity: _status(stack, identity) == "stopped")  # type: ignore[misc]
        assert all_rows(stack, identity)[-1]["triggered_by"] == "schedule"
    assert [_status(stack, identity) for identity in (stopped, failed, expired)] == ["stopped", "failed", "expired"]
    for identity in (running, paused, stopped, failed, expired):
        check(stack, identity)
    assert stack.invoke(FUNCTION, event)["stopped"] == 0


def test_one_that_fails_does_not_end_the_batch(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    ids = ids_of(fresh_id, 5)
    for identity in ids:
        seeder.add(identity, ["stopped", "running"])
    unlucky = ids[2]
    (task,) = stack.emulator.ecs.live(started_by=unlucky)
    stack.emulator.faults.add(
        "ecs",
        "StopTask",
        "AccessDeniedException",
        status=400,
        times=None,
        match=lambda parameters: parameters["task"] == task.arn,
    )
    with pytest.raises(FunctionError) as raised:
        stack.invoke(FUNCTION, {"container_ids": ids})
    assert raised.value.error_type == "PartialFailureError"
    assert raised.value.message == f"1 failed: {unlucky}"
    for identity in ids:
        if identity != unlucky:
            eventually(lambda identity=identity: _status(stack, identity) == "stopped")  # type: ignore[misc]
    # Nothing was done to it, and a later run stops it.
    assert check(stack, unlucky)["status"] == "running"
    stack.emulator.faults.clear()
    assert stack.invoke(FUNCTION, {"container_ids": ids})["stopped"] == 1
    eventually(lambda: _status(stack, unlucky) == "stopped")
    check(stack, unlucky)


class ShortOfTime(LambdaContext):
    """A context with time for a few containers."""

    def __init__(self, stack: LocalStack, containers: int) -> None:
        assert stack.template is not None
        super().__init__(stack.template.functions[FUNCTION])
        self._answers = iter([60_000] * containers)

    def get_remaining_time_in_millis(self) -> int:
        return next(self._answers, 0)


def test_what_time_does_not_suffice_for_is_handed_on_once_whatever_fails(
    stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    """Else every repeat of a batch would begin a chain of its own, and every link of those another two."""
    assert stack._runtime is not None
    handler = stack._runtime._handlers[FUNCTION]
    ids = ids_of(fresh_id, 10)
    for identity in ids:
        seeder.add(identity, ["stopped", "running"])
    stack.emulator.faults.add("ecs", "StopTask", "AccessDeniedException", status=400, times=4)
    stack.emulator.calls.clear()
    # As Lambda would: twice more, while it raises.
    for _ in range(3):
        try:
            handler({"container_ids": ids}, ShortOfTime(stack, 4))
        except Exception as error:
            # By name: the functions' library is another than the one that this module would import.
            assert type(error).__name__ == "PartialFailureError"  # noqa: PT017
        else:
            break
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    handed_on = Counter(
        identity
        for call in stack.emulator.calls.list("lambda", "Invoke")
        for identity in call.parameters["Payload"]["container_ids"]
    )
    assert handed_on.total() >= 6
    assert set(handed_on.values()) == {1}
    for identity in ids:
        eventually(lambda identity=identity: _status(stack, identity) == "stopped")  # type: ignore[misc]
        check(stack, identity)


def test_a_rule_is_disabled_unless_it_is_asked_for() -> None:
    bus = EventBridge(template.load(), Mock())
    assert RULE not in bus.next_firings()
    assert bus.fire(RULE) == 0
