"""Tests that sweeps skip, log and count items that they cannot read, and handle the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from invariants import all_rows, check
from settling import make_overdue, set_looks_back

from local.runtime import FunctionError
from local.seed import Seeder
from local.stack import LocalStack

# The last change is more than two minutes old: the drift sweep skips more recent changes.
LONG_RUNNING = ["stopped", "running"] * 15
DAMAGED_ATTRIBUTES = {
    "a counter that is no number": ("log_count", {"S": "many"}),
    "a status that does not exist": ("#status", {"S": "melted"}),
    "no runtime": ("runtime", {"NULL": True}),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack without events and schedules. Only tests run sweeps."""
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, events=False) as local:
        yield local


@pytest.fixture
def printed_metrics(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")


@pytest.fixture
def damage(stack: LocalStack) -> Iterator[Callable[..., None]]:
    """Damages the item of a container. The container is replaced after the test."""
    damaged: list[str] = []

    def damage_item(identity: str, attribute: str, value: dict[str, Any]) -> None:
        damaged.append(identity)
        change(stack, identity, attribute, value)

    yield damage_item
    for identity in damaged:
        Seeder(stack).add(identity, ["stopped"])


def item(stack: LocalStack, identity: str) -> dict[str, Any]:
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )
    return dict(answer["Item"])


def change(stack: LocalStack, identity: str, attribute: str, value: dict[str, Any]) -> None:
    names = {"ExpressionAttributeNames": {"#status": "status"}} if attribute.startswith("#") else {}
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": identity}},
        UpdateExpression=f"SET {attribute} = :value",
        ExpressionAttributeValues={":value": value},
        **names,
    )


def unreadable(printed: str) -> list[tuple[str, list[float]]]:
    """Return the published values of UnreadableItems with their function."""
    lines = [json.loads(line) for line in printed.splitlines() if '"UnreadableItems"' in line]
    for line in lines:
        (described,) = line["_aws"]["CloudWatchMetrics"]
        # The dimensions of the alarm.
        assert [sorted(names) for names in described["Dimensions"]] == [["function", "service"]]
    return [(line["function"], line["UnreadableItems"]) for line in lines]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["item"] for record in caplog.records if record.message == "item failed"]


@pytest.mark.usefixtures("printed_metrics")
@pytest.mark.parametrize(("attribute", "value"), DAMAGED_ATTRIBUTES.values(), ids=DAMAGED_ATTRIBUTES)
def test_the_operations_sweep_skips_a_damaged_item(
    stack: LocalStack,
    api: Api,
    fresh_id: str,
    damage: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    attribute: str,
    value: dict[str, Any],
) -> None:
    from longshore.wiring import api_functions

    seeder = Seeder(stack)
    # Ids with the same last digits are in the same shard of the index of pending operations.
    ids = [f"{number}{fresh_id[1:]}" for number in range(1, 6)]
    damaged, *others = ids[2], *ids[:2], *ids[3:]
    with patch.object(api_functions.operations(), "wait", timedelta()):
        for identity in ids:
            seeder.add(identity, ["stopped"])
            assert api.post(identity, "start").status_code == 202
            assert make_overdue(stack, identity)
    damage(damaged, attribute, value)
    before = item(stack, damaged)
    capsys.readouterr()

    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"completed": len(others), "unreadable": 1}

    assert unreadable(capsys.readouterr().out) == [("longshore-RecoverFunction", [1.0])]
    assert logged(caplog) == [damaged]
    assert item(stack, damaged) == before
    for identity in others:
        assert check(stack, identity)["status"] == "running"
    # Every sweep reports the damaged item again.
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"unreadable": 1}


