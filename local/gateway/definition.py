"""The resources, methods and authorizers of an API's OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.gateway.errors import GatewayError
from local.template import Api

_METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}
_ANY_METHOD = "x-amazon-apigateway-any-method"


@dataclass(frozen=True)
class Method:
    """A method of a resource: its integration, its function by logical id, if any, and its authorizer by name."""

    integration: Mapping[str, Any]
    function: str | None
    authorizer: str | None


@dataclass(frozen=True)
class Route:
    """A resource. A segment is literal text, `{name}`, or `{name+}` for the rest of the path."""

    resource: str
    segments: tuple[str, ...]
    methods: Mapping[str, Method]

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """Return the decoded path parameters, or None if the path does not match."""
        if path == [""] or self.segments == ("",):
            # The root, which is not the rest of a path either.
            return {} if tuple(path) == self.segments else None
        parameters = {}
        for index, segment in enumerate(self.segments):
            if segment.endswith("+}"):
                rest = path[index:]
                if not rest:
                    return None
                parameters[segment[1:-2]] = "/".join(rest)
                return parameters
            # An empty segment (a double slash) matches nothing.
            if index >= len(path) or not path[index]:
                return None
            if segment.startswith("{"):
                parameters[segment[1:-1]] = path[index]
            elif segment != path[index]:
                return None
        return parameters if len(path) == len(self.segments) else None

    @property
    def rank(self) -> tuple[int, ...]:
        """The sort key of precedence: in each segment, text before a parameter, and a greedy parameter last."""
        return tuple(2 if s.endswith("+}") else 1 if s.startswith("{") else 0 for s in self.segments)


@dataclass(frozen=True)
class Authorizer:
    """A REQUEST authorizer: its function, its identity sources, and how long its responses are cached."""

    name: str
    function: str
    identity_sources: tuple[str, ...]
    ttl_seconds: int


def routes_of(api: Api) -> list[Route]:
    """Return all resources, in order of precedence. Raises GatewayError."""
    return sorted((_route(api, path, item) for path, item in api.body["paths"].items()), key=lambda route: route.rank)


def authorizers_of(api: Api) -> dict[str, Authorizer]:
    """Return the authorizers, by the names of their security schemes. Raises GatewayError."""
    return {name: _authorizer(api, name, scheme) for name, scheme in _schemes(api).items()}


def _schemes(api: Api) -> Mapping[str, Any]:
    schemes: Mapping[str, Any] = api.body.get("components", {}).get("securitySchemes", {})
    return schemes


def _route(api: Api, path: str, item: Mapping[str, Any]) -> Route:
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
            raise GatewayError(f"{where}: an integration of type {kind} is not supported locally")
        function = _function(api, integration["uri"], where) if kind == "aws_proxy" else None
        # SAM writes NONE for a method without an authorizer.
        security = [name for entry in operation.get("security", []) for name in entry if name != "NONE"]
        if len(security) > 1 or not _schemes(api).keys() >= set(security):
            raise GatewayError(f"{where}: security {security} is not supported locally")
        key = "ANY" if name == _ANY_METHOD else name.upper()
        methods[key] = Method(integration, function, security[0] if security else None)
    return Route(path, tuple(path.strip("/").split("/")), methods)


def _authorizer(api: Api, name: str, scheme: Mapping[str, Any]) -> Authorizer:
    definition = scheme.get("x-amazon-apigateway-authorizer")
    if definition is None or definition.get("type") != "request":
        raise GatewayError(f"{name}: only REQUEST authorizers are supported locally")
    sources = tuple(part.strip() for part in str(definition.get("identitySource", "")).split(",") if part)
    for source in sources:
        if not source.startswith(("method.request.header.", "method.request.querystring.")):
            raise GatewayError(f"{name}: identity source {source} is not supported locally")
    return Authorizer(
        name,
        _function(api, definition["authorizerUri"], name),
        sources,
        int(definition.get("authorizerResultTtlInSeconds", 300)),
    )


def _function(api: Api, uri: str, where: str) -> str:
    match = re.search(r"/functions/(.+)/invocations$", uri)
    function = api.functions.get(match[1]) if match else None
    if function is None:
        raise GatewayError(f"{where}: no function of this stack behind {uri}")
    return function
