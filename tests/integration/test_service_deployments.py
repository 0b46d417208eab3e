"""The simulated service deployments and revisions: their statuses, stages, hooks and rollbacks, without HTTP."""

from datetime import timedelta
from typing import Any

import botocore.session
import pytest
from integration.service_world import World, counts

from local.emulator import AwsError
from local.emulator.ecs.service_deployments import STAGES

ROLLBACK = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
BLUE_GREEN = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5}
LISTENER = [{"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/web", "containerName": "app"}]


def listed(world: World, **parameters: Any) -> list[dict[str, Any]]:
    answer = world.ecs.handle("ListServiceDeployments", {"cluster": "main", "service": "web", **parameters})
    found: list[dict[str, Any]] = answer["serviceDeployments"]
    return found


def described(world: World, arn: str | None = None) -> dict[str, Any]:
    """Return a service deployment, by default the newest."""
    arn = arn or listed(world)[0]["serviceDeploymentArn"]
    answer = world.ecs.handle("DescribeServiceDeployments", {"serviceDeploymentArns": [arn]})
    assert answer["failures"] == []
    found: dict[str, Any] = answer["serviceDeployments"][0]
    return found


def statuses(world: World) -> list[str]:
    return [each["status"] for each in listed(world)]


def seen(world: World, seconds: float = 60) -> list[str]:
    """Return the statuses of the newest service deployment until nothing changes any more."""
    end, found = world.time + timedelta(seconds=seconds), [statuses(world)[0]]
    while (due := world.ecs.next_due()) is not None and due <= end:
        world.step()
        if statuses(world)[0] != found[-1]:
            found.append(statuses(world)[0])
    return found


def test_a_deployment_is_pending_then_in_progress_then_successful() -> None:
    world = World()
    assert seen(world) == ["PENDING", "IN_PROGRESS", "SUCCESSFUL"]
    updated = world.update(forceNewDeployment=True)["service"]
    # The answer names the new deployment, which the list and the description show, too.
    newest = described(world)
    assert updated["currentServiceDeployment"] == newest["serviceDeploymentArn"]
    assert updated["deployments"][0]["status"] == "PRIMARY"
    assert (newest["status"], newest["createdAt"]) == ("PENDING", world.time)
    assert newest["sourceServiceRevisions"][0]["runningTaskCount"] == 3
    assert newest["targetServiceRevision"]["requestedTaskCount"] == 3
    assert seen(world) == ["PENDING", "IN_PROGRESS", "SUCCESSFUL"]
    newest = described(world)
    assert newest["startedAt"] < newest["finishedAt"]
    assert newest["targetServiceRevision"]["runningTaskCount"] == 3
    assert statuses(world) == ["SUCCESSFUL", "SUCCESSFUL"]
    world.update(desiredCount=1)
    world.advance()
    assert len(listed(world)) == 2


def test_deployments_are_found_by_status_and_time() -> None:
    world = World()
    world.advance()
    before = world.time
    world.update(forceNewDeployment=True)
    world.advance()
    assert len(listed(world)) == 2
    (newer,) = listed(world, createdAt={"after": before - timedelta(seconds=1)})
    assert newer == listed(world)[0]
    assert listed(world, createdAt={"before": before.timestamp() - 1}) == listed(world)[1:]
    assert listed(world, status=["IN_PROGRESS"]) == []
    (first,) = listed(world, maxResults=1)
    assert first == newer
    missing = world.ecs.handle("DescribeServiceDeployments", {"serviceDeploymentArns": ["arn:none"]})
    assert missing["failures"] == [{"arn": "arn:none", "reason": "MISSING"}]
    with pytest.raises(AwsError, match="ServiceNotFoundException"):
        listed(world, service="none")


def test_a_failed_deployment_is_rolled_back_to_the_deployment_before() -> None:
    world = World(deploymentConfiguration=ROLLBACK)
    world.advance()
    (before,) = world.describe()["deployments"]
    failed = world.update(taskDefinition="unpullable")["service"]["deployments"][0]["id"]
    assert failed != before["id"]
    assert seen(world) == ["PENDING", "IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL"]
    # The old deployment is PRIMARY again, with its id.
    (after,) = world.describe()["deployments"]
    assert (after["id"], after["status"], after["rolloutState"]) == (before["id"], "PRIMARY", "COMPLETED")
    newest = described(world)
    assert newest["rollback"]["serviceRevisionArn"] == newest["sourceServiceRevisions"][0]["arn"]
    assert newest["statusReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert newest["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}