@pytest.mark.usefixtures("printed_metrics")
def test_the_drift_sweep_skips_a_damaged_item(
    stack: LocalStack,
    fresh_id: str,
    damage: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One item is damaged, and another names a cluster that does not exist."""
    seeder = Seeder(stack)
    damaged, elsewhere, gone, healthy = (f"{number}{fresh_id[1:]}" for number in range(1, 5))
    for identity in (damaged, elsewhere, gone, healthy):
        seeder.add(identity, LONG_RUNNING)
    runtime = item(stack, elsewhere)["runtime"]["M"] | {"cluster": {"S": "no-such-cluster"}}
    damage(elsewhere, "runtime", {"M": runtime})
    damage(damaged, "log_count", {"S": "many"})
    (task,) = stack.emulator.ecs.live(started_by=gone)
    stack.emulator.ecs.forget(task.arn)
    capsys.readouterr()

    found = stack.invoke("RecoverFunction", {"sweep": "drift"})
    assert found["absent"] == 1
    assert set_looks_back(stack, gone)
    found = stack.invoke("RecoverFunction", {"sweep": "drift"})
    assert found["repaired"] == 1

    # The sweep reads the damaged item twice: as a container, and for its running task.
    assert {value for _, (value,) in unreadable(capsys.readouterr().out)} == {1.0}
    assert found["unreadable"] == 2
    # The failure of a cluster is reported for each of its containers.
    assert set(logged(caplog)) >= {damaged, elsewhere}
    assert all_rows(stack, gone)[-1]["triggered_by"] == "recovery"
    assert check(stack, gone)["status"] == "failed"
    assert check(stack, healthy)["status"] == "running"
    assert item(stack, elsewhere)["status"] == {"S": "running"}


@pytest.mark.parametrize(
    ("event", "call", "unlisted"),
    [
        ({"sweep": "operations"}, ("dynamodb", "Query"), "8 failed: shard 0, shard 1"),
        ({"sweep": "drift"}, ("dynamodb", "Scan"), "1 failed: the index of live containers"),
        ({"sweep": "drift"}, ("ecs", "ListTasks"), "1 failed: the tasks of default"),
    ],
)
@pytest.mark.usefixtures("printed_metrics")
def test_a_sweep_that_cannot_list_something_fails(
    stack: LocalStack,
    fresh_id: str,
    capsys: pytest.CaptureFixture[str],
    event: dict[str, str],
    call: tuple[str, str],
    unlisted: str,
) -> None:
    """The sweep handles everything that it could list, and then fails, so that the alarm is raised."""
    seeder = Seeder(stack)
    seeder.add(fresh_id, LONG_RUNNING)
    stack.emulator.ecs.forget(stack.emulator.ecs.live(started_by=fresh_id)[0].arn)
    stack.emulator.faults.add(*call, "AccessDeniedException", status=400, times=None)
    capsys.readouterr()
    try:
        with pytest.raises(FunctionError) as raised:
            stack.invoke("RecoverFunction", event)
    finally:
        stack.emulator.faults.clear()
    assert raised.value.error_type == "PartialFailureError"
    assert raised.value.message.startswith(unlisted)
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [line["EventFailures"] for line in metrics if "EventFailures" in line] == [[1.0]]
    # The alarm on stuck operations treats a missing value as a missing sweep.
    assert not [line for line in metrics if "StuckOperations" in line]
    assert ("absent_since" in item(stack, fresh_id)) is (call == ("ecs", "ListTasks"))
    seeder.add(fresh_id, ["stopped"])


@pytest.mark.parametrize(
    ("attribute", "value", "query"),
    [
        ("log_count", {"NULL": True}, {}),
        ("log_count", {"S": "many"}, {}),
        ("to_counts", {"NULL": True}, {"sort_by": "to_status"}),
        ("from_counts", {"M": {"stopped": {"S": "x"}}}, {"from_status": "stopped"}),
    ],
)
def test_the_history_of_a_damaged_container_is_an_error(
    api: Api, seeder: Seeder, damage: Any, fresh_id: str, attribute: str, value: Any, query: dict[str, str]
) -> None:
    """An empty page would be wrong: the rows exist."""
    seeder.add(fresh_id, ["stopped", "running", "stopped"])
    damage(fresh_id, attribute, value)
    response = api.logs(fresh_id, **query)
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
