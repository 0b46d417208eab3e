"""register --service and adopt --services: register services as they are, once, and change nothing in ECS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from engine.aws import CLUSTER, DENIED
from engine.services import ServiceStage
from longshore.domain.clock import SystemClock
from longshore.domain.lifecycle import Platform
from longshore.domain.task import adopted_as
from simulation.aws import clients

from admin.errors import AdminError, UnavailableError
from admin.registry import Registry
from admin.services import ServiceRegistry

PROJECT = "507f1f77bcf86cd799439033"
OTHER = "507f1f77bcf86cd799439034"


@pytest.fixture
def stage() -> Iterator[ServiceStage]:
    stage = ServiceStage()
    # The commands use the real time.
    stage.clock.time = SystemClock().now()
    stage.catalog.add_task_definition("web", [{"name": "app", "image": "busybox", "memory": 128}])
    with stage.open():
        yield stage


def services(project: str = PROJECT) -> ServiceRegistry:
    registry = Registry(clients().dynamodb, containers="containers", status_logs="status-logs", retention=0)
    return ServiceRegistry(clients().ecs, registry, cluster=CLUSTER, project_id=project)


def adopt(registry: ServiceRegistry) -> tuple[int, list[str]]:
    """Adopt all services. Returns the number of new containers, and why the others were skipped."""
    candidates = [each for page in registry.candidates() for each in page]
    adopted = sum(registry.adopt(each) for each in candidates if each.wanted is not None)
    return adopted, [each.skipped for each in candidates if each.skipped is not None]


@pytest.mark.parametrize(
    ("desired", "blocked", "status", "count"),
    [(3, False, "running", 3), (0, False, "stopped", 1), (3, True, "failed", 3)],
)
def test_a_service_is_registered_as_it_is(
    stage: ServiceStage, desired: int, blocked: bool, status: str, count: int
) -> None:
    service = stage.services.add(CLUSTER, "web", "web", 0 if blocked else desired)
    if blocked:
        service.blocked = True
        stage.services.set_desired(service, desired)
    candidate, new = services().register("web", "Shop", None)
    assert (candidate.container_id, new) == (adopted_as(service.arn), True)
    container = stage.container(candidate.container_id)
    assert (container.name, container.status, container.project_id) == ("Shop", status, PROJECT)
    assert (container.desired_count, container.runtime.service) == (count, "web")
    (row,) = stage.rows(container.id)
    running = desired if status == "running" else 0
    assert row["metadata"] == {"reason": "Registered", "desired_count": count, "running_count": running}
    assert (row["to_status"], stage.effects()) == (status, [])


def test_a_stopped_service_is_registered_with_a_count(stage: ServiceStage) -> None:
    stage.services.add(CLUSTER, "web", "web", 0)
    candidate, _ = services().register("web", "Shop", 4)
    stage._put("access", {"user_id": "ann", "scope": f"project#{PROJECT}", "role": "operator"})
    stage.ask(candidate.container_id, "start")
    assert stage.counts() == (4, 4)


def test_a_second_registration_changes_nothing(stage: ServiceStage) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)
    candidate, _ = services().register("web", "Shop", None)
    before = stage.container(candidate.container_id)
    assert services().register("web", "Shop", None)[1] is False
    assert stage.container(candidate.container_id) == before
    with pytest.raises(AdminError, match=f"already registered in the project {PROJECT}"):
        services(OTHER).register("web", "Shop", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "DRAINING"}, "The service web is DRAINING, not ACTIVE"),
        ({"schedulingStrategy": "DAEMON"}, "is a daemon, whose count cannot be changed"),
        ({"deploymentController": {"type": "CODE_DEPLOY"}}, "is deployed by CODE_DEPLOY, not by ECS"),
    ],
)
def test_services_that_cannot_be_registered(stage: ServiceStage, changes: dict[str, Any], message: str) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)
    stage.change("DescribeServices", lambda _, answer: {**answer, "services": [answer["services"][0] | changes]})
    with pytest.raises(AdminError, match=message):
        services().register("web", "Shop", None)
    assert adopt(services())[0] == 0
    assert stage.dynamodb.tables["containers"].items == {}


def test_an_unknown_service(stage: ServiceStage) -> None:
    with pytest.raises(AdminError, match="The cluster default has no service web"):
        services().register("web", "Shop", None)


def test_all_services_are_adopted_once(stage: ServiceStage) -> None:
    for number in range(100):
        stage.services.add(CLUSTER, f"web-{number}", "web", number % 3)
    tasks = {task.arn for task in stage.ecs.tasks()}
    assert adopt(services()) == (100, [])
    before = dict(stage.dynamodb.tables["containers"].items)
    assert adopt(services()) == (0, ["is already registered"] * 100)
    assert stage.dynamodb.tables["containers"].items == before
    assert len(before) == 100
    assert {task.arn for task in stage.ecs.tasks()} == tasks
    assert stage.effects() == []
    stage.advance(130)
    assert stage.drift_sweep() == {"true": 100}


def test_a_service_whose_container_was_unregistered_is_not_registered_again(stage: ServiceStage) -> None:
    """The rows of the previous container would be counted as rows of the new one."""
    stage.services.add(CLUSTER, "web", "web", 1)
    candidate, _ = services().register("web", "Shop", None)
    del stage.dynamodb.tables["containers"].items[(candidate.container_id,)]
    with pytest.raises(AdminError, match="was registered before, and its history still exists"):
        services().register("web", "Shop", None)
    assert adopt(services()) == (0, ["was registered before, and its history still exists"])


def test_a_service_that_another_process_has_adopted(stage: ServiceStage) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)
    (candidates,) = services().candidates()
    assert adopt(services()) == (1, [])
    assert services().adopt(candidates[0]) is False


def test_a_failure_of_dynamodb(stage: ServiceStage) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)
    stage.fail("TransactWriteItems", DENIED, times=-1)
    with pytest.raises(UnavailableError, match="may or may not be registered"):
        services().register("web", "Shop", None)
    (candidates,) = services().candidates()
    with pytest.raises(ClientError):
        services().adopt(candidates[0])


@pytest.mark.parametrize(
    ("described", "launch_type"),
    [
        ({"launchType": "FARGATE"}, "FARGATE"),
        ({"launchType": "EXTERNAL"}, "EXTERNAL"),
        ({"launchType": None, "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}, None),
        ({"launchType": None, "capacityProviderStrategy": [{"capacityProvider": "my-instances"}]}, None),
    ],
)
def test_the_launch_type_of_a_service(stage: ServiceStage, described: dict[str, Any], launch_type: str | None) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)

    def change(_: Any, answer: dict[str, Any]) -> dict[str, Any]:
        service = {name: value for name, value in (answer["services"][0] | described).items() if value is not None}
        return {**answer, "services": [service]}

    stage.change("DescribeServices", change)
    candidate, _ = services().register("web", "Shop", None)
    runtime = stage.container(candidate.container_id).runtime
    assert runtime.launch_type == launch_type
    strategy = described.get("capacityProviderStrategy", [])
    assert [provider.name for provider in runtime.capacity_providers] == [each["capacityProvider"] for each in strategy]
    assert runtime.platform is Platform.SERVICE


def test_a_service_with_an_unknown_launch_type(stage: ServiceStage) -> None:
    stage.services.add(CLUSTER, "web", "web", 1)
    stage.change("DescribeServices", lambda _, answer: {"services": [answer["services"][0] | {"launchType": "MOON"}]})
    with pytest.raises(AdminError, match="has the unsupported launch type MOON"):
        services().register("web", "Shop", None)
