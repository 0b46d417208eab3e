"""API Gateway's REST API, emulated without sockets: a request in, a response out.

Everything about the API comes from its OpenAPI document in the translated template. Where AWS documents a behaviour,
the place is named; where it is only known by observation, the comment says so.

    handle → size → route → throttle → authorize → integrate → respond
                          any of them may end in a gateway response
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from local.runtime import FunctionError, FunctionTimeoutError, PayloadTooLargeError
from local.template import ACCOUNT_ID, PARTITION, REGION, Api

LOG = logging.getLogger("local.gateway")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
BODY_LIMIT = 10 * 1024 * 1024
HEAD_LIMIT = 10_240
INTEGRATION_TIMEOUT_SECONDS = 29.0

# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
# DEFAULT_4XX and DEFAULT_5XX have no status of their own.
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
_METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}
_ANY_METHOD = "x-amazon-apigateway-any-method"
_CONTEXT_VARIABLE = re.compile(r"\$context\.(\w+(?:\.\w+)*)", re.ASCII)


class GatewayError(Exception):
    """The API's definition asks for something that this gateway does not do; the message says what."""


@dataclass(frozen=True)
class Request:
    """One HTTP request. `raw_path` and `raw_query` are as on the wire, percent-encoded, bytes read as Latin-1."""

    method: str
    raw_path: str
    raw_query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"

    def header(self, name: str) -> str:
        """The last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


@dataclass(frozen=True)
class Response:
    """One HTTP response. `context` holds the `$context` variables that are known at its end, for access logs."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    context: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The last value of a header, or an empty string."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else ""


class Invoke(Protocol):
    """Calls a function by logical id, as `Runtime.invoke` does."""

    def __call__(self, function: str, event: Any, wait: float | None = None) -> Any: ...


class _RefusedError(Exception):
    """The request ends here, in a gateway response."""

    def __init__(self, response_type: str, message: str, status: int | None = None) -> None:
        super().__init__(response_type)
        self.response_type = response_type
        self.message = message
        self.status = status


class _MalformedError(Exception):
    """A function's answer is not of the form that the gateway expects."""


@dataclass(frozen=True)
class _Method:
    integration: Mapping[str, Any]
    function: str | None
    authorizer: str | None


@dataclass(frozen=True)
class _Route:
    """One resource. A segment is literal text, `{name}`, or `{name+}` for all that is left."""

    resource: str
    segments: tuple[str, ...]
    methods: Mapping[str, _Method]

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """The decoded path parameters, or None when the path is not this resource's."""
        parameters = {}
        for index, segment in enumerate(self.segments):
            if segment.endswith("+}"):
                rest = path[index:]
                if not rest:
                    return None
                parameters[segment[1:-2]] = "/".join(rest)
                return parameters
            # An empty segment is a doubled slash: nothing is called that.
            if index >= len(path) or not path[index]:
                return None
            if segment.startswith("{"):
                parameters[segment[1:-1]] = path[index]
            elif segment != path[index]:
                return None
        return parameters if len(path) == len(self.segments) else None

    @property
    def rank(self) -> tuple[int, ...]:
        """Sorts what wins first: at each segment text before a parameter, and a greedy one last."""
        return tuple(2 if s.endswith("+}") else 1 if s.startswith("{") else 0 for s in self.segments)


@dataclass(frozen=True)
class _Authorizer:
    name: str
    function: str
    identity_sources: tuple[str, ...]
    ttl_seconds: int


@dataclass(frozen=True)
class _Verdict:
    """A checked answer of an authorizer."""

    principal_id: str
    statements: tuple[Mapping[str, Any], ...]
    context: Mapping[str, str]


