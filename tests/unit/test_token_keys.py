"""Tests of the keys that verify tokens: the key set by URL, and the secret."""

import json
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from longshore.domain.errors import AuthenticationError, InvalidTokenError
from longshore.edge import tokens
from longshore.edge.tokens import Verifier
from unit.signed_tokens import (
    NOW,
    OTHER_RSA_KEY,
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


def test_an_unknown_kid_refreshes_the_set_once(jwks: Jwks) -> None:
    verifier = by_key(jwks, "RS256")
    assert verifier.verify(f"Bearer {sign(RSA_KEY, 'RS256', 'RS256')}").user_id == "ada"
    assert jwks.fetched == 1

    jwks.publish(next=OTHER_RSA_KEY)
    assert verifier.verify(f"Bearer {sign(OTHER_RSA_KEY, 'RS256', 'next')}").user_id == "ada"
    assert jwks.fetched == 2
    # A key that was removed from the set is no longer accepted.
    assert refused(verifier, sign(RSA_KEY, "RS256", "RS256")) is InvalidTokenError
    assert jwks.fetched <= 3


def test_an_unknown_kid_costs_one_fetch(jwks: Jwks) -> None:
    verifier = by_key(jwks, "RS256")
    verifier.verify(f"Bearer {sign(RSA_KEY, 'RS256', 'RS256')}")
    assert refused(verifier, sign(RSA_KEY, "RS256", "unknown")) is InvalidTokenError
    assert jwks.fetched <= 2


@pytest.mark.parametrize("kid", [None, 7, ["RS256"], {}], ids=str)
def test_an_invalid_kid(jwks: Jwks, kid: Any) -> None:
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256")) is InvalidTokenError
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()
    assert refused(by_key(jwks, "RS256"), forged(header, json.dumps(claims()).encode())) is InvalidTokenError
    assert jwks.fetched == 0


def test_an_unavailable_key_set_does_not_make_the_token_invalid() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/jwks.json"
        verifier = Verifier(settings("RS256", jwks_url=url), no_secret, lambda: NOW)
        fails_with_another_error(verifier, sign(RSA_KEY, "RS256", "RS256"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"x"}]}'])
def test_an_invalid_key_set_does_not_make_the_token_invalid(jwks: Jwks, body: bytes) -> None:
    jwks.body = body
    fails_with_another_error(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256", "RS256"))


def test_an_unreadable_secret_does_not_make_the_token_invalid() -> None:
    def fails() -> str:
        raise ConnectionError("no answer")

    fails_with_another_error(Verifier(settings(), fails, lambda: NOW), sign())


def fails_with_another_error(verifier: Verifier, token: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (any error except AuthenticationError)
        verifier.verify(f"Bearer {token}")
    assert not isinstance(caught.value, AuthenticationError)


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
