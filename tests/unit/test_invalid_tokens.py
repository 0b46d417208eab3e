"""Tests that the verifier rejects tokens whose format, algorithm, signature or claims are invalid."""

import json
import math
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from longshore.domain.errors import InvalidTokenError
from unit.signed_tokens import (
    AUDIENCE,
    ISSUER,
    KEYS,
    LATER,
    NOW,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    Jwks,
    by_key,
    claims,
    encoded,
    forged,
    refused,
    shared,
    sign,
)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "!.!.!",
        "é.é.é",
        encoded(b"{}"),
        f"{encoded(b'{}')}.{encoded(b'{}')}.",
        f"{encoded(b'[]')}.{encoded(b'{}')}.",
        f"{encoded(b'null')}.{encoded(b'{}')}.",
        f"{encoded(bytes([255, 254]))}.{encoded(b'{}')}.",
        "x" * 8192,
        "x" * 100_000,
    ],
    ids=lambda token: token[:20],
)
def test_not_a_token(token: str) -> None:
    assert refused(shared(), token) is InvalidTokenError


@pytest.mark.parametrize("nesting", [b"[", b'{"a":'])
@pytest.mark.parametrize("where", ["header", "payload"])
def test_a_deeply_nested_token(where: str, nesting: bytes) -> None:
    deep = nesting * (5900 // len(nesting))
    header = b'{"alg":"HS256"}'
    token = forged(deep, b"{}") if where == "header" else forged(header, deep)
    assert len(token) <= 8192
    assert refused(shared(), token) is InvalidTokenError


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"null", b'"ada"', b"1", bytes([255])])
def test_a_signed_payload_that_is_not_an_object(payload: bytes) -> None:
    assert refused(shared(), forged(b'{"alg":"HS256"}', payload)) is InvalidTokenError


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("configured", ["HS256", *KEYS])
def test_algorithm_none(jwks: Jwks, configured: str, algorithm: str) -> None:
    verifier = shared() if configured == "HS256" else by_key(jwks, configured)
    header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": configured}).encode()
    unsigned = f"{encoded(header)}.{encoded(json.dumps(claims()).encode())}."
    assert refused(verifier, unsigned) is InvalidTokenError
    assert refused(verifier, unsigned + encoded(b"x")) is InvalidTokenError


@pytest.mark.parametrize("header", [b"{}", b'{"alg":null}', b'{"alg":256}', b'{"alg":["HS256"]}', b'{"alg":"hs256"}'])
def test_an_unsupported_algorithm(header: bytes) -> None:
    assert refused(shared(), forged(header, json.dumps(claims()).encode())) is InvalidTokenError


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("configured", list(KEYS))
def test_a_public_key_used_as_hmac_secret(jwks: Jwks, configured: str, encoding: Encoding) -> None:
    """An attacker signs an HS256 token with the public key as its secret."""
    public = KEYS[configured].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    payload = json.dumps(claims()).encode()
    for algorithm in ("HS256", configured):
        header = json.dumps({"alg": algorithm, "kid": configured}).encode()
        assert refused(by_key(jwks, configured), forged(header, payload, public)) is InvalidTokenError


@pytest.mark.parametrize("configured", list(KEYS))
@pytest.mark.parametrize("signed", list(KEYS))
def test_only_the_configured_algorithm_is_accepted(jwks: Jwks, configured: str, signed: str) -> None:
    token = sign(KEYS[signed], signed, signed)
    if signed == configured:
        assert by_key(jwks, configured).verify(f"Bearer {token}").user_id == "ada"
    else:
        assert refused(by_key(jwks, configured), token) is InvalidTokenError
        # A token with another algorithm is rejected before any keys are fetched.
        assert jwks.fetched == 0


@pytest.mark.parametrize("signed", ["RS384", "RS512", "PS256"])
def test_another_algorithm_with_the_same_key(jwks: Jwks, signed: str) -> None:
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, signed, "RS256")) is InvalidTokenError


