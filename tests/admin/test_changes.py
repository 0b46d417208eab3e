"""rename, move, change and unregister: conditional writes that refuse pending operations and tolerate races."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from corruption import OLD, item, left_pending, remove_rows
from invariants import all_rows, check
from longshore.aws.store import ConditionFailed
from longshore.domain.clock import SystemClock, to_text
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import Status
from longshore.domain.models import Change
from longshore.domain.pending import Trigger

from admin.adoption import store_of
from admin.changes import Changes
from admin.target import local
from local.emulator import Emulator
from local.seed import GONE_INSTANCE, INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack

OTHER = "e" * 23 + "2"

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps")


@pytest.fixture
def other(seeder: Seeder) -> str:
    """Another project in which `operator` may operate."""
    seeder.grant("operator", OTHER, "operator")
    return OTHER


# --- rename -----------------------------------------------------------------------------------------------------------


def test_a_container_is_renamed_while_an_operation_is_pending(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    left_pending(stack, seeder, fresh_id)
    renamed = run("rename", fresh_id, "billing")
    assert renamed.err == f"The container {fresh_id} has the name billing, and had the name demo.\n"
    view = api.get(fresh_id).json()["data"]
    assert (view["name"], view["pending_operation"]["operation"]) == ("billing", "stop")


def test_a_duplicate_name_is_a_warning(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"], name="twin-1")
    orders = container_id(11)
    ran = run("rename", fresh_id, "orders")
    assert (ran.code, ran.err.splitlines()[1]) == (
        0,
        f"warning: {orders} of the same project also has the name orders.",
    )
    registered = run("register", "--project", PROJECT, "--name", "payments", "--task-definition", "web")
    assert f"warning: {container_id(12)} of the same project also has the name payments." in registered.err
    assert "warning" not in run("rename", fresh_id, f"twin {fresh_id}").err


# --- move -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statuses", [["stopped"], ["stopped", "running"], ["stopped", "running", "expired"]])
def test_a_container_is_moved(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str, other: str, statuses: list[str]
) -> None:
    """Its rows stay in the history of the previous project."""
    seeder.add(fresh_id, statuses, name=fresh_id)
    moved = run("move", fresh_id, other)
    said = f"The container {fresh_id} belongs to the project {other}, and belonged to the project {PROJECT}.\n"
    assert (moved.code, moved.err) == (0, said)
    assert api.get(fresh_id, "viewer").status_code == 404
    assert api.get(fresh_id).json()["data"]["project_id"] == other
    assert {row["project_id"] for row in all_rows(stack, fresh_id)} == {PROJECT}
    check(stack, fresh_id)
    if statuses[-1] == "running":
        assert api.post(fresh_id, "stop").status_code == 200
        assert all_rows(stack, fresh_id)[-1]["project_id"] == other
    again = json.loads(run("move", fresh_id, other, "--json").out)
    assert again == {"id": fresh_id, "project_id": other, "previous_project_id": other}
    check(stack, fresh_id)


@pytest.mark.parametrize(
    "arguments", [["move", OTHER], ["change", "--task-definition", "web:1"], ["unregister", "--yes"]], ids=str
)
def test_a_pending_operation_is_a_refusal(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, arguments: list[str]
) -> None:
    left_pending(stack, seeder, fresh_id)
    before = item(stack, fresh_id)
    refused = run(arguments[0], fresh_id, *arguments[1:])
    assert (refused.code, refused.out) == (1, "")
    assert "because the operation stop is pending since 20" in refused.err
    assert item(stack, fresh_id) == before


@pytest.mark.parametrize("arguments", [["move", OTHER], ["change", "--task-definition", "web:1"]], ids=str)
def test_a_worker_with_an_older_snapshot_cannot_write(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, arguments: list[str]
) -> None:
    """Its commit would write the keys of the previous project, and its claim would run the previous runtime."""
    seeder.add(fresh_id, ["stopped", "running", "failed"])
    store = store_of(local())
    before = store.container(fresh_id)
    assert before is not None
    assert run(arguments[0], fresh_id, *arguments[1:]).code == 0
    now = SystemClock().now()
    seen = Change(Status.RUNNING, now, Trigger.SYSTEM)
    assert isinstance(store.commit_observed(before, *append(before, seen, new_id(), now)), ConditionFailed)
    check(stack, fresh_id)


@pytest.mark.parametrize("arguments", [["move", OTHER], ["unregister", "--yes"]], ids=str)
def test_a_change_in_between_is_read_again(
    run: Any,
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start between the read and the write refuses the write. The next read finds the container running."""
    seeder.add(fresh_id, ["stopped"])
    write = Changes._write
    refused: list[bool] = []

    def after_a_start(self: Changes, *given: Any) -> bool:
        if not refused:
            assert api.post(fresh_id, "start").status_code == 200
        refused.append(write(self, *given))
        return refused[-1]

    monkeypatch.setattr(Changes, "_write", after_a_start)
    ran = run(arguments[0], fresh_id, *arguments[1:])
    if arguments[0] == "move":
        assert (ran.code, refused) == (0, [False, True])
    else:
        assert (ran.code, refused, "is running: stop it first." in ran.err) == (1, [False], True)
    check(stack, fresh_id)


