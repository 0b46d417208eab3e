"""Input and output of a REQUEST authorizer of API Gateway."""

import json
from collections.abc import Mapping
from typing import Any

from longshore.domain.errors import AuthenticationError

# The principal of a caller without a valid token.
_NOBODY = "anonymous"


def authorization_of(event: Mapping[str, Any]) -> str | None:
    """Return the Authorization header. None if there is none, or more than one."""
    headers: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    values = [value for name, given in headers.items() if name.lower() == "authorization" for value in given]
    return values[0] if len(values) == 1 else None


def allow(method_arn: str, user_id: str, expires_at: int) -> dict[str, Any]:
    """Return a policy that allows the request. Its context has the user and the expiry time (seconds since 1970)."""
    return _policy("Allow", method_arn, user_id, {"user_id": user_id, "expires_at": str(expires_at)})


def deny(method_arn: str, error: AuthenticationError) -> dict[str, Any]:
    """Return a policy that denies the request. The ACCESS_DENIED response takes code and message from its context."""
    return _policy("Deny", method_arn, _NOBODY, {"code": error.code.value, "message": error.message})


def _policy(effect: str, method_arn: str, principal: str, context: dict[str, str]) -> dict[str, Any]:
    # arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH. The gateway caches the policy by token, not by path.
    stage_arn = "/".join(method_arn.split("/")[:2])
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": f"{stage_arn}/*"}
    return {
        # Only the access log uses it, between quotes and as it is.
        "principalId": json.dumps(principal)[1:-1],
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": context,
    }