class _Bucket:
    """A token bucket: `rate` tokens a second, `burst` at most."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class _Exchange:
    """One request on its way: what is known of it, as `$context` variables."""

    def __init__(self, request: Request, api: Api) -> None:
        now = datetime.now(UTC)
        self.request = request
        self.context: dict[str, str] = {
            "accountId": ACCOUNT_ID,
            "apiId": api.id,
            "domainName": request.header("Host") or "localhost",
            "extendedRequestId": base64.urlsafe_b64encode(uuid.uuid4().bytes[:11]).decode("ascii"),
            "httpMethod": request.method,
            "identity.sourceIp": request.source_ip,
            "identity.userAgent": request.header("User-Agent"),
            "path": f"/{api.stage}{request.raw_path}",
            "protocol": request.protocol,
            "requestId": str(uuid.uuid4()),
            "requestTime": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
            "requestTimeEpoch": str(int(now.timestamp() * 1000)),
            "stage": api.stage,
        }
        self.route: _Route | None = None
        self.path_parameters: dict[str, str] = {}

    def set_authorizer(self, principal_id: str, values: Mapping[str, str]) -> None:
        self.context["authorizer.principalId"] = principal_id
        self.context.update({f"authorizer.{name}": value for name, value in values.items()})

    def event(self, api: Api) -> dict[str, Any]:
        """The event of a Lambda proxy integration, version 1.0.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        headers, multi_headers = _single_and_multi(self.request.headers, ignore_case=True)
        query, multi_query = _single_and_multi(_query(self.request.raw_query), ignore_case=False)
        return {
            "resource": self.route.resource if self.route else "",
            "path": self.request.raw_path,
            "httpMethod": self.request.method,
            "headers": headers,
            "multiValueHeaders": multi_headers,
            "queryStringParameters": query or None,
            "multiValueQueryStringParameters": multi_query or None,
            "pathParameters": dict(self.path_parameters) or None,
            "stageVariables": dict(api.stage_variables) or None,
            "requestContext": self._request_context(),
            # No binary media type is declared, so that bodies are text: what is not UTF-8 is replaced.
            "body": self.request.body.decode("utf-8", "replace") or None,
            "isBase64Encoded": False,
        }

    def authorizer_event(self, api: Api, method_arn: str) -> dict[str, Any]:
        """The event of a REQUEST authorizer: no body, and empty objects where a proxy event has null.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html
        """
        event = self.event(api)
        del event["body"], event["isBase64Encoded"]
        for name in (
            "queryStringParameters",
            "multiValueQueryStringParameters",
            "pathParameters",
            "stageVariables",
        ):
            event[name] = event[name] or {}
        return {"type": "REQUEST", "methodArn": method_arn, **event}

    def _request_context(self) -> dict[str, Any]:
        context: dict[str, Any] = {}
        for name in (
            "accountId",
            "apiId",
            "domainName",
            "extendedRequestId",
            "httpMethod",
            "path",
            "protocol",
            "requestId",
            "requestTime",
            "resourcePath",
            "stage",
        ):
            context[name] = self.context.get(name)
        context["requestTimeEpoch"] = int(self.context["requestTimeEpoch"])
        context["identity"] = {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": self.context["identity.sourceIp"],
            "user": None,
            "userAgent": self.context["identity.userAgent"] or None,
            "userArn": None,
        }
        prefix = "authorizer."
        authorizer = {k.removeprefix(prefix): v for k, v in self.context.items() if k.startswith(prefix)}
        if authorizer:
            context["authorizer"] = authorizer
        return context