@pytest.mark.parametrize(
    ("operation", "arguments"), [("UpdateItem", ["move", OTHER]), ("DeleteItem", ["unregister", "--yes"])], ids=str
)
def test_a_lost_response_is_retried(
    run: Any, seeder: Seeder, emulator: Emulator, fresh_id: str, operation: str, arguments: list[str]
) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("dynamodb", operation, "drop", after_effect=True)
    assert run(arguments[0], fresh_id, *arguments[1:]).code == 0


def test_a_failed_write_says_that_the_change_is_unknown(
    run: Any, seeder: Seeder, emulator: Emulator, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("dynamodb", "UpdateItem", "AccessDeniedException", status=400, times=None)
    failed = run("move", fresh_id, OTHER)
    assert failed.code == 3
    assert "The container may or may not have been changed: repeat the command." in failed.err


# --- change -----------------------------------------------------------------------------------------------------------


def test_the_next_start_uses_the_new_runtime(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    seeder.task_definition("worker")
    seeder.add(fresh_id, ["stopped"])
    constraint = "attribute:ecs.os-type == linux"
    placed = ("--task-definition", "worker", "--server", INSTANCE, "--placement-constraint", constraint)
    changed = run("change", fresh_id, *placed)
    assert (changed.code, changed.err) == (
        0,
        f"The container {fresh_id} was changed: its next start uses the new values.\n",
    )
    assert api.post(fresh_id, "start").status_code == 200
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    assert task.definition.family == "worker"
    view = api.get(fresh_id).json()["data"]
    assert (view["task_definition"], view["server_id"]) == ("worker", INSTANCE)
    # While it runs, everything but the launch type and the server can be changed.
    assert run("change", fresh_id, "--no-placement-constraints", "--task-definition", "web").code == 0
    assert run("change", fresh_id, "--no-placement-constraints").err.endswith("already has these values.\n")
    refused = run("change", fresh_id, "--no-server")
    assert (refused.code, "It is running: stop it first." in refused.err) == (1, True)
    assert api.post(fresh_id, "stop").status_code == 200
    values = json.loads(run("change", fresh_id, "--no-server", "--json").out)
    assert (values["changed"], values["server_id"], values["runtime"]["task_definition"]) == (True, None, "web")
    assert "server_instance_id" not in check(stack, fresh_id)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "specify what to change"),
        (["--no-server", "--server", INSTANCE], 2, "cannot be combined"),
        (["--task-definition", "nowhere"], 1, "The task definition nowhere does not exist."),
        (["--launch-type", "fargate"], 1, "The task definition web supports EC2, not FARGATE."),
        (["--subnet", "subnet-0a1b2c3d"], 1, "does not have network mode awsvpc"),
        (["--server", GONE_INSTANCE], 1, f"The server {GONE_INSTANCE} is not an instance of the cluster default."),
        (["--server", "web-1"], 1, "The server must look like i-"),
    ],
)
def test_an_invalid_runtime_changes_nothing(
    run: Any, contents: Callable[[], Any], arguments: list[str], code: int, message: str
) -> None:
    before = contents()
    refused = run("change", container_id(11), *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert contents() == before


def test_an_expired_container_cannot_be_changed(run: Any, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running", "expired"])
    assert "has expired" in run("change", fresh_id, "--task-definition", "web:1").err


# --- unregister -------------------------------------------------------------------------------------------------------


def test_a_container_is_unregistered_and_its_history_stays(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running", "stopped"])
    rows = all_rows(stack, fresh_id)
    would = run("unregister", fresh_id)
    assert would.err.endswith("(demo, stopped) would be unregistered. Nothing was changed: add --yes.\n")
    assert api.get(fresh_id).status_code == 200
    done = run("unregister", fresh_id, "--yes")
    assert (done.code, done.err) == (0, f"Unregistered the container {fresh_id}. Its history stays.\n")
    assert api.get(fresh_id).status_code == 404
    assert all_rows(stack, fresh_id) == rows
    again = run("unregister", fresh_id, "--yes")
    assert (again.code, again.err) == (1, f"error: The container {fresh_id} does not exist.\n")
    register = ("register", "--project", PROJECT, "--name", "x", "--task-definition", "web", "--id", fresh_id)
    refused = run(*register)
    assert (refused.code, "belongs to a container that was unregistered" in refused.err) == (1, True)
    assert api.get(fresh_id).status_code == 404
    remove_rows(stack, fresh_id)


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_live_container_is_not_unregistered(run: Any, seeder: Seeder, fresh_id: str, status: str) -> None:
    seeder.add(fresh_id, ["stopped", "running", *(["paused"] if status == "paused" else [])])
    refused = run("unregister", fresh_id, "--yes")
    assert (refused.code, refused.err) == (1, f"error: The container {fresh_id} is {status}: stop it first.\n")


def test_a_container_whose_task_may_run_is_not_unregistered(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    """A start may have failed although its task runs, and ECS may show a new task late."""
    seeder.add(fresh_id, [*OLD, "failed"])
    task = stack.emulator.ecs.adopt_running("default", "web", started_by=fresh_id)
    refused = run("unregister", fresh_id, "--yes")
    assert (refused.code, refused.err.startswith(f"error: The task {task.id} of the container")) == (1, True)
    stack.emulator.ecs.exit(task.arn, 0)
    key, tasks = (
        {"id": {"S": fresh_id}},
        {":tasks": {"M": {"t": {"M": {"called_from": {"S": to_text(SystemClock().now())}}}}}},
    )
    table, dynamodb = stack.table_name("ContainersTable"), stack.client("dynamodb")
    dynamodb.update_item(
        TableName=table, Key=key, UpdateExpression="SET tasks = :tasks", ExpressionAttributeValues=tasks
    )
    assert "may still be alive" in run("unregister", fresh_id, "--yes").err
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression="REMOVE tasks")
    assert run("unregister", fresh_id, "--yes").code == 0


@pytest.mark.parametrize("command", ["rename", "move", "change", "unregister"])
def test_an_unknown_container(run: Any, fresh_id: str, command: str) -> None:
    more = {"rename": ["x"], "move": [OTHER], "change": ["--no-server"], "unregister": ["--yes"]}[command]
    refused = run(command, fresh_id, *more)
    assert (refused.code, refused.err) == (1, f"error: The container {fresh_id} does not exist.\n")
    assert "must be 24 characters" in run(command, "507f", *more).err
