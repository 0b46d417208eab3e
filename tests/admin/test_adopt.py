"""adopt: running tasks become containers that Longshore can stop and whose exits it records."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_client import Api
from invariants import all_rows, check
from longshore.domain.runtime import CapacityProvider, Runtime
from longshore.domain.task import adopted_as
from settling import eventually

from local.emulator import Emulator
from local.seed import INSTANCE, PROJECT, Seeder
from local.stack import LocalStack

TASKS, SERVICES = 200, 100
EFFECTS = {"RunTask", "StopTask", "CreateService", "UpdateService", "DeleteService", "RegisterScalableTarget"}
"""The calls that change tasks or services."""


def start(stack: LocalStack, family: str, count: int = 1, **options: Any) -> list[Any]:
    """Run tasks of their own family that were started ten minutes ago, not by Longshore."""
    Seeder(stack).task_definition(family)
    return [aged(stack.emulator.ecs.adopt_running("default", family, **options)) for _ in range(count)]


def aged(task: Any) -> Any:
    task.started_at = datetime.now(UTC) - timedelta(minutes=10)
    return task


def adopt(run: Any, family: str, *arguments: str) -> Any:
    return run("adopt", "--project", PROJECT, "--family", family, *arguments)


def status(api: Api, task: Any) -> str | None:
    answer = api.get(adopted_as(task.arn)).json()
    return answer["data"]["status"] if "data" in answer else None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--project", "demo"], 1, "The project must be 24 characters"),
        (["--project", PROJECT, "--cluster", "another"], 1, "controls the cluster default and has no access to others"),
        ([], 2, "Missing option"),
    ],
)
def test_invalid_arguments_change_nothing(
    run: Any, contents: Callable[[], Any], arguments: list[str], code: int, message: str
) -> None:
    before = contents()
    refused = run("adopt", *arguments, "--yes")
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert contents() == before


def test_every_operation_works_on_an_adopted_container(run: Any, stack: LocalStack, api: Api) -> None:
    (task,) = start(stack, "operated", started_by="cron")
    identity = adopted_as(task.arn)
    assert adopt(run, "operated", "--yes").out == "1 adopted, 0 skipped, 0 failed\n"
    for operation, then in [("pause", "paused"), ("resume", "running"), ("restart", "running"), ("stop", "stopped")]:
        answer = api.post(identity, operation)
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, then)
        assert check(stack, identity)["status"] == then
    # The restart has replaced the adopted task with a task of Longshore.
    assert not task.live
    (another,) = [each for each in stack.emulator.ecs.tasks() if each.started_by == identity]
    assert another.definition.arn == task.definition.arn
    # A stopped task is not adopted again.
    assert adopt(run, "operated", "--yes").out == "0 adopted, 0 skipped, 0 failed\n"


@pytest.mark.parametrize("started_by", [None, "ecs-svc/8394502913", "f" * 24])
@pytest.mark.parametrize(("exit_code", "then"), [(0, "stopped"), (3, "failed")])
def test_the_exit_of_an_adopted_task_is_recorded(
    run: Any, stack: LocalStack, api: Api, started_by: str | None, exit_code: int, then: str
) -> None:
    family = f"ends-{exit_code}-{str(started_by)[:3]}"
    (task,) = start(stack, family, started_by=started_by)
    adopt(run, family, "--yes")
    stack.emulator.ecs.exit(task.arn, exit_code)
    eventually(lambda: status(api, task) == then)
    row = api.rows(adopted_as(task.arn))[-1]
    assert (row["triggered_by"], row["metadata"]["exit_code"]) == ("system", exit_code)
    check(stack, adopted_as(task.arn))


def test_the_drift_sweep_records_an_exit_without_an_event(run: Any, stack: LocalStack, api: Api) -> None:
    gone, stays = start(stack, "untold", 2)
    adopt(run, "untold", "--yes")
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(gone.arn, 3)
        stack.emulator.ecs.forget(gone.arn)
    stack.invoke("RecoverFunction", {"sweep": "drift"})
    assert (status(api, gone), status(api, stays)) == ("failed", "running")
    assert stays.live
    check(stack, adopted_as(gone.arn))


def test_a_task_that_exits_during_its_adoption(run: Any, stack: LocalStack, api: Api, emulator: Emulator) -> None:
    (task,) = start(stack, "hasty")

    def end(parameters: dict[str, Any]) -> bool:
        # The event of the exit arrives before the container is registered.
        if task.live:
            emulator.ecs.exit(task.arn, 3)
        return True

    emulator.faults.add("dynamodb", "TransactWriteItems", delay=0.5, match=end)
    assert adopt(run, "hasty", "--yes").out == "1 adopted, 0 skipped, 0 failed\n"
    assert status(api, task) == "failed"
    first, last = all_rows(stack, adopted_as(task.arn))
    assert (first["to_status"], last["to_status"], last["metadata"]["exit_code"]) == ("running", "failed", 3)
    check(stack, adopted_as(task.arn))


def of(task: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda parameters: adopted_as(task.arn) in str(parameters)


def test_a_failed_adoption_does_not_stop_the_batch(run: Any, stack: LocalStack, api: Api, emulator: Emulator) -> None:
    tasks = start(stack, "unlucky", 5)
    emulator.faults.add("dynamodb", "TransactWriteItems", "AccessDeniedException", status=400, match=of(tasks[2]))
    done = adopt(run, "unlucky", "--yes")
    assert (done.code, done.out) == (3, "4 adopted, 0 skipped, 1 failed\n")
    assert re.fullmatch(
        f"error: the task {tasks[2].id} was not adopted: Your AWS credentials do not allow TransactWriteItems.*\n",
        done.err,
    )
    assert [status(api, task) for task in tasks] == ["running", "running", None, "running", "running"]
    emulator.faults.clear()
    assert adopt(run, "unlucky", "--yes").out == "1 adopted, 4 skipped, 0 failed\n"
    assert status(api, tasks[2]) == "running"


def test_lost_responses_do_not_create_a_second_container(run: Any, stack: LocalStack, emulator: Emulator) -> None:
    tasks = start(stack, "lost", 6)
    emulator.faults.add("dynamodb", "TransactWriteItems", "drop", after_effect=True, times=2)
    emulator.faults.add("dynamodb", "TransactWriteItems", "drop", after_effect=True, times=None, match=of(tasks[4]))
    done = adopt(run, "lost", "--yes")
    assert (done.code, done.out) == (3, "5 adopted, 0 skipped, 1 failed\n")
    emulator.faults.clear()
    assert adopt(run, "lost", "--yes").out == "0 adopted, 6 skipped, 0 failed\n"
    for task in tasks:
        assert len(all_rows(stack, adopted_as(task.arn))) == 1
        check(stack, adopted_as(task.arn))


def test_concurrent_commands_adopt_each_task_once(run: Any, stack: LocalStack) -> None:
    from_here = start(stack, "contested", 20)
    with ThreadPoolExecutor(2) as executor:
        ended = list(executor.map(lambda _: adopt(run, "contested", "--yes").code, range(2)))
    assert ended == [0, 0]
    for task in from_here:
        assert len(all_rows(stack, adopted_as(task.arn))) == 1


def test_skipped_tasks_have_a_reason(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    plain, served, managed, odd, owned, noted = start(stack, "motley", 6)
    served.group = "service:shop"
    managed.launch_type = "MANAGED_INSTANCES"  # without a capacity provider, which ECS always states
    odd.last_status = "PENDING"
    seeder.add(fresh_id, ["stopped"])
    owned.started_by = fresh_id
    noted.overrides = {"containerOverrides": [{"name": "app", "environment": [{"name": "A", "value": "b"}]}]}
    noted.capacity_provider = "FARGATE_SPOT"
    shown = adopt(run, "motley")
    lines = {line.split()[1]: line for line in shown.out.splitlines()[1:]}
    assert lines[plain.id].startswith("adopt ")
    assert lines[served.id].endswith("belongs to the service shop, which replaces stopped tasks")
    assert lines[managed.id].endswith("has the unsupported launch type MANAGED_INSTANCES")
    assert lines[odd.id].endswith("is PENDING, not RUNNING")
    assert lines[owned.id].endswith("already belongs to a container of Longshore")
    assert lines[noted.id].startswith("adopt ")
    assert "a later start does not repeat its overrides" in lines[noted.id]
    assert "a later start uses only the capacity provider FARGATE_SPOT" in lines[noted.id]
    assert "2 would be adopted, 4 skipped" in shown.err

    included = adopt(run, "motley", "--include-services", "--service", "shop")
    assert [line.split()[:2] for line in included.out.splitlines()[1:]] == [["adopt", served.id]]
    assert included.out.rstrip().endswith("its service replaces it when it stops")
    for task in (managed, odd, owned):
        stack.emulator.ecs.forget(task.arn)


def test_tasks_of_capacity_providers(run: Any, stack: LocalStack, api: Api) -> None:
    hosts, managed = start(stack, "provided", 2)
    hosts.capacity_provider = "hosts"
    managed.launch_type, managed.capacity_provider = "MANAGED_INSTANCES", "managed"
    assert adopt(run, "provided", "--yes").out == "2 adopted, 0 skipped, 0 failed\n"
    for task, is_managed in ((hosts, False), (managed, True)):
        container = adopted_as(task.arn)
        runtime = Runtime.model_validate(check(stack, container)["runtime"])
        assert runtime.capacity_providers == [CapacityProvider(name=task.capacity_provider, weight=1, base=0)]
        assert (runtime.launch_type, runtime.managed_instances) == (None, is_managed)
        paused = api.post(container, "pause")
        assert paused.status_code == (400 if is_managed else 200)
        assert api.post(container, "force-stop").status_code == 200


def test_filters(run: Any, stack: LocalStack) -> None:
    first, _ = start(stack, "filtered", 2)
    first.started_by = "cron"
    assert [line.split()[1] for line in adopt(run, "filtered", "--started-by", "cron").out.splitlines()[1:]] == [
        first.id
    ]
    nothing = adopt(run, "filtered", "--started-by", "nobody")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err.startswith("0 would be adopted, 0 skipped.")


def test_the_network_of_an_awsvpc_task_is_read(run: Any, stack: LocalStack, api: Api) -> None:
    seeder = Seeder(stack)
    seeder.task_definition("nets", launch_type="FARGATE")
    ec2 = stack.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    known, unknown = (
        aged(stack.emulator.ecs.adopt_running("default", "nets", launch_type="FARGATE")) for _ in range(2)
    )
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
    known.attachments[0]["details"] = [
        {"name": "subnetId", "value": subnet},
        {"name": "networkInterfaceId", "value": interface["NetworkInterfaceId"]},
    ]
    shown = adopt(run, "nets").out
    assert re.search(f"skip +{unknown.id} .*its network interface cannot be read", shown)
    assert adopt(run, "nets", "--yes").out == "1 adopted, 1 skipped, 0 failed\n"
    identity = adopted_as(known.arn)
    runtime = check(stack, identity)["runtime"]
    # Attributes with their default value, such as no public address, are not stored.
    assert runtime == {
        "cluster": "default",
        "task_definition": known.definition.arn,
        "launch_type": "FARGATE",
        "subnets": [subnet],
        "security_groups": [group],
        "platform_version": "1.4.0",
    }
    assert api.post(identity, "restart").status_code == 200
    (call,) = stack.emulator.calls.list("ecs", "RunTask")[-1:]
    assert call.parameters["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"] == [group]


def test_a_public_ip_address_is_kept(run: Any, stack: LocalStack) -> None:
    ec2 = stack.client("ec2")
    Seeder(stack).task_definition("public", launch_type="FARGATE")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=address, NetworkInterfaceId=interface)
    task = aged(stack.emulator.ecs.adopt_running("default", "public", launch_type="FARGATE"))
    task.attachments[0]["details"] = [
        {"name": "subnetId", "value": subnet},
        {"name": "networkInterfaceId", "value": interface},
    ]
    assert adopt(run, "public", "--yes").out == "1 adopted, 0 skipped, 0 failed\n"
    assert check(stack, adopted_as(task.arn))["runtime"]["assign_public_ip"] is True


def test_a_cluster_that_does_not_exist(run: Any, emulator: Emulator) -> None:
    emulator.faults.add("ecs", "ListTasks", "ClusterNotFoundException", status=400)
    gone = adopt(run, "any")
    assert (gone.code, gone.err) == (1, "error: The cluster default does not exist.\n")


def test_a_task_of_a_terminated_server_fails(run: Any, stack: LocalStack, api: Api) -> None:
    host = stack.emulator.ecs.add_instance("default", cpu=1 << 20, memory=1 << 20)
    assert host != INSTANCE
    (task,) = start(stack, "doomed", ec2_instance_id=host)
    adopt(run, "doomed", "--yes")
    stack.terminate_server(host)
    # The container is not bound to a server, so it can be started on another one.
    eventually(lambda: status(api, task) == "failed")
    assert api.post(adopted_as(task.arn), "restart").status_code == 200


def start_services(stack: LocalStack, family: str) -> int:
    """Run services with 0, 1 or 2 tasks. Returns the number of their tasks."""
    services = [
        stack.emulator.ecs.adopt_service(
            {"cluster": "default", "serviceName": f"shop-{n}", "taskDefinition": family, "desiredCount": n % 3}
        )
        for n in range(SERVICES)
    ]
    return sum(service.desired_count for service in services)


@pytest.mark.usefixtures("no_scheduled_sweeps")
def test_many_tasks_and_services_are_adopted_once_and_can_be_stopped(
    run: Any, stack: LocalStack, api: Api, contents: Callable[[], Any]
) -> None:
    tasks = start(stack, "many", TASKS)
    of_services = start_services(stack, "many")
    services = stack.emulator.ecs.services()
    live, before = {task.arn for task in stack.emulator.ecs.live()}, contents()
    shown = adopt(run, "many")
    assert shown.code == 0
    assert f"{TASKS} would be adopted, {of_services} skipped. Nothing was changed" in shown.err
    lines = [line.split() for line in shown.out.splitlines()[1:]]
    assert {(line[0], line[1], line[2]) for line in lines[:TASKS]} == {
        ("adopt", task.id, adopted_as(task.arn)) for task in tasks
    }
    assert contents() == before

    stack.emulator.calls.clear()
    done = adopt(run, "many", "--yes")
    assert (done.code, done.out, done.err) == (0, f"{TASKS} adopted, {of_services} skipped, 0 failed\n", "")
    done = run("adopt", "--project", PROJECT, "--services", "--yes")
    assert (done.code, done.out, done.err) == (0, f"{SERVICES} adopted, 0 skipped, 0 failed\n", "")
    described = [call for call in stack.emulator.calls if call.operation == "DescribeTasks"]
    assert max(len(call.parameters["tasks"]) for call in described) <= 100
    for task in tasks[::50]:
        item = check(stack, adopted_as(task.arn))
        assert (item["status"], item["task_arn"]) == ("running", task.arn)
    for service in services[::10]:
        item, count = check(stack, adopted_as(service.arn)), service.desired_count
        assert (item["status"], item["desired_count"]) == ("running" if count else "stopped", count or 1)
    (row,) = api.rows(adopted_as(tasks[0].arn))
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (None, "running", "system")
    assert row["metadata"] == {"reason": "Adopted", "task_id": tasks[0].id}
    # The row has the start time of the task, not the time of the adoption.
    assert datetime.fromisoformat(row["transition_time"]) - tasks[0].started_at < timedelta(milliseconds=1)

    held = contents()
    for table in ("ContainersTable", "StatusLogsTable"):
        assert len(held[table]) - len(before[table]) == TASKS + SERVICES
    again = adopt(run, "many", "--yes")
    assert (again.code, again.out) == (0, f"0 adopted, {TASKS + of_services} skipped, 0 failed\n")
    again = run("adopt", "--project", PROJECT, "--services", "--yes")
    assert (again.code, again.out) == (0, f"0 adopted, {SERVICES} skipped, 0 failed\n")
    assert contents() == held
    assert {call.operation for call in stack.emulator.calls} & EFFECTS == set()
    assert {task.arn for task in stack.emulator.ecs.live()} == live

    answer = api.post(adopted_as(tasks[7].arn), "stop")
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "stopped")
    assert not tasks[7].live
    assert [task for task in tasks if not task.live] == [tasks[7]]
    check(stack, adopted_as(tasks[7].arn))

    # Earlier tests may have left stray tasks.
    assert stack.invoke("RecoverFunction", {"sweep": "drift"}).keys() <= {"true", "stale", "foreign", "stray-stopped"}
    assert [task for task in tasks if not task.live] == [tasks[7]]
    check(stack, adopted_as(tasks[8].arn))