class Gateway:
    """One REST API. `handle` is safe to call from many threads at once."""

    def __init__(self, api: Api, invoke: Invoke, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, for throttling and the authorizer's cache. GatewayError."""
        self._api = api
        self._invoke = invoke
        self._clock = clock
        body = api.body
        self._gateway_responses: Mapping[str, Mapping[str, Any]] = body.get("x-amazon-apigateway-gateway-responses", {})
        for response_type in self._gateway_responses:
            if response_type not in GATEWAY_RESPONSE_STATUS.keys() | {"DEFAULT_4XX", "DEFAULT_5XX"}:
                raise GatewayError(f"there is no gateway response {response_type}")
        self._authorizers = {
            name: self._authorizer(name, scheme)
            for name, scheme in body.get("components", {}).get("securitySchemes", {}).items()
        }
        self._verdicts: dict[tuple[str, ...], tuple[float, _Verdict]] = {}
        self._verdicts_lock = threading.Lock()
        self._routes = sorted(
            (self._route(path, item) for path, item in body["paths"].items()), key=lambda route: route.rank
        )
        self._buckets = self._throttles()

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every (METHOD, resource), those that answer preflights included."""
        return [(method, route.resource) for route in self._routes for method in route.methods]

    def handle(self, request: Request) -> Response:
        """Answer a request. Never raises for what a client may send."""
        exchange = _Exchange(request, self._api)
        try:
            self._check_size(request)
            method = self._match(exchange)
            self._throttle(exchange)
            self._authorize(exchange, method)
            status, headers, body = self._integrate(exchange, method)
        except _RefusedError as refusal:
            return self._gateway_response(exchange, refusal)
        exchange.context["status"] = str(status)
        return Response(status, headers, body, exchange.context)

    def refuse(self, request: Request, response_type: str, status: int | None = None) -> Response:
        """A gateway response for a request that the HTTP server could not take as far as `handle`."""
        message = HTTPStatus(status or GATEWAY_RESPONSE_STATUS[response_type]).phrase
        return self._gateway_response(_Exchange(request, self._api), _RefusedError(response_type, message, status))

    # --- The definition ---------------------------------------------------------------------------------------------

    def _route(self, path: str, item: Mapping[str, Any]) -> _Route:
        methods = {}
        for name, operation in item.items():
            if name not in _METHODS and name != _ANY_METHOD:
                continue
            where = f"{name.upper()} {path}"
            integration = operation.get("x-amazon-apigateway-integration")
            if integration is None:
                raise GatewayError(f"{where} has no integration")
            kind = str(integration["type"]).lower()
            if kind not in {"aws_proxy", "mock"}:
                raise GatewayError(f"{where}: an integration of type {kind} is not known locally")
            function = self._function(integration["uri"], where) if kind == "aws_proxy" else None
            # NONE is how SAM writes that a method is open; no scheme has that name.
            security = [name for entry in operation.get("security", []) for name in entry if name != "NONE"]
            if len(security) > 1 or not self._authorizers.keys() >= set(security):
                raise GatewayError(f"{where}: security {security} is not known locally")
            key = "ANY" if name == _ANY_METHOD else name.upper()
            methods[key] = _Method(integration, function, security[0] if security else None)
        return _Route(path, tuple(path.strip("/").split("/")), methods)

    def _authorizer(self, name: str, scheme: Mapping[str, Any]) -> _Authorizer:
        definition = scheme.get("x-amazon-apigateway-authorizer")
        if definition is None or definition.get("type") != "request":
            raise GatewayError(f"{name}: only REQUEST authorizers are known locally")
        sources = tuple(part.strip() for part in str(definition.get("identitySource", "")).split(",") if part)
        for source in sources:
            if not source.startswith(("method.request.header.", "method.request.querystring.")):
                raise GatewayError(f"{name}: identity source {source} is not known locally")
        return _Authorizer(
            name,
            self._function(definition["authorizerUri"], name),
            sources,
            int(definition.get("authorizerResultTtlInSeconds", 300)),
        )

    def _function(self, uri: str, where: str) -> str:
        match = re.search(r"/functions/(.+)/invocations$", uri)
        function = self._api.functions.get(match[1]) if match else None
        if function is None:
            raise GatewayError(f"{where}: no function of this stack behind {uri}")
        return function

    def _throttles(self) -> dict[tuple[str, str], _Bucket]:
        buckets = {}
        for setting in self._api.method_settings:
            if "ThrottlingRateLimit" not in setting and "ThrottlingBurstLimit" not in setting:
                continue
            path = str(setting["ResourcePath"]).replace("~1", "/")
            rate = float(setting.get("ThrottlingRateLimit", 10_000))
            burst = float(setting.get("ThrottlingBurstLimit", 5_000))
            buckets[(str(setting["HttpMethod"]).upper(), path)] = _Bucket(rate, burst, self._clock)
        return buckets

    # --- The request ------------------------------------------------------------------------------------------------

    def _check_size(self, request: Request) -> None:
        # The request line and the headers, with what separates them on the wire.
        size = len(request.method) + len(request.raw_path) + len(request.raw_query) + len(request.protocol) + 5
        size += sum(len(name) + len(value) + 4 for name, value in request.headers)
        if size > HEAD_LIMIT:
            raise _RefusedError("DEFAULT_4XX", "Request Header Fields Too Large", 431)
        if len(request.body) > BODY_LIMIT:
            raise _RefusedError("REQUEST_TOO_LARGE", "Request Too Long")

    def _match(self, exchange: _Exchange) -> _Method:
        path = _segments(exchange.request.raw_path)
        for route in self._routes:
            parameters = route.match(path)
            if parameters is None:
                continue
            method = route.methods.get(exchange.request.method) or route.methods.get("ANY")
            # The resource is found first, and the method in it: no other resource is tried.
            if method is None:
                break
            exchange.route = route
            exchange.path_parameters = parameters
            exchange.context["resourcePath"] = route.resource
            return method
        # By observation. The gateway takes an Authorization header where no authorizer is for a Signature Version 4,
        # and IncompleteSignature has no gateway response of its own. (Its message would quote the header.)
        if exchange.request.header("Authorization"):
            raise _RefusedError("DEFAULT_4XX", "Authorization header is not a complete signature", 403)
        raise _RefusedError("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")

    def _throttle(self, exchange: _Exchange) -> None:
        resource = exchange.context["resourcePath"]
        method = exchange.request.method
        # The most specific setting counts, and it alone.
        for key in ((method, resource), ("*", resource), ("*", "/*")):
            bucket = self._buckets.get(key)
            if bucket is not None:
                if not bucket.take():
                    raise _RefusedError("THROTTLED", "Too Many Requests")
                return

    # --- The authorizer ---------------------------------------------------------------------------------------------

    def _authorize(self, exchange: _Exchange, method: _Method) -> None:
        if method.authorizer is None:
            return
        authorizer = self._authorizers[method.authorizer]
        identity = _identity(exchange.request, authorizer.identity_sources)
        # https://docs.aws.amazon.com/apigateway/latest/api/API_CreateAuthorizer.html, identitySource: all present
        # and not empty, or 401 without a call.
        if identity is None:
            raise _RefusedError("UNAUTHORIZED", "Unauthorized")
        method_arn = self._method_arn(exchange)
        verdict = self._verdict(exchange, authorizer, identity, method_arn)
        exchange.set_authorizer(verdict.principal_id, verdict.context)
        effects = {str(statement["Effect"]) for statement in verdict.statements if _applies(statement, method_arn)}
        if "Deny" in effects:
            message = "User is not authorized to access this resource with an explicit deny"
            raise _RefusedError("ACCESS_DENIED", message)
        if "Allow" not in effects:
            raise _RefusedError("ACCESS_DENIED", "User is not authorized to access this resource")

    def _method_arn(self, exchange: _Exchange) -> str:
        api = self._api
        path = exchange.request.raw_path.lstrip("/")
        resource = f"{api.id}/{api.stage}/{exchange.request.method}/{path}"
        return f"arn:{PARTITION}:execute-api:{REGION}:{ACCOUNT_ID}:{resource}"

    def _verdict(
        self, exchange: _Exchange, authorizer: _Authorizer, identity: tuple[str, ...], method_arn: str
    ) -> _Verdict:
        """The authorizer's answer, from the cache where it is allowed: the policy, which is judged each time."""
        key = (authorizer.name, *identity)
        caches = authorizer.ttl_seconds > 0 and bool(identity)
        if caches:
            with self._verdicts_lock:
                now = self._clock()
                self._verdicts = {k: v for k, v in self._verdicts.items() if v[0] > now}
                if key in self._verdicts:
                    return self._verdicts[key][1]
        try:
            answer = self._invoke(
                authorizer.function,
                exchange.authorizer_event(self._api, method_arn),
                INTEGRATION_TIMEOUT_SECONDS,
            )
        except FunctionError as error:
            # The one exception that has a meaning:
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
            if error.message == "Unauthorized":
                raise _RefusedError("UNAUTHORIZED", "Unauthorized") from error
            raise _RefusedError("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error") from error
        except FunctionTimeoutError as error:
            raise _RefusedError("AUTHORIZER_FAILURE", "Internal server error") from error
        except PayloadTooLargeError as error:
            raise _RefusedError("AUTHORIZER_FAILURE", "Internal server error") from error
        try:
            verdict = _read_verdict(answer)
        except _MalformedError as error:
            LOG.warning("%s answered with what is not an authorizer's answer: %s", authorizer.function, error)
            raise _RefusedError("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error") from error
        if caches:
            with self._verdicts_lock:
                self._verdicts[key] = (self._clock() + authorizer.ttl_seconds, verdict)
        return verdict

    # --- The integration --------------------------------------------------------------------------------------------

    def _integrate(self, exchange: _Exchange, method: _Method) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        if method.function is None:
            return _mock(method.integration)
        wait = float(method.integration.get("timeoutInMillis", INTEGRATION_TIMEOUT_SECONDS * 1000)) / 1000
        try:
            answer = self._invoke(method.function, exchange.event(self._api), wait)
        except FunctionTimeoutError as error:
            raise _RefusedError("INTEGRATION_TIMEOUT", "Endpoint request timed out") from error
        except PayloadTooLargeError as error:
            raise _RefusedError("REQUEST_TOO_LARGE", "Request Too Long") from error
        except FunctionError as error:
            raise _RefusedError("API_CONFIGURATION_ERROR", "Internal server error", 502) from error
        try:
            return _read_proxy_answer(answer)
        except _MalformedError as error:
            LOG.warning("%s answered with what is not a proxy response: %s", method.function, error)
            raise _RefusedError("API_CONFIGURATION_ERROR", "Internal server error", 502) from error

    # --- Gateway responses ------------------------------------------------------------------------------------------

    def _gateway_response(self, exchange: _Exchange, refusal: _RefusedError) -> Response:
        status = refusal.status or GATEWAY_RESPONSE_STATUS[refusal.response_type]
        fallback = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
        definition = self._gateway_responses.get(refusal.response_type, self._gateway_responses.get(fallback, {}))
        # A status on DEFAULT_4XX or DEFAULT_5XX is that of all the types that fall back to it.
        status = int(definition.get("statusCode", status))
        context = exchange.context
        context["status"] = str(status)
        context["error.responseType"] = refusal.response_type
        context["error.message"] = refusal.message
        context["error.messageString"] = json.dumps(refusal.message)

        templates = definition.get("responseTemplates") or {"application/json": _DEFAULT_TEMPLATE}
        # Only by the Accept header would another than the first be chosen; JSON is what this API speaks.
        media_type = "application/json" if "application/json" in templates else next(iter(templates))
        headers = [("Content-Type", media_type)]
        for target, source in definition.get("responseParameters", {}).items():
            name = str(target).removeprefix("gatewayresponse.header.")
            value = _mapped(str(source), context)
            if value is not None:
                headers = [header for header in headers if header[0].lower() != name.lower()]
                headers.append((name, value))
        body = _CONTEXT_VARIABLE.sub(lambda match: context.get(match[1], ""), templates[media_type])
        return Response(status, headers, body.encode("utf-8"), context)


def _segments(raw_path: str) -> list[str]:
    """The decoded segments of a path.

    It is split before it is decoded, so that an encoded slash stays inside its segment; what is not UTF-8 is
    replaced. One slash at the end is ignored (by observation).
    """
    path = raw_path.removeprefix("/")
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    return [_decode(segment) for segment in path.split("/")]


def _decode(text: str) -> str:
    """Percent-decode what came over the wire as Latin-1, and read it as UTF-8."""
    # unquote() decodes escapes alone, and would leave raw bytes beside them as Latin-1.
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in text)
    return unquote(encoded, "utf-8", "replace")


