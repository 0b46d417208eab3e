"""Tests of changes that no request has caused: tasks that stop, events in any order, terminated servers, drift."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from integration.recording_stack import RecordingStack, accepted, events_of, running, settled, stopped_event
from invariants import all_rows, check
from settling import PATIENCE, eventually, set_looks_back

from local.seed import INSTANCE, Seeder

OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
# A history whose last change is more than two minutes old, because the drift sweep skips containers that changed more
# recently. Consecutive changes are less than a minute apart, and the oldest is a minute old per change.
LONG_RUNNING = ["stopped", "running"] * 15


@pytest.fixture(scope="module")
def stack() -> Iterator[RecordingStack]:
    with RecordingStack() as local:
        yield local
        assert local.dead_letters == []


def deliver(stack: RecordingStack, event: dict[str, Any]) -> str:
    """Deliver a task event. Returns its effect."""
    return str(stack.invoke("TaskStateChangeFunction", event)["effect"])


# --- A task exits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), [(137, "failed"), (1, "failed"), (0, "stopped")])
def test_a_task_that_exits_is_recorded(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, code: int, status: str
) -> None:
    arn = running(stack, seeder, fresh_id)
    stack.emulator.ecs.exit(arn, code)
    settled(api, fresh_id, status)
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", status, "system")
    assert row["duration_ms"] is None
    assert row["metadata"] == {
        "task_id": arn.rsplit("/", 1)[-1],
        "reason": "Essential container in task exited",
        "stop_code": "EssentialContainerExited",
        "exit_code": code,
    }
    check(stack, fresh_id)


# --- Repeated, reordered, foreign and stale events --------------------------------------------------------------------


def test_old_events_in_any_order_have_no_effect(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation in ("start", "restart", "stop", "start"):
        api.post(fresh_id, operation)
        settled(api, fresh_id, "stopped" if operation == "stop" else "running")
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    eventually(
        lambda: [event for event in events_of(stack, fresh_id) if event["resources"] == [task.arn]],
        lambda found: len(found) == 2,
    )
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    events = events_of(stack, fresh_id) * 2
    random.Random(1).shuffle(events)
    rows = api.rows(fresh_id)

    effects = {deliver(stack, event) for event in events if event["detail"]["lastStatus"] in ("RUNNING", "STOPPED")}

    # A late RUNNING event causes a StopTask of a task that has already stopped.
    assert effects <= {"stale", "stray-stopped"}
    assert api.rows(fresh_id) == rows
    assert [live.arn for live in stack.emulator.ecs.live(started_by=fresh_id)] == [task.arn]
    assert check(stack, fresh_id)["status"] == "running"


def test_a_stopped_event_before_its_running_event(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    with stack.eventbridge.losing_events():
        seeder.add(fresh_id, ["stopped"])
        api.post(fresh_id, "start")
        settled(api, fresh_id, "running")
        (task,) = stack.emulator.ecs.live(started_by=fresh_id)
        stack.emulator.ecs.exit(task.arn, 3)
        stopped = stopped_event(stack, fresh_id)
    (started,) = [event for event in events_of(stack, fresh_id) if event["detail"]["lastStatus"] == "RUNNING"]
    assert [deliver(stack, event) for event in (stopped, started, stopped, started)] == [
        "recorded",
        "stale",
        "stale",
        "stale",
    ]
    assert check(stack, fresh_id)["status"] == "failed"


@pytest.mark.parametrize(
    "change",
    [
        {"startedBy": "ecs-svc/1234567890"},
        {"startedBy": "f" * 24},
        {"startedBy": None},
        {"clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/another"},
    ],
)
def test_a_foreign_task_is_ignored(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, change: dict[str, Any]
) -> None:
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(running(stack, seeder, fresh_id), 1)
        event = stopped_event(stack, fresh_id)
    event["detail"] = {k: v for k, v in {**event["detail"], **change}.items() if v is not None}
    assert deliver(stack, event) == "foreign"
    assert len(all_rows(stack, fresh_id)) == 2


def test_an_event_with_a_known_version_is_stale(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    with stack.eventbridge.losing_events():
        seeder.add(fresh_id, ["stopped"])
        api.post(fresh_id, "start")
        settled(api, fresh_id, "running")
        (task,) = stack.emulator.ecs.live(started_by=fresh_id)
        stack.emulator.ecs.exit(task.arn, 1)
        event = stopped_event(stack, fresh_id)
    known = task_version(stack, fresh_id)
    assert known > 0
    running = {"version": known, "lastStatus": "RUNNING"}
    assert deliver(stack, {**event, "detail": {**event["detail"], **running}}) == "stale"
    assert len(all_rows(stack, fresh_id)) == 2
    assert deliver(stack, event) == "recorded"


def task_version(stack: RecordingStack, container: str) -> int:
    item = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container}}
    )["Item"]
    return int(item["task_version"]["N"])


def test_unknown_fields_are_ignored(stack: RecordingStack, seeder: Seeder, fresh_id: str) -> None:
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(running(stack, seeder, fresh_id), 1)
        event = stopped_event(stack, fresh_id)
    event["replay-name"] = "a replay"
    event["detail"] |= {"ofTheFuture": {"a": [1]}, "ephemeralStorage": {"sizeInGiB": 21}}
    event["detail"]["containers"][0] |= {"managedAgents": [{"name": "x"}], "ofTheFuture": None}
    assert deliver(stack, event) == "recorded"
    assert check(stack, fresh_id)["status"] == "failed"


# --- A server is terminated -------------------------------------------------------------------------------------------


def test_a_terminated_server_expires_its_containers(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    server = stack.emulator.ecs.add_instance(str(stack.parameters["ClusterName"]))
    names = ["running", "paused", "stopped", "starting"]
    bound = {name: f"{number}{fresh_id[1:]}" for number, name in enumerate(names, start=1)}
    for name, container in bound.items():
        seeder.add(container, ["stopped"], server=server, task_definition="never" if name == "starting" else None)
    for name in ("running", "paused"):
        assert api.post(bound[name], "start").status_code in (200, 202)
        settled(api, bound[name], "running")
    assert api.post(bound["paused"], "pause").status_code in (200, 202)
    settled(api, bound["paused"], "paused")
    accepted(api, bound["starting"], "start", "stopped")
    seeder.add(fresh_id, ["stopped", "running"], server=INSTANCE)

    stack.terminate_server(server)

    for container in bound.values():
        settled(api, container, "expired")
        for operation in OPERATIONS:
            response = api.post(container, operation)
            assert response.status_code == 403
            assert response.json()["code"] == "OPERATION_NOT_PERMITTED_ON_EXPIRED"
        row = api.rows(container)[-1]
        assert (row["to_status"], row["triggered_by"]) == ("expired", "system")
        facts = row["metadata"]
        assert (facts["reason"], facts["server_instance_id"]) == ("The server was terminated", server)
        assert api.get(container).json()["data"]["allowed_operations"] == []
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    for container in bound.values():
        check(stack, container)
    assert check(stack, fresh_id)["status"] == "running"


# --- Drift ------------------------------------------------------------------------------------------------------------


def sweep(stack: RecordingStack) -> dict[str, int]:
    counts: dict[str, int] = stack.invoke("RecoverFunction", {"sweep": "drift"})
    return counts


def test_a_task_that_vanished_is_detected(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, LONG_RUNNING)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    # Earlier tests may have left other containers.
    assert sweep(stack)["absent"] >= 1
    assert len(api.rows(fresh_id)) == len(LONG_RUNNING)
    # A second lookup within 30 seconds does not count.
    assert sweep(stack)["absent"] >= 1
    assert api.get(fresh_id).json()["data"]["status"] == "running"
    assert set_looks_back(stack, fresh_id)
    assert sweep(stack)["repaired"] >= 1
    rows = api.rows(fresh_id)
    row = rows[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "failed", "recovery")
    assert row["metadata"] == {"reason": "The task is no longer known to ECS"}
    sweep(stack)
    assert api.rows(fresh_id) == rows
    check(stack, fresh_id)


def test_a_task_that_reappears(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """Nothing is recorded until a second lookup has failed. After that, the container returns to its status."""
    seeder.add(fresh_id, LONG_RUNNING)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    for _ in range(2):
        stack.emulator.ecs.hide(task.arn)
        sweep(stack)
        stack.emulator.ecs.show(task.arn)
        assert sweep(stack)["shown again"] >= 1
        assert not set_looks_back(stack, fresh_id)
    assert check(stack, fresh_id)["log_count"] == len(LONG_RUNNING)
    stack.emulator.ecs.hide(task.arn)
    sweep(stack)
    assert set_looks_back(stack, fresh_id)
    sweep(stack)
    assert api.get(fresh_id).json()["data"]["status"] == "failed"
    stack.emulator.ecs.show(task.arn)
    assert sweep(stack)["recorded"] >= 1
    rows = api.rows(fresh_id)[len(LONG_RUNNING) :]
    assert [row["to_status"] for row in rows] == ["failed", "running"]
    assert {row["triggered_by"] for row in rows} == {"recovery"}
    assert rows[-1]["metadata"]["reason"] == "ECS shows the task running"
    assert check(stack, fresh_id)["status"] == "running"


def test_a_stop_without_an_event_is_detected(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, LONG_RUNNING)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(task.arn, 9)
        stopped_event(stack, fresh_id)
    assert sweep(stack)["repaired"] >= 1
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["triggered_by"], row["metadata"]["exit_code"]) == ("failed", "recovery", 9)
    check(stack, fresh_id)


def test_a_recent_change_is_left_to_the_events(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    arn = running(stack, seeder, fresh_id)
    stack.emulator.ecs.forget(arn)
    sweep(stack)
    assert api.get(fresh_id).json()["data"]["status"] == "running"


def test_a_stray_task_is_stopped(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    stray = stack.emulator.ecs.adopt_running(str(stack.parameters["ClusterName"]), "web", started_by=fresh_id)
    assert sweep(stack)["stray-stopped"] >= 1
    eventually(lambda: stray.live, lambda live: not live)
    assert stray.stop_code == "UserInitiated"
    assert api.get(fresh_id).json()["data"]["status"] == "stopped"
    assert check(stack, fresh_id)["log_count"] == 1