@pytest.mark.parametrize("signed", ["HS384", "HS512"])
def test_another_algorithm_with_the_same_secret(signed: str) -> None:
    assert refused(shared(), sign(SECRET * 2, signed)) is InvalidTokenError


def test_the_kid_of_a_key_of_another_type(jwks: Jwks) -> None:
    jwks.publish(RS256=KEYS["ES256"], other=RSA_KEY)
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256", "RS256")) is InvalidTokenError


def test_a_wrong_signature(jwks: Jwks) -> None:
    assert refused(shared(), sign("another-" * 8)) is InvalidTokenError
    assert refused(by_key(jwks, "RS256"), sign(OTHER_RSA_KEY, "RS256", "RS256")) is InvalidTokenError


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_part_is_rejected(part: int) -> None:
    parts = sign().split(".")
    others = sign(sub="eve").split(".")
    others[0] = encoded(b'{"alg":"HS256"}')
    parts[part] = others[part]
    assert refused(shared(), ".".join(parts)) is InvalidTokenError


def test_a_missing_signature() -> None:
    header, payload, _ = sign().split(".")
    assert refused(shared(), f"{header}.{payload}.") is InvalidTokenError


@pytest.mark.parametrize("issuer", [..., "", "https://other.example.com/", ISSUER.rstrip("/"), [ISSUER], 1])
def test_issuer(issuer: Any) -> None:
    wrong = forged(b'{"alg":"HS256"}', json.dumps(claims(iss=issuer)).encode())
    assert refused(shared(issuer=ISSUER), wrong) is InvalidTokenError
    assert shared(issuer=ISSUER).verify(f"Bearer {sign(iss=ISSUER)}").user_id == "ada"
    assert shared().verify(f"Bearer {wrong}").user_id == "ada"


@pytest.mark.parametrize("audience", [..., "", "other", "longshore2", ["other"], []])
def test_audience(audience: Any) -> None:
    wrong = sign(aud=audience)
    assert refused(shared(audience=AUDIENCE), wrong) is InvalidTokenError
    assert shared().verify(f"Bearer {wrong}").user_id == "ada"


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_the_audience_may_be_in_a_list(audience: Any) -> None:
    assert shared(audience=AUDIENCE).verify(f"Bearer {sign(aud=audience)}").user_id == "ada"


@pytest.mark.parametrize(
    "expiry",
    [
        ...,
        None,
        pytest.param(str(LATER), id="text"),
        True,
        False,
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        pytest.param([LATER], id="list"),
        {},
        "",
    ],
    ids=lambda expiry: str(expiry)[:20],
)
def test_an_expiry_that_is_not_a_time(expiry: Any) -> None:
    assert refused(shared(), sign(exp=expiry)) is InvalidTokenError


@pytest.mark.parametrize(
    "sub",
    [..., None, "", 42, True, ["ada"], {"id": "ada"}, "x" * 257]
    # Line breaks, other control characters, bidirectional formatting, invisible characters, surrogates, private use.
    + [f"ada{character}" for character in "\n\r\t\0\x1b\x7f\x9b\u202e\u2066\u200f\u200b\ufeff\u2028\ud800\ue000"],
    ids=lambda sub: ascii(sub)[:20],
)
def test_an_invalid_subject(sub: Any) -> None:
    token = forged(b'{"alg":"HS256"}', json.dumps(claims(sub=sub)).encode())
    assert refused(shared(), token) is InvalidTokenError


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", ["soon", [], {}, math.nan, math.inf, 10**400], ids=lambda value: str(value)[:20])
def test_other_claims_that_are_not_times(claim: str, value: Any) -> None:
    assert refused(shared(), sign(**{claim: value})) is InvalidTokenError


def test_not_before() -> None:
    assert refused(shared(), sign(nbf=LATER - 10)) is InvalidTokenError
    assert shared().verify(f"Bearer {sign(nbf=NOW - 3600)}").user_id == "ada"
