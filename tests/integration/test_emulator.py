"""The emulated AWS behaves as AWS does where moto does not: over HTTP, and on a virtual clock."""

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from local.emulator import AwsError, CommandSimulation, Emulator, StaticCatalog, TaskSimulation

REGION = "us-east-1"
DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "action": {"type": "String", "allowedValues": ["pause", "unpause", "kill"]},
        "runtimeIds": {
            "type": "StringList",
            "allowedPattern": "^[0-9a-f]{64}$",
            "minItems": 1,
            "maxItems": 10,
        },
    },
    "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}],
}


class World:
    """One emulator with clients, a cluster, an instance and task definitions."""

    def __init__(self, emulator: Emulator, events: list[dict[str, Any]]) -> None:
        self.emulator = emulator
        self.events = events
        self._clients: dict[str, Any] = {}
        ecs = self.client("ecs")
        ecs.create_cluster(clusterName="main")
        for family, labels in {
            "web": {},
            "never": {"simulate.start": "never"},
            "unpullable": {"simulate.start": "fail"},
            "stubborn": {"simulate.ignore-sigterm": "true"},
            "batch": {"simulate.exit-after": "0.05", "simulate.exit-code": "3"},
        }.items():
            app = {"name": "app", "image": "app:1", "memory": 256, "stopTimeout": 2, "dockerLabels": labels}
            side = {"name": "side", "image": "side:1", "memory": 64, "essential": False}
            ecs.register_task_definition(family=family, containerDefinitions=[app, side])
        self.instance = emulator.ecs.add_instance("main", memory=2000)
        self.client("ssm").create_document(Name="freezer", Content=json.dumps(DOCUMENT), DocumentType="Command")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self.emulator.url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
            )
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def run(self, family: str = "web", **parameters: Any) -> str:
        answer = self.client("ecs").run_task(cluster="main", taskDefinition=family, **parameters)
        return str(answer["tasks"][0]["taskArn"])

    def describe(self, arn: str, **parameters: Any) -> dict[str, Any]:
        answer = self.client("ecs").describe_tasks(cluster="main", tasks=[arn], **parameters)
        return dict(answer["tasks"][0])

    def wait(self, arn: str, status: str) -> dict[str, Any]:
        eventually(lambda: self.describe(arn)["lastStatus"] == status)
        return self.describe(arn)

    def running(self, family: str = "web") -> dict[str, Any]:
        return self.wait(self.run(family), "RUNNING")

    def send(self, action: str, ids: list[str]) -> str:
        answer = self.client("ssm").send_command(
            InstanceIds=[self.instance],
            DocumentName="freezer",
            Parameters={"action": [action], "runtimeIds": ids},
        )
        return str(answer["Command"]["CommandId"])

    def result(self, command_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = {}

        def ended() -> bool:
            with suppress(self.client("ssm").exceptions.InvocationDoesNotExist):
                answer.update(self.client("ssm").get_command_invocation(CommandId=command_id, InstanceId=self.instance))
            return answer.get("Status") not in (None, "Pending", "InProgress")

        eventually(ended)
        return answer


def eventually(condition: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def code(error: Any) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.fixture
def world() -> Iterator[World]:
    events: list[dict[str, Any]] = []
    with Emulator(run_delay=0.1, stop_delay=0.1, command_delay=0.06, on_event=events.append) as emulator:
        world = World(emulator, events)
        yield world
        world.close()


# ── the server ──


def test_one_emulator_after_another_starts_empty_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        with Emulator() as emulator:
            ecs = boto3.client(
                "ecs",
                endpoint_url=emulator.url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            assert ecs.list_clusters()["clusterArns"] == []
            ecs.create_cluster(clusterName="main")
            ecs.close()
    assert set(threading.enumerate()) == before
    emulator.stop()
    with pytest.raises(RuntimeError):
        print(emulator.url)


# ── tasks ──


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
    # Again is no error and changes nothing.
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


def test_a_client_token_names_one_task(world: World) -> None:
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
    # The token lapses with the memory of its tasks.
    world.emulator.ecs.forget(first)
    assert world.run(clientToken="t") != first


def test_what_is_unknown_is_refused(world: World) -> None:
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


def test_a_task_can_be_hidden_as_ecs_may_not_show_one_for_a_while(world: World) -> None:
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


def test_tasks_are_listed_by_what_they_are(world: World) -> None:
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


def test_labels_choose_what_a_process_does(world: World) -> None:
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


def test_controls_end_adopt_and_take_away(world: World) -> None:
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


# ── commands ──


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


def test_a_command_tells_of_itself(world: World) -> None:
    ids = [world.running()["containers"][0]["runtimeId"]]
    paused = world.send("pause", ids)
    world.result(paused)
    world.emulator.ssm.fail_next()
    refused = world.send("unpause", ids)
    world.result(refused)

    def told() -> list[dict[str, Any]]:
        return [event for event in list(world.events) if event["source"] == "aws.ssm"]

    eventually(lambda: len(told()) == 4)
    ((_, begun), (first, success), _, (second, failed)) = [
        (event["detail"]["command-id"], event["detail"]["status"]) for event in told()
    ]
    assert (begun, first, success, second, failed) == ("InProgress", paused, "Success", refused, "Failed")
    event = told()[1]
    assert event["detail-type"] == "EC2 Command Invocation Status-change Notification"
    assert event["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{world.instance}"]
    assert (event["detail"]["instance-id"], event["detail"]["document-name"]) == (world.instance, "freezer")
    assert len({event["id"] for event in told()}) == 4


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


# ── faults ──


def test_an_error_for_a_number_of_calls(world: World) -> None:
    ecs = world.client("ecs")
    world.emulator.faults.add("ecs", "RunTask", "ServerException", times=2)
    for _ in range(2):
        with pytest.raises(ecs.exceptions.ServerException) as error:
            world.run()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert world.emulator.ecs.tasks() == []
    world.run()


def test_a_lost_reply_and_a_dropped_connection(world: World) -> None:
    world.emulator.faults.add("ecs", "RunTask", "ServerException", after_effect=True)
    with pytest.raises(ClientError):
        world.run(startedBy="lost")
    assert len(world.emulator.ecs.live("lost")) == 1
    world.emulator.faults.add("ecs", "RunTask", "drop", after_effect=True)
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        world.run(startedBy="dropped")
    assert len(world.emulator.ecs.live("dropped")) == 1


def test_faults_speak_each_protocol_and_choose_by_parameters(world: World) -> None:
    faults = world.emulator.faults
    faults.add(error="ThrottlingException", status=400, times=None, match=lambda p: "Nothing" not in p)
    calls: dict[str, Callable[[Any], object]] = {
        "dynamodb": lambda client: client.list_tables(),
        "ssm": lambda client: client.list_documents(),
        "events": lambda client: client.list_rules(),
        "ec2": lambda client: client.describe_instances(),
        "sts": lambda client: client.get_caller_identity(),
        "lambda": lambda client: client.list_functions(),
    }
    for service, call in calls.items():
        with pytest.raises(ClientError) as error:
            call(world.client(service))
        assert code(error) == "ThrottlingException"
    faults.clear()
    assert world.client("dynamodb").list_tables()["TableNames"] == []


def test_calls_are_recorded(world: World) -> None:
    calls = world.emulator.calls
    calls.clear()
    world.run(startedBy="me")
    world.client("dynamodb").list_tables(Limit=3)
    assert [call[:2] for call in calls] == [("ecs", "RunTask"), ("dynamodb", "ListTables")]
    assert calls.list("ecs", "RunTask")[0].parameters["startedBy"] == "me"
    assert calls.count("dynamodb") == 1
    calls.clear()
    assert len(calls) == 0


def test_a_rule_with_a_function_does_not_break_events(world: World) -> None:
    events = world.client("events")
    events.put_rule(Name="rule", EventPattern='{"source": ["mine"]}')
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:f"
    events.put_targets(Rule="rule", Targets=[{"Id": "1", "Arn": arn}])
    answer = events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert answer["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule="rule")["Targets"][0]["Arn"] == arn


# ── DynamoDB ──


@pytest.fixture
def table(world: World) -> Any:
    database = world.client("dynamodb")
    database.create_table(
        TableName="rows",
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "S"},
            {"AttributeName": "seq", "AttributeType": "N"},
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by_seq",
                "KeySchema": [
                    {"AttributeName": "id", "KeyType": "HASH"},
                    {"AttributeName": "seq", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return database


KEY = {"id": {"S": "a"}, "at": {"S": "0"}}


def increment(seen: str, **more: Any) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "rows",
            "Key": KEY,
            "UpdateExpression": "ADD n :one",
            "ConditionExpression": "n = :seen",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":seen": {"N": seen}},
            **more,
        }
    }


def test_concurrent_transactions_lose_nothing(table: Any) -> None:
    threads, rounds = 16, 12
    table.put_item(TableName="rows", Item={**KEY, "n": {"N": "0"}})

    def count(thread: int) -> int:
        won = 0
        for turn in range(rounds):
            seen = table.get_item(TableName="rows", Key=KEY, ConsistentRead=True)["Item"]["n"]["N"]
            row = {"id": {"S": "row"}, "at": {"S": f"{thread:02d}-{turn:02d}"}}
            with suppress(table.exceptions.TransactionCanceledException):
                table.transact_write_items(TransactItems=[increment(seen), {"Put": {"TableName": "rows", "Item": row}}])
                won += 1
        return won

    # Threads that change often find what a longer interval only finds in bigger tables.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(threads) as pool:
            won = sum(pool.map(count, range(threads)))
    finally:
        sys.setswitchinterval(interval)
    rows = table.query(
        TableName="rows",
        KeyConditionExpression="id = :id",
        ExpressionAttributeValues={":id": {"S": "row"}},
        ConsistentRead=True,
    )
    assert int(table.get_item(TableName="rows", Key=KEY)["Item"]["n"]["N"]) == rows["Count"] == won > 0


def test_a_transaction_with_a_token_happens_once(world: World, table: Any) -> None:
    table.put_item(TableName="rows", Item={**KEY, "n": {"N": "0"}})
    world.emulator.faults.add("dynamodb", "TransactWriteItems", "InternalServerError", after_effect=True)
    with pytest.raises(table.exceptions.InternalServerError):
        table.transact_write_items(TransactItems=[increment("0")], ClientRequestToken="t")
    table.transact_write_items(TransactItems=[increment("0")], ClientRequestToken="t")
    assert table.get_item(TableName="rows", Key=KEY)["Item"]["n"] == {"N": "1"}
    with pytest.raises(table.exceptions.IdempotentParameterMismatchException):
        table.transact_write_items(TransactItems=[increment("1")], ClientRequestToken="t")


def test_a_failed_condition_returns_the_item(table: Any) -> None:
    item = {**KEY, "n": {"N": "5"}}
    table.put_item(TableName="rows", Item=item)
    update = increment("9", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    with pytest.raises(table.exceptions.ConditionalCheckFailedException) as failed:
        table.update_item(**update["Update"])
    assert failed.value.response["Item"] == item
    other = {"Put": {"TableName": "rows", "Item": {"id": {"S": "b"}, "at": {"S": "0"}}}}
    with pytest.raises(table.exceptions.TransactionCanceledException) as cancelled:
        table.transact_write_items(TransactItems=[update, other])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["ConditionalCheckFailed", "None"]
    assert reasons[0]["Item"] == item


def test_an_index_is_read_between_bounds_in_both_directions(table: Any) -> None:
    for number in range(20):
        item = {"id": {"S": "a"}, "at": {"S": f"{(number * 7) % 20:02d}"}, "seq": {"N": str(number)}}
        table.put_item(TableName="rows", Item=item)
    for forward, expected in [(True, ["8", "9", "10", "11"]), (False, ["11", "10", "9", "8"])]:
        page = table.query(
            TableName="rows",
            IndexName="by_seq",
            KeyConditionExpression="id = :id AND seq BETWEEN :low AND :high",
            ExpressionAttributeValues={":id": {"S": "a"}, ":low": {"N": "8"}, ":high": {"N": "11"}},
            ScanIndexForward=forward,
            ConsistentRead=True,
        )
        assert [item["seq"]["N"] for item in page["Items"]] == expected


# ── on a virtual clock, without HTTP ──


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def virtual(seed: int = 1) -> tuple[Clock, TaskSimulation, CommandSimulation]:
    clock = Clock()
    catalog = StaticCatalog()
    catalog.add_cluster("main")
    catalog.add_task_definition("web", [{"name": "app", "image": "app:1", "memory": 10}])
    tasks = TaskSimulation(catalog, clock, rng=random.Random(seed))
    tasks.add_instance("main", "i-1")
    commands = CommandSimulation(tasks, lambda *_: DOCUMENT, clock, rng=random.Random(seed))
    return clock, tasks, commands


def story(seed: int) -> list[dict[str, Any]]:
    clock, tasks, commands = virtual(seed)
    answer = tasks.handle("RunTask", {"cluster": "main", "taskDefinition": "web"})
    arn = answer["tasks"][0]["taskArn"]
    clock.now += timedelta(seconds=1)
    runtime_id = str(tasks.task(arn).containers[0].runtime_id)
    parameters = {"action": ["pause"], "runtimeIds": [runtime_id]}
    commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": ["i-1"], "Parameters": parameters})
    clock.now += timedelta(seconds=1)
    commands.advance(clock.now)
    tasks.handle("StopTask", {"cluster": "main", "task": arn})
    while (due := tasks.next_due()) is not None:
        clock.now = due
        tasks.advance(due)
    return tasks.drain_events()


def test_the_same_seed_tells_the_same_story() -> None:
    events = story(7)
    assert events == story(7)
    detail = events[-1]["detail"]
    assert (detail["lastStatus"], detail["containers"][0]["exitCode"]) == ("STOPPED", 137)
    # Paused, it lasted the whole stopTimeout.
    assert detail["stoppingAt"] == "2030-01-01T00:00:02.000Z"
    assert detail["stoppedAt"] == "2030-01-01T00:00:32.000Z"


def test_time_ends_memory_and_tokens() -> None:
    clock, tasks, _ = virtual()
    request = {"cluster": "main", "taskDefinition": "web", "clientToken": "t"}
    arn = tasks.handle("RunTask", request)["tasks"][0]["taskArn"]
    clock.now += timedelta(hours=23)
    assert tasks.handle("RunTask", request)["tasks"][0]["taskArn"] == arn
    tasks.exit(arn, 0)
    clock.now += timedelta(minutes=59)
    assert tasks.handle("DescribeTasks", {"cluster": "main", "tasks": [arn]})["failures"] == []
    clock.now += timedelta(minutes=1)
    failures = tasks.handle("DescribeTasks", {"cluster": "main", "tasks": [arn]})["failures"]
    assert failures == [{"arn": arn, "reason": "MISSING"}]
    assert tasks.handle("RunTask", request)["tasks"][0]["taskArn"] != arn
    with pytest.raises(AwsError, match="The referenced task was not found"):
        tasks.handle("StopTask", {"cluster": "main", "task": arn})


def test_an_invocation_is_unknown_at_first() -> None:
    clock, _, commands = virtual()
    parameters = {"action": ["kill"], "runtimeIds": ["0" * 64]}
    sent = commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": ["i-1"], "Parameters": parameters})
    question = {"CommandId": sent["Command"]["CommandId"], "InstanceId": "i-1"}
    with pytest.raises(AwsError, match="InvocationDoesNotExist"):
        commands.handle("GetCommandInvocation", question)
    seen = []
    for milliseconds in (20, 40, 60):
        clock.now += timedelta(milliseconds=milliseconds)
        seen.append(commands.handle("GetCommandInvocation", question)["Status"])
    assert seen == ["Pending", "InProgress", "Success"]


def test_an_unpaused_process_goes_on_where_it_was() -> None:
    clock, tasks, _ = virtual()
    catalog_task = tasks.adopt_running("main", "web")
    container = catalog_task.containers[0]
    container.exits_at = clock.now + timedelta(seconds=10)
    runtime_id = str(container.runtime_id)
    clock.now += timedelta(seconds=4)
    tasks.host_command("i-1", "pause", [runtime_id])
    clock.now += timedelta(hours=1)
    tasks.host_command("i-1", "unpause", [runtime_id])
    assert tasks.next_due() == clock.now + timedelta(seconds=6)
