"""Tests of scheduled stops: many containers while ECS throttles and time runs out, and the input of a rule.

The test stops 200 containers, or 5,000 with LONGSHORE_SCALE=full. It uses DynamoDB Local if available, otherwise moto.
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
from integration.scheduled_stop import FUNCTION, ShortOfTime, effects
from invariants import all_rows, check
from settling import PATIENCE, eventually, recover_all

from local import template
from local.dynamodb_local import DynamoDbLocalUnavailableError
from local.eventbridge import EventBridge
from local.runtime import FunctionError
from local.seed import PROJECT, WEB, Seeder
from local.stack import LocalStack

FULL = os.environ.get("LONGSHORE_SCALE") == "full"
COUNT = 5000 if FULL else 200
SECONDS = 20 if FULL else 1
BIG_PROJECT = "b16" + "0" * 21
RULE = "ScheduledStopFunctionNightly"
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
            streams=False,
        ).start()

    try:
        local = started("local")
    except DynamoDbLocalUnavailableError:
        # On moto, the duration of a transaction grows with the number of items.
        local = started("moto")
    Seeder(local).cluster()
    yield local
    local.stop()


@pytest.fixture
def _short_of_time(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the function's timeout. It reserves eight seconds, so the remaining time is too short for the batch."""
    assert stack._runtime is not None
    functions: Any = stack._runtime._functions
    monkeypatch.setitem(functions, FUNCTION, replace(functions[FUNCTION], timeout=8 + SECONDS))


def many_running(stack: LocalStack, count: int) -> list[str]:
    """Add running containers, with their tasks, to one project, faster than the seeder."""
    from longshore.aws.items import container_item, log_item
    from longshore.domain.history import append
    from longshore.domain.ledger import ledger_of
    from longshore.domain.lifecycle import LaunchType, Status
    from longshore.domain.models import Change, Container, Runtime
    from longshore.domain.pending import Trigger

    started_at = datetime.now(UTC) - timedelta(minutes=10)
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
            status_since=started_at,
            runtime=runtime,
            created_at=started_at,
            updated_at=started_at,
        )
        task = stack.emulator.ecs.adopt_running(cluster, WEB, started_by=identity)
        change = Change(
            to_status=Status.RUNNING,
            observed_at=started_at,
            triggered_by=Trigger.USER,
            tasks=ledger_of(task.arn, task.version),
        )
        container, entry = append(container, change, identity, started_at)
        containers.append(container_item(container))
        rows.append(log_item(entry))
    seeder = Seeder(stack)
    for table, items in (("ContainersTable", containers), ("StatusLogsTable", rows)):
        seeder._batch(stack.table_name(table), [{"PutRequest": {"Item": item}} for item in items])
    return ids


@pytest.mark.usefixtures("_short_of_time")
def test_many_containers_are_stopped_once_each_despite_throttling(stack: LocalStack) -> None:
    ids = many_running(stack, COUNT)
    stack.emulator.calls.clear()
    throttled = stack.emulator.faults.add(
        "ecs", "StopTask", "ThrottlingException", status=400, times=None, probability=1 / 3
    )
    started_at = time.monotonic()

    assert stack.fire(RULE) == 1
    assert stack.eventbridge.invocations.wait_idle(900 if FULL else 120)
    # The containers that events did not complete: every attempt of their StopTask was throttled.
    left = Counter(_status(stack, identity) for identity in ids)
    sweeps = recover_all(stack, patience=600 if FULL else 120)
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    seconds = time.monotonic() - started_at

    stack.emulator.faults.clear()
    continuations = stack.emulator.calls.count("lambda", "Invoke")
    print(
        f"{COUNT} containers: {seconds:.1f} s, {continuations} continuations, {throttled.seen} throttled StopTask of "
        f"{stack.emulator.calls.count('ecs', 'StopTask')}, before recovery {dict(left)}, {sweeps} sweeps"
    )
    assert continuations >= 2
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


INVALID_INPUTS = [
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


@pytest.mark.parametrize("event", INVALID_INPUTS)
def test_an_invalid_input_raises(stack: LocalStack, event: dict[str, Any]) -> None:
    with pytest.raises(FunctionError, match="ValidationError"):
        stack.invoke(FUNCTION, event)


def test_invalid_inputs_become_dead_letters(stack: LocalStack) -> None:
    functions = stack.client("lambda")
    name = f"{template.STACK_NAME}-{FUNCTION}"
    stack.dead_letters.clear()
    for event in INVALID_INPUTS:
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    letters = list(stack.dead_letters)
    assert {letter.function for letter in letters} == {FUNCTION}
    assert sorted(str(letter.event) for letter in letters) == sorted(map(str, INVALID_INPUTS))
    assert {(letter.attempts, letter.error_type) for letter in letters} == {(3, "ValidationError")}


def ids_of(fresh_id: str, count: int) -> list[str]:
    return [f"{number:x}{fresh_id[1:]}" for number in range(1, count + 1)]


def test_containers_that_are_not_running_are_skipped(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
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


def test_a_failure_does_not_end_the_batch(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    ids = ids_of(fresh_id, 5)
    for identity in ids:
        seeder.add(identity, ["stopped", "running"])
    failing = ids[2]
    (task,) = stack.emulator.ecs.live(started_by=failing)
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
    assert raised.value.message == f"1 failed: {failing}"
    for identity in ids:
        if identity != failing:
            eventually(lambda identity=identity: _status(stack, identity) == "stopped")  # type: ignore[misc]
    # The container is unchanged, and a later run stops it.
    assert check(stack, failing)["status"] == "running"
    stack.emulator.faults.clear()
    assert stack.invoke(FUNCTION, {"container_ids": ids})["stopped"] == 1
    eventually(lambda: _status(stack, failing) == "stopped")
    check(stack, failing)


def test_remaining_containers_are_passed_on_once_despite_failures(
    stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    """Otherwise every retry of a batch would start its own chain of continuations."""
    assert stack._runtime is not None
    handler = stack._runtime._handlers[FUNCTION]
    ids = ids_of(fresh_id, 10)
    for identity in ids:
        seeder.add(identity, ["stopped", "running"])
    stack.emulator.faults.add("ecs", "StopTask", "AccessDeniedException", status=400, times=4)
    stack.emulator.calls.clear()
    # Lambda retries twice if the function raises.
    for _ in range(3):
        try:
            handler({"container_ids": ids}, ShortOfTime(stack, 4))
        except Exception as error:
            # Compare the name, because the runtime imports its own copy of the library.
            assert type(error).__name__ == "PartialFailureError"  # noqa: PT017
        else:
            break
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    continuations = Counter(
        identity
        for call in stack.emulator.calls.list("lambda", "Invoke")
        for identity in call.parameters["Payload"]["container_ids"]
    )
    assert continuations.total() >= 6
    assert set(continuations.values()) == {1}
    for identity in ids:
        eventually(lambda identity=identity: _status(stack, identity) == "stopped")  # type: ignore[misc]
        check(stack, identity)


def test_the_rule_is_disabled_by_default() -> None:
    bus = EventBridge(template.load(), Mock())
    assert RULE not in bus.next_firings()
    assert bus.fire(RULE) == 0
