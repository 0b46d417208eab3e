"""Tests of operations that take longer than the wait, which an event or a sweep completes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from api_client import Api
from host_script import FAR_FUTURE, parameters
from integration.recording_stack import RecordingStack, accepted, running, settled, stopped_event
from invariants import all_rows, check
from longshore.engine.settle import LAST_ATTEMPT
from settling import eventually, make_overdue

from local.runtime import FunctionError
from local.seed import INSTANCE, Seeder


@pytest.fixture(scope="module")
def stack() -> Iterator[RecordingStack]:
    with RecordingStack() as local:
        yield local
        assert local.dead_letters == []


@pytest.fixture
def slow_starts(stack: RecordingStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a task take longer to start than the wait."""
    monkeypatch.setattr(stack.emulator.ecs, "_run_delay", timedelta(seconds=2.5))


@pytest.fixture
def slow_hosts(stack: RecordingStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a host take longer to run a command than the wait."""
    monkeypatch.setattr(stack.emulator.ssm, "_delay", timedelta(seconds=2.5))


def commands_for(stack: RecordingStack, container: str) -> list[Any]:
    """Return the commands that were sent to hosts for the container."""
    return [each for each in stack.emulator.ssm.invocations() if f"container {container}," in each.comment]


def is_finished(stack: RecordingStack, command_id: str) -> bool:
    return all(each.ended for each in stack.emulator.ssm.invocations() if each.command_id == command_id)


def success_event(stack: RecordingStack, container: str) -> dict[str, Any]:
    """Wait for the success event of the container's newest command, and return a copy."""
    command = commands_for(stack, container)[-1].command_id

    def fits(event: dict[str, Any]) -> bool:
        return (event["detail"].get("command-id"), event["detail"].get("status")) == (command, "Success")

    return copy.deepcopy(eventually(lambda: [event for event in list(stack.recorded) if fits(event)])[0])


# --- Operations that take longer than the wait ------------------------------------------------------------------------


def test_a_task_that_never_starts_fails_after_the_last_attempt(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    assert accepted(api, fresh_id, "start", "stopped")["message"] == "Container is starting"
    # A sweep waits for the effect, so the test skips most attempts.
    assert make_overdue(stack, fresh_id, attempts=LAST_ATTEMPT - 2)
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"accepted": 1}
    assert make_overdue(stack, fresh_id, attempts=LAST_ATTEMPT - 1)
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"failed": 1}
    settled(api, fresh_id, "failed")
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("stopped", "failed", "user")
    assert row["metadata"]["command"] == "start"
    assert row["metadata"]["reason"].startswith(f"Gave up after {LAST_ATTEMPT} attempts")
    # All attempts have run the same task, and it does not start later.
    eventually(lambda: stack.emulator.ecs.live(started_by=fresh_id), lambda live: not live)
    assert len([task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]) == 1
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_starts")
def test_an_image_pull_that_fails_after_the_wait(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="unpullable")
    accepted(api, fresh_id, "start", "stopped")
    settled(api, fresh_id, "failed")
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("stopped", "failed", "user")
    assert row["metadata"]["stop_code"] == "TaskFailedToStart"
    assert row["metadata"]["reason"].startswith("CannotPullContainerError")
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_starts")
def test_a_start_that_takes_longer_is_completed_by_its_event(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    accepted(api, fresh_id, "start", "stopped")
    settled(api, fresh_id, "running")
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["triggered_by"], row["metadata"]["command"]) == ("running", "user", "start")
    assert row["duration_ms"] >= 2000
    check(stack, fresh_id)


def stubborn(stack: RecordingStack, seeder: Seeder, container: str) -> None:
    """Add a running container whose process ignores SIGTERM."""
    seeder.add(container, ["stopped", "running"], task_definition="stubborn")


def test_a_stop_that_takes_longer_is_completed_by_its_event(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    stubborn(stack, seeder, fresh_id)
    assert accepted(api, fresh_id, "stop", "running")["message"] == "Container is stopping"
    settled(api, fresh_id, "stopped")
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "stopped", "user")
    assert (row["metadata"]["command"], row["metadata"]["exit_code"]) == ("stop", 137)
    check(stack, fresh_id)


