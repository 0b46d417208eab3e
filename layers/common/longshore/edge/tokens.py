"""Verification of bearer tokens. Only the authorizer imports this module.

The algorithm comes from the configuration, never from the token. The key is the secret (HS256), or is found by the
token's `kid` in the key set at the JWKS URL.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jwt

from longshore.domain.errors import InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.edge.jwks import KeySet

_SECRET_SECONDS = 300  # after this time, the secret is read again
_SHORTEST_SECRET = 32  # bytes: the size of the hash, https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_LAST_SECOND = 253402300799  # the end of the year 9999
_LONGEST = 8192  # characters in a token
_LONGEST_USER_ID = 256  # characters


class TokenSettings(NamedTuple):
    """Settings of the authorizer. An empty string means that a setting is not set."""

    algorithm: str
    secret_arn: str
    jwks_url: str
    issuer: str
    audience: str
    leeway_seconds: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "TokenSettings":
        return cls(
            algorithm=environment["TOKEN_ALGORITHM"],
            secret_arn=environment["TOKEN_SECRET_ARN"],
            jwks_url=environment["JWKS_URL"],
            issuer=environment["TOKEN_ISSUER"],
            audience=environment["TOKEN_AUDIENCE"],
            leeway_seconds=int(environment["TOKEN_LEEWAY_SECONDS"]),
        )


class ConfigurationError(Exception):
    """The settings or the secret cannot verify tokens safely, so no token is accepted."""


class Caller(NamedTuple):
    """The caller that a token identifies.

    Attributes:
        user_id: The token's `sub`.
        expires_at: When the token is no longer accepted: seconds since 1970, including the leeway.
    """

    user_id: str
    expires_at: int


class Verifier:
    """Verifies tokens.

    Args:
        settings: The settings of the authorizer.
        secret: Reads the HS256 key.
        now: Returns the time in seconds since 1970.

    Raises:
        ConfigurationError: The settings contradict each other, or lack the issuer or audience of a key set's tokens.
    """

    def __init__(
        self, settings: TokenSettings, secret: Callable[[], str], now: Callable[[], float] = time.time
    ) -> None:
        _check(settings)
        self._settings = settings
        self._secret = secret
        self._now = now
        self._secret_read: tuple[float, str] | None = None
        self._keys = KeySet(settings.jwks_url, settings.algorithm) if settings.jwks_url else None

    def verify(self, authorization: str | None) -> Caller:
        """Return the caller that the value of an Authorization header identifies.

        Raises:
            MissingTokenError: The value is not of the form `Bearer <token>`.
            InvalidTokenError: The signature, algorithm, issuer, audience or form of the token is wrong.
            TokenExpiredError: The token has expired.
            Exception: The secret or the key set could not be read, which says nothing about the token.
        """
        match = re.fullmatch(r"bearer +([^\s,]+) *", authorization or "", re.IGNORECASE)
        if match is None:
            raise MissingTokenError
        token = match[1]
        if len(token) > _LONGEST:
            raise InvalidTokenError
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise InvalidTokenError from error
        if header.get("alg") != self._settings.algorithm:
            raise InvalidTokenError
        # Not within a `try`: a key that cannot be read says nothing about the token.
        key = self._key(header.get("kid"))
        try:
            claims = self._claims(token, key)
        except jwt.PyJWTError as error:
            raise InvalidTokenError from error
        user_id, expires_at = claims["sub"], claims["exp"]
        # PyJWT accepts "1700000000" and true as numbers.
        if type(expires_at) not in (int, float) or not abs(expires_at) <= _LAST_SECOND:
            raise InvalidTokenError
        # Control characters, bidirectional formatting and lone surrogates are not printable.
        if not isinstance(user_id, str) or not 0 < len(user_id) <= _LONGEST_USER_ID or not user_id.isprintable():
            raise InvalidTokenError
        accepted_until = int(expires_at) + self._settings.leeway_seconds
        if self._now() >= accepted_until:
            raise TokenExpiredError
        return Caller(user_id, accepted_until)

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        settings = self._settings
        configured = {"iss": settings.issuer, "aud": settings.audience}
        required = ["exp", "sub", *(name for name, value in configured.items() if value)]
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[settings.algorithm],
            issuer=settings.issuer or None,
            audience=settings.audience or None,
            leeway=settings.leeway_seconds,
            options={
                "require": required,
                # Checked last: a token that is wrong in another way is invalid, not expired.
                "verify_exp": False,
                "verify_iss": bool(settings.issuer),
                "verify_aud": bool(settings.audience),
            },
        )
        return claims

    def _key(self, kid: object) -> Any:
        if self._keys is None:
            return self._read_secret()
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidTokenError
        return key

    def _read_secret(self) -> str:
        now = time.monotonic()
        if self._secret_read is None or now - self._secret_read[0] > _SECRET_SECONDS:
            secret = self._secret()
            if len(secret.encode()) < _SHORTEST_SECRET:
                raise ConfigurationError(f"The token secret has fewer than {_SHORTEST_SECRET} bytes")
            self._secret_read = (now, secret)
        return self._secret_read[1]


def _check(settings: TokenSettings) -> None:
    if settings.algorithm == "HS256":
        if settings.jwks_url:
            raise ConfigurationError("JWKS_URL must not be set for HS256, whose key is a secret")
        return
    required = {
        "JWKS_URL": settings.jwks_url,
        # An identity provider signs the tokens of all its applications with the same keys.
        "TOKEN_ISSUER": settings.issuer,
        "TOKEN_AUDIENCE": settings.audience,
    }
    if missing := [name for name, value in required.items() if not value]:
        raise ConfigurationError(f"{settings.algorithm} requires {', '.join(missing)}")
