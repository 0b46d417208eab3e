"""register: writes a container that the API can start, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from invariants import all_rows, check
from longshore.domain.lifecycle import LaunchType
from longshore.domain.runtime import Runtime

from local.emulator import Emulator
from local.seed import INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack

ORDINARY = ("--project", PROJECT, "--name", "invoices", "--task-definition", "web")


def test_a_container_is_registered_and_can_be_started(run: Any, stack: LocalStack, api: Api) -> None:
    done = run("register", *ORDINARY)
    assert (done.code, done.err) == (0, "Registered invoices: it is stopped, and can be started.\n")
    identity = done.out.strip()
    assert re.fullmatch(r"[0-9a-f]{24}", identity)
    view = api.get(identity).json()["data"]
    assert (view["name"], view["project_id"], view["status"]) == ("invoices", PROJECT, "stopped")
    (row,) = api.rows(identity)
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (None, "stopped", "system")
    assert row["metadata"] == {"reason": "Registered"}
    assert api.post(identity, "start").status_code == 200
    item = check(stack, identity)
    # Attributes with their default value are not stored.
    assert item["runtime"] == {"cluster": "default", "task_definition": "web", "launch_type": "EC2"}


def test_all_runtime_options(run: Any, stack: LocalStack, api: Api) -> None:
    network = ("--subnet", "subnet-0a1b2c3d", "--subnet", "subnet-0a1b2c3e", "--security-group", "sg-0a1b2c3d")
    arguments = ("--task-definition", "web-fargate", "--launch-type", "fargate", *network, "--assign-public-ip")
    fargate = run("register", "--project", PROJECT, "--name", "mailer", *arguments).out.strip()
    assert api.post(fargate, "start").status_code == 200
    runtime = check(stack, fargate)["runtime"]
    assert runtime["subnets"] == ["subnet-0a1b2c3d", "subnet-0a1b2c3e"]
    assert (runtime["security_groups"], runtime["assign_public_ip"]) == (["sg-0a1b2c3d"], True)

    constraint = "attribute:ecs.os-type == linux"
    bound = run("register", *ORDINARY, "--server", INSTANCE, "--placement-constraint", constraint).out.strip()
    assert api.post(bound, "start").status_code == 200
    item = check(stack, bound)
    assert (item["server_instance_id"], item["runtime"]["placement_constraints"]) == (INSTANCE, [constraint])
    (task,) = stack.emulator.ecs.live(started_by=bound)
    assert task.instance is not None
    assert task.instance.ec2_instance_id == INSTANCE


@pytest.fixture(scope="module")
def definitions(stack: LocalStack) -> None:
    """Register an inactive task definition."""
    seeder = Seeder(stack)
    seeder.task_definition("retired")
    stack.client("ecs").deregister_task_definition(taskDefinition="retired:1")


BAD = [
    (("--id", "507F1f77bcf86cd799439099"), "The id must be 24 characters of 0-9a-f"),
    (("--id", "507f"), "The id must be"),
    (("--project", "demo"), "The project must be"),
    (("--name", "  "), "The name must have"),
    (("--name", "n" * 129), "The name must have"),
    (("--name", "a\nb"), "The name must have"),
    (("--task-definition", "nowhere"), "The task definition nowhere does not exist."),
    (("--task-definition", "web:99"), "The task definition web:99 does not exist."),
    (("--task-definition", "retired:1"), "The task definition retired:1 is inactive: specify an active revision."),
    (("--launch-type", "fargate"), "The task definition web supports EC2, not FARGATE."),
    (("--task-definition", "web-fargate", "--launch-type", "fargate"), "specify at least one --subnet"),
    (("--subnet", "subnet-0a1b2c3d"), "does not have network mode awsvpc"),
    (("--security-group", "sg-0a1b2c3d"), "does not have network mode awsvpc"),
    (("--subnet", "10.0.0.0/24"), "A subnet must look like subnet-"),
    (("--security-group", "default"), "A security group must look like sg-"),
    (("--server", "i-XYZ"), "The server must look like i-"),
    (("--server", "mi-0a1b2c3d4e5f60718"), "The server must look like i-"),
    (("--launch-type", "fargate", "--server", INSTANCE), "A Fargate task cannot be bound to a server"),
    (("--cluster", "another"), "The stack longshore controls the cluster default and has no access to others"),
    (("--id", container_id(12)), f"The id {container_id(12)} belongs to another container, payments."),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
@pytest.mark.usefixtures("definitions")
def test_invalid_arguments_change_nothing(
    run: Any, contents: Callable[[], Any], arguments: tuple[str, ...], message: str
) -> None:
    before = contents()
    # If an option is repeated, its last value applies.
    refused = run("register", *ORDINARY, *arguments)
    assert (refused.code, refused.out) == (1, "")
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert contents() == before


FARGATE = ("--project", PROJECT, "--name", "m", "--task-definition", "web-fargate", "--launch-type", "fargate")


def test_a_fargate_task_has_no_placement_constraints(run: Any) -> None:
    refused = run(
        "register", *FARGATE, "--subnet", "subnet-0a1b2c3d", "--placement-constraint", "agentConnected == true"
    )
    assert (refused.code, refused.err) == (
        1,
        "error: A Fargate task cannot have placement constraints: omit --placement-constraint.\n",
    )


def test_only_fargate_tasks_have_public_ip_addresses(run: Any, stack: LocalStack) -> None:
    stack.client("ecs").register_task_definition(
        family="web-awsvpc",
        networkMode="awsvpc",
        requiresCompatibilities=["EC2"],
        containerDefinitions=[{"name": "app", "image": "x", "memory": 128}],
    )
    arguments = ("--project", PROJECT, "--name", "m", "--task-definition", "web-awsvpc", "--subnet", "subnet-0a1b2c3d")
    refused = run("register", *arguments, "--assign-public-ip")
    assert (refused.code, refused.err.partition(":")[0]) == (1, "error")
    assert "Only a Fargate task can be assigned a public IP address" in refused.err
    assert run("register", *arguments).code == 0


@pytest.fixture(scope="module")
def providers(stack: LocalStack) -> None:
    """Add a capacity provider of each kind, and task definitions that can run on them."""
    stack.emulator.ecs.add_capacity_provider("hosts", "EC2_AUTOSCALING")
    stack.emulator.ecs.add_capacity_provider("managed", "MANAGED_INSTANCES")
    stack.client("ecs").register_task_definition(
        family="web-managed",
        networkMode="awsvpc",
        requiresCompatibilities=["MANAGED_INSTANCES"],
        containerDefinitions=[{"name": "app", "image": "x", "memory": 128}],
    )


@pytest.mark.usefixtures("providers")
def test_capacity_providers(run: Any, stack: LocalStack, api: Api) -> None:
    spot = ("--task-definition", "web-fargate", "--subnet", "subnet-0a1b2c3d", "--assign-public-ip")
    cases: list[tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, int, int]], bool]] = [
        (("FARGATE_SPOT:3", "FARGATE:1:2"), spot, [("FARGATE_SPOT", 3, 0), ("FARGATE", 1, 2)], False),
        (("hosts",), ("--task-definition", "web", "--server", INSTANCE), [("hosts", 1, 0)], False),
        (("managed",), ("--task-definition", "web-managed", *spot[2:4]), [("managed", 1, 0)], True),
    ]
    for given, others, stored, is_managed in cases:
        named = [part for text in given for part in ("--capacity-provider", text)]
        done = run("register", "--project", PROJECT, "--name", given[0], *others, *named)
        assert done.code == 0, done.err
        container = done.out.strip()
        runtime = Runtime.model_validate(check(stack, container)["runtime"])
        assert [(each.name, each.weight, each.base) for each in runtime.capacity_providers] == stored
        assert (runtime.launch_type, runtime.managed_instances) == (None, is_managed)
        assert api.post(container, "start").status_code == 200
        view = api.get(container).json()["data"]
        assert (view["launch_type"], "pause" in view["allowed_operations"]) == (None, given == ("hosts",))
    listed = run("containers", "--project", PROJECT).out
    assert "FARGATE_SPOT, FARGATE" in listed
    # Another launch type or provider needs a stopped container; then the kind of the provider is stored anew.
    change = ("change", container, "--task-definition", "web", "--no-network", "--capacity-provider", "hosts")
    assert "can be changed only while the container is stopped" in run(*change).err
    assert api.post(container, "stop").status_code == 200
    assert run(*change).code == 0
    assert Runtime.model_validate(check(stack, container)["runtime"]).managed_instances is False
    assert run("change", container, "--launch-type", "ec2").code == 0
    runtime = Runtime.model_validate(check(stack, container)["runtime"])
    assert (runtime.launch_type, runtime.capacity_providers) == (LaunchType.EC2, [])


@pytest.mark.usefixtures("providers")
def test_capacity_providers_that_are_refused(run: Any, contents: Callable[[], Any]) -> None:
    before = contents()
    many = tuple(f"p{number}" for number in range(21))
    cases: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [
        (("gone",), (), "The capacity provider gone does not exist, or is not associated with the cluster default."),
        (("FARGATE", "hosts"), (), "must be of the same kind, not FARGATE (Fargate), hosts (Auto Scaling group)."),
        (("managed", "hosts"), (), "not managed (ECS Managed Instances), hosts (Auto Scaling group)."),
        (("hosts", "hosts:2"), (), "A capacity provider is specified twice."),
        (("hosts:0",), (), "At least one capacity provider must have a weight greater than 0."),
        (("FARGATE:1:1", "FARGATE_SPOT:1:1"), (), "Only one capacity provider can have a base."),
        (("hosts:1001",), (), "The weight can be at most 1000, and the base at most 100000, not 'hosts:1001'."),
        (("hosts:1:100001",), (), "not 'hosts:1:100001'."),
        (("hosts:",), (), "must look like NAME, NAME:WEIGHT or NAME:WEIGHT:BASE, not 'hosts:'."),
        (("hosts:-1",), (), "must look like"),
        (("a:1:1:1",), (), "must look like"),
        (many, (), "Specify at most 20 capacity providers."),
        (("FARGATE_SPOT",), (), "The task definition web supports EC2, not FARGATE."),
        (("managed",), (), "The task definition web supports EC2, not MANAGED_INSTANCES."),
        (("managed",), ("--server", INSTANCE), "A task on ECS Managed Instances cannot be bound to a server"),
        (("FARGATE",), ("--server", INSTANCE), "A Fargate task cannot be bound to a server"),
    ]
    for given, others, message in cases:
        named = [part for text in given for part in ("--capacity-provider", text)]
        refused = run("register", *ORDINARY, *others, *named)
        assert (refused.code, refused.out, message in refused.err) == (1, "", True), (given, refused.err)
    both = run("register", *ORDINARY, "--launch-type", "ec2", "--capacity-provider", "hosts")
    assert (both.code, "cannot be combined" in both.err) == (2, True)
    assert contents() == before


def test_repeating_the_command_registers_one_container(run: Any, contents: Callable[[], Any], fresh_id: str) -> None:
    first = run("register", *ORDINARY, "--id", fresh_id)
    before = contents()
    again = run("register", *ORDINARY, "--id", fresh_id)
    assert (first.code, again.code) == (0, 0)
    assert (again.out, again.err) == (f"{fresh_id}\n", "invoices is already registered.\n")
    other = run("register", *ORDINARY, "--id", fresh_id, "--name", "other")
    assert (other.code, other.err) == (1, f"error: The id {fresh_id} belongs to another container, invoices.\n")
    assert contents() == before


def test_repeating_the_command_after_a_start(run: Any, stack: LocalStack, api: Api, fresh_id: str) -> None:
    run("register", *ORDINARY, "--id", fresh_id)
    api.post(fresh_id, "start")
    assert run("register", *ORDINARY, "--id", fresh_id).err == "invoices is already registered.\n"
    assert check(stack, fresh_id)["status"] == "running"


def test_a_lost_response_is_retried(run: Any, stack: LocalStack, emulator: Emulator, fresh_id: str) -> None:
    emulator.faults.add("dynamodb", "TransactWriteItems", "drop", after_effect=True)
    assert run("register", *ORDINARY, "--id", fresh_id).err.startswith("Registered invoices")
    assert len(all_rows(stack, fresh_id)) == 1


def test_after_lost_responses_the_message_names_the_id(run: Any, stack: LocalStack, emulator: Emulator) -> None:
    emulator.faults.add("dynamodb", "TransactWriteItems", "drop", after_effect=True, times=5)
    unknown = run("register", *ORDINARY)
    assert (unknown.code, unknown.out) == (3, "")
    (identity,) = re.findall(r"repeat the command with --id ([0-9a-f]{24})\.", unknown.err)
    emulator.faults.clear()
    again = run("register", *ORDINARY, "--id", identity)
    assert (again.code, again.err) == (0, "invoices is already registered.\n")
    assert len(all_rows(stack, identity)) == 1


def test_a_failed_write_can_be_repeated(run: Any, stack: LocalStack, emulator: Emulator, fresh_id: str) -> None:
    emulator.faults.add("dynamodb", "TransactWriteItems", "AccessDeniedException", status=400)
    refused = run("register", *ORDINARY, "--id", fresh_id)
    assert refused.code == 3
    assert "do not allow TransactWriteItems" in refused.err
    assert all_rows(stack, fresh_id) == []
    assert run("register", *ORDINARY, "--id", fresh_id).code == 0
    check(stack, fresh_id)