def _query(raw_query: str) -> list[tuple[str, str]]:
    encoded = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in raw_query)
    return parse_qsl(encoded, keep_blank_values=True, encoding="utf-8", errors="replace")


def _single_and_multi(
    pairs: Sequence[tuple[str, str]], *, ignore_case: bool
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Last values and all values by name, under a name's first spelling."""
    spelling: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    for name, value in pairs:
        key = spelling.setdefault(name.lower() if ignore_case else name, name)
        multi.setdefault(key, []).append(value)
    return {name: values[-1] for name, values in multi.items()}, multi


def _identity(request: Request, sources: Sequence[str]) -> tuple[str, ...] | None:
    """The values of the identity sources, or None when one is missing or empty."""
    query = dict(_query(request.raw_query))
    values = []
    for source in sources:
        kind, _, name = source.removeprefix("method.request.").partition(".")
        value = request.header(name) if kind == "header" else query.get(name, "")
        if not value.strip():
            return None
        values.append(value)
    return tuple(values)


def _read_verdict(answer: Any) -> _Verdict:
    """Check an authorizer's answer. _MalformedError, which never quotes it.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
    """
    if not isinstance(answer, dict):
        raise _MalformedError("not an object")
    principal_id = answer.get("principalId")
    if not isinstance(principal_id, str) or not principal_id:
        raise _MalformedError("no principalId")
    document = answer.get("policyDocument")
    statements = document.get("Statement") if isinstance(document, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise _MalformedError("no policyDocument with statements")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in {"Allow", "Deny"}:
            raise _MalformedError("a statement's Effect is neither Allow nor Deny")
        if unknown := statement.keys() - {"Sid", "Effect", "Action", "Resource"}:
            raise _MalformedError(f"a statement has {', '.join(sorted(unknown))}, which is not known locally")
        for key in ("Action", "Resource"):
            patterns = statement.get(key)
            patterns = [patterns] if isinstance(patterns, str) else patterns
            if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) for p in patterns):
                raise _MalformedError(f"a statement's {key} is not text")
    context = answer.get("context") or {}
    if not isinstance(context, dict):
        raise _MalformedError("its context is not an object")
    values = {}
    for name, value in context.items():
        # Strings, numbers and booleans; a function gets them all as strings.
        if not isinstance(value, str | int | float):
            raise _MalformedError(f"its context's {name} is not a string, a number or a boolean")
        values[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return _Verdict(principal_id, tuple(statements), values)


def _applies(statement: Mapping[str, Any], method_arn: str) -> bool:
    return _matches(statement["Action"], "execute-api:Invoke", re.IGNORECASE) and _matches(
        statement["Resource"], method_arn
    )


def _matches(patterns: str | Sequence[str], text: str, flags: int = 0) -> bool:
    """Whether any pattern matches, where * stands for any text and ? for one character."""
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, text, flags | re.DOTALL):
            return True
    return False


