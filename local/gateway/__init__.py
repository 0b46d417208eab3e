"""An emulation of API Gateway's REST APIs: limits, routing, throttling, authorizers, integrations and responses."""

from local.gateway.errors import GatewayError
from local.gateway.messages import Request, Response
from local.gateway.rest_api import BODY_LIMIT, Gateway

__all__ = ["BODY_LIMIT", "Gateway", "GatewayError", "Request", "Response"]
