"""`python -m admin token mint`: tokens that the stack's API accepts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from api_client import Api

from admin import target, tokens
from admin.errors import AdminError
from local.seed import container_id
from local.stack import LocalStack
from local.stack_file import announced


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def test_the_api_accepts_the_token(run: Any, api: Api) -> None:
    done = run("token", "mint", "operator", "--lifetime", "2m")
    assert done.code == 0
    token = done.out.strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert api.call("GET", f"/containers/{container_id(11)}", None, headers=headers).status_code == 200
    assert claims(token)["sub"] == "operator"
    assert claims(token)["exp"] - claims(token)["iat"] == 120
    assert abs(claims(token)["iat"] - time.time()) < 60
    assert done.err.startswith("Token of operator, which expires at ")


def test_issuer_and_audience(stack: LocalStack) -> None:
    """They are claims of the token if the stack requires them."""
    with announced(stack):
        found = target.local()
    required = {"TokenIssuer": "https://issuer.example.com/", "TokenAudience": "longshore"}
    minted = tokens.mint(replace(found, parameters={**found.parameters, **required}), "operator", "1h")
    assert claims(minted.token)["iss"] == "https://issuer.example.com/"
    assert claims(minted.token)["aud"] == "longshore"
    assert {"iss", "aud"} & claims(tokens.mint(found, "operator", "1h").token).keys() == set()


@pytest.mark.parametrize("lifetime", ["", "0h", "-1h", "1", "h", "91d", "1.5h", "1w"])
def test_an_invalid_lifetime(run: Any, lifetime: str) -> None:
    done = run("token", "mint", "operator", "--lifetime", lifetime)
    assert (done.code, done.out) == (1, "")
    assert "A lifetime looks like 30m, 8h or 7d and is at most 90d" in done.err


@pytest.mark.parametrize("user", ["", "a\nb", "\u202e", "x" * 257])
def test_an_invalid_user(run: Any, user: str) -> None:
    done = run("token", "mint", user)
    assert (done.code, done.out) == (1, "")
    assert "A user has 1 to 256 printable characters" in done.err


def test_a_stack_with_a_provider(stack: LocalStack) -> None:
    with announced(stack):
        found = target.local()
    other = {"TokenAlgorithm": "RS256", "TokenIssuer": "https://issuer.example.com/"}
    with pytest.raises(AdminError, match=r"accepts RS256 tokens of https://issuer.example.com/ only: sign in with"):
        tokens.mint(replace(found, parameters={**found.parameters, **other}), "operator", "1h")


def test_a_short_secret(stack: LocalStack) -> None:
    secret = stack.client("secretsmanager").create_secret(Name="short", SecretString="x" * 31)
    with announced(stack):
        found = target.local()
    with pytest.raises(AdminError, match="fewer than 32 bytes"):
        tokens.mint(replace(found, parameters={"TokenSecretArn": secret["ARN"]}), "operator", "1h")