def _mock(integration: Mapping[str, Any]) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    """A MOCK integration: its request template names the status, which chooses one of its responses."""
    template = integration.get("requestTemplates", {}).get("application/json", '{"statusCode": 200}')
    status = str(json.loads(template)["statusCode"])
    responses = integration.get("responses", {})
    chosen = next(
        (item for pattern, item in responses.items() if pattern != "default" and re.fullmatch(pattern, status)),
        responses.get("default", {"statusCode": status}),
    )
    headers = [("Content-Type", "application/json")]
    for target, source in chosen.get("responseParameters", {}).items():
        value = _mapped(str(source), {})
        if value is not None:
            headers.append((str(target).removeprefix("method.response.header."), value))
    body = chosen.get("responseTemplates", {}).get("application/json", "")
    return int(chosen["statusCode"]), headers, body.encode("utf-8")


def _mapped(source: str, context: Mapping[str, str]) -> str | None:
    """The value of a response parameter's mapping, or None when it maps to nothing."""
    if len(source) >= 2 and source[0] == source[-1] == "'":
        return source[1:-1]
    if source.startswith("context."):
        return context.get(source.removeprefix("context."))
    return None


def _read_proxy_answer(answer: Any) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    """Check a proxy integration's answer. _MalformedError, which never quotes it.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    if not isinstance(answer, dict):
        raise _MalformedError("not an object")
    known = {"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"}
    if unknown := answer.keys() - known:
        raise _MalformedError(f"it has {', '.join(sorted(unknown))}")
    status = answer.get("statusCode")
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise _MalformedError("its statusCode is not a status")
    body = answer.get("body")
    if body is not None and not isinstance(body, str):
        raise _MalformedError("its body is not a string")
    content = (body or "").encode("utf-8", "replace")
    # isBase64Encoded would matter only to an API that declares binary media types.

    merged: dict[str, list[tuple[str, str]]] = {}
    for name, value in _mapping(answer, "headers").items():
        merged[name.lower()] = [(name, _header_value(name, value))]
    for name, values in _mapping(answer, "multiValueHeaders").items():
        if not isinstance(values, list):
            raise _MalformedError(f"its multiValueHeaders' {name} is not a list")
        merged[name.lower()] = [(name, _header_value(name, value)) for value in values]
    merged.setdefault("content-type", [("Content-Type", "application/json")])
    return status, [pair for pairs in merged.values() for pair in pairs], content


def _mapping(answer: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = answer.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _MalformedError(f"its {key} is not an object")
    return value


def _header_value(name: str, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise _MalformedError(f"its header {name} is not text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.search(r"[\r\n\0]", name + text) or not name:
        raise _MalformedError("one of its headers would break the response apart")
    return text
