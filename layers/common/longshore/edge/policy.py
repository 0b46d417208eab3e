"""What a REQUEST authorizer gets from the gateway, and what it answers."""

from collections.abc import Mapping
from typing import Any

from longshore.domain.errors import AuthenticationError

# API Gateway's name for the principal of a caller whom nobody knows.
_NOBODY = "anonymous"


def authorization_of(event: Mapping[str, Any]) -> str | None:
    """The one Authorization header. None when there is none, or more than one: which of them counts?"""
    headers: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    values = [value for name, given in headers.items() if name.lower() == "authorization" for value in given]
    return values[0] if len(values) == 1 else None


def allow(method_arn: str, user_id: str, expires_at: int) -> dict[str, Any]:
    """Let the caller in, and tell the functions who it is and until when (seconds since 1970)."""
    return _policy("Allow", method_arn, user_id, {"user_id": user_id, "expires_at": str(expires_at)})


def deny(method_arn: str, error: AuthenticationError) -> dict[str, Any]:
    """Keep the caller out. The gateway's ACCESS_DENIED response takes code and message from the context."""
    return _policy("Deny", method_arn, _NOBODY, {"code": error.code.value, "message": error.message})


def _policy(effect: str, method_arn: str, principal: str, context: dict[str, str]) -> dict[str, Any]:
    # arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH. The gateway keeps the answer per token, not per path.
    stage_arn = "/".join(method_arn.split("/")[:2])
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": f"{stage_arn}/*"}
    return {
        "principalId": principal,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": context,
    }
