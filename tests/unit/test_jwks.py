"""Tests of the key set at a JWKS URL: unusable and rotated keys, and a server that fails, drips or returns rubbish."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from longshore.domain.errors import AuthenticationError, InvalidTokenError
from longshore.edge import jwks as module
from longshore.edge.jwks import KeySet, KeySetError
from settling import eventually
from unit.http_calls import Log
from unit.signed_tokens import (
    KEYS,
    OTHER_RSA_KEY,
    RSA_KEY,
    Jwks,
    by_key,
    public_jwk,
    refused,
    sign,
)

from local import template

RUBBISH = [
    b"",
    b"<html>",
    b"[]",
    b"null",
    b"{}",
    b'{"keys":{}}',
    b"[" * 100_000,
    bytes([255, 254, 253]),
    b"\x1f\x8b\x08\x00gzip",
]
WITHOUT_USABLE_KEYS = [
    b'{"keys":[]}',
    b'{"keys":[null,7,"x",[]]}',
    b'{"keys":[{"kty":"x","kid":"RS256"}]}',
    b'{"keys":[{"kty":"RSA","kid":"RS256","n":"","e":""}]}',
]
SHORT_RSA_KEY = rsa.generate_private_key(65537, 1024)


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(jwks: Jwks, clock: Clock) -> KeySet:
    return KeySet(jwks.url, "RS256", clock)


def fails(keys: KeySet, kid: str = "RS256") -> str:
    """Return the reason why the key set is not available."""
    with pytest.raises(KeySetError) as caught:
        keys.find(kid)
    return str(caught.value)


# --- Which keys are used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marks",
    [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"key_ops": ["sign", "verify"]}, {"alg": "RS256"}, {"x": 1}],
    ids=str,
)
def test_a_key_that_may_verify(jwks: Jwks, keys: KeySet, marks: dict[str, Any]) -> None:
    jwks.serve(public_jwk(RSA_KEY) | {"kid": "marked"} | marks)
    assert keys.find("marked") is not None


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        ({"use": "enc"}, "use is not sig"),
        ({"use": None}, "use is not sig"),
        ({"use": ["sig"]}, "use is not sig"),
        ({"key_ops": []}, "key_ops do not include verify"),
        ({"key_ops": ["sign", "encrypt"]}, "key_ops do not include verify"),
        ({"key_ops": "verify"}, "key_ops do not include verify"),
        ({"key_ops": None}, "key_ops do not include verify"),
        ({"alg": "RS512"}, "alg is not RS256"),
        ({"alg": "RSA-OAEP"}, "alg is not RS256"),
        ({"alg": None}, "alg is not RS256"),
    ],
    ids=str,
)
def test_a_key_that_may_not_verify(jwks: Jwks, marks: dict[str, Any], reason: str) -> None:
    """The key is rejected, whether or not the set contains another key."""
    marked = public_jwk(RSA_KEY) | {"kid": "marked"} | marks
    jwks.serve(marked, public_jwk(OTHER_RSA_KEY) | {"kid": "other"})
    verifier = by_key(jwks, "RS256")
    assert refused(verifier, sign(RSA_KEY, "RS256", "marked")) is InvalidTokenError
    assert verifier.verify(f"Bearer {sign(OTHER_RSA_KEY, 'RS256', 'other')}").user_id == "ada"
    jwks.serve(marked)
    assert reason in fails(KeySet(jwks.url, "RS256"), "marked")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", SHORT_RSA_KEY),
        ("RS256", KEYS["ES256"]),
        ("ES256", KEYS["RS256"]),
        ("ES256", ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", KEYS["ES256"]),
    ],
    ids=["1024 bits", "EC for RS256", "RSA for ES256", "P-384 for ES256", "EC for EdDSA"],
)
def test_a_key_that_does_not_fit_the_algorithm(jwks: Jwks, algorithm: str, key: Any) -> None:
    jwks.publish(unfit=key)
    assert f"no key for {algorithm}" in fails(KeySet(jwks.url, algorithm), "unfit")


def test_a_symmetric_key_is_not_used(jwks: Jwks) -> None:
    jwks.serve({"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "shared"})
    for algorithm in KEYS:
        assert "no key" in fails(KeySet(jwks.url, algorithm), "shared")


@pytest.mark.parametrize("kid", [..., None, "", 7, ["x"]], ids=str)
def test_a_key_without_an_id_is_not_used(jwks: Jwks, keys: KeySet, kid: Any) -> None:
    anonymous = public_jwk(RSA_KEY) if kid is ... else public_jwk(RSA_KEY) | {"kid": kid}
    jwks.serve(anonymous, public_jwk(OTHER_RSA_KEY) | {"kid": "other"})
    assert keys.find("other") is not None
    assert keys.find("") is None


def test_ignored_keys_are_logged(jwks: Jwks, keys: KeySet, log: Log) -> None:
    jwks.publish(short=SHORT_RSA_KEY, good=RSA_KEY)
    assert keys.find("good") is not None
    (line,) = log.lines
    assert "1024 bits" in line["reasons"]["short"]
    assert "good" not in line["reasons"]


# --- Rotation ---------------------------------------------------------------------------------------------------------


def test_a_new_key_is_fetched_at_once(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    assert keys.find("RS256") is not None
    jwks.publish(next=OTHER_RSA_KEY)
    clock.at += 1
    assert keys.find("next") is not None
    assert jwks.fetched == 2
    # A key that was removed from the set is not used any more.
    assert keys.find("RS256") is None
    assert jwks.fetched == 2


def test_a_removed_key_is_not_used_after_five_minutes(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    assert keys.find("RS256") is not None
    jwks.publish(next=OTHER_RSA_KEY)
    clock.at += 300
    assert keys.find("RS256") is not None
    assert jwks.fetched == 1
    clock.at += 1
    assert keys.find("RS256") is None
    assert jwks.fetched == 2


def test_unknown_kids_cause_one_fetch_in_thirty_seconds(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    assert keys.find("unknown") is None
    assert jwks.fetched == 1
    for number in range(100):
        clock.at += 0.1
        assert keys.find(f"unknown-{number}") is None
    assert jwks.fetched == 2
    clock.at += 20
    assert keys.find("unknown") is None
    assert jwks.fetched == 2
    clock.at += 1
    assert keys.find("unknown") is None
    assert jwks.fetched == 3


def test_unknown_kids_cause_no_fetch_after_a_failed_fetch(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    """The server may publish the key, so the token is not known to be invalid."""
    assert keys.find("RS256") is not None
    jwks.status = 503
    clock.at += 1
    for number in range(10):
        assert "503" in fails(keys, f"unknown-{number}")
    assert jwks.fetched == 2
    assert keys.find("RS256") is not None


@pytest.mark.parametrize("body", WITHOUT_USABLE_KEYS, ids=lambda body: str(body[:24]))
def test_the_last_key_is_removed(jwks: Jwks, keys: KeySet, clock: Clock, body: bytes) -> None:
    """A removed key is not used after five minutes, also if no other key is left."""
    assert keys.find("RS256") is not None
    good, jwks.body = jwks.body, body
    clock.at += 300
    assert keys.find("RS256") is not None
    clock.at += 1
    assert "no key for RS256" in fails(keys)
    jwks.body = good
    clock.at += 1
    assert keys.find("RS256") is not None


def test_a_key_that_is_replaced_under_the_same_id(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    first = keys.find("RS256")
    jwks.publish(RS256=OTHER_RSA_KEY)
    clock.at += 300
    assert keys.find("RS256") is first
    clock.at += 1
    assert keys.find("RS256") is not first


# --- Failures ---------------------------------------------------------------------------------------------------------


def test_the_last_good_keys_are_used_for_an_hour(jwks: Jwks, keys: KeySet, clock: Clock, log: Log) -> None:
    assert keys.find("RS256") is not None
    jwks.status = 500
    clock.at += 3600
    assert keys.find("RS256") is not None
    line = log.lines[-1]
    assert (line["level"], line["message"], line["url"]) == ("WARNING", "key set not fetched", jwks.url)
    assert "500" in line["reason"]
    clock.at += 1
    assert "500" in fails(keys)
    # The server has recovered.
    jwks.status = 200
    clock.at += 30
    assert keys.find("RS256") is not None


@pytest.mark.parametrize("known", [True, False])
def test_failed_fetches_back_off(jwks: Jwks, keys: KeySet, clock: Clock, known: bool) -> None:
    if known:
        assert keys.find("RS256") is not None
        clock.at += 301
    jwks.status, jwks.fetched = 500, 0
    began, times = clock.at, []
    while clock.at <= began + 125:
        before = jwks.fetched
        if known:
            assert keys.find("RS256") is not None
        else:
            assert "500" in fails(keys)
        if jwks.fetched > before:
            times.append(clock.at - began)
        clock.at += 0.5
    assert times == [0, 1, 3, 7, 15, 31, 61, 91, 121]


def test_a_good_fetch_ends_the_back_off(jwks: Jwks, keys: KeySet, clock: Clock) -> None:
    jwks.status = 500
    for wait in (0, 1, 2, 4, 8):
        clock.at += wait
        assert "500" in fails(keys)
    jwks.status = 200
    clock.at += 16
    assert keys.find("RS256") is not None
    jwks.status, jwks.fetched = 500, 0
    for wait in (301, 1):
        clock.at += wait
        assert keys.find("RS256") is not None
    assert jwks.fetched == 2


@pytest.mark.parametrize("body", RUBBISH, ids=lambda body: str(body[:24]))
def test_rubbish_does_not_replace_good_keys(jwks: Jwks, keys: KeySet, clock: Clock, body: bytes) -> None:
    assert keys.find("RS256") is not None
    jwks.body = body
    clock.at += 301
    assert keys.find("RS256") is not None
    assert jwks.fetched == 2
    assert fails(keys, "unknown")


@pytest.mark.parametrize("body", [*RUBBISH, *WITHOUT_USABLE_KEYS], ids=lambda body: str(body[:24]))
def test_rubbish_does_not_make_a_token_invalid(jwks: Jwks, body: bytes) -> None:
    jwks.body = body
    with pytest.raises(KeySetError) as caught:
        by_key(jwks, "RS256").verify(f"Bearer {sign(RSA_KEY, 'RS256', 'RS256')}")
    assert not isinstance(caught.value, AuthenticationError)


def test_a_redirect_is_not_followed(jwks: Jwks, keys: KeySet) -> None:
    jwks.status = 302
    assert "302" in fails(keys)
    assert jwks.fetched == 1


def test_a_server_that_refuses_connections(clock: Clock) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        keys = KeySet(f"http://127.0.0.1:{unused.getsockname()[1]}/jwks.json", "RS256", clock)
        assert "refused" in fails(keys)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_response_that_never_ends(part: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetch returns although the server is still sending."""
    monkeypatch.setattr(module, "_FETCH_SECONDS", 60)
    slow = Jwks()
    slow.publish(RS256=RSA_KEY)
    keys = KeySet(slow.url, "RS256", clock)
    assert keys.find("RS256") is not None
    slow.drip = part
    monkeypatch.setattr(module, "_FETCH_SECONDS", 0.5)
    clock.at += 301
    assert keys.find("RS256") is not None
    eventually(lambda: slow.drips == 1)
    assert "no complete response" in fails(keys, "unknown")
    slow.drip = None
    monkeypatch.setattr(module, "_FETCH_SECONDS", 60)
    clock.at += 1
    assert keys.find("RS256") is not None
    assert keys.find("unknown") is None
    slow.close()


def test_a_server_that_accepts_and_says_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is also how a TLS handshake that never ends looks: the connection is open."""
    monkeypatch.setattr(module, "_FETCH_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            keys = KeySet(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/jwks.json", "RS256", clock)
            assert fails(keys)


def test_the_time_of_a_fetch() -> None:
    """The authorizer's own timeout is longer, so that it can continue with the last good keys."""
    assert module._FETCH_SECONDS == 3 < template.load().functions["AuthorizerFunction"].timeout
