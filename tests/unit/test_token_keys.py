"""Tests of the keys that verify tokens: the secret, and the settings. The key set by URL: test_jwks.py."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from longshore.domain.errors import AuthenticationError, InvalidTokenError
from longshore.edge import tokens
from longshore.edge.tokens import ConfigurationError, Verifier
from unit.signed_tokens import (
    AUDIENCE,
    ISSUER,
    KEYS,
    NOW,
    RSA_KEY,
    Jwks,
    by_key,
    claims,
    forged,
    no_secret,
    refused,
    settings,
    sign,
)


@pytest.mark.parametrize("kid", [None, 7, ["RS256"], {}], ids=str)
def test_an_invalid_kid(jwks: Jwks, kid: Any) -> None:
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256")) is InvalidTokenError
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()
    assert refused(by_key(jwks, "RS256"), forged(header, json.dumps(claims()).encode())) is InvalidTokenError
    assert jwks.fetched == 0


def test_an_unreadable_secret_does_not_make_the_token_invalid() -> None:
    def fails() -> str:
        raise ConnectionError("no answer")

    fails_with_another_error(Verifier(settings(), fails, lambda: NOW), sign())


def fails_with_another_error(verifier: Verifier, token: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (any error except AuthenticationError)
        verifier.verify(f"Bearer {token}")
    assert not isinstance(caught.value, AuthenticationError)


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15, "s3cret"])
def test_a_short_secret_verifies_no_token(secret: str) -> None:
    token = forged(b'{"alg":"HS256"}', json.dumps(claims()).encode(), secret.encode())
    with pytest.raises(ConfigurationError, match="fewer than 32 bytes"):
        Verifier(settings(), lambda: secret, lambda: NOW).verify(f"Bearer {token}")


@pytest.mark.parametrize("secret", ["x" * 32, "é" * 16])
def test_the_shortest_secret(secret: str) -> None:
    token = forged(b'{"alg":"HS256"}', json.dumps(claims()).encode(), secret.encode())
    assert Verifier(settings(), lambda: secret, lambda: NOW).verify(f"Bearer {token}").user_id == "ada"


KEY_SET = {"jwks_url": "https://issuer.example.com/jwks.json", "issuer": ISSUER, "audience": AUDIENCE}


@pytest.mark.parametrize("algorithm", list(KEYS))
@pytest.mark.parametrize(
    ("setting", "variable"), [("jwks_url", "JWKS_URL"), ("issuer", "TOKEN_ISSUER"), ("audience", "TOKEN_AUDIENCE")]
)
def test_a_key_set_requires_url_issuer_and_audience(algorithm: str, setting: str, variable: str) -> None:
    Verifier(settings(algorithm, **KEY_SET), no_secret)
    with pytest.raises(ConfigurationError, match=f"{algorithm} requires {variable}"):
        Verifier(settings(algorithm, **KEY_SET | {setting: ""}), no_secret)


def test_a_secret_excludes_a_key_set() -> None:
    with pytest.raises(ConfigurationError, match="JWKS_URL"):
        Verifier(settings("HS256", **KEY_SET), no_secret)


def test_the_secret_is_cached_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1000.0
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: at, time=time.time))
    secrets = ["one-" * 10, "two-" * 10]
    reads = iter(secrets)
    verifier = Verifier(settings(), lambda: next(reads), lambda: NOW)

    assert verifier.verify(f"Bearer {sign(secrets[0])}").user_id == "ada"
    at = 1299.0
    assert verifier.verify(f"Bearer {sign(secrets[0])}").user_id == "ada"
    assert refused(verifier, sign(secrets[1])) is InvalidTokenError
    at = 1301.0
    assert verifier.verify(f"Bearer {sign(secrets[1])}").user_id == "ada"
    assert refused(verifier, sign(secrets[0])) is InvalidTokenError
    assert next(reads, None) is None


def test_the_secret_is_not_read_for_a_token_of_another_algorithm() -> None:
    verifier = Verifier(settings(), no_secret, lambda: NOW)
    assert refused(verifier, sign(RSA_KEY, "RS256")) is InvalidTokenError
    assert refused(verifier, "x.y.z") is InvalidTokenError
