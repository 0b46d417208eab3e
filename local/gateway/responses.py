"""Gateway responses, as customized by the API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from local.gateway.errors import GatewayError, RefusedError
from local.gateway.messages import Response
from local.template import Api

# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
# DEFAULT_4XX and DEFAULT_5XX have no default status.
GATEWAY_RESPONSE_STATUS: Mapping[str, int] = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}

_DEFAULT_TEMPLATE = '{"message":$context.error.messageString}'
_CONTEXT_VARIABLE = re.compile(r"\$context\.(\w+(?:\.\w+)*)", re.ASCII)


class GatewayResponses:
    """The gateway responses of an API. Raises GatewayError for an unknown response type."""

    def __init__(self, api: Api) -> None:
        self._defined: Mapping[str, Mapping[str, Any]] = api.body.get("x-amazon-apigateway-gateway-responses", {})
        for response_type in self._defined:
            if response_type not in GATEWAY_RESPONSE_STATUS.keys() | {"DEFAULT_4XX", "DEFAULT_5XX"}:
                raise GatewayError(f"there is no gateway response {response_type}")

    def respond(self, refusal: RefusedError, context: dict[str, str]) -> Response:
        """Return the response to a rejected request, and add the error to `context`."""
        status = refusal.status or GATEWAY_RESPONSE_STATUS[refusal.response_type]
        fallback = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
        definition = self._defined.get(refusal.response_type, self._defined.get(fallback, {}))
        # A status of DEFAULT_4XX or DEFAULT_5XX applies to all types that fall back to it.
        status = int(definition.get("statusCode", status))
        context["status"] = str(status)
        context["error.responseType"] = refusal.response_type
        context["error.message"] = refusal.message
        context["error.messageString"] = json.dumps(refusal.message)

        templates = definition.get("responseTemplates") or {"application/json": _DEFAULT_TEMPLATE}
        # API Gateway selects the template by the Accept header. This API only uses JSON.
        media_type = "application/json" if "application/json" in templates else next(iter(templates))
        headers = [("Content-Type", media_type)]
        for target, source in definition.get("responseParameters", {}).items():
            name = str(target).removeprefix("gatewayresponse.header.")
            value = mapped(str(source), context)
            if value is not None:
                headers = [header for header in headers if header[0].lower() != name.lower()]
                headers.append((name, value))
        body = _CONTEXT_VARIABLE.sub(lambda match: context.get(match[1], ""), templates[media_type])
        return Response(status, headers, body.encode("utf-8"), context)


def mapped(source: str, context: Mapping[str, str]) -> str | None:
    """Return the value of a response parameter mapping, or None if there is no value."""
    if len(source) >= 2 and source[0] == source[-1] == "'":
        return source[1:-1]
    if source.startswith("context."):
        return context.get(source.removeprefix("context."))
    return None
