"""Tests of the authorizer's input, and of the policies that it returns to the gateway."""

from typing import Any

import pytest
from longshore.domain.errors import AuthenticationError, InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.edge.policy import allow, authorization_of, deny

METHOD = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/GET/api/v1/containers/507f1f77bcf86cd799439011"
STAGE = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/*"


def policy(effect: str) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": STAGE}
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_allow_covers_the_stage_and_contains_user_and_expiry() -> None:
    assert allow(METHOD, "ada", 1_736_937_000) == {
        "principalId": "ada",
        "policyDocument": policy("Allow"),
        "context": {"user_id": "ada", "expires_at": "1736937000"},
    }


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MissingTokenError(), "MISSING_TOKEN", "Authentication token required"),
        (InvalidTokenError(), "INVALID_TOKEN", "Invalid authentication token"),
        (TokenExpiredError(), "TOKEN_EXPIRED", "Authentication token has expired"),
    ],
)
def test_deny_contains_the_error_and_nothing_about_the_caller(
    error: AuthenticationError, code: str, message: str
) -> None:
    assert deny(METHOD, error) == {
        "principalId": "anonymous",
        "policyDocument": policy("Deny"),
        "context": {"code": code, "message": message},
    }


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/GET/",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/api/v1/containers/a%2Fb/start",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/GET/api//v1/*",
    ],
)
def test_a_policy_covers_the_stage_for_any_path(arn: str) -> None:
    for answer in (allow(arn, "ada", 1), deny(arn, InvalidTokenError())):
        assert answer["policyDocument"]["Statement"][0]["Resource"] == STAGE


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": ["Bearer x"]}, "Bearer x"),
        ({"authorization": ["Bearer x"]}, "Bearer x"),
        ({"AUTHORIZATION": ["Bearer x"], "Accept": ["a", "b"]}, "Bearer x"),
        ({"Authorization": [""]}, ""),
        ({}, None),
        (None, None),
        ({"X-Authorization": ["Bearer x"]}, None),
        ({"Authorization": []}, None),
        # Two headers are ambiguous.
        ({"Authorization": ["Bearer x", "Bearer y"]}, None),
        ({"Authorization": ["Bearer x", "Bearer x"]}, None),
        ({"Authorization": ["Bearer x"], "authorization": ["Bearer y"]}, None),
        ({"Authorization": ["", "Bearer x"]}, None),
    ],
)
def test_the_authorization_header(headers: dict[str, list[str]] | None, expected: str | None) -> None:
    single = {name: values[-1] for name, values in (headers or {}).items() if values}
    assert authorization_of({"multiValueHeaders": headers, "headers": single}) == expected


def test_an_event_without_headers() -> None:
    assert authorization_of({}) is None
