"""Tokens for the local stack, signed with a key that is new in each run."""

from __future__ import annotations

import os
import secrets
import time
from functools import cache

import jwt

KEY_VARIABLE = "LONGSHORE_TOKEN_KEY"
# RFC 7518, section 3.2: a key of HS256 has at least 256 bits.
_SHORTEST_KEY = 32


@cache
def key() -> str:
    """Return the HS256 key of this process: the value of LONGSHORE_TOKEN_KEY, or a random key.

    Raises:
        ValueError: The given key is too short.
    """
    given = os.environ.get(KEY_VARIABLE, "")
    if given and len(given.encode()) < _SHORTEST_KEY:
        raise ValueError(f"{KEY_VARIABLE} must have at least {_SHORTEST_KEY} bytes")
    return given or secrets.token_urlsafe(48)


def token(user: str, ttl_seconds: int = 86400, *, signing_key: str | None = None) -> str:
    """Return a bearer token for a user id. A negative `ttl_seconds` creates an expired token."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, signing_key or key(), algorithm="HS256")
