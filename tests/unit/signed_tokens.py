"""Tokens and verifiers for the tests of `longshore.edge.tokens`, and a key set that is served over HTTP."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from longshore.domain.errors import AuthenticationError
from longshore.edge.tokens import TokenSettings, Verifier

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
    """A server of a JSON Web Key Set that counts its requests.

    Attributes:
        fetched: The number of requests.
        status: The status of the responses.
        body: The body of the responses.
        drip: Whether a response is sent byte by byte and never ends. None, or the part that drips: headers or body.
        drips: The number of responses that still drip.
    """

    def __init__(self) -> None:
        self.fetched = 0
        self.status = 200
        self.body = b"{}"
        self.drip: str | None = None
        self.drips = 0
        self._closed = threading.Event()
        jwks = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jwks.fetched += 1
                if jwks.drip is not None:
                    self.drip(jwks.drip)
                    return
                self.send_response(jwks.status)
                self.send_header("Content-Length", str(len(jwks.body)))
                self.end_headers()
                self.wfile.write(jwks.body)

            def drip(self, part: str) -> None:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: " if part == "headers" else b"HTTP/1.0 200 OK\r\n\r\n")
                jwks.drips += 1
                while not jwks._closed.wait(0.01):
                    self.wfile.write(b" ")
                jwks.drips -= 1

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def publish(self, **keys: Any) -> None:
        """Serve the public keys of these private keys, by kid."""
        self.serve(*(public_jwk(key) | {"kid": kid} for kid, key in keys.items()))

    def serve(self, *members: Any) -> None:
        """Serve a set of these keys."""
        self.body = json.dumps({"keys": members}).encode()


def public_jwk(key: Any) -> dict[str, Any]:
    algorithms: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(found for kind, found in algorithms.items() if isinstance(key, kind))
    jwk: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk


def settings(algorithm: str = "HS256", **more: Any) -> TokenSettings:
    values: dict[str, Any] = {"secret_arn": "", "jwks_url": "", "issuer": "", "audience": "", "leeway_seconds": 0}
    return TokenSettings(algorithm=algorithm, **values | more)


def no_secret() -> str:
    raise AssertionError("the secret was read")


def shared(now: Callable[[], float] = lambda: NOW, **more: Any) -> Verifier:
    """Return a verifier of HS256 tokens."""
    return Verifier(settings(**more), lambda: SECRET, now)


def by_key(jwks: Jwks, algorithm: str, **more: Any) -> Verifier:
    """Return a verifier that uses the key set and has no secret."""
    given = {"jwks_url": jwks.url, "issuer": ISSUER, "audience": AUDIENCE} | more
    return Verifier(settings(algorithm, **given), no_secret, lambda: NOW)


def claims(**more: Any) -> dict[str, Any]:
    given = {"sub": "ada", "exp": LATER, "iss": ISSUER, "aud": AUDIENCE} | more
    return {name: value for name, value in given.items() if value is not ...}


def sign(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def forged(header: bytes, payload: bytes, secret: bytes = SECRET.encode()) -> str:
    """Return a token with this header and payload, valid or not, and an HS256 signature."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def refused(verifier: Verifier, token: str, authorization: str | None = None) -> type[AuthenticationError]:
    """Return the class of the error that rejects the token. Check that the error contains no part of the token."""
    with pytest.raises(AuthenticationError) as caught:
        verifier.verify(f"Bearer {token}" if authorization is None else authorization)
    error = caught.value
    assert error.data is None
    assert error.args == (error.message,)
    for part in [token, *token.split(".")]:
        assert len(part) < 8 or part not in error.message
    return type(error)
