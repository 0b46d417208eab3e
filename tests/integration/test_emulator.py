"""The emulator: starts, injected faults, and the record of calls."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError
from emulated import REGION, World, client, code

from local.emulator import Emulator


def test_an_emulator_starts_empty_and_releases_its_resources() -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        with Emulator() as emulator:
            ecs = client(emulator, "ecs")
            assert ecs.list_clusters()["clusterArns"] == []
            ecs.create_cluster(clusterName="main")
            ecs.close()
    # Threads of earlier tests may end in the meantime.
    assert set(threading.enumerate()) <= before
    emulator.stop()
    with pytest.raises(RuntimeError):
        print(emulator.url)


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


def test_faults_use_the_protocol_of_the_service_and_match_parameters(world: World) -> None:
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
