"""Who a token proves the caller to be, and which of the three refusals it is otherwise."""

import base64
import hashlib
import hmac
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from longshore.domain.errors import AuthenticationError, InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.edge import tokens
from longshore.edge.tokens import Caller, TokenSettings, Verifier

SECRET = "s3cret-" * 8
NOW = int(time.time())
LATER = NOW + 3600
ISSUER = "https://issuer.example.com/"
AUDIENCE = "longshore"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "RS256": RSA_KEY,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


class Jwks:
    """A JSON Web Key Set over HTTP, which counts how often it was fetched."""

    def __init__(self) -> None:
        self.fetched = 0
        self.body = b"{}"
        jwks = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jwks.fetched += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(jwks.body)))
                self.end_headers()
                self.wfile.write(jwks.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def publish(self, **keys: Any) -> None:
        """Serve the public halves of these keys, by kid."""
        self.body = json.dumps({"keys": [public_jwk(key) | {"kid": kid} for kid, key in keys.items()]}).encode()


def public_jwk(key: Any) -> dict[str, Any]:
    algorithms: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(found for kind, found in algorithms.items() if isinstance(key, kind))
    jwk: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk


@pytest.fixture(scope="module")
def served() -> Iterator[Jwks]:
    jwks = Jwks()
    yield jwks
    jwks.close()


@pytest.fixture
def jwks(served: Jwks) -> Jwks:
    served.fetched = 0
    served.publish(RS256=KEYS["RS256"], ES256=KEYS["ES256"], EdDSA=KEYS["EdDSA"])
    return served


def settings(algorithm: str = "HS256", **more: Any) -> TokenSettings:
    values: dict[str, Any] = {"secret_arn": "", "jwks_url": "", "issuer": "", "audience": "", "leeway_seconds": 0}
    return TokenSettings(algorithm=algorithm, **values | more)


def no_secret() -> str:
    raise AssertionError("the secret was read")


def shared(now: Callable[[], float] = lambda: NOW, **more: Any) -> Verifier:
    """Verifies HS256 tokens."""
    return Verifier(settings(**more), lambda: SECRET, now)


def by_key(jwks: Jwks, algorithm: str, **more: Any) -> Verifier:
    """Verifies tokens by the key set, without any secret."""
    return Verifier(settings(algorithm, jwks_url=jwks.url, **more), no_secret, lambda: NOW)


def claims(**more: Any) -> dict[str, Any]:
    given = {"sub": "ada", "exp": LATER} | more
    return {name: value for name, value in given.items() if value is not ...}


def sign(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def forged(header: bytes, payload: bytes, secret: bytes = SECRET.encode()) -> str:
    """A token of any header and payload with an HS256 signature, which no library would make."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def refused(verifier: Verifier, token: str, authorization: str | None = None) -> type[AuthenticationError]:
    """Which refusal it is. It says nothing of the token."""
    with pytest.raises(AuthenticationError) as caught:
        verifier.verify(f"Bearer {token}" if authorization is None else authorization)
    error = caught.value
    assert error.data is None
    assert error.args == (error.message,)
    for part in [token, *token.split(".")]:
        assert len(part) < 8 or part not in error.message
    return type(error)


# --- valid ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_valid_token(scheme: str) -> None:
    assert shared().verify(f"{scheme} {sign()}") == Caller("ada", LATER)


def test_a_valid_token_and_blanks_after_it() -> None:
    assert shared().verify(f"Bearer {sign()}  ") == Caller("ada", LATER)


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_token_by_the_key_set(jwks: Jwks, algorithm: str) -> None:
    verifier = by_key(jwks, algorithm)
    token = sign(KEYS[algorithm], algorithm, algorithm)
    for _ in range(3):
        assert verifier.verify(f"Bearer {token}") == Caller("ada", LATER)
    assert jwks.fetched == 1


def test_a_time_between_seconds() -> None:
    assert shared().verify(f"Bearer {sign(exp=LATER + 0.75)}") == Caller("ada", LATER)


@pytest.mark.parametrize("sub", ["a", "x" * 256, "user|42", "名"])
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


# --- invalid ----------------------------------------------------------------------------------------------------------


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
def test_a_token_that_is_nested_without_end(where: str, nesting: bytes) -> None:
    deep = nesting * (5900 // len(nesting))
    header = b'{"alg":"HS256"}'
    token = forged(deep, b"{}") if where == "header" else forged(header, deep)
    assert len(token) <= 8192
    assert refused(shared(), token) is InvalidTokenError


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"null", b'"ada"', b"1", bytes([255])])
def test_a_signed_payload_that_is_no_object(payload: bytes) -> None:
    assert refused(shared(), forged(b'{"alg":"HS256"}', payload)) is InvalidTokenError


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("configured", ["HS256", *KEYS])
def test_no_algorithm(jwks: Jwks, configured: str, algorithm: str) -> None:
    verifier = shared() if configured == "HS256" else by_key(jwks, configured)
    header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": configured}).encode()
    unsigned = f"{encoded(header)}.{encoded(json.dumps(claims()).encode())}."
    assert refused(verifier, unsigned) is InvalidTokenError
    assert refused(verifier, unsigned + encoded(b"x")) is InvalidTokenError


@pytest.mark.parametrize("header", [b"{}", b'{"alg":null}', b'{"alg":256}', b'{"alg":["HS256"]}', b'{"alg":"hs256"}'])
def test_an_algorithm_that_is_none_of_ours(header: bytes) -> None:
    assert refused(shared(), forged(header, json.dumps(claims()).encode())) is InvalidTokenError


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("configured", list(KEYS))
def test_the_public_key_is_no_secret(jwks: Jwks, configured: str, encoding: Encoding) -> None:
    """The oldest trick: the public key, which everybody has, taken for the secret of an HS256."""
    public = KEYS[configured].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    payload = json.dumps(claims()).encode()
    for algorithm in ("HS256", configured):
        header = json.dumps({"alg": algorithm, "kid": configured}).encode()
        assert refused(by_key(jwks, configured), forged(header, payload, public)) is InvalidTokenError


@pytest.mark.parametrize("configured", list(KEYS))
@pytest.mark.parametrize("signed", list(KEYS))
def test_another_algorithm_than_the_configured_one(jwks: Jwks, configured: str, signed: str) -> None:
    token = sign(KEYS[signed], signed, signed)
    if signed == configured:
        assert by_key(jwks, configured).verify(f"Bearer {token}").user_id == "ada"
    else:
        assert refused(by_key(jwks, configured), token) is InvalidTokenError
        # A foreign algorithm is no reason to fetch keys.
        assert jwks.fetched == 0


@pytest.mark.parametrize("signed", ["RS384", "RS512", "PS256"])
def test_another_algorithm_of_the_same_key(jwks: Jwks, signed: str) -> None:
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, signed, "RS256")) is InvalidTokenError


@pytest.mark.parametrize("signed", ["HS384", "HS512"])
def test_another_algorithm_of_the_same_secret(signed: str) -> None:
    assert refused(shared(), sign(SECRET * 2, signed)) is InvalidTokenError


def test_a_key_of_another_kind_under_the_kid(jwks: Jwks) -> None:
    jwks.publish(RS256=KEYS["ES256"])
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256", "RS256")) is InvalidTokenError


def test_a_wrong_signature(jwks: Jwks) -> None:
    assert refused(shared(), sign("another-" * 8)) is InvalidTokenError
    assert refused(by_key(jwks, "RS256"), sign(OTHER_RSA_KEY, "RS256", "RS256")) is InvalidTokenError


@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_part_is_signed(part: int) -> None:
    parts = sign().split(".")
    others = sign(sub="eve").split(".")
    others[0] = encoded(b'{"alg":"HS256"}')
    parts[part] = others[part]
    assert refused(shared(), ".".join(parts)) is InvalidTokenError


def test_a_signature_left_out() -> None:
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
def test_the_audience_may_be_one_of_many(audience: Any) -> None:
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
def test_an_expiry_that_is_no_time(expiry: Any) -> None:
    assert refused(shared(), sign(exp=expiry)) is InvalidTokenError


@pytest.mark.parametrize(
    "sub", [..., None, "", 42, True, ["ada"], {"id": "ada"}, "x" * 257], ids=lambda sub: str(sub)[:20]
)
def test_a_subject_that_names_nobody(sub: Any) -> None:
    token = forged(b'{"alg":"HS256"}', json.dumps(claims(sub=sub)).encode())
    assert refused(shared(), token) is InvalidTokenError


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", ["soon", [], {}, math.nan, math.inf, 10**400], ids=lambda value: str(value)[:20])
def test_other_times_that_are_none(claim: str, value: Any) -> None:
    assert refused(shared(), sign(**{claim: value})) is InvalidTokenError


def test_not_before() -> None:
    assert refused(shared(), sign(nbf=LATER - 10)) is InvalidTokenError
    assert shared().verify(f"Bearer {sign(nbf=NOW - 3600)}").user_id == "ada"


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
def test_what_is_expired_and_wrong_is_wrong(wrong: str) -> None:
    verifier = shared(issuer=ISSUER, audience=AUDIENCE)
    assert refused(verifier, sign(exp=NOW - 60, iss=ISSUER, aud=AUDIENCE)) is TokenExpiredError
    assert refused(verifier, wrong) is InvalidTokenError


@pytest.mark.parametrize("leeway", [0, 1, 30])
def test_leeway(leeway: int) -> None:
    """The caller is let in, and told to the functions, until the leeway is over and not a second longer."""
    token = sign(exp=NOW + 100)
    until = NOW + 100 + leeway
    assert shared(lambda: until - 0.001, leeway_seconds=leeway).verify(f"Bearer {token}") == Caller("ada", until)
    assert refused(shared(lambda: until, leeway_seconds=leeway), token) is TokenExpiredError


# --- keys -------------------------------------------------------------------------------------------------------------


def test_an_unknown_kid_refreshes_the_set_once(jwks: Jwks) -> None:
    verifier = by_key(jwks, "RS256")
    assert verifier.verify(f"Bearer {sign(RSA_KEY, 'RS256', 'RS256')}").user_id == "ada"
    assert jwks.fetched == 1

    jwks.publish(next=OTHER_RSA_KEY)
    assert verifier.verify(f"Bearer {sign(OTHER_RSA_KEY, 'RS256', 'next')}").user_id == "ada"
    assert jwks.fetched == 2
    # What is no longer in the set is no longer a key.
    assert refused(verifier, sign(RSA_KEY, "RS256", "RS256")) is InvalidTokenError
    assert jwks.fetched <= 3


def test_a_kid_that_nobody_knows_costs_one_fetch(jwks: Jwks) -> None:
    verifier = by_key(jwks, "RS256")
    verifier.verify(f"Bearer {sign(RSA_KEY, 'RS256', 'RS256')}")
    assert refused(verifier, sign(RSA_KEY, "RS256", "unknown")) is InvalidTokenError
    assert jwks.fetched <= 2


@pytest.mark.parametrize("kid", [None, 7, ["RS256"], {}], ids=str)
def test_a_kid_that_is_none(jwks: Jwks, kid: Any) -> None:
    assert refused(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256")) is InvalidTokenError
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()
    assert refused(by_key(jwks, "RS256"), forged(header, json.dumps(claims()).encode())) is InvalidTokenError
    assert jwks.fetched == 0


def test_a_key_set_that_cannot_be_had_says_nothing_of_the_token() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/jwks.json"
        verifier = Verifier(settings("RS256", jwks_url=url), no_secret, lambda: NOW)
        fails_otherwise(verifier, sign(RSA_KEY, "RS256", "RS256"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"x"}]}'])
def test_what_is_no_key_set_says_nothing_of_the_token(jwks: Jwks, body: bytes) -> None:
    jwks.body = body
    fails_otherwise(by_key(jwks, "RS256"), sign(RSA_KEY, "RS256", "RS256"))


def test_a_secret_that_cannot_be_read_says_nothing_of_the_token() -> None:
    def fails() -> str:
        raise ConnectionError("no answer")

    fails_otherwise(Verifier(settings(), fails, lambda: NOW), sign())


def fails_otherwise(verifier: Verifier, token: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever it is, but for one kind)
        verifier.verify(f"Bearer {token}")
    assert not isinstance(caught.value, AuthenticationError)


def test_the_secret_is_read_once_in_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
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
