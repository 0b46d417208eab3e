"""Lambda authorizer of the API: verifies the bearer token and identifies the caller."""

from typing import Any

import longshore.wiring.coldstart
from longshore.domain.errors import AuthenticationError
from longshore.edge.logs import logger
from longshore.edge.policy import allow, authorization_of, deny
from longshore.edge.tokens import reason_of
from longshore.wiring import authorizer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return a policy for the whole stage, so that API Gateway can cache it for the token."""
    request_id = event.get("requestContext", {}).get("requestId")
    try:
        caller = authorizer.verifier().verify(authorization_of(event))
    except AuthenticationError as error:
        logger.info("token rejected", code=error.code, reason=reason_of(error), correlation_id=request_id)
        return deny(event["methodArn"], error)
    logger.info("token accepted", user_id=caller.user_id, correlation_id=request_id)
    return allow(event["methodArn"], caller.user_id, caller.expires_at)


longshore.wiring.coldstart.ready(authorizer.verifier)
