"""Tests that each function's role allows exactly the calls that the function makes.

The scenarios drive each function through every AWS call that its code can make. The stack runs without events, so that
only one function and the authorizer make calls at a time. Each call is converted to the requests that AWS sends to IAM,
and these are compared with the policies of the function's role in the template. A call that no policy allows fails the
test, and so does a permission that no scenario uses: then remove the permission, or add the missing scenario.

Out of scope: the managed policies that SAM adds for logs (AWSLambdaBasicExecutionRole) and traces
(AWSXrayWriteOnlyAccess).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import conftest
import pytest
from api_client import Api
from template import iam
from template.scenarios import SCENARIOS
from template.scene import FUNCTIONS, MANAGED_INSTANCE, TASK_ROLES, WITH_ROLES, Recorder, Scene

from local import template
from local.seed import Seeder
from local.stack import LocalStack

# Without events, an operation takes the whole wait.
PARAMETERS = {**conftest.PARAMETERS, "TaskRoleArns": ",".join(TASK_ROLES), "WaitSeconds": "1"}


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """The events of the stack, in order. The functions receive only those that a scenario delivers."""
    return []


@pytest.fixture(scope="module")
def stack(events: list[dict[str, Any]]) -> Iterator[LocalStack]:
    options = {**conftest.QUICK, "on_event": events.append}
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=options, seed=False, events=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        local.emulator.ecs.add_instance(str(local.parameters["ClusterName"]), MANAGED_INSTANCE, 1 << 20, 1 << 20)
        seeder.task_definition("unpullable", labels={"simulate.start": "fail"})
        local.client("ecs").register_task_definition(
            family=WITH_ROLES,
            containerDefinitions=[{"name": "app", "image": "busybox:local", "memory": 128}],
            taskRoleArn=TASK_ROLES[0],
            executionRoleArn=TASK_ROLES[1],
        )
        yield local


@pytest.fixture(scope="module")
def used(stack: LocalStack, api: Api, events: list[dict[str, Any]]) -> dict[str, set[iam.Request]]:
    """The IAM requests of each function in all scenarios."""
    scene = Scene(stack, api, Seeder(stack), Recorder(stack), events, count(1))
    for scenario in SCENARIOS:
        stack.emulator.faults.clear()
        scenario(scene)
    for name, function in resolved(stack).functions.items():
        scene.recorder.used[name].update(iam.requests_of_lambda(resolved(stack), function))
    return scene.recorder.used


def resolved(stack: LocalStack) -> template.Stack:
    assert stack.template is not None
    return stack.template


def grants_of(stack: LocalStack, function: str) -> list[iam.Grant]:
    return iam.grants(resolved(stack), resolved(stack).functions[function])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    missing = iam.missing(grants_of(stack, function), used[function])
    assert missing == [], f"{function} may not: " + "; ".join(sorted(map(str, missing)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_permission_is_needed(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    unused = iam.unused(grants_of(stack, function), used[function])
    assert unused == [], f"{function} never needs: " + "; ".join(sorted(map(str, unused)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_removed_permissions_are_reported(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    """No two permissions allow the same call."""
    grants = grants_of(stack, function)
    for grant in grants:
        assert iam.missing([other for other in grants if other is not grant], used[function]), str(grant)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_extra_permissions_are_reported(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:{template.ACCOUNT_ID}:table"
    names = [resolved(stack).physical_name(table) for table in resolved(stack).tables]
    extra = [iam.Grant("extra", "dynamodb:DeleteTable", f"{arn}/{name}") for name in names]
    extra.append(iam.Grant("extra", "dynamodb:GetItem", f"{arn}/another-table"))
    extra.append(iam.Grant("extra", "ecs:ListTasks", "*", (("ArnEquals", "ecs:cluster", ("arn:aws:ecs:a:b:c/d",)),)))
    assert iam.unused([*grants_of(stack, function), *extra], used[function]) == extra


@pytest.mark.parametrize("function", FUNCTIONS)
def test_mismatched_resources_and_conditions_are_reported(
    stack: LocalStack, used: dict[str, set[iam.Request]], function: str
) -> None:
    for grant in grants_of(stack, function):
        others = [other for other in grants_of(stack, function) if other != grant]
        elsewhere = tuple((operator, key, ("arn:aws:ecs:a:b:c/d",)) for operator, key, _ in grant.conditions)
        narrowed = [replace(grant, resource=f"{grant.resource}-of-another")] if grant.resource != "*" else []
        narrowed += [replace(grant, conditions=elsewhere)] if elsewhere else []
        for narrow in narrowed:
            assert iam.missing([*others, narrow], used[function]), str(grant)


def test_only_actions_without_resources_allow_all_resources(stack: LocalStack) -> None:
    everywhere = {grant.action for name in FUNCTIONS for grant in grants_of(stack, name) if grant.resource == "*"}
    assert everywhere == iam.WITHOUT_RESOURCE


@pytest.mark.parametrize("parameters", [{}, {"Tracing": "Active"}])
def test_no_role_exceeds_the_quota_of_policies(parameters: dict[str, str]) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: ten by default."""
    loaded = template.load(parameters=parameters)
    for function in loaded.functions.values():
        name, role = iam.role_of(loaded, function)
        attached = [policy for policy in loaded.of_type("AWS::IAM::ManagedPolicy").values() if "Roles" in policy]
        elsewhere = sum(name in policy["Roles"] for policy in attached)
        assert len(role["ManagedPolicyArns"]) + elsewhere <= 10, name


def test_a_key_set_needs_no_permission_to_read_a_secret() -> None:
    """With a JWKS URL there is no secret, and no policy that allows reading it."""
    keys = {
        "TokenAlgorithm": "ES256",
        "JwksUrl": "https://issuer.example.com/jwks.json",
        "TokenIssuer": "https://issuer.example.com/",
        "TokenAudience": "longshore",
    }
    loaded = template.load(parameters=keys)
    assert iam.grants(loaded, loaded.functions["AuthorizerFunction"]) == []
