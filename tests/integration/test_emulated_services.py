"""ECS services and scalable targets of the local stack, through boto3, and their events at the target of a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PARAMETERS, QUICK
from settling import eventually
from web_hook import Hook

from local.seed import WEB, WEB_FARGATE, Seeder
from local.stack import LocalStack

Described = dict[str, Any]
DIMENSION = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
DETAIL_TYPES = ["ECS Service Action", "ECS Deployment State Change"]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stack(hook: Hook) -> Iterator[LocalStack]:
    """A stack without containers, with a rule that sends the events of services to the hook."""
    options = {**QUICK, "service_delay": 0.05}
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=options, seed=False, streams=False) as local:
        Seeder(local).cluster()
        Seeder(local).task_definition("unpullable", labels={"simulate.start": "fail"})
        events = local.client("events")
        key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "local"}}
        connection = events.create_connection(Name="hook", AuthorizationType="API_KEY", AuthParameters=key)
        destination = events.create_api_destination(
            Name="hook", ConnectionArn=connection["ConnectionArn"], InvocationEndpoint=hook.url, HttpMethod="POST"
        )
        events.put_rule(Name="hook", EventPattern=json.dumps({"source": ["aws.ecs"], "detail-type": DETAIL_TYPES}))
        events.put_targets(Rule="hook", Targets=[{"Id": "hook", "Arn": destination["ApiDestinationArn"]}])
        yield local


class Services:
    """The services of the stack's cluster, through boto3."""

    def __init__(self, stack: LocalStack) -> None:
        self.ecs = stack.client("ecs")
        self.cluster = str(stack.parameters["ClusterName"])

    def create(self, name: str, **parameters: Any) -> Described:
        request = {"taskDefinition": WEB, **parameters}
        created: Described = self.ecs.create_service(cluster=self.cluster, serviceName=name, **request)["service"]
        return created

    def update(self, name: str, **parameters: Any) -> Described:
        updated: Described = self.ecs.update_service(cluster=self.cluster, service=name, **parameters)["service"]
        return updated

    def describe(self, name: str) -> Described:
        described: Described = self.ecs.describe_services(cluster=self.cluster, services=[name])["services"][0]
        return described

    def settled(self, name: str) -> Described:
        """Wait until a service reports a steady state with its desired count, and return the service."""
        return eventually(
            lambda: self.describe(name),
            lambda service: (
                [each["rolloutState"] for each in service["deployments"]] == ["COMPLETED"]
                and service["runningCount"] == service["desiredCount"]
                and service["events"][0]["message"].endswith("has reached a steady state.")
            ),
        )


@pytest.fixture
def services(stack: LocalStack) -> Services:
    return Services(stack)


def test_a_service_is_created_rolled_stopped_and_started(stack: LocalStack, services: Services, hook: Hook) -> None:
    created = services.create("web", desiredCount=3, tags=[{"key": "team", "value": "a"}], propagateTags="SERVICE")
    assert (created["status"], created["runningCount"]) == ("ACTIVE", 0)
    first = services.settled("web")
    assert (first["runningCount"], first["launchType"]) == (3, "EC2")
    (cluster,) = services.ecs.describe_clusters(clusters=[services.cluster])["clusters"]
    assert (cluster["activeServicesCount"], cluster["runningTasksCount"]) == (1, 3)
    arns = services.ecs.list_tasks(cluster=services.cluster, serviceName="web")["taskArns"]
    tasks = services.ecs.describe_tasks(cluster=services.cluster, tasks=arns, include=["TAGS"])["tasks"]
    assert [(task["group"], task["startedBy"], task["tags"]) for task in tasks] == [
        ("service:web", first["deployments"][0]["id"], [{"key": "team", "value": "a"}])
    ] * 3
    updated = services.update("web", forceNewDeployment=True)
    assert [each["status"] for each in updated["deployments"]] == ["PRIMARY", "ACTIVE"]
    rolled = services.settled("web")
    assert rolled["deployments"][0]["id"] != first["deployments"][0]["id"]
    for desired in (0, 3):
        services.update("web", desiredCount=desired)
        assert services.settled("web")["runningCount"] == desired
    assert services.settled("web")["deployments"][0]["id"] == rolled["deployments"][0]["id"]
    expected = [
        *["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_STEADY_STATE"] * 2,
        *["SERVICE_STEADY_STATE"] * 2,
    ]
    received = eventually(lambda: list(hook.events), lambda events: len(events) >= len(expected))
    # Events are delivered in parallel.
    assert sorted(event["detail"]["eventName"] for event in received) == sorted(expected)
    assert {tuple(event["resources"]) for event in received} == {(created["serviceArn"],)}
    assert {event["detail"].get("deploymentId") for event in received} == {
        None,
        first["deployments"][0]["id"],
        rolled["deployments"][0]["id"],
    }


def test_the_circuit_breaker_rolls_back(services: Services) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    services.create("api", desiredCount=1, deploymentConfiguration=breaker)
    before = services.settled("api")
    services.update("api", taskDefinition="unpullable")
    rolling = f"(service api) rolling back to deployment {before['deployments'][0]['id']}."
    after = eventually(
        lambda: services.describe("api"), lambda found: rolling in [event["message"] for event in found["events"]]
    )
    assert after["taskDefinition"] == before["taskDefinition"]
    assert services.settled("api")["deployments"][0]["id"] == before["deployments"][0]["id"]


def test_a_service_on_fargate_follows_its_scalable_target(stack: LocalStack, services: Services) -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    services.create(
        "mail", taskDefinition=WEB_FARGATE, launchType="FARGATE", desiredCount=1, networkConfiguration=network
    )
    scaling = stack.client("application-autoscaling")
    identity = {**DIMENSION, "ResourceId": f"service/{services.cluster}/mail"}
    registered = scaling.register_scalable_target(**identity, MinCapacity=2, MaxCapacity=4)
    assert services.settled("mail")["runningCount"] == 2
    assert stack.emulator.scaling.scale(identity["ResourceId"], 9) == 4
    assert services.settled("mail")["runningCount"] == 4
    flags = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    scaling.register_scalable_target(**identity, MinCapacity=0, SuspendedState=dict.fromkeys(flags, True))
    services.update("mail", desiredCount=0)
    assert services.settled("mail")["runningCount"] == 0
    assert stack.emulator.scaling.scale(identity["ResourceId"], 4) is None
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 4)
    assert (target["ScalableTargetARN"], set(target["SuspendedState"].values())) == (
        registered["ScalableTargetARN"],
        {True},
    )
    scaling.deregister_scalable_target(**identity)
    assert scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    services.ecs.delete_service(cluster=services.cluster, service="mail")
    assert eventually(lambda: services.describe("mail"), lambda found: found["status"] == "INACTIVE")
