"""The gateway's token authorizer: who calls, or which of the contract's three refusals it is."""

from typing import Any

import longshore.coldstart
from longshore import token_bootstrap
from longshore.errors import AuthenticationError
from longshore.logs import logger
from longshore.policy import allow, authorization_of, deny


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a REQUEST authorizer's event with a policy for the whole stage, which the gateway may keep."""
    request_id = event.get("requestContext", {}).get("requestId")
    try:
        caller = token_bootstrap.verifier().verify(authorization_of(event))
    except AuthenticationError as error:
        logger.info("refused", code=error.code, correlation_id=request_id)
        return deny(event["methodArn"], error)
    logger.info("admitted", user_id=caller.user_id, correlation_id=request_id)
    return allow(event["methodArn"], caller.user_id, caller.expires_at)


longshore.coldstart.ready(token_bootstrap.verifier)
