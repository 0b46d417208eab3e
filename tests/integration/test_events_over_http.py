"""What happens when nobody asks for it: tasks that end, events that come as they like, servers that go, drift.

The wait is short here, so that whatever takes longer is completed by an event or a sweep.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from api_client import Api
from conftest import QUICK
from host_script import FAR_FUTURE, parameters
from invariants import all_rows, check
from longshore.engine.giving_up import LAST_ATTEMPT
from settling import PATIENCE, eventually, make_overdue, set_looks_back

from local.runtime import FunctionError
from local.seed import INSTANCE, Seeder
from local.stack import LocalStack

OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
PARAMETERS = {"WaitSeconds": "1", "ThrottleRate": "100000", "ThrottleBurst": "100000"}
TASKS: dict[str, dict[str, Any]] = {
    "never": {"labels": {"simulate.start": "never"}},
    "unpullable": {"labels": {"simulate.start": "fail"}},
    # Longer than the wait.
    "stubborn": {"labels": {"simulate.ignore-sigterm": "true"}, "stopTimeout": 3},
}
# A change follows the one before by less than a minute, and the first is a minute old for each. So the last one of
# these is more than two minutes old: no longer too young for the drift sweep.
LONG_RUNNING = ["stopped", "running"] * 15

# Every event of the module's stack, those of ECS and those of Systems Manager each in their order.
TOLD: list[dict[str, Any]] = []


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    options = {**QUICK, "on_event": TOLD.append}
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=options) as local:
        for family, settings in TASKS.items():
            Seeder(local).task_definition(family, **settings)
        yield local
        assert local.dead_letters == []


@pytest.fixture
def slow_starts(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task takes longer to come up than the wait."""
    monkeypatch.setattr(stack.emulator.ecs, "_run_delay", timedelta(seconds=2.5))


