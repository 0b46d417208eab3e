"""The gateway's token authorizer: who calls, or which of the contract's three refusals it is."""

from typing import Any

import longshore.wiring.coldstart
from longshore.domain.errors import AuthenticationError
from longshore.edge.logs import logger
from longshore.edge.policy import allow, authorization_of, deny
from longshore.wiring import authorizer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a REQUEST authorizer's event with a policy for the whole stage, which the gateway may keep."""
    request_id = event.get("requestContext", {}).get("requestId")
    try:
        caller = authorizer.verifier().verify(authorization_of(event))
    except AuthenticationError as error:
        logger.info("refused", code=error.code, correlation_id=request_id)
        return deny(event["methodArn"], error)
    logger.info("admitted", user_id=caller.user_id, correlation_id=request_id)
    return allow(event["methodArn"], caller.user_id, caller.expires_at)


longshore.wiring.coldstart.ready(authorizer.verifier)
