"""The emulated ECS behaves like AWS where moto does not."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulated import World, eventually

from local.emulator import Emulator


def test_a_task_starts_and_is_stopped(world: World) -> None:
    ecs = world.client("ecs")
    answer = ecs.run_task(cluster="main", taskDefinition="web", startedBy="me", tags=[{"key": "a", "value": "b"}])
    assert answer["failures"] == []
    created = answer["tasks"][0]
    assert created["lastStatus"] == "PENDING"
    arn = created["taskArn"]
    task = world.wait(arn, "RUNNING")
    assert task["group"] == "family:web"
    assert task["launchType"] == "EC2"
    assert task["version"] > created["version"]
    assert [len(container["runtimeId"]) for container in task["containers"]] == [64, 64]
    assert "tags" not in task
    assert world.describe(arn, include=["TAGS"])["tags"] == [{"key": "a", "value": "b"}]
    host = ecs.describe_container_instances(cluster="main", containerInstances=[task["containerInstanceArn"]])[
        "containerInstances"
    ][0]
    assert (host["ec2InstanceId"], host["agentConnected"], host["status"]) == (world.instance, True, "ACTIVE")
    assert host["runningTasksCount"] == 1
    stopping = ecs.stop_task(cluster="main", task=arn, reason="enough")["task"]
    assert (stopping["lastStatus"], stopping["desiredStatus"]) == ("RUNNING", "STOPPED")
    stopped = world.wait(arn, "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")
    assert [container["exitCode"] for container in stopped["containers"]] == [0, 0]
    assert stopped["createdAt"] <= stopped["startedAt"] <= stopped["stoppingAt"] <= stopped["stoppedAt"]
    # A second StopTask succeeds and changes nothing.
    again = ecs.stop_task(cluster="main", task=arn, reason="again")["task"]
    assert (again["stoppedReason"], again["version"]) == ("enough", stopped["version"])


def test_every_change_is_an_event_in_order(world: World) -> None:
    arn = world.run("batch", startedBy="me")
    world.wait(arn, "STOPPED")
    eventually(lambda: bool(world.events) and world.events[-1]["detail"]["lastStatus"] == "STOPPED")
    assert [event["detail"]["version"] for event in world.events] == list(range(1, len(world.events) + 1))
    event = world.events[-1]
    assert (event["source"], event["detail-type"]) == ("aws.ecs", "ECS Task State Change")
    assert event["resources"] == [arn]
    detail = event["detail"]
    assert (detail["taskArn"], detail["startedBy"]) == (arn, "me")
    assert (detail["stopCode"], detail["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)
    assert detail["stoppedReason"] == "Essential container in task exited"
    assert detail["stoppedAt"].endswith("Z")
    assert json.loads(json.dumps(event)) == event


def test_a_receiver_of_events_may_call_the_emulator_and_fail() -> None:
    seen: list[str] = []

    def receive(event: dict[str, Any]) -> None:
        seen.append(own.describe(event["resources"][0])["lastStatus"])
        raise ValueError("the receiver's own fault")

    with Emulator(run_delay=0.05, on_event=receive) as emulator:
        own = World(emulator, [])
        own.run()
        eventually(lambda: len(seen) >= 2)
        own.close()


def test_a_client_token_starts_one_task(world: World) -> None:
    ecs = world.client("ecs")
    first, second = world.run(clientToken="t"), world.run(clientToken="t")
    assert first == second
    assert world.run(clientToken="u") != first
    with pytest.raises(ecs.exceptions.ConflictException) as conflict:
        world.run(clientToken="t", startedBy="other")
    assert conflict.value.response["resourceIds"] == [first]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: world.run(clientToken="v"), range(8)))) == 1
    ecs.stop_task(cluster="main", task=first)
    world.wait(first, "STOPPED")
    repeated = ecs.run_task(cluster="main", taskDefinition="web", clientToken="t")["tasks"]
    assert repeated == [{"taskArn": first, "lastStatus": "STOPPED", "desiredStatus": "STOPPED"}]
    # The token expires when its tasks are forgotten.
    world.emulator.ecs.forget(first)
    assert world.run(clientToken="t") != first


def test_unknown_resources_are_rejected(world: World) -> None:
    ecs = world.client("ecs")
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="The referenced task was not found"):
        ecs.stop_task(cluster="main", task="0" * 32)
    with pytest.raises(ecs.exceptions.ClusterNotFoundException):
        ecs.describe_tasks(cluster="nowhere", tasks=["0" * 32])
    with pytest.raises(ecs.exceptions.ClientException, match="TaskDefinition not found"):
        world.run("nothing")
    arn = world.run()
    world.emulator.ecs.forget(arn)
    answer = ecs.describe_tasks(cluster="main", tasks=[arn])
    assert answer["tasks"] == []
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]


def test_a_task_can_be_hidden(world: World) -> None:
    ecs = world.client("ecs")
    hidden, other = world.run(), world.run()
    world.emulator.ecs.hide(hidden)
    answer = ecs.describe_tasks(cluster="main", tasks=[hidden, other])
    assert [task["taskArn"] for task in answer["tasks"]] == [other]
    assert answer["failures"] == [{"arn": hidden, "reason": "MISSING"}]
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="The referenced task was not found"):
        ecs.stop_task(cluster="main", task=hidden)
    world.emulator.ecs.show(hidden)
    world.wait(hidden, "RUNNING")


def test_tasks_are_listed_by_filters(world: World) -> None:
    ecs = world.client("ecs")
    mine, other = world.run(startedBy="me"), world.run("batch")
    world.wait(other, "STOPPED")
    assert ecs.list_tasks(cluster="main")["taskArns"] == [mine]
    assert ecs.list_tasks(cluster="main", desiredStatus="STOPPED")["taskArns"] == [other]
    assert ecs.list_tasks(cluster="main", startedBy="me")["taskArns"] == [mine]
    assert ecs.list_tasks(cluster="main", family="batch")["taskArns"] == []
    host = world.describe(mine)["containerInstanceArn"]
    assert ecs.list_tasks(cluster="main", containerInstance=host)["taskArns"] == [mine]
    assert [task.arn for task in world.emulator.ecs.live(started_by="me")] == [mine]
    assert {task.arn for task in world.emulator.ecs.tasks("main")} == {mine, other}


def test_placement_needs_an_instance_with_room(world: World) -> None:
    ecs = world.client("ecs")

    def reasons(**parameters: Any) -> list[str]:
        answer = ecs.run_task(cluster="main", taskDefinition="web", **parameters)
        assert answer["tasks"] == []
        return [failure["reason"] for failure in answer["failures"]]

    def bound(instance: str) -> list[dict[str, str]]:
        return [{"type": "memberOf", "expression": f"ec2InstanceId == '{instance}'"}]

    assert reasons(placementConstraints=bound("i-0")) == ["MemberOf placement constraint unsatisfied."]
    second = world.emulator.ecs.add_instance("main", "i-0second")
    arn = world.run(placementConstraints=bound(second))
    assert world.emulator.ecs.task(arn).instance is not None
    assert [task.instance.ec2_instance_id for task in world.emulator.ecs.tasks() if task.instance] == [second]
    world.emulator.ecs.set_capacity(second, memory=0)
    world.emulator.ecs.set_capacity(world.instance, memory=0)
    assert reasons() == ["RESOURCE:MEMORY"] * 2
    world.emulator.ecs.set_capacity(world.instance)
    world.run()
    ecs.create_cluster(clusterName="empty")
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="No Container Instances were found"):
        ecs.run_task(cluster="empty", taskDefinition="web")


def test_fargate_needs_no_instance(world: World) -> None:
    ecs = world.client("ecs")
    ecs.create_cluster(clusterName="fargate")
    ecs.register_task_definition(
        family="serverless",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "app:1"}],
    )
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    request = {"cluster": "fargate", "taskDefinition": "serverless", "launchType": "FARGATE"}
    task = ecs.run_task(**request, networkConfiguration=network)["tasks"][0]
    assert task["lastStatus"] == "PROVISIONING"
    arn = task["taskArn"]
    eventually(lambda: world.emulator.ecs.task(arn).last_status == "RUNNING")
    task = ecs.describe_tasks(cluster="fargate", tasks=[arn])["tasks"][0]
    assert "containerInstanceArn" not in task
    assert task["containers"][0]["runtimeId"].startswith(arn.rpartition("/")[2] + "-")
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="Network Configuration"):
        ecs.run_task(**request)


def test_labels_control_the_process(world: World) -> None:
    never = world.run("never")
    failed = world.wait(world.run("unpullable"), "STOPPED")
    assert failed["stopCode"] == "TaskFailedToStart"
    assert failed["stoppedReason"].startswith("CannotPullContainerError: ")
    assert "startedAt" not in failed
    assert "exitCode" not in failed["containers"][0]
    assert world.describe(never)["lastStatus"] == "PENDING"
    world.client("ecs").stop_task(cluster="main", task=never)
    assert world.wait(never, "STOPPED")["stopCode"] == "UserInitiated"
    stubborn = world.running("stubborn")["taskArn"]
    world.client("ecs").stop_task(cluster="main", task=stubborn)
    assert [container["exitCode"] for container in world.wait(stubborn, "STOPPED")["containers"]] == [137, 0]


def test_controls_end_adopt_and_forget_tasks(world: World) -> None:
    controls = world.emulator.ecs
    arn = world.running()["taskArn"]
    controls.exit(arn, 9)
    stopped = world.wait(arn, "STOPPED")
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("EssentialContainerExited", 9)
    adopted = controls.adopt_running("main", "web", started_by="seed")
    assert world.describe(adopted.arn)["lastStatus"] == "RUNNING"
    spot = world.running()["taskArn"]
    controls.interrupt(spot)
    assert world.wait(spot, "STOPPED")["stopCode"] == "SpotInterruption"
    controls.terminate_instance(world.instance)
    assert world.describe(adopted.arn)["stopCode"] == "TerminationNotice"
    assert world.client("ecs").list_container_instances(cluster="main")["containerInstanceArns"] == []