@pytest.fixture
def slow_hosts(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host takes longer to run a command than the wait."""
    monkeypatch.setattr(stack.emulator.ssm, "_delay", timedelta(seconds=2.5))


def settled(api: Api, container: str, status: str) -> dict[str, Any]:
    """The container, once it has the status and nothing is pending."""
    return eventually(
        lambda: api.get(container).json()["data"],
        lambda seen: seen["status"] == status and seen["pending_operation"] is None,
    )


def running(stack: LocalStack, seeder: Seeder, container: str) -> str:
    """Add a running container. Returns its task's ARN."""
    seeder.add(container, ["stopped", "running"])
    (task,) = stack.emulator.ecs.live(started_by=container)
    return task.arn


def told_of(container: str) -> list[dict[str, Any]]:
    return [event for event in list(TOLD) if event["detail"].get("startedBy") == container]


def commands_for(stack: LocalStack, container: str) -> list[Any]:
    """The commands that were sent to hosts for the container."""
    return [each for each in stack.emulator.ssm.invocations() if f"container {container}," in each.comment]


def ended(stack: LocalStack, command_id: str) -> bool:
    return all(each.ended for each in stack.emulator.ssm.invocations() if each.command_id == command_id)


def told_of_success(container: str, stack: LocalStack) -> dict[str, Any]:
    """The event of the container's newest command, once it has succeeded."""
    command = commands_for(stack, container)[-1].command_id

    def fits(event: dict[str, Any]) -> bool:
        return (event["detail"].get("command-id"), event["detail"].get("status")) == (command, "Success")

    return copy.deepcopy(eventually(lambda: [event for event in list(TOLD) if fits(event)])[0])


def told_of_stop(container: str) -> dict[str, Any]:
    """The event of the end of the container's task, once it was sent."""
    events = eventually(
        lambda: [event for event in told_of(container) if event["detail"]["lastStatus"] == "STOPPED"],
    )
    return copy.deepcopy(events[0])


def tell(stack: LocalStack, event: dict[str, Any]) -> str:
    """Deliver a task event, and return its effect."""
    return str(stack.invoke("TaskStateChangeFunction", event)["effect"])


# --- A task ends by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), [(137, "failed"), (1, "failed"), (0, "stopped")])
def test_a_task_that_ends_by_itself_is_in_the_history(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, code: int, status: str
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


# --- Events come as they like -----------------------------------------------------------------------------------------


def test_old_events_change_nothing_however_often_and_in_whatever_order(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation in ("start", "restart", "stop", "start"):
        api.post(fresh_id, operation)
        settled(api, fresh_id, "stopped" if operation == "stop" else "running")
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    eventually(
        lambda: [event for event in told_of(fresh_id) if event["resources"] == [task.arn]], lambda s: len(s) == 2
    )
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    events = told_of(fresh_id) * 2
    random.Random(1).shuffle(events)
    rows = api.rows(fresh_id)

    effects = {tell(stack, event) for event in events if event["detail"]["lastStatus"] in ("RUNNING", "STOPPED")}

    # A late RUNNING of a task that has stopped since is told to stop, which it has.
    assert effects <= {"stale", "stray-stopped"}
    assert api.rows(fresh_id) == rows
    assert [live.arn for live in stack.emulator.ecs.live(started_by=fresh_id)] == [task.arn]
    assert check(stack, fresh_id)["status"] == "running"


def test_the_end_before_the_beginning(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    with stack.eventbridge.losing_events():
        seeder.add(fresh_id, ["stopped"])
        api.post(fresh_id, "start")
        settled(api, fresh_id, "running")
        (task,) = stack.emulator.ecs.live(started_by=fresh_id)
        stack.emulator.ecs.exit(task.arn, 3)
        stopped = told_of_stop(fresh_id)
    (began,) = [event for event in told_of(fresh_id) if event["detail"]["lastStatus"] == "RUNNING"]
    assert [tell(stack, event) for event in (stopped, began, stopped, began)] == ["recorded", "stale", "stale", "stale"]
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
def test_a_foreign_task_is_no_business_of_ours(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, change: dict[str, Any]
) -> None:
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(running(stack, seeder, fresh_id), 1)
        event = told_of_stop(fresh_id)
    event["detail"] = {k: v for k, v in {**event["detail"], **change}.items() if v is not None}
    assert tell(stack, event) == "foreign"
    assert len(all_rows(stack, fresh_id)) == 2


def test_a_version_that_is_known_already_is_stale(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    with stack.eventbridge.losing_events():
        seeder.add(fresh_id, ["stopped"])
        api.post(fresh_id, "start")
        settled(api, fresh_id, "running")
        (task,) = stack.emulator.ecs.live(started_by=fresh_id)
        stack.emulator.ecs.exit(task.arn, 1)
        event = told_of_stop(fresh_id)
    known = check_version(stack, fresh_id)
    assert known > 0
    assert tell(stack, {**event, "detail": {**event["detail"], "version": known}}) == "stale"
    assert len(all_rows(stack, fresh_id)) == 2
    assert tell(stack, event) == "recorded"


def check_version(stack: LocalStack, container: str) -> int:
    item = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container}}
    )["Item"]
    return int(item["task_version"]["N"])


def test_fields_that_nobody_knows_are_ignored(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(running(stack, seeder, fresh_id), 1)
        event = told_of_stop(fresh_id)
    event["replay-name"] = "a replay"
    event["detail"] |= {"ofTheFuture": {"a": [1]}, "ephemeralStorage": {"sizeInGiB": 21}}
    event["detail"]["containers"][0] |= {"managedAgents": [{"name": "x"}], "ofTheFuture": None}
    assert tell(stack, event) == "recorded"
    assert check(stack, fresh_id)["status"] == "failed"


# --- What takes longer than the wait ----------------------------------------------------------------------------------


def accepted(api: Api, container: str, operation: str, status: str) -> dict[str, Any]:
    """Ask for an operation that answers 202, which GET then shows as pending. Returns the answer's data."""
    response = api.post(container, operation)
    assert response.status_code == 202, response.text
    body = response.json()
    assert body["message"] == "Container operation accepted"
    data: dict[str, Any] = body["data"]
    assert (data["status"], data["pending_operation"]["operation"]) == (status, operation)
    shown = api.get(container).json()["data"]
    assert (shown["status"], shown["pending_operation"]) == (status, data["pending_operation"])
    assert shown["allowed_operations"] == ["force-stop"]
    return data


def test_a_task_that_never_comes_up_fails_in_the_end(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    assert accepted(api, fresh_id, "start", "stopped")["message"] == "Container is starting"
    # A sweep waits for the effect, so most of them are left out.
    assert make_overdue(stack, fresh_id, attempts=LAST_ATTEMPT - 2)
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"accepted": 1}
    assert make_overdue(stack, fresh_id, attempts=LAST_ATTEMPT - 1)
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {"failed": 1}
    settled(api, fresh_id, "failed")
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("stopped", "failed", "user")
    assert row["metadata"]["command"] == "start"
    assert row["metadata"]["reason"].startswith(f"Gave up after {LAST_ATTEMPT} attempts")
    # The one task that all these tries have run does not come up later.
    eventually(lambda: stack.emulator.ecs.live(started_by=fresh_id), lambda live: not live)
    assert len([task for task in stack.emulator.ecs.tasks() if task.started_by == fresh_id]) == 1
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_starts")
def test_an_image_that_cannot_be_pulled_after_the_wait(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
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
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    accepted(api, fresh_id, "start", "stopped")
    settled(api, fresh_id, "running")
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["triggered_by"], row["metadata"]["command"]) == ("running", "user", "start")
    assert row["duration_ms"] >= 2000
    check(stack, fresh_id)


def stubborn(stack: LocalStack, seeder: Seeder, container: str) -> None:
    """Add a running container whose process ignores SIGTERM."""
    seeder.add(container, ["stopped", "running"], task_definition="stubborn")


def test_a_stop_that_takes_longer_is_completed_by_its_event(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    stubborn(stack, seeder, fresh_id)
    assert accepted(api, fresh_id, "stop", "running")["message"] == "Container is stopping"
    settled(api, fresh_id, "stopped")
    row = api.rows(fresh_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("running", "stopped", "user")
    assert (row["metadata"]["command"], row["metadata"]["exit_code"]) == ("stop", 137)
    check(stack, fresh_id)


def test_force_stop_supersedes_a_stop(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    stubborn(stack, seeder, fresh_id)
    accepted(api, fresh_id, "stop", "running")
    assert api.post(fresh_id, "force-stop").status_code in (200, 202)
    settled(api, fresh_id, "stopped")
    rows = api.rows(fresh_id)
    assert [row["to_status"] for row in rows] == ["stopped", "running", "stopped"]
    facts = rows[-1]["metadata"]
    assert (facts["command"], facts["superseded"], facts["exit_code"]) == ("force-stop", "stop", 137)
    check(stack, fresh_id)


def test_force_stop_supersedes_a_start(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    accepted(api, fresh_id, "start", "stopped")
    assert api.post(fresh_id, "force-stop").status_code in (200, 202)
    settled(api, fresh_id, "stopped")
    eventually(lambda: stack.emulator.ecs.live(started_by=fresh_id), lambda live: not live)
    rows = api.rows(fresh_id)
    assert [row["to_status"] for row in rows] == ["stopped", "stopped"]
    assert (rows[-1]["metadata"]["command"], rows[-1]["metadata"]["superseded"]) == ("force-stop", "start")
    # What the superseded start may still do is of no effect.
    assert stack.invoke("RecoverFunction", {"sweep": "operations"}) == {}
    assert check(stack, fresh_id)["log_count"] == 2


def test_force_stop_of_a_start_that_takes_longer_is_completed_by_its_event(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that stops is not the container's yet: it is the superseded start's."""
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
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, by: str
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


# --- A host has run a command -----------------------------------------------------------------------------------------

WAITING_FOR_A_HOST = [
    (["stopped", "running"], "pause", "paused", ["paused"]),
    (["stopped", "running", "paused"], "resume", "running", ["running"]),
    (["stopped", "running", "paused"], "stop", "stopped", ["stopped"]),
    (["stopped", "running", "paused"], "restart", "running", ["stopped", "running"]),
]


@pytest.mark.usefixtures("slow_hosts")
@pytest.mark.parametrize(("before", "operation", "status", "adds"), WAITING_FOR_A_HOST)
def test_what_waits_for_a_host_is_completed_by_its_event(
    stack: LocalStack,
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
    # Nobody has asked the host a second time, and nobody is told anything else a second time.
    assert len(commands_for(stack, fresh_id)) == 1
    assert api.post(fresh_id, operation, headers={"Idempotency-Key": fresh_id}).status_code == 202
    check(stack, fresh_id)


def test_a_command_that_was_waited_for_is_no_news(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    for operation in ("pause", "resume", "force-stop"):
        assert api.post(fresh_id, operation).status_code == 200
        before = all_rows(stack, fresh_id)
        for _ in range(2):
            event = told_of_success(fresh_id, stack)
            assert stack.invoke("CommandFinishedFunction", event) == {"effect": "stale"}
        assert all_rows(stack, fresh_id) == before


@pytest.mark.usefixtures("slow_hosts")
def test_the_command_of_another_operation_completes_nothing(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    accepted(api, fresh_id, "pause", "running")
    settled(api, fresh_id, "paused")
    old = told_of_success(fresh_id, stack)
    accepted(api, fresh_id, "resume", "paused")
    assert stack.invoke("CommandFinishedFunction", old) == {"effect": "stale"}
    assert api.get(fresh_id).json()["data"]["status"] == "paused"
    settled(api, fresh_id, "running")
    check(stack, fresh_id)


@pytest.mark.usefixtures("slow_hosts")
def test_a_container_that_has_ended_meanwhile_was_not_paused(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own event may be late: that of the command looks at the task first."""
    running(stack, seeder, fresh_id)
    # No event but the one that is told below.
    monkeypatch.setattr(stack, "_events", False)
    accepted(api, fresh_id, "pause", "running")
    event = told_of_success(fresh_id, stack)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.exit(task.arn, 3)
    told_of_stop(fresh_id)
    assert stack.invoke("CommandFinishedFunction", event) == {"effect": "settled"}
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["metadata"]["exit_code"]) == ("failed", 3)
    assert check(stack, fresh_id)["status"] == "failed"


@pytest.mark.usefixtures("slow_hosts")
def test_a_command_that_failed_is_left_to_the_sweep(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    stack.emulator.ssm.fail_next(1, "Failed", 1)
    accepted(api, fresh_id, "pause", "running")
    (command,) = eventually(lambda: [each for each in commands_for(stack, fresh_id) if each.ended])
    failed = {"detail": {"command-id": command.command_id, "instance-id": command.instance_id, "status": "Success"}}
    # Whatever the event says: the command itself is asked.
    assert stack.invoke("CommandFinishedFunction", failed) == {"effect": "foreign"}
    assert api.get(fresh_id).json()["data"]["pending_operation"]["operation"] == "pause"
    monkeypatch.setattr(stack.emulator.ssm, "_delay", timedelta())
    make_overdue(stack, fresh_id)
    stack.invoke("RecoverFunction", {"sweep": "operations"})
    settled(api, fresh_id, "paused")
    check(stack, fresh_id)


def test_a_foreign_command_is_no_business_of_ours(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
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
        eventually(partial(ended, stack, sent["CommandId"]))
        told = {"detail": {"command-id": sent["CommandId"], "instance-id": INSTANCE}}
        effect = "stale" if comment.endswith("command 1") else "foreign"
        assert stack.invoke("CommandFinishedFunction", told) == {"effect": effect}


def test_a_command_of_which_nothing_can_be_learned_comes_again(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    assert api.post(fresh_id, "pause").status_code == 200
    event = told_of_success(fresh_id, stack)
    stack.emulator.faults.add("ssm", "GetCommandInvocation", "InternalServerError", status=500, times=None)
    try:
        with pytest.raises(FunctionError, match="ExternalServiceError"):
            stack.invoke("CommandFinishedFunction", event)
    finally:
        stack.emulator.faults.clear()
    assert stack.invoke("CommandFinishedFunction", event) == {"effect": "stale"}


# --- A server goes ----------------------------------------------------------------------------------------------------


def test_a_server_that_is_terminated_expires_what_is_bound_to_it(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
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


def sweep(stack: LocalStack) -> dict[str, int]:
    counts: dict[str, int] = stack.invoke("RecoverFunction", {"sweep": "drift"})
    return counts


def test_a_task_that_vanished_is_found(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, LONG_RUNNING)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    # The tests before may have left others.
    assert sweep(stack)["absent"] >= 1
    assert len(api.rows(fresh_id)) == len(LONG_RUNNING)
    # A second look that follows too soon proves nothing.
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


def test_a_task_that_is_shown_again(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """Before a second look has failed nothing is recorded; after it, the container returns to its status."""
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


def test_a_stop_that_no_event_told_of_is_found(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, LONG_RUNNING)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(task.arn, 9)
        told_of_stop(fresh_id)
    assert sweep(stack)["repaired"] >= 1
    row = api.rows(fresh_id)[-1]
    assert (row["to_status"], row["triggered_by"], row["metadata"]["exit_code"]) == ("failed", "recovery", 9)
    check(stack, fresh_id)


def test_what_has_just_changed_is_left_to_the_events(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    arn = running(stack, seeder, fresh_id)
    stack.emulator.ecs.forget(arn)
    sweep(stack)
    assert api.get(fresh_id).json()["data"]["status"] == "running"


def test_a_stray_task_is_stopped(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    stray = stack.emulator.ecs.adopt_running(str(stack.parameters["ClusterName"]), "web", started_by=fresh_id)
    assert sweep(stack)["stray-stopped"] >= 1
    eventually(lambda: stray.live, lambda live: not live)
    assert stray.stop_code == "UserInitiated"
    assert api.get(fresh_id).json()["data"]["status"] == "stopped"
    assert check(stack, fresh_id)["log_count"] == 1
