"""Tokens for the local stack, signed with a random key in `.local/token-key`."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import jwt

KEY_FILE = Path(__file__).resolve().parent.parent / ".local" / "token-key"


def key(path: Path | None = None) -> str:
    """Return the HS256 key of 64 characters. The first call creates it, in a file that only its owner can read."""
    path = path or KEY_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            # The file has its mode before it has content.
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
            # Unlike a rename, a link never replaces a key that another process has created in the meantime.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii").strip()


def token(user: str, ttl_seconds: int = 86400, *, signing_key: str | None = None) -> str:
    """Return a bearer token for a user id. A negative `ttl_seconds` creates an expired token."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, signing_key or key(), algorithm="HS256")
