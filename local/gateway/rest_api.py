"""An emulation of API Gateway's REST APIs, without sockets.

The API is defined by its OpenAPI document in the translated template. Comments name the AWS documentation of a
behavior, or state that it is known by observation.

    handle → size → route → throttle → authorize → integrate → compress → respond
                          each step can end in a gateway response
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from local.gateway.authorizer import Authorizers
from local.gateway.compression import compressed
from local.gateway.definition import Method, routes_of
from local.gateway.errors import RefusedError
from local.gateway.exchange import Exchange, Invoke
from local.gateway.integration import integrate
from local.gateway.messages import Request, Response, segments
from local.gateway.responses import GATEWAY_RESPONSE_STATUS, GatewayResponses
from local.gateway.throttling import Throttle
from local.template import Api

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
BODY_LIMIT = 10 * 1024 * 1024
HEAD_LIMIT = 10_240


class Gateway:
    """A REST API. `handle` is thread-safe."""

    def __init__(self, api: Api, invoke: Invoke, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the gateway of an API.

        Args:
            api: The API.
            invoke: Invokes a function.
            clock: Returns seconds, for throttling and the authorizer cache.

        Raises:
            GatewayError: The API uses a feature that is not supported.
        """
        self._api = api
        self._invoke = invoke
        self._responses = GatewayResponses(api)
        self._routes = routes_of(api)
        self._authorizers = Authorizers(api, invoke, clock)
        self._throttle = Throttle(api, clock)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """All methods and resources, including those for CORS preflight requests."""
        return [(method, route.resource) for route in self._routes for method in route.methods]

    def handle(self, request: Request) -> Response:
        """Return the response to a request. Never raises, whatever the request contains."""
        exchange = Exchange(request, self._api)
        try:
            self._check_size(request)
            method = self._match(exchange)
            self._throttle.check(request.method, exchange.context["resourcePath"])
            self._authorizers.authorize(exchange, method)
            status, headers, body = integrate(self._api, self._invoke, exchange, method)
        except RefusedError as refusal:
            return self._responses.respond(refusal, exchange.context)
        exchange.context["status"] = str(status)
        minimum = self._api.minimum_compression_size
        headers, body = compressed(request.header("Accept-Encoding"), minimum, headers, body)
        return Response(status, headers, body, exchange.context)

    def refuse(self, request: Request, response_type: str, status: int | None = None) -> Response:
        """Return a gateway response to a request that the HTTP server could not parse."""
        message = HTTPStatus(status or GATEWAY_RESPONSE_STATUS[response_type]).phrase
        return self._responses.respond(
            RefusedError(response_type, message, status), Exchange(request, self._api).context
        )

    def _check_size(self, request: Request) -> None:
        # The size of the request line and the headers, including separators.
        size = len(request.method) + len(request.raw_path) + len(request.raw_query) + len(request.protocol) + 5
        size += sum(len(name) + len(value) + 4 for name, value in request.headers)
        if size > HEAD_LIMIT:
            raise RefusedError("DEFAULT_4XX", "Request Header Fields Too Large", 431)
        if len(request.body) > BODY_LIMIT:
            raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long")

    def _match(self, exchange: Exchange) -> Method:
        path = segments(exchange.request.raw_path)
        for route in self._routes:
            parameters = route.match(path)
            if parameters is None:
                continue
            method = route.methods.get(exchange.request.method) or route.methods.get("ANY")
            # The first matching resource decides, even if it does not have the method.
            if method is None:
                break
            exchange.route = route
            exchange.path_parameters = parameters
            exchange.context["resourcePath"] = route.resource
            return method
        # By observation: without an authorizer, the gateway parses an Authorization header as Signature Version 4, and
        # IncompleteSignature has no gateway response type. (The message of AWS quotes the header.)
        if exchange.request.header("Authorization"):
            raise RefusedError("DEFAULT_4XX", "Authorization header is not a complete signature", 403)
        raise RefusedError("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
