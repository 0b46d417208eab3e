"""The emulated Run Command behaves like AWS where moto does not."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulated import World, code, eventually


def test_pause_and_unpause(world: World) -> None:
    task = world.running()
    ids = [container["runtimeId"] for container in task["containers"]]
    for action, paused in [("pause", True), ("pause", True), ("unpause", False), ("unpause", False)]:
        result = world.result(world.send(action, ids))
        assert (result["Status"], result["ResponseCode"]) == ("Success", 0)
        containers = world.emulator.ecs.task(task["taskArn"]).containers
        assert [container.paused for container in containers] == [paused, paused]


def test_a_command_skips_containers_that_do_not_exist(world: World) -> None:
    task = world.running()
    result = world.result(world.send("pause", [task["containers"][0]["runtimeId"], "0" * 64]))
    assert (result["Status"], result["ResponseCode"]) == ("Success", 0)
    assert [container.paused for container in world.emulator.ecs.task(task["taskArn"]).containers] == [True, False]
    result = world.result(world.send("pause", ["0" * 64]))
    assert (result["Status"], result["ResponseCode"]) == ("Failed", 1)


def test_a_paused_task_does_not_see_sigterm_but_can_be_killed(world: World) -> None:
    frozen, killed = world.running(), world.running()
    for task in (frozen, killed):
        world.result(world.send("pause", [container["runtimeId"] for container in task["containers"]]))
    world.emulator.ecs.task(frozen["taskArn"]).containers[1].stop_timeout = timedelta(seconds=2)
    world.client("ecs").stop_task(cluster="main", task=frozen["taskArn"])
    for _ in range(2):
        ids = [container["runtimeId"] for container in killed["containers"]]
        assert world.result(world.send("kill", ids))["Status"] == "Success"
    stopped = world.wait(killed["taskArn"], "STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert [container["exitCode"] for container in stopped["containers"]] == [137, 137]
    stopped = world.wait(frozen["taskArn"], "STOPPED")
    assert stopped["stopCode"] == "UserInitiated"
    assert [container["exitCode"] for container in stopped["containers"]] == [137, 137]


@pytest.mark.parametrize(
    "parameters",
    [
        {"action": ["pause"]},
        {"action": ["rm -rf"], "runtimeIds": ["0" * 64]},
        {"action": ["pause"], "runtimeIds": ["0" * 63 + ";"]},
        {"action": ["pause"], "runtimeIds": ["0" * 64, "x"]},
        {"action": ["pause"], "runtimeIds": []},
        {"action": ["pause"], "runtimeIds": ["0" * 64] * 11},
        {"action": ["pause", "kill"], "runtimeIds": ["0" * 64]},
        {"action": ["pause"], "runtimeIds": ["0" * 64], "more": ["x"]},
    ],
)
def test_parameters_are_checked_against_the_document(world: World, parameters: dict[str, list[str]]) -> None:
    with pytest.raises(ClientError) as error:
        world.client("ssm").send_command(InstanceIds=[world.instance], DocumentName="freezer", Parameters=parameters)
    assert code(error) == "InvalidParameters"


def test_document_and_instance_must_exist(world: World) -> None:
    ssm = world.client("ssm")
    good = {"action": ["pause"], "runtimeIds": ["0" * 64]}
    with pytest.raises(ssm.exceptions.InvalidDocument):
        ssm.send_command(InstanceIds=[world.instance], DocumentName="AWS-RunShellScript", Parameters=good)
    with pytest.raises(ssm.exceptions.InvalidInstanceId):
        ssm.send_command(InstanceIds=["i-0"], DocumentName="freezer", Parameters=good)
    world.emulator.ssm.disconnect(world.instance)
    with pytest.raises(ssm.exceptions.InvalidInstanceId):
        world.send("pause", ["0" * 64])
    with pytest.raises(ssm.exceptions.InvocationDoesNotExist):
        ssm.get_command_invocation(CommandId="0" * 36, InstanceId=world.instance)


def test_a_command_sends_events(world: World) -> None:
    ids = [world.running()["containers"][0]["runtimeId"]]
    paused = world.send("pause", ids)
    world.result(paused)
    world.emulator.ssm.fail_next()
    refused = world.send("unpause", ids)
    world.result(refused)

    def events() -> list[dict[str, Any]]:
        return [event for event in list(world.events) if event["source"] == "aws.ssm"]

    eventually(lambda: len(events()) == 4)
    ((_, begun), (first, success), _, (second, failed)) = [
        (event["detail"]["command-id"], event["detail"]["status"]) for event in events()
    ]
    assert (begun, first, success, second, failed) == ("InProgress", paused, "Success", refused, "Failed")
    event = events()[1]
    assert event["detail-type"] == "EC2 Command Invocation Status-change Notification"
    assert event["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{world.instance}"]
    assert (event["detail"]["instance-id"], event["detail"]["document-name"]) == (world.instance, "freezer")
    assert len({event["id"] for event in events()}) == 4


def test_commands_can_be_made_to_fail(world: World) -> None:
    task = world.running()
    ids = [task["containers"][0]["runtimeId"]]
    world.emulator.ssm.fail_next(response_code=7)
    result = world.result(world.send("pause", ids))
    assert (result["Status"], result["ResponseCode"]) == ("Failed", 7)
    world.emulator.ssm.fail_next(status="Undeliverable")
    result = world.result(world.send("pause", ids))
    assert (result["Status"], result["StatusDetails"]) == ("Failed", "Undeliverable")
    world.emulator.ssm.fail_next(status="TimedOut", after_effect=True)
    command = world.send("pause", ids)
    assert world.result(command)["Status"] == "TimedOut"
    listed = world.client("ssm").list_command_invocations(CommandId=command)["CommandInvocations"]
    assert [invocation["Status"] for invocation in listed] == ["TimedOut"]
    assert [c.paused for c in world.emulator.ecs.task(task["taskArn"]).containers] == [True, False]