def test_force_stop_supersedes_a_stop(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    stubborn(stack, seeder, fresh_id)
    accepted(api, fresh_id, "stop", "running")
    assert api.post(fresh_id, "force-stop").status_code in (200, 202)
    settled(api, fresh_id, "stopped")
    rows = api.rows(fresh_id)
    assert [row["to_status"] for row in rows] == ["stopped", "running", "stopped"]
    facts = rows[-1]["metadata"]
    assert (facts["command"], facts["superseded"], facts["exit_code"]) == ("force-stop", "stop", 137)
    check(stack, fresh_id)


def test_force_stop_supersedes_a_start(stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    accepted(api, fresh_id, "start", "stopped")
    assert api.post(fresh_id, "force-stop").status_code in (200, 202)
    settled(api, fresh_id, "stopped")
    eventually(lambda: stack.emulator.ecs.live(started_by=fresh_id), lambda live: not live)
    rows = api.rows(fresh_id)
    assert [row["to_status"] for row in rows] == ["stopped", "stopped"]
    assert (rows[-1]["metadata"]["command"], rows[-1]["metadata"]["superseded"]) == ("force-stop", "start")
    # The superseded start has no further effect.
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {}
    assert check(stack, fresh_id)["log_count"] == 2


def test_a_force_stop_that_supersedes_a_start_is_completed_by_its_event(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that stops belongs to the superseded start, and is not yet the container's task."""
    monkeypatch.setattr(stack.emulator.ecs, "_stop_delay", timedelta(seconds=2.5))
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    accepted(api, fresh_id, "start", "stopped")
    assert api.post(fresh_id, "force-stop").status_code == 202
    settled(api, fresh_id, "stopped")
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["triggered_by"]) == ("stopped", "user")
    assert (row["metadata"]["command"], row["metadata"]["superseded"]) == ("force-stop", "start")
    assert row["duration_ms"] >= 2000
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_starts")
@pytest.mark.parametrize("by", ["event", "sweep"])
def test_a_restart_whose_start_takes_longer_is_completed(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, by: str
) -> None:
    running(stack, seeder, fresh_id)
    if by == "event":
        accepted(api, fresh_id, "restart", "stopped")
    else:
        with stack.eventbridge.losing_events():
            accepted(api, fresh_id, "restart", "stopped")
            eventually(lambda: [t for t in stack.emulator.ecs.live(fresh_id) if t.last_status == "RUNNING"])
            assert make_overdue(stack, fresh_id)
            assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"completed": 1}
    settled(api, fresh_id, "running")
    rows = api.rows(fresh_id)[2:]
    assert [(row["from_status"], row["to_status"]) for row in rows] == [("running", "stopped"), ("stopped", "running")]
    assert {row["metadata"]["command"] for row in rows} == {"restart"}
    assert len({row["metadata"]["operation_id"] for row in rows}) == 1
    check(stack, fresh_id)


# --- Events of commands on hosts --------------------------------------------------------------------------------------

HOST_OPERATIONS = [
    (["stopped", "running"], "pause", "paused", ["paused"]),
    (["stopped", "running", "paused"], "resume", "running", ["running"]),
    (["stopped", "running", "paused"], "stop", "stopped", ["stopped"]),
    (["stopped", "running", "paused"], "restart", "running", ["stopped", "running"]),
]


@pytest.mark.usefixtures("slow_hosts")
@pytest.mark.parametrize(("before", "operation", "status", "adds"), HOST_OPERATIONS)
def test_an_operation_that_waits_for_a_host_is_completed_by_its_event(
    stack: RecordingStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    before: list[str],
    operation: str,
    status: str,
    adds: list[str],
) -> None:
    seeder.add(fresh_id, before)
    assert api.post(fresh_id, operation, headers={"Idempotency-Key": fresh_id}).status_code == 202
    settled(api, fresh_id, status)
    rows = api.rows(fresh_id)[len(before) :]
    assert [row["to_status"] for row in rows] == adds
    assert {(row["triggered_by"], row["metadata"]["command"]) for row in rows} == {("user", operation)}
    assert rows[0]["duration_ms"] >= 2000
    # The host has received one command, and a retry with the key returns the same response.
    assert len(commands_for(stack, fresh_id)) == 1
    assert api.post(fresh_id, operation, headers={"Idempotency-Key": fresh_id}).status_code == 202
    check(stack, fresh_id)


def test_the_event_of_a_completed_operation_is_stale(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    for operation, status in (("pause", "paused"), ("resume", "running"), ("force-stop", "stopped")):
        # On a busy machine, the operation may take longer than the wait of one second.
        assert api.post(fresh_id, operation).status_code in (200, 202)
        settled(api, fresh_id, status)
        before = all_rows(stack, fresh_id)
        for _ in range(2):
            event = success_event(stack, fresh_id)
            assert stack.invoke("CommandFinishedFunction", event) == {"effect": "stale"}
        assert all_rows(stack, fresh_id) == before


@pytest.mark.usefixtures("slow_hosts")
def test_the_command_of_another_operation_completes_nothing(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    accepted(api, fresh_id, "pause", "running")
    settled(api, fresh_id, "paused")
    old = success_event(stack, fresh_id)
    accepted(api, fresh_id, "resume", "paused")
    assert stack.invoke("CommandFinishedFunction", old) == {"effect": "stale"}
    assert api.get(fresh_id).json()["data"]["status"] == "paused"
    settled(api, fresh_id, "running")
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_hosts")
def test_a_task_that_has_stopped_is_not_recorded_as_paused(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task's event may be late, so the function that handles the command's event first describes the task."""
    running(stack, seeder, fresh_id)
    # Deliver no event except the one below.
    monkeypatch.setattr(stack, "_events", False)
    accepted(api, fresh_id, "pause", "running")
    event = success_event(stack, fresh_id)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.exit(task.arn, 3)
    stopped_event(stack, fresh_id)
    assert stack.invoke("CommandFinishedFunction", event) == {"effect": "settled"}
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["metadata"]["exit_code"]) == ("failed", 3)
    assert check(stack, fresh_id)["status"] == "failed"


@pytest.mark.usefixtures("slow_hosts")
def test_a_command_that_failed_is_left_to_the_sweep(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    stack.emulator.ssm.fail_next(1, "Failed", 1)
    accepted(api, fresh_id, "pause", "running")
    (command,) = eventually(lambda: [each for each in commands_for(stack, fresh_id) if each.ended])
    failed = {"detail": {"command-id": command.command_id, "instance-id": command.instance_id, "status": "Success"}}
    # The event claims success, but the function queries the command itself.
    assert stack.invoke("CommandFinishedFunction", failed) == {"effect": "foreign"}
    assert api.get(fresh_id).json()["data"]["pending_operation"]["operation"] == "pause"
    # Systems Manager does not show a command at once.
    monkeypatch.setattr(stack.emulator.ssm, "_delay", timedelta(seconds=0.2))
    make_overdue(stack, fresh_id)
    stack.invoke("RecoverFunction", {"sweep": "operations"})
    settled(api, fresh_id, "paused")
    check(stack, fresh_id)


def test_a_foreign_command_is_ignored(stack: RecordingStack, seeder: Seeder, fresh_id: str) -> None:
    task = stack.client("ecs").describe_tasks(cluster="default", tasks=[running(stack, seeder, fresh_id)])["tasks"][0]
    ssm = stack.client("ssm")
    event = {"detail": {"command-id": "e8d3c0e4-71f7-4491-898f-c9b35bee5f3b", "instance-id": INSTANCE}}
    assert stack.invoke("CommandFinishedFunction", event) == {"effect": "foreign"}
    ours = f"Longshore operation {'5e' * 12}, container {'0f' * 12}"
    for comment in ("", f"container {fresh_id}", ours, f"{ours}, command x", f"{ours}, command 1"):
        sent = ssm.send_command(
            DocumentName="longshore-HostCommandDocument",
            InstanceIds=[INSTANCE],
            Parameters=parameters(
                "unpause", task["containers"][0]["runtimeId"], container=fresh_id, expires=FAR_FUTURE
            ),
            Comment=comment,
        )["Command"]
        eventually(partial(is_finished, stack, sent["CommandId"]))
        event = {"detail": {"command-id": sent["CommandId"], "instance-id": INSTANCE}}
        effect = "stale" if comment.endswith("command 1") else "foreign"
        assert stack.invoke("CommandFinishedFunction", event) == {"effect": effect}


def test_an_event_is_retried_if_its_command_cannot_be_read(
    stack: RecordingStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    assert api.post(fresh_id, "pause").status_code == 200
    event = success_event(stack, fresh_id)
    stack.emulator.faults.add("ssm", "GetCommandInvocation", "InternalServerError", status=500, times=None)
    try:
        with pytest.raises(FunctionError, match="ExternalServiceError"):
            stack.invoke("CommandFinishedFunction", event)
    finally:
        stack.emulator.faults.clear()
    assert stack.invoke("CommandFinishedFunction", event) == {"effect": "stale"}
