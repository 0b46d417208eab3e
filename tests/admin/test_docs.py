"""docs/administer.md: the examples print the documented output, and the policy allows exactly the calls made."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from longshore.domain.lifecycle import Operation
from longshore.domain.schedules import ScheduleSettings

from admin import checks
from admin.cli import main
from local.demo_services import ON_FARGATE, seed_services
from local.emulator import Call
from local.seed import INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack
from local.stack_file import announced

PAGE = Path(__file__).resolve().parents[2] / "docs" / "administer.md"
COMMAND = "python -m admin --local "


def examples() -> list[tuple[str, str]]:
    """Return the commands of the page's console blocks in order, each with its documented output."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def shape(printed: str) -> list[str]:
    """Return the lines without variable ids and times, sorted, because stdout and stderr are separate."""
    known = {PROJECT, container_id(12)}
    text = re.sub(r"\b[0-9a-f]{32}\b", "<task>", printed)
    text = re.sub(r"\b[0-9a-f]{24}\b", lambda found: found[0] if found[0] in known else "<id>", text)
    return sorted(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "<time>", text).splitlines())


@pytest.fixture
def scene(stack: LocalStack) -> None:
    """Create the tasks that the examples use: a family with two tasks, one started by a service."""
    Seeder(stack).unmanaged_tasks("shop")


def used(calls: Iterable[Call]) -> set[str]:
    """Return the IAM actions that the calls need."""
    actions = set()
    for call in calls:
        if call.operation == "TransactWriteItems":
            actions |= {f"dynamodb:{kind}Item" for item in call.parameters["TransactItems"] for kind in item}
        elif call.operation == "Invoke":
            actions.add("lambda:InvokeFunction")
        else:
            actions.add(f"{call.service}:{call.operation}")
        if call.operation == "PutRule":
            actions.add("events:TagResource")
        if call.operation == "UpdateSchedule":
            actions.add("iam:PassRole")
    return actions


@pytest.mark.usefixtures("scene")
def test_the_examples(
    stack: LocalStack, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `export` writes files.
    monkeypatch.chdir(tmp_path)
    table = stack.table_name("ContainersTable")
    documented = examples()
    assert len(documented) == 29
    # The examples check three containers.
    assert len(stack.client("dynamodb").scan(TableName=table)["Items"]) == 2
    checked = 0
    with announced(stack):
        for command, printed in documented:
            assert command.startswith(COMMAND)
            if " doctor " in command and not checked:
                checked = 1
                _corrupt(stack)
            capsys.readouterr()
            code = main(shlex.split(command.removeprefix("python -m admin ")))
            out, err = capsys.readouterr()
            assert code == ("COUNTER_WRONG" in printed and "repaired" not in printed), command
            assert shape(out + err) == shape(printed), command


def _corrupt(stack: LocalStack) -> None:
    """Create the fault that the example finds."""
    _change(stack, container_id(12), "log_count", {"N": "3"})


def _change(stack: LocalStack, identity: str, attribute: str, value: Any) -> None:
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": identity}},
        UpdateExpression="SET #attribute = :wrong",
        ExpressionAttributeNames={"#attribute": attribute},
        ExpressionAttributeValues={":wrong": value},
    )


@pytest.mark.usefixtures("no_waiting")
def test_the_policy_allows_exactly_the_calls(stack: LocalStack, run: Any, fresh_id: str) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    statements = json.loads(text)["Statement"]
    permitted = {action for each in statements for action in _listed(each["Action"])}

    calls: list[Call] = []

    def recorded(*arguments: str) -> None:
        stack.emulator.calls.clear()
        assert run(*arguments).code == 0, arguments
        calls.extend(stack.emulator.calls)

    _use_everything(stack, recorded, fresh_id)
    # The functions run in this process, so their calls are recorded too.
    functions = {"ecs:StopTask", "ecs:RunTask", "ecs:DescribeContainerInstances"}
    assert used(calls) - functions == permitted - {"cloudformation:DescribeStacks"}


def _listed(actions: Any) -> list[str]:
    return actions if isinstance(actions, list) else [actions]


_ON_FARGATE = ["register", "--project", PROJECT, "--name", "y", "--task-definition", "web-fargate"]


def _use_everything(stack: LocalStack, run: Callable[..., None], identity: str) -> None:
    Seeder(stack).schedule("used", ScheduleSettings(Operation.STOP, "rate(1 day)"))
    changed = f"c0{identity[2:]}"
    Seeder(stack).add(changed, ["stopped"])
    seed_services(stack)
    for arguments in [
        ["register", "--project", PROJECT, "--name", "x", "--task-definition", "web"],
        [*_ON_FARGATE, "--capacity-provider", "FARGATE", "--subnet", "subnet-0a1b2c3d"],
        ["adopt", "--project", PROJECT, "--services", "--yes"],
        ["grant", "sam", PROJECT, "viewer"],
        ["revoke", "sam", PROJECT],
        ["ban", "sam"],
        ["unban", "sam"],
        ["token", "mint", "sam"],
        ["schedule", "add", "used", "--rate", "1 day", "--all"],
        ["schedule", "list"],
        ["schedule", "pause", "used"],
        ["schedule", "resume", "used"],
        ["schedule", "remove", "used"],
        ["schedule", "pause", f"{PROJECT}.used"],
        ["schedule", "remove", f"{PROJECT}.used"],
        ["containers"],
        ["members"],
        ["bans"],
        ["projects"],
        ["name-project", PROJECT, "x"],
        ["name-project", PROJECT],
        ["rename", changed, "x"],
        ["change", changed, "--server", INSTANCE],
        ["move", changed, "e" * 24],
        ["export", changed],
        ["export", "--project", PROJECT],
        ["unregister", changed, "--yes"],
    ]:
        run(*arguments)
    _adopt_a_task_that_exits(stack, run)
    Seeder(stack).add(identity, ["stopped", "running"] * 10)
    (task,) = stack.emulator.ecs.live(started_by=identity)
    stack.emulator.ecs.forget(task.arn)
    run("doctor", identity, "--repair")
    Seeder(stack).add(identity, ["stopped", "running"] * 10)
    _change(stack, identity, "log_count", {"N": "3"})
    run("doctor", identity, "--repair")
    run("doctor", "--all")
    _change_a_count(stack)
    run("doctor", "--all", "--repair")


def _change_a_count(stack: LocalStack) -> None:
    with stack.eventbridge.losing_events():
        stack.client("ecs").update_service(cluster="default", service=ON_FARGATE, desiredCount=2)


def _adopt_a_task_that_exits(stack: LocalStack, run: Callable[..., None]) -> None:
    Seeder(stack).task_definition("used", launch_type="FARGATE")
    task = stack.emulator.ecs.adopt_running("default", "used", launch_type="FARGATE")
    ec2 = stack.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    task.attachments[0]["details"][1]["value"] = interface

    def end(parameters: dict[str, Any]) -> bool:
        if task.live:
            stack.emulator.ecs.exit(task.arn, 0)
        return True

    stack.emulator.faults.add("dynamodb", "TransactWriteItems", delay=0.3, match=end)
    run("adopt", "--project", PROJECT, "--family", "used", "--yes")


def test_all_fault_codes_are_documented() -> None:
    rows = [line.split("|")[2] for line in PAGE.read_text().splitlines() if line.startswith("|")]
    named = [code for row in rows for code in re.findall(r"`([A-Z]+_?[A-Z]+)`", row)]
    assert sorted(named) == sorted(checks.Code)


def test_the_grace_period_is_documented() -> None:
    assert checks.GRACE.total_seconds() == 120
    assert "are given two minutes before" in PAGE.read_text()
