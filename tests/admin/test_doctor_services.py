"""doctor: containers compared with their services in ECS, and repairs by the drift sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from corruption import OLD, change, faults_of
from invariants import check
from longshore.aws.services import MOST_DESCRIBED
from longshore.domain.clock import SystemClock, to_text
from longshore.domain.task import adopted_as
from settling import eventually

from admin.doctor import Doctor
from local.seed import WEB, Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps", "no_waiting", "no_events")

Add = Callable[[str, int], str]
MISSING = "ECS does not show its service"


@pytest.fixture
def no_events(stack: LocalStack) -> Iterator[None]:
    """Lose all events, which would record the changes that tests make."""
    with stack.eventbridge.losing_events():
        yield


@pytest.fixture
def add(stack: LocalStack, seeder: Seeder, fresh_id: str) -> Add:
    """Creates a service with a count, and its container in a status. Returns the id of the container."""

    def create(status: str, count: int) -> str:
        name = f"service-{fresh_id}"
        service = stack.emulator.ecs.adopt_service({"serviceName": name, "taskDefinition": WEB, "desiredCount": count})
        identity = adopted_as(service.arn)
        statuses = OLD if status == "running" else [*OLD, status]
        seeder.add(identity, statuses, service=name, desired_count=count or 1)
        return identity

    return create


def service_of(fresh_id: str) -> dict[str, str]:
    return {"cluster": "default", "service": f"service-{fresh_id}"}


def set_count(stack: LocalStack, fresh_id: str, count: int) -> None:
    """Change the count outside of Longshore."""
    ecs, service = stack.client("ecs"), service_of(fresh_id)
    ecs.update_service(**service, desiredCount=count)
    described = {"cluster": service["cluster"], "services": [service["service"]]}
    eventually(lambda: ecs.describe_services(**described)["services"][0]["runningCount"] == count)


@pytest.mark.parametrize(
    ("status", "before", "after", "message", "repaired"),
    [
        ("running", 3, 0, "the container is running, but its service has no tasks", "stopped"),
        ("running", 3, 5, "desired_count is 3, but that of its service is 5", "running"),
        ("stopped", 0, 2, "the container is stopped, but 2 of 2 tasks of its service run", "running"),
        ("failed", 0, 2, "the container is failed, but 2 of 2 tasks of its service run", "running"),
    ],
)
@pytest.mark.parametrize("all_containers", [True, False])
def test_a_count_that_was_changed_outside(
    run: Any,
    stack: LocalStack,
    fresh_id: str,
    add: Add,
    status: str,
    before: int,
    after: int,
    message: str,
    repaired: str,
    all_containers: bool,
) -> None:
    identity = add(status, before)
    assert faults_of(run, identity) == []
    set_count(stack, fresh_id, after)
    assert faults_of(run, *(("--all",) if all_containers else (identity,))) == [("SERVICE_DIFFERS", message)]
    assert run("doctor", identity, "--repair").code == 0
    assert faults_of(run, "--all") == []
    item = check(stack, identity)
    assert (item["status"], item["running_count"]) == (repaired, after)


def test_scaling_that_was_not_restored(run: Any, stack: LocalStack, fresh_id: str, add: Add) -> None:
    identity = add("running", 3)
    scaling = stack.client("application-autoscaling")
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/default/service-{fresh_id}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    flags = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=5, SuspendedState=dict.fromkeys(flags, True))
    change(stack, identity, scaling={"minimum": 2})
    message = "the container is running, but the scaling of its service has not been restored"
    assert faults_of(run, identity) == [("SCALING_HELD", message)]
    assert run("doctor", identity, "--repair").code == 0
    (described,) = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (described["MinCapacity"], described["SuspendedState"]) == (2, dict.fromkeys(flags, False))
    # The next sweep after the call observes that nothing is owed any more.
    change(stack, identity, calls_end_at=None)
    assert run("doctor", identity, "--repair").code == 0
    assert "scaling" not in check(stack, identity)


def test_a_deleted_service(run: Any, stack: LocalStack, fresh_id: str, add: Add) -> None:
    identity = add("running", 1)
    stack.client("ecs").delete_service(**service_of(fresh_id), force=True)
    assert faults_of(run, identity) == [("SERVICE_MISSING", f"the container is running, but {MISSING}")]
    ran = run("doctor", identity, "--repair")
    assert (ran.code, ran.err.count("Running the drift sweep.\n")) == (0, 1)
    assert "ECS does not show a task or service: running the drift sweep again in half a minute.\n" in ran.err
    assert check(stack, identity)["status"] == "failed"
    assert faults_of(run, "--all") == []


def test_a_deleted_service_of_a_stopped_container_is_left_to_the_operator(
    run: Any, stack: LocalStack, fresh_id: str, add: Add
) -> None:
    identity = add("stopped", 0)
    stack.client("ecs").delete_service(**service_of(fresh_id))
    fault = ("SERVICE_MISSING", f"the container is stopped, but {MISSING}")
    assert faults_of(run, "--all") == [fault]
    assert run("doctor", identity, "--repair").code == 1
    assert run("unregister", identity, "--yes").code == 0
    assert faults_of(run, "--all") == []


def test_a_service_that_ecs_does_not_show_for_a_moment_is_not_a_fault(
    run: Any, stack: LocalStack, fresh_id: str, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = add("running", 1)
    waits: list[None] = []

    def shown_after_the_wait(_: Doctor) -> None:
        waits.append(None)
        monkeypatch.undo()

    monkeypatch.setattr("admin.doctor.Services.describe", lambda *_: None)
    monkeypatch.setattr(Doctor, "wait_between_looks", shown_after_the_wait)
    assert faults_of(run, identity) == []
    assert len(waits) == 1


@pytest.mark.parametrize("suspended", [False, True])
def test_a_scaling_policy_changes_the_count(
    run: Any, stack: LocalStack, fresh_id: str, add: Add, suspended: bool
) -> None:
    identity = add("running", 3)
    names = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    stack.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/default/service-{fresh_id}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=9,
        SuspendedState=dict.fromkeys(names, suspended),
    )
    set_count(stack, fresh_id, 4)
    assert len(faults_of(run, identity)) == suspended
    assert run("doctor", identity, "--repair").code == 0


@pytest.mark.parametrize("attribute", ["calls_end_at", "apply_count_at"])
def test_calls_in_progress_explain_a_difference(
    run: Any, stack: LocalStack, fresh_id: str, add: Add, attribute: str
) -> None:
    identity = add("running", 3)
    set_count(stack, fresh_id, 0)
    change(stack, identity, **{attribute: to_text(SystemClock().now() + timedelta(minutes=1))})
    assert "SERVICE_DIFFERS" not in dict(faults_of(run, identity))
    change(stack, identity, **{attribute: None})
    assert "SERVICE_DIFFERS" in dict(faults_of(run, identity))
    assert run("doctor", identity, "--repair").code == 0


def test_services_are_looked_up_in_batches(run: Any, stack: LocalStack, fresh_id: str, add: Add) -> None:
    add("running", 1)
    services = stack.client("ecs").list_services(cluster="default", maxResults=100)["serviceArns"]
    stack.emulator.calls.clear()
    assert faults_of(run, "--all") == []
    calls = [call.operation for call in stack.emulator.calls if call.service == "ecs"]
    assert calls.count("ListServices") == 1
    assert calls.count("DescribeServices") == -(-len(services) // MOST_DESCRIBED)


def test_a_failure_of_ecs_is_reported(run: Any, stack: LocalStack, fresh_id: str, add: Add) -> None:
    identity = add("running", 1)
    stack.emulator.faults.add("ecs", "DescribeServices", "AccessDeniedException", status=400, times=None)
    for arguments in (("--all",), (identity,)):
        ran = run("doctor", *arguments)
        assert ran.code == 3
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err
    stack.emulator.faults.clear()
