"""Bearer tokens: who calls, proven by a signature. Only the authorizer imports this module.

The algorithm is the deployment's and never the token's own choice. A key is the secret (HS256), or comes from a JWKS
URL by the token's `kid`: the set is kept for five minutes, and fetched once more for an unknown `kid`.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from longshore.errors import InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.settings import TokenSettings

_SECRET_SECONDS = 300  # how long a secret is kept before it is read again
_JWKS_TIMEOUT = 3  # seconds
_LONGEST = 8192  # characters of a token
_LONGEST_USER_ID = 256  # characters


@dataclass(frozen=True)
class Caller:
    """Whom the token names, and when it is no longer accepted (seconds since 1970; the leeway is in it)."""

    user_id: str
    expires_at: int


class Verifier:
    """Verifies tokens as the settings say. `secret` reads the HS256 key."""

    def __init__(
        self, settings: TokenSettings, secret: Callable[[], str], now: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._now = now
        self._secret_read: tuple[float, str] | None = None
        self._jwks: jwt.PyJWKClient | None = None

    def verify(self, authorization: str | None) -> Caller:
        """The caller, from the value of an Authorization header.

        Raises MissingTokenError unless it is `Bearer <token>`; InvalidTokenError for a wrong signature, algorithm,
        issuer, audience or shape; TokenExpiredError. What fails otherwise (no secret, no JWKS) is no answer about the
        token, and raises as it is.
        """
        match = re.fullmatch(r"bearer +([^\s,]+) *", authorization or "", re.IGNORECASE)
        if match is None:
            raise MissingTokenError
        token = match[1]
        if len(token) > _LONGEST:
            raise InvalidTokenError
        try:
            claims = self._claims(token)
        except jwt.PyJWKClientConnectionError:
            raise
        except jwt.PyJWTError as error:
            raise InvalidTokenError from error
        user_id, expires_at = claims["sub"], claims["exp"]
        # PyJWT takes "1700000000" and true for numbers.
        if type(expires_at) not in (int, float) or not math.isfinite(expires_at):
            raise InvalidTokenError
        if not isinstance(user_id, str) or not 0 < len(user_id) <= _LONGEST_USER_ID:
            raise InvalidTokenError
        accepted_until = int(expires_at) + self._settings.leeway_seconds
        if self._now() >= accepted_until:
            raise TokenExpiredError
        return Caller(user_id, accepted_until)

    def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        # Raises for an algorithm that is not the configured one before any key is looked up.
        header = jwt.get_unverified_header(token)
        if header.get("alg") != settings.algorithm:
            raise InvalidTokenError
        configured = {"iss": settings.issuer, "aud": settings.audience}
        required = ["exp", "sub", *(name for name, value in configured.items() if value)]
        claims: dict[str, Any] = jwt.decode(
            token,
            self._key(header.get("kid")),
            algorithms=[settings.algorithm],
            issuer=settings.issuer or None,
            audience=settings.audience or None,
            leeway=settings.leeway_seconds,
            options={
                "require": required,
                # Checked last, since a token that is wrong in another way is invalid, not expired.
                "verify_exp": False,
                "verify_iss": bool(settings.issuer),
                "verify_aud": bool(settings.audience),
            },
        )
        return claims

    def _key(self, kid: object) -> Any:
        if self._settings.algorithm == "HS256":
            return self._read_secret()
        if not isinstance(kid, str):
            raise InvalidTokenError
        if self._jwks is None:
            self._jwks = jwt.PyJWKClient(self._settings.jwks_url, timeout=_JWKS_TIMEOUT)
        return self._jwks.get_signing_key(kid)

    def _read_secret(self) -> str:
        now = time.monotonic()
        if self._secret_read is None or now - self._secret_read[0] > _SECRET_SECONDS:
            self._secret_read = (now, self._secret())
        return self._secret_read[1]