def test_a_failed_deployment_without_rollback_is_stopped() -> None:
    world = World(deploymentConfiguration=BREAKER)
    world.advance()
    world.update(taskDefinition="unpullable")
    assert seen(world) == ["PENDING", "IN_PROGRESS", "STOPPED"]
    assert described(world)["stoppedAt"]


def test_a_rollback_that_cannot_start_its_tasks_fails() -> None:
    world = World(deploymentConfiguration=ROLLBACK | {"minimumHealthyPercent": 0, "maximumPercent": 100})
    world.advance()
    world.labels["web"]["simulate.start"] = "fail"
    world.update(forceNewDeployment=True)
    assert seen(world, 600) == ["PENDING", "IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED"]


def test_a_deployment_that_another_one_replaces_is_stopped() -> None:
    world = World()
    world.advance()
    world.update(forceNewDeployment=True)
    world.advance(0.3)
    world.update(forceNewDeployment=True)
    assert statuses(world) == ["PENDING", "STOP_REQUESTED", "SUCCESSFUL"]
    world.advance()
    assert statuses(world) == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_a_user_rolls_back_or_stops_a_deployment() -> None:
    for stop_type, requested, end in (
        ("ROLLBACK", "ROLLBACK_REQUESTED", "ROLLBACK_SUCCESSFUL"),
        ("ABORT", "STOP_REQUESTED", "STOPPED"),
    ):
        world = World()
        world.advance()
        (before,) = world.describe()["deployments"]
        world.update(forceNewDeployment=True)
        world.advance(0.3)
        arn = described(world)["serviceDeploymentArn"]
        world.ecs.handle("StopServiceDeployment", {"serviceDeploymentArn": arn, "stopType": stop_type})
        assert statuses(world)[0] == requested
        world.ecs.handle("StopServiceDeployment", {"serviceDeploymentArn": arn, "stopType": stop_type})
        world.advance()
        assert statuses(world)[0] == end
        kept = [each["id"] for each in world.describe()["deployments"]]
        assert (kept == [before["id"]]) == (stop_type == "ROLLBACK")
        with pytest.raises(AwsError, match="ConflictException"):
            world.ecs.handle("StopServiceDeployment", {"serviceDeploymentArn": arn})


def paused(stage: str, **timeout: Any) -> dict[str, Any]:
    return {"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": [stage], "timeoutConfiguration": timeout}]}


def test_a_blue_green_deployment_keeps_both_until_its_bake_time_is_over() -> None:
    world = World(deploymentConfiguration=BLUE_GREEN)
    world.advance()
    assert "rolloutState" not in world.describe()["deployments"][0]
    world.update(forceNewDeployment=True)
    assert counts(world.advance()) == (3, 6, 0)
    newest = described(world)
    assert (newest["status"], newest["lifecycleStage"]) == ("IN_PROGRESS", "BAKE_TIME")
    assert newest["targetServiceRevision"]["requestedProductionTrafficWeight"] == 100
    assert counts(world.advance(300)) == (3, 3, 0)
    assert (statuses(world)[0], described(world)["lifecycleStage"]) == ("SUCCESSFUL", "CLEAN_UP")


def test_a_hook_pauses_a_deployment_until_a_person_continues_it() -> None:
    for stage in ("PRE_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT"):
        for action, end in (("CONTINUE", "SUCCESSFUL"), ("ROLLBACK", "ROLLBACK_SUCCESSFUL")):
            world = World(deploymentConfiguration={"strategy": "BLUE_GREEN"} | paused(stage))
            world.advance()
            (before,) = world.describe()["deployments"]
            world.events()
            world.update(forceNewDeployment=True)
            world.advance(3600)
            newest = described(world)
            (hook,) = newest["lifecycleHookDetails"]
            assert (newest["status"], newest["lifecycleStage"]) == ("IN_PROGRESS", stage)
            assert (hook["status"], hook["targetType"]) == ("AWAITING_ACTION", "PAUSE")
            assert ("ECS Hook State Change", "HOOK_AWAITING_ACTION") in world.events()
            request = {"serviceDeploymentArn": newest["serviceDeploymentArn"], "hookId": hook["hookId"]}
            world.ecs.handle("ContinueServiceDeployment", request | {"action": action})
            assert counts(world.advance()) == (3, 3, 0)
            assert statuses(world)[0] == end
            assert (world.describe()["deployments"][0]["id"] == before["id"]) == (action == "ROLLBACK")
            with pytest.raises(AwsError, match="InvalidParameterException"):
                world.ecs.handle("ContinueServiceDeployment", request)


