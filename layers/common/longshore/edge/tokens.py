"""Verification of bearer tokens. Only the authorizer imports this module.

The algorithm comes from the configuration, never from the token. The key is the secret (HS256), or is found by the
token's `kid` in the key set at the JWKS URL. A provider signs tokens of several kinds with the same key, so a valid
signature is not enough: `_foreign` names the kinds that are refused.
"""

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jwt

from longshore.domain.errors import AuthenticationError, InvalidTokenError, MissingTokenError, TokenExpiredError
from longshore.edge.jwks import KeySet

_SECRET_SECONDS = 300  # after this time, the secret is read again
_SHORTEST_SECRET = 32  # bytes: the size of the hash, https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_LAST_SECOND = 253402300799  # the end of the year 9999
_LONGEST = 8192  # characters in a token
_LONGEST_USER_ID = 256  # characters
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # https://www.rfc-editor.org/rfc/rfc9068#section-2.1


class TokenSettings(NamedTuple):
    """Settings of the authorizer. An empty string means that a setting is not set.

    Attributes:
        access_tokens_only: Whether the header has to say that the token is an access token (RFC 9068).
        lifetime_seconds: The longest lifetime of a token; 0: any, and a token need not state when it was issued.
        client_ids: The clients to which tokens with several audiences may be issued, besides the audience itself.
    """

    algorithm: str
    secret_arn: str
    jwks_url: str
    issuer: str
    audience: str
    leeway_seconds: int
    access_tokens_only: bool = False
    lifetime_seconds: int = 0
    client_ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "TokenSettings":
        return cls(
            algorithm=environment["TOKEN_ALGORITHM"],
            secret_arn=environment["TOKEN_SECRET_ARN"],
            jwks_url=environment["JWKS_URL"],
            issuer=environment["TOKEN_ISSUER"],
            audience=environment["TOKEN_AUDIENCE"],
            leeway_seconds=int(environment["TOKEN_LEEWAY_SECONDS"]),
            access_tokens_only=environment["TOKEN_TYPE"] == "at+jwt",
            lifetime_seconds=int(environment["TOKEN_LIFETIME_SECONDS"]),
            client_ids=frozenset(filter(None, environment["TOKEN_CLIENT_IDS"].split(","))),
        )


class ConfigurationError(Exception):
    """The settings or the secret cannot verify tokens safely, so no token is accepted."""


class ForeignTokenError(Exception):
    """The cause of an InvalidTokenError: the token is not meant for this API, or not encoded as RFC 7515 requires.

    Args:
        reason: The name of the claim or header parameter, for the log.
    """


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
            InvalidTokenError: The signature, algorithm, issuer, audience, kind or form of the token is wrong.
            TokenExpiredError: The token has expired.
            Exception: The secret or the key set could not be read, which says nothing about the token.
        """
        match = re.fullmatch(r"bearer +([^\s,]+) *", authorization or "", re.IGNORECASE)
        if match is None:
            raise MissingTokenError
        token = match[1]
        if len(token) > _LONGEST:
            raise InvalidTokenError
        # PyJWT accepts a padded signature, and its older versions any other characters.
        if not all(map(_is_base64url, token.split("."))):
            raise InvalidTokenError from ForeignTokenError("base64url")
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
        if not _is_time(expires_at):
            raise InvalidTokenError
        # Control characters, bidirectional formatting and lone surrogates are not printable.
        if not isinstance(user_id, str) or not 0 < len(user_id) <= _LONGEST_USER_ID or not user_id.isprintable():
            raise InvalidTokenError
        accepted_until = int(expires_at) + self._settings.leeway_seconds
        if reason := _foreign(header, claims, self._settings):
            raise InvalidTokenError from ForeignTokenError(reason)
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


def reason_of(error: AuthenticationError) -> str:
    """Return why a token was rejected, for the log, without any part of the token."""
    cause = error.__cause__
    return str(cause) if isinstance(cause, ForeignTokenError) else type(cause or error).__name__


def _is_base64url(text: str) -> bool:
    """Check that a part of a token has no padding, no other characters, and no unused bits that are set."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == text.encode()


def _foreign(header: Mapping[str, Any], claims: Mapping[str, Any], settings: TokenSettings) -> str | None:
    """Return the claim or header parameter that shows that a token is not an access or ID token for this API."""
    types = _ACCESS_TOKEN_TYPES if settings.access_tokens_only else {"jwt", *_ACCESS_TOKEN_TYPES}
    # Logout tokens, security events, proofs of possession and others are signed with the keys of access tokens.
    if (settings.access_tokens_only or "typ" in header) and str(header.get("typ")).lower() not in types:
        return "typ"
    # Security events and logout tokens of providers that do not set `typ`: https://www.rfc-editor.org/rfc/rfc8417
    if "events" in claims:
        return "events"
    # A bearer has to prove that it has a key, which this API cannot verify: https://www.rfc-editor.org/rfc/rfc7800
    if "cnf" in claims:
        return "cnf"
    # Amazon Cognito does not set `typ`.
    if claims.get("token_use", "access") not in (["access"] if settings.access_tokens_only else ["access", "id"]):
        return "token_use"
    audience = claims.get("aud")
    several = settings.audience and isinstance(audience, list) and len(audience) > 1
    # https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
    if several and claims.get("azp", settings.audience) not in [settings.audience, *settings.client_ids]:
        return "azp"
    return None if _is_brief(claims, settings.lifetime_seconds) else "iat"


def _is_brief(claims: Mapping[str, Any], longest: int) -> bool:
    """Check the lifetime of a token, whose `exp` is a number. A token that does not state it is not brief."""
    if not longest:
        return True
    issued_at = claims.get("iat")
    return _is_time(issued_at) and claims["exp"] - issued_at <= longest


def _is_time(value: Any) -> bool:
    """Check that a claim is a number. PyJWT accepts "1700000000" and true as numbers."""
    return type(value) in (int, float) and abs(value) <= _LAST_SECOND


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
