"""Tests of services as ECS describes them, and of the rows of their containers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.domain.history import append
from longshore.domain.lifecycle import Kind, LaunchType, Platform, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.domain.service import Scaling, Service, ServiceDeployment, service_arn

NOW = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
ARN = "arn:aws:ecs:us-east-1:111122223333:service/default/web"


def described(**changes: Any) -> dict[str, Any]:
    deployment = {"id": "ecs-svc/1", "status": "PRIMARY", "rolloutState": "COMPLETED"}
    service = {
        "serviceName": "web",
        "serviceArn": ARN,
        "status": "ACTIVE",
        "desiredCount": 3,
        "runningCount": 3,
        "pendingCount": 0,
        "deployments": [deployment],
        "events": [],
    }
    return service | changes


def test_a_service_is_steady_with_one_deployment_and_all_its_tasks_running() -> None:
    older = {"id": "ecs-svc/0", "status": "ACTIVE"}
    assert Service.of(described()).is_steady
    assert not Service.of(described(runningCount=2)).is_steady
    assert not Service.of(described(deployments=[*described()["deployments"], older])).is_steady


@pytest.mark.parametrize("count", ["desiredCount", "runningCount", "pendingCount"])
def test_a_service_is_empty_if_nothing_runs_or_is_to_run(count: str) -> None:
    empty = described(desiredCount=0, runningCount=0, pendingCount=0)
    assert Service.of(empty).is_empty
    assert not Service.of(empty | {count: 1}).is_empty


def test_the_newest_event_that_says_why_tasks_do_not_start_is_the_trouble() -> None:
    message = f"(service web) was unable to place a task because {ARN} has not enough memory."
    events = [
        {"createdAt": NOW - timedelta(seconds=30), "message": "(service web) is unable to consistently start tasks."},
        {"createdAt": NOW, "message": message},
        {"createdAt": NOW + timedelta(seconds=30), "message": "(service web) has reached a steady state."},
    ]
    service = Service.of(described(events=events))
    trouble = "(service web) was unable to place a task because (an ARN) has not enough memory."
    assert service.trouble_since(NOW - timedelta(hours=1)) == trouble
    assert service.trouble_since(NOW + timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("state", "failed"), [("FAILED", True), ("COMPLETED", False), ("IN_PROGRESS", False), (None, False)]
)
def test_a_deployment_has_failed_if_the_circuit_breaker_has_ended_it(state: str | None, failed: bool) -> None:
    deployment = {"id": "ecs-svc/1", "status": "PRIMARY"} | ({"rolloutState": state} if state else {})
    primary = Service.of(described(deployments=[deployment])).primary
    assert primary is not None
    assert primary.has_failed == failed


@pytest.mark.parametrize(
    ("status", "reason", "failure"),
    [
        ("PENDING", None, None),
        ("IN_PROGRESS", None, None),
        ("SUCCESSFUL", None, None),
        ("STOP_REQUESTED", None, None),
        ("ROLLBACK_REQUESTED", "tasks failed", None),
        ("ROLLBACK_IN_PROGRESS", "tasks failed", None),
        ("STOPPED", None, "The deployment was stopped"),
        ("STOPPED", f"replaced by that of {ARN}", "replaced by that of (an ARN)"),
        ("ROLLBACK_SUCCESSFUL", None, "The deployment was rolled back"),
        ("ROLLBACK_SUCCESSFUL", "tasks failed", "tasks failed"),
        ("ROLLBACK_FAILED", None, "The deployment failed, and so did its rollback"),
    ],
)
def test_a_service_deployment_fails_if_it_ends_without_success(
    status: str, reason: str | None, failure: str | None
) -> None:
    brief = {"serviceDeploymentArn": "arn:d", "createdAt": NOW, "status": status}
    deployment = ServiceDeployment.of(brief | ({"statusReason": reason} if reason else {}))
    assert deployment.failure == failure
    assert deployment.has_succeeded == (status == "SUCCESSFUL")


def test_scaling_is_suspended_if_nothing_changes_the_count() -> None:
    state = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True, "ScheduledScalingSuspended": True}
    assert Scaling.of({"MinCapacity": 0, "SuspendedState": state}).is_of_stop
    assert not Scaling.of({"MinCapacity": 1, "SuspendedState": state}).is_of_stop
    assert Scaling.of({"MinCapacity": 1, "SuspendedState": state}).is_suspended
    for name in state:
        assert not Scaling.of({"MinCapacity": 0, "SuspendedState": state | {name: False}}).is_suspended
    assert not Scaling.of({"MinCapacity": 0}).is_suspended


def test_the_arn_of_a_service_contains_its_cluster() -> None:
    assert service_arn("arn:aws:ecs:us-east-1:111122223333:cluster/default", "web") == ARN


def container(service: str | None) -> Container:
    runtime = Runtime(cluster="default", service=service, task_definition="web", launch_type=LaunchType.FARGATE)
    counts = {"desired_count": 3, "running_count": 3} if service else {}
    return Container(
        id="0" * 24,
        project_id="1" * 24,
        name="web",
        status=Status.RUNNING,
        status_since=NOW,
        runtime=runtime,
        created_at=NOW,
        updated_at=NOW,
        **counts,
    )


def test_rows_of_services_contain_the_counts_and_rows_of_tasks_do_not() -> None:
    change = Change(Status.STOPPED, NOW, Trigger.SYSTEM, attributes={"running_count": 0})
    after, entry = append(container("web"), change, "2" * 24, NOW)
    assert (after.desired_count, after.running_count) == (3, 0)
    assert entry.log.metadata == {"desired_count": 3, "running_count": 0}
    _, entry = append(container(None), Change(Status.STOPPED, NOW, Trigger.SYSTEM), "2" * 24, NOW)
    assert entry.log.metadata is None


def test_a_container_with_a_service_is_of_kind_service() -> None:
    assert (container("web").kind, container("web").runtime.platform) == (Kind.SERVICE, Platform.SERVICE)
    assert (container(None).kind, container(None).runtime.platform) == (Kind.TASK, Platform.FARGATE)


def test_a_container_whose_count_is_not_applied_is_due() -> None:
    at = NOW + timedelta(seconds=30)
    assert container("web").model_copy(update={"apply_count_at": at}).due_at == at