def test_a_hook_that_nobody_answers_times_out() -> None:
    for action, end in (("CONTINUE", "SUCCESSFUL"), ("ROLLBACK", "ROLLBACK_SUCCESSFUL")):
        hook = paused("POST_SCALE_UP", timeoutInMinutes=10, action=action)
        world = World(deploymentConfiguration={"strategy": "BLUE_GREEN"} | hook)
        world.advance()
        world.update(forceNewDeployment=True)
        world.advance(590)
        assert statuses(world)[0] == "IN_PROGRESS"
        world.advance(60)
        assert statuses(world)[0] == end
        assert described(world)["lifecycleHookDetails"][0]["status"] == "TIMED_OUT"


def test_linear_and_canary_deployments_shift_production_traffic_in_steps() -> None:
    for configuration, weights in (
        (
            {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 40.0, "stepBakeTimeInMinutes": 2}},
            [40.0, 80.0, 100.0],
        ),
        ({"strategy": "CANARY"}, [5.0, 5.0, 5.0, 5.0, 5.0, 100.0]),
    ):
        world = World(deploymentConfiguration=configuration)
        world.advance()
        world.update(forceNewDeployment=True)
        world.advance(10)
        found = []
        for _ in weights:
            found.append(described(world)["targetServiceRevision"]["requestedProductionTrafficWeight"])
            world.advance(120)
        assert found == weights
        assert statuses(world)[0] == "SUCCESSFUL"


def test_the_count_of_a_paused_deployment_can_become_zero() -> None:
    world = World(deploymentConfiguration={"strategy": "BLUE_GREEN"} | paused("POST_SCALE_UP"))
    world.advance()
    world.update(forceNewDeployment=True)
    assert counts(world.advance()) == (3, 6, 0)
    world.update(desiredCount=0)
    assert counts(world.advance()) == (0, 0, 0)
    assert statuses(world)[0] == "IN_PROGRESS"


def test_the_stages_are_those_of_the_api() -> None:
    shape = botocore.session.get_session().get_service_model("ecs").shape_for("ServiceDeploymentLifecycleStage")
    assert list(STAGES) == shape.metadata["enum"]


def test_a_deleted_service_has_no_deployments() -> None:
    world = World()
    world.advance()
    world.ecs.handle("DeleteService", {"cluster": "main", "service": "web", "force": True})
    world.advance()
    assert listed(world) == []


def test_tasks_that_are_deregistered_are_alive_and_in_no_count() -> None:
    world = World(loadBalancers=LISTENER)
    world.advance()
    arns = [task.arn for task in world.tasks()]
    world.update(desiredCount=0)
    assert counts(world.advance()) == (0, 0, 0)
    assert world.ecs.handle("ListTasks", {"cluster": "main", "serviceName": "web"})["taskArns"] == []
    request = {"cluster": "main", "serviceName": "web", "desiredStatus": "STOPPED"}
    assert world.ecs.handle("ListTasks", request)["taskArns"] == arns
    tasks = world.ecs.handle("DescribeTasks", {"cluster": "main", "tasks": arns})["tasks"]
    assert {task["lastStatus"] for task in tasks} == {"DEACTIVATING"}
    # Their processes run until the deregistration delay is over.
    assert {task["containers"][0]["lastStatus"] for task in tasks} == {"RUNNING"}
    assert len(world.ecs.live()) == 3
    world.advance(300)
    assert world.ecs.live() == []


def test_a_network_interface_is_detached_before_a_task_is_stopped() -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    world = World(delays={"deprovision_delay": 20}, network_mode="awsvpc", networkConfiguration=network)
    world.advance()
    world.update(desiredCount=0)
    assert counts(world.advance(5)) == (0, 0, 0)
    assert {task.last_status for task in world.ecs.live()} == {"DEPROVISIONING"}
    world.advance(20)
    assert world.ecs.live() == []
