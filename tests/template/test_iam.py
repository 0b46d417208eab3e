"""Tests of the model of IAM in iam.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from template import iam

from local.emulator import Call
from local.template import ACCOUNT_ID, REGION

SERVICES = f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:service"
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Deny"},
        {"NotAction": "s3:*"},
        {"NotResource": "*"},
        {"Principal": "*"},
        {"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}},
        {"Condition": {"StringEqualsIfExists": {"iam:PassedToService": "x"}}},
    ],
)
def test_the_model_rejects_unsupported_elements(change: dict[str, Any]) -> None:
    assert list(iam.statements("policy", DOCUMENT))
    document = {"Statement": [DOCUMENT["Statement"][0] | change]}  # type: ignore[operator]
    with pytest.raises(iam.UnsupportedError):
        list(iam.statements("policy", document))


@pytest.mark.parametrize(
    ("pattern", "resource", "fits"),
    [
        ("*", "arn:aws:sqs:r:1:q", True),
        ("arn:aws:dynamodb:r:1:table/a", "arn:aws:dynamodb:r:1:table/a", True),
        ("arn:aws:dynamodb:r:1:table/a", "arn:aws:dynamodb:r:1:table/a/index/i", False),
        ("arn:aws:dynamodb:r:1:table/a/index/*", "arn:aws:dynamodb:r:1:table/a/index/i", True),
        ("arn:aws:dynamodb:r:1:table/a/index/*", "arn:aws:dynamodb:r:1:table/b/index/i", False),
        ("arn:aws:ecs:*:1:task/c/*", "arn:aws:ecs:r:1:task/c/t", True),
        ("arn:aws:ecs:*:task/c/*", "arn:aws:ecs:r:1:task/c/t", False),
        ("arn:aws:ecs:r:1:task/?/t", "arn:aws:ecs:r:1:task/cd/t", False),
        ("arn:aws:ecs:r:1:task/[c]/t", "arn:aws:ecs:r:1:task/c/t", False),
    ],
)
def test_resource_patterns(pattern: str, resource: str, fits: bool) -> None:
    grant = iam.Grant("policy", "s:*", pattern)
    assert grant.allows(iam.Request("s:Do", resource)) is fits


def test_a_condition_requires_its_key() -> None:
    grant = iam.Grant("policy", "iam:PassRole", "*", (("StringEquals", "iam:PassedToService", ("a", "b")),))
    request = iam.Request("iam:PassRole", "arn:aws:iam::1:role/r")
    assert not grant.allows(request)
    assert grant.allows(replace(request, context=(("iam:PassedToService", "b"),)))
    assert not grant.allows(replace(request, context=(("iam:PassedToService", "c"),)))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (Call("ecs", "ListServices", {"cluster": "c"}), [("ecs:ListServices", "*")]),
        (
            Call("ecs", "DescribeServices", {"cluster": "c", "services": ["web", f"{SERVICES}/c/api"]}),
            [("ecs:DescribeServices", f"{SERVICES}/c/web"), ("ecs:DescribeServices", f"{SERVICES}/c/api")],
        ),
        (
            Call("ecs", "ListServiceDeployments", {"cluster": "c", "service": "web"}),
            [("ecs:ListServiceDeployments", f"{SERVICES}/c/web")],
        ),
        (
            Call("ecs", "UpdateService", {"cluster": "c", "service": "web", "desiredCount": 0}),
            [("ecs:UpdateService", f"{SERVICES}/c/web")],
        ),
        (
            Call("ecs", "UpdateService", {"cluster": "c", "service": "web", "taskDefinition": "web"}),
            [("ecs:UpdateService", f"{SERVICES}/c/web"), ("iam:PassRole", "role-of-web")],
        ),
    ],
)
def test_the_permissions_for_services(call: Call, expected: list[tuple[str, str]]) -> None:
    requests = list(iam.requests(call, lambda definition: [f"role-of-{definition}"]))
    assert [(request.action, request.resource) for request in requests] == expected
    cluster = ("ecs:cluster", f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:cluster/c")
    assert all(cluster in request.context for request in requests if request.action.startswith("ecs:"))


def test_the_permissions_for_scalable_targets() -> None:
    identity = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": "service/c/web",
    }
    (reading,) = iam.requests(Call("application-autoscaling", "DescribeScalableTargets", identity), lambda _: [])
    assert reading.resource == "*"
    (writing,) = iam.requests(Call("application-autoscaling", "RegisterScalableTarget", identity), lambda _: [])
    action, prefix = "application-autoscaling:RegisterScalableTarget", f"arn:aws:application-autoscaling:{REGION}"
    grant = iam.Grant("policy", action, f"{prefix}:{ACCOUNT_ID}:scalable-target/*")
    assert grant.allows(writing)
    for key, value, fits in (
        ("application-autoscaling:service-namespace", "ecs", True),
        ("application-autoscaling:service-namespace", "dynamodb", False),
        ("application-autoscaling:scalable-dimension", "ecs:service:DesiredCount", True),
    ):
        assert replace(grant, conditions=(("StringEquals", key, (value,)),)).allows(writing) is fits
