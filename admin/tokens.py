"""Tokens of stacks that use HS256: signed with the stack's secret, which only administrators can read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import jwt

from admin.errors import AdminError
from admin.target import Target

_ALGORITHM = "HS256"
_SHORTEST_SECRET = 32  # bytes, as the authorizer requires
_LONGEST_USER_ID = 256  # characters, as the authorizer requires
_LONGEST_DAYS = 90
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Minted:
    """A token and the time at which it expires, in seconds since 1970."""

    token: str
    expires_at: int


def mint(target: Target, user: str, lifetime: str) -> Minted:
    """Sign a token of a user with the secret of the stack.

    Args:
        target: The stack.
        user: The user: the `sub` claim of the token.
        lifetime: The lifetime, such as `30m`, `8h` or `7d`. At most 90 days.

    Raises:
        AdminError: The stack does not use HS256, its secret is too short, or the user or the lifetime is invalid.
        botocore.exceptions.ClientError: Secrets Manager failed or denied access.
    """
    if not (user.isprintable() and 0 < len(user) <= _LONGEST_USER_ID):
        raise AdminError(f"A user has 1 to {_LONGEST_USER_ID} printable characters.")
    seconds = _seconds(lifetime)
    algorithm = target.parameters.get("TokenAlgorithm", _ALGORITHM)
    if algorithm != _ALGORITHM:
        raise AdminError(
            f"The stack {target.name} accepts {algorithm} tokens of {target.parameters.get('TokenIssuer')} only:"
            " sign in with `longshore login`."
        )
    secret = _secret(target)
    now = int(time.time())
    claims: dict[str, str | int] = {"sub": user, "iat": now, "exp": now + seconds}
    for claim, parameter in (("iss", "TokenIssuer"), ("aud", "TokenAudience")):
        if value := target.parameters.get(parameter):
            claims[claim] = value
    return Minted(jwt.encode(claims, secret, algorithm=_ALGORITHM), now + seconds)


def _seconds(lifetime: str) -> int:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", lifetime)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_DAYS * _UNITS["d"]:
        raise AdminError(f"A lifetime looks like 30m, 8h or 7d and is at most {_LONGEST_DAYS}d, not {lifetime!r}.")
    return seconds


def _secret(target: Target) -> str:
    # A secret that the stack did not create is a parameter.
    arn = target.parameters.get("TokenSecretArn") or target.output("TokenSecretArn")
    secret = target.secrets().get_secret_value(SecretId=arn).get("SecretString", "")
    if len(secret.encode()) < _SHORTEST_SECRET:
        raise AdminError(f"The secret of the stack has fewer than {_SHORTEST_SECRET} bytes: the API accepts no token.")
    return secret
