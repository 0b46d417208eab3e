"""Tests of the verification of tokens: valid, missing and expired tokens. Invalid ones: test_invalid_tokens.py."""

import json

import pytest
from longshore.domain.errors import InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.edge.tokens import Caller
from unit.signed_tokens import (
    AUDIENCE,
    ISSUER,
    KEYS,
    LATER,
    NOW,
    Jwks,
    by_key,
    claims,
    forged,
    refused,
    shared,
    sign,
)

# --- valid ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_valid_token(scheme: str) -> None:
    assert shared().verify(f"{scheme} {sign()}") == Caller("ada", LATER)


def test_spaces_after_a_valid_token() -> None:
    assert shared().verify(f"Bearer {sign()}  ") == Caller("ada", LATER)


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_token_signed_with_a_key_of_the_set(jwks: Jwks, algorithm: str) -> None:
    verifier = by_key(jwks, algorithm)
    token = sign(KEYS[algorithm], algorithm, algorithm)
    for _ in range(3):
        assert verifier.verify(f"Bearer {token}") == Caller("ada", LATER)
    assert jwks.fetched == 1


def test_a_fractional_expiry_is_rounded_down() -> None:
    assert shared().verify(f"Bearer {sign(exp=LATER + 0.75)}") == Caller("ada", LATER)


@pytest.mark.parametrize("sub", ["a", "x" * 256, "user|42", "名", "Ada Lovelace", "auth0|ada@example.com", "é"])
def test_user_ids(sub: str) -> None:
    assert shared().verify(f"Bearer {sign(sub=sub)}").user_id == sub


# --- missing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "{token}",
        "Basic {token}",
        "Basic dXNlcjpwYXNz",
        "Bearer{token}",
        "Bearer:{token}",
        "Bearer\t{token}",
        "Token {token}",
        " Bearer {token}",
        "Bearer {token} {token}",
        "Bearer {token},{token}",
        "Bearer {token}, Bearer {token}",
        "Bearer {token}\n",
        "Bearer {token}\nX-Other: 1",
    ],
)
def test_not_a_bearer_token(authorization: str) -> None:
    token = sign()
    assert refused(shared(), token, authorization.format(token=token)) is MissingTokenError


def test_no_authorization() -> None:
    with pytest.raises(MissingTokenError):
        shared().verify(None)


# --- expired ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exp", [NOW, NOW - 1, NOW - 86400, 0, -1], ids=["now", "1 s ago", "1 day ago", "0", "-1"])
def test_expired(exp: int) -> None:
    assert refused(shared(), sign(exp=exp)) is TokenExpiredError


@pytest.mark.parametrize(
    "wrong",
    [
        sign("another-" * 8, exp=NOW - 60, iss=ISSUER, aud=AUDIENCE),
        sign(exp=NOW - 60, iss="https://other.example.com/", aud=AUDIENCE),
        sign(exp=NOW - 60, iss=ISSUER, aud="other"),
        sign(exp=NOW - 60, iss=ISSUER, aud=AUDIENCE, nbf=LATER),
        forged(b'{"alg":"HS256"}', json.dumps(claims(exp=NOW - 60, iss=ISSUER, aud=AUDIENCE, sub=7)).encode()),
    ],
    ids=["signature", "issuer", "audience", "nbf", "sub"],
)
def test_an_expired_and_invalid_token_is_invalid(wrong: str) -> None:
    verifier = shared(issuer=ISSUER, audience=AUDIENCE)
    assert refused(verifier, sign(exp=NOW - 60, iss=ISSUER, aud=AUDIENCE)) is TokenExpiredError
    assert refused(verifier, wrong) is InvalidTokenError


@pytest.mark.parametrize("leeway", [0, 1, 30])
def test_leeway(leeway: int) -> None:
    """The verifier accepts the token until the leeway has passed, and passes the end of the leeway to the functions."""
    token = sign(exp=NOW + 100)
    until = NOW + 100 + leeway
    assert shared(lambda: until - 0.001, leeway_seconds=leeway).verify(f"Bearer {token}") == Caller("ada", until)
    assert refused(shared(lambda: until, leeway_seconds=leeway), token) is TokenExpiredError
