"""Tests that tokens of other kinds are refused, although their signatures, issuers and audiences are right."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from longshore.domain.errors import InvalidTokenError
from longshore.edge.tokens import Verifier, reason_of
from unit.signed_tokens import (
    AUDIENCE,
    KEYS,
    LATER,
    NOW,
    RSA_KEY,
    SECRET,
    Jwks,
    by_key,
    claims,
    encoded,
    forged,
    shared,
    sign,
)

BACK_CHANNEL_LOGOUT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
ANY: dict[str, Any] = {"audience": AUDIENCE}
ACCESS = ANY | {"access_tokens_only": True}


def token(header: dict[str, Any] | None = None, **more: Any) -> str:
    head = {"alg": "HS256", "typ": "JWT"} | (header or {})
    shown = {name: value for name, value in head.items() if value is not ...}
    return forged(json.dumps(shown).encode(), json.dumps(claims(**more)).encode())


def reason(verifier: Verifier, given: str) -> str | None:
    """Return why the token is refused; None if it is accepted."""
    try:
        verifier.verify(f"Bearer {given}")
    except InvalidTokenError as error:
        return reason_of(error)
    return None


# --- typ --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"])
def test_types_of_access_and_id_tokens(typ: Any) -> None:
    assert reason(shared(**ANY), token({"typ": typ})) is None


FOREIGN_TYPES: list[Any] = [
    "logout+jwt", "secevent+jwt", "dpop+jwt", "application/logout+jwt", "kb+jwt", "vc+sd-jwt", "oauth-authz-req+jwt",
    "token-introspection+jwt", "client-authentication+jwt", "JOSE", "JWT ", "at+jwt;x", "", None, 1, True, ["JWT"], {},
]  # fmt: skip


@pytest.mark.parametrize("typ", FOREIGN_TYPES, ids=str)
def test_foreign_types(typ: Any) -> None:
    assert reason(shared(**ANY), token({"typ": typ})) == "typ"


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_foreign_type_signed_with_a_key_of_the_set(jwks: Jwks, algorithm: str) -> None:
    signed = [
        jwt.encode(claims(), KEYS[algorithm], algorithm, headers={"kid": algorithm, "typ": typ})
        for typ in ("JWT", "logout+jwt")
    ]
    assert [reason(by_key(jwks, algorithm), each) for each in signed] == [None, "typ"]


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+jwt"])
def test_access_tokens_only(typ: str) -> None:
    assert reason(shared(**ACCESS), token({"typ": typ})) is None


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", *FOREIGN_TYPES], ids=str)
def test_other_types_where_access_tokens_are_required(typ: Any) -> None:
    assert reason(shared(**ACCESS), token({"typ": typ})) == "typ"


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{}, {"jkt": "x"}, {"x5t#S256": "x"}, None, "", False], ids=str)
@pytest.mark.parametrize("claim", ["cnf", "events"])
def test_claims_of_other_tokens(claim: str, value: Any) -> None:
    assert reason(shared(**ANY), token(**{claim: value})) == claim


def test_a_logout_token_without_a_type() -> None:
    assert reason(shared(**ANY), token({"typ": ...}, events=BACK_CHANNEL_LOGOUT, sid="s")) == "events"


@pytest.mark.parametrize("use", ["refresh", "ID", "", None, 1, ["access"], {}], ids=str)
def test_a_token_for_another_use(use: Any) -> None:
    assert reason(shared(**ANY), token({"typ": ...}, token_use=use)) == "token_use"


@pytest.mark.parametrize("use", ["access", "id"])
def test_access_and_id_tokens_of_cognito(use: str) -> None:
    """An ID token is not accepted where access tokens are required."""
    assert reason(shared(**ANY), token({"typ": ...}, token_use=use)) is None
    assert reason(shared(**ACCESS), token({"typ": "at+jwt"}, token_use=use)) == (
        None if use == "access" else "token_use"
    )


SEVERAL = [AUDIENCE, "https://issuer.example.com/userinfo"]


@pytest.mark.parametrize("party", ["other", "", None, 1, [AUDIENCE], {}], ids=str)
def test_a_foreign_party_of_several_audiences(party: Any) -> None:
    settings = ANY | {"client_ids": frozenset({"console", "app"})}
    assert reason(shared(**settings), token(aud=SEVERAL, azp=party)) == "azp"


@pytest.mark.parametrize("party", [..., AUDIENCE, "console", "app"])
def test_a_known_party_of_several_audiences(party: Any) -> None:
    settings = ANY | {"client_ids": frozenset({"console", "app"})}
    assert reason(shared(**settings), token(aud=SEVERAL, azp=party)) is None


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE]])
def test_any_party_of_one_audience(audience: Any) -> None:
    assert reason(shared(**ANY), token(aud=audience, azp="other")) is None


def test_any_party_without_a_configured_audience() -> None:
    assert reason(shared(), token(aud=SEVERAL, azp="other")) is None


# --- lifetime ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issued_at", [LATER - 3600, LATER - 3600 + 0.5, NOW], ids=["hour", "less", "now"])
def test_a_brief_token(issued_at: float) -> None:
    assert reason(shared(lifetime_seconds=3600), token(iat=issued_at)) is None


@pytest.mark.parametrize(
    "issued_at",
    [..., None, LATER - 3601, LATER - 3600.5, 0, -1, -(10**400), True, str(NOW)],
    ids=["missing", "null", "too long", "half a second too long", "1970", "1969", "huge", "boolean", "text"],
)
def test_a_lifetime_that_is_too_long_or_not_stated(issued_at: Any) -> None:
    assert reason(shared(lifetime_seconds=3600), token(iat=issued_at)) in ("iat", "InvalidIssuedAtError")
    assert reason(shared(lifetime_seconds=0), token(iat=issued_at)) in (None, "InvalidIssuedAtError")


def test_an_expiry_far_in_the_future() -> None:
    assert reason(shared(lifetime_seconds=86400), token(iat=NOW, exp=NOW + 10**9)) == "iat"


# --- base64url --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inserted", ["=", "==", "?", "!!!!", "++++", "////", "%%%%", "é", "\x7f" * 4])
@pytest.mark.parametrize("place", ["begin", "middle", "end"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_characters_that_are_not_base64url(part: int, place: str, inserted: str) -> None:
    parts = sign().split(".")
    at = {"begin": 0, "middle": 8, "end": len(parts[part])}[place]
    parts[part] = parts[part][:at] + inserted + parts[part][at:]
    assert reason(shared(), ".".join(parts)) == "base64url"


def test_characters_that_are_not_base64url_below_the_signature() -> None:
    """The signature is that of the token as it is."""
    header, payload = b'{"alg":"HS256"}', json.dumps(claims()).encode()
    signed = f"{encoded(header)}!!!!.{encoded(payload)}!!!!"
    signature = encoded(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))
    assert reason(shared(), f"{signed}.{signature}") == "base64url"


def test_unused_bits_of_the_last_character() -> None:
    """The signature has 32 bytes, so the last of its characters has two unused bits."""
    given = sign()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = given[:-1] + alphabet[alphabet.index(given[-1]) | 1]
    assert changed != given
    assert reason(shared(), given) is None
    assert reason(shared(), changed) == "base64url"


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_reason_of_other_errors(jwks: Jwks) -> None:
    assert reason(shared(**ANY), token(aud="other")) == "InvalidAudienceError"
    assert reason(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256", "unknown")) == "InvalidTokenError"
