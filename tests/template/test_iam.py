"""Tests of the model of IAM in iam.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from template import iam

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
