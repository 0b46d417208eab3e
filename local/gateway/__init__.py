"""API Gateway's REST API, emulated: what it does to a request, from the size of its head to the answer's headers."""

from local.gateway.errors import GatewayError
from local.gateway.messages import Request, Response
from local.gateway.rest_api import BODY_LIMIT, Gateway

__all__ = ["BODY_LIMIT", "Gateway", "GatewayError", "Request", "Response"]
