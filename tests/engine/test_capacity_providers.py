"""Tests of containers whose tasks run on capacity providers instead of a launch type."""

from typing import Any

import pytest
from longshore.aws.ecs import Ecs, Quota
from longshore.domain.lifecycle import LaunchType, Operation, Platform
from longshore.domain.runtime import CapacityProvider, Runtime
from longshore.domain.views import ContainerView
from simulation.aws import clients

from engine.aws import CLUSTER
from engine.stage import Stage

WEB = "web-hosts"
MANAGED = "managed"
SPOT = [CapacityProvider(name="FARGATE_SPOT", weight=3), CapacityProvider(name="FARGATE", base=0)]


def on(*providers: str, managed: bool = False) -> dict[str, Any]:
    return {"capacity_providers": [CapacityProvider(name=name) for name in providers], "managed_instances": managed}


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.ecs.add_capacity_provider(WEB, "EC2_AUTOSCALING")
    stage.ecs.add_capacity_provider(MANAGED, "MANAGED_INSTANCES")
    return stage


def test_the_platform() -> None:
    base: dict[str, Any] = {"cluster": "c", "task_definition": "web"}
    fargate, host, managed = Platform.FARGATE, Platform.HOST, Platform.MANAGED
    for values, platform in (
        ({"launch_type": "EC2"}, host),
        ({"launch_type": "EXTERNAL"}, host),
        ({"launch_type": "FARGATE"}, fargate),
        (on("FARGATE"), fargate),
        (on("FARGATE_SPOT", "FARGATE"), fargate),
        (on(WEB), host),
        (on(MANAGED, managed=True), managed),
    ):
        assert Runtime.model_validate(base | values).platform is platform


def test_run_task_passes_the_strategy_instead_of_a_launch_type(stage: Stage) -> None:
    container = stage.add("stopped", fargate=True, runtime={"capacity_providers": SPOT})
    assert stage.ask(container, "start").status == "running"
    (request,) = stage.parameters("RunTask")
    assert request["capacityProviderStrategy"] == [
        {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0},
        {"capacityProvider": "FARGATE", "weight": 1, "base": 0},
    ]
    assert "launchType" not in request
    (task,) = stage.live(container)
    assert (task.launch_type, task.capacity_provider) == ("FARGATE", "FARGATE_SPOT")
    assert ContainerView.of(stage.container(container)).launch_type is None
    other = stage.add("stopped", number=2)
    stage.ask(other, "start")
    request = stage.parameters("RunTask")[1]
    assert (request["launchType"], "capacityProviderStrategy" in request) == ("EC2", False)


def test_tasks_of_an_auto_scaling_group_are_paused_and_killed_on_their_hosts(stage: Stage) -> None:
    container = stage.add("stopped", runtime=on(WEB))
    stage.ask(container, "start")
    assert stage.ask(container, "pause").status == "paused"
    assert stage.ask(container, "resume").status == "running"
    stage.calls.clear()
    assert stage.ask(container, "force-stop").status == "stopped"
    assert stage.count("SendCommand") == 1


def test_managed_instances_give_no_access_to_the_host(stage: Stage) -> None:
    container = stage.add("stopped", runtime=on(MANAGED, managed=True))
    assert stage.ask(container, "start").status == "running"
    assert Operation.PAUSE not in stage.container(container).allowed_operations
    refused = "is not supported on ECS Managed Instances, which give no access to the host"
    assert stage.refused(container, "pause") == f"operation pause {refused}"
    assert stage.ask(container, "force-stop").status == "stopped"
    assert stage.count("SendCommand") == 0
    assert not stage.live(container)


def test_a_capacity_provider_that_does_not_exist(stage: Stage) -> None:
    container = stage.add("stopped", runtime=on("gone"))
    reason = "ECS refused the request: check the container's cluster, capacity providers, network and task definition"
    assert stage.refused(container, "start") == reason
    assert (stage.container(container).status, stage.container(container).operation) == ("stopped", None)


def test_a_spot_task_that_is_interrupted(stage: Stage) -> None:
    container = stage.add("stopped", fargate=True, runtime={"capacity_providers": SPOT})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    stage.ecs.interrupt(task.arn)
    stage.advance(60)
    stage.deliver_all()
    row = stage.rows(container)[-1]
    assert (row["to_status"], row["metadata"]["stop_code"]) == ("stopped", "SpotInterruption")


def test_run_task_on_fargate_providers_counts_towards_the_quota_of_fargate(stage: Stage) -> None:
    class Pacing:
        def __init__(self) -> None:
            self.waited: list[tuple[Quota, ...]] = []

        def wait(self, *quotas: Quota) -> None:
            self.waited.append(quotas)

        def slow_down(self, *quotas: Quota) -> None:
            raise AssertionError(quotas)

    stage.add("stopped", number=1)
    stage.add("stopped", number=2, fargate=True)
    network: dict[str, Any] = {"cluster": CLUSTER, "subnets": ["subnet-0a1b2c3d"]}
    cases: list[tuple[dict[str, Any], tuple[Quota, ...]]] = [
        ({"task_definition": "web-1", "launch_type": LaunchType.EC2}, (Quota.ACTIONS,)),
        ({"task_definition": "web-1"} | on(WEB), (Quota.ACTIONS,)),
        ({"task_definition": "web-2"} | on("FARGATE_SPOT"), (Quota.ACTIONS, Quota.FARGATE)),
        ({"task_definition": "web-2", "launch_type": LaunchType.FARGATE}, (Quota.ACTIONS, Quota.FARGATE)),
    ]
    for number, (values, quotas) in enumerate(cases):
        pacing = Pacing()
        with stage.open():
            Ecs(clients().ecs, pacing).run(Runtime.model_validate(network | values), None, "c", f"token-{number}")
        assert pacing.waited == [quotas]
