"""REQUEST authorizers, their policies, and the cache of policies."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.concurrency import ThrottledError
from local.gateway.definition import Authorizer, Method, authorizers_of
from local.gateway.errors import MalformedError, RefusedError
from local.gateway.exchange import Exchange, Invoke
from local.gateway.integration import INTEGRATION_TIMEOUT_SECONDS
from local.gateway.messages import Request, query_pairs
from local.runtime import FunctionError, FunctionTimeoutError, PayloadTooLargeError
from local.template import ACCOUNT_ID, PARTITION, REGION, Api

LOG = logging.getLogger("local.gateway")


@dataclass(frozen=True)
class Verdict:
    """A validated response of an authorizer."""

    principal_id: str
    statements: tuple[Mapping[str, Any], ...]
    context: Mapping[str, str]


class Authorizers:
    """The authorizers of an API. `clock` returns seconds, for the cache."""

    def __init__(self, api: Api, invoke: Invoke, clock: Callable[[], float]) -> None:
        self._api = api
        self._invoke = invoke
        self._clock = clock
        self._authorizers = authorizers_of(api)
        self._verdicts: dict[tuple[str, ...], tuple[float, Verdict]] = {}
        self._verdicts_lock = threading.Lock()

    def authorize(self, exchange: Exchange, method: Method) -> None:
        """Authorize a request, and add the authorizer's context to it.

        Raises:
            RefusedError: The request is not authorized, or the authorizer failed.
        """
        if method.authorizer is None:
            return
        authorizer = self._authorizers[method.authorizer]
        identity = _identity(exchange.request, authorizer.identity_sources)
        # https://docs.aws.amazon.com/apigateway/latest/api/API_CreateAuthorizer.html, identitySource: all present
        # and not empty; otherwise 401 without calling the authorizer.
        if identity is None:
            raise RefusedError("UNAUTHORIZED", "Unauthorized")
        method_arn = self._method_arn(exchange)
        verdict = self._verdict(exchange, authorizer, identity, method_arn)
        exchange.set_authorizer(verdict.principal_id, verdict.context)
        effects = {str(statement["Effect"]) for statement in verdict.statements if _applies(statement, method_arn)}
        if "Deny" in effects:
            message = "User is not authorized to access this resource with an explicit deny"
            raise RefusedError("ACCESS_DENIED", message)
        if "Allow" not in effects:
            raise RefusedError("ACCESS_DENIED", "User is not authorized to access this resource")

    def _method_arn(self, exchange: Exchange) -> str:
        api = self._api
        path = exchange.request.raw_path.lstrip("/")
        resource = f"{api.id}/{api.stage}/{exchange.request.method}/{path}"
        return f"arn:{PARTITION}:execute-api:{REGION}:{ACCOUNT_ID}:{resource}"

    def _verdict(
        self, exchange: Exchange, authorizer: Authorizer, identity: tuple[str, ...], method_arn: str
    ) -> Verdict:
        """Return the response of the authorizer, from the cache if possible. The policy is evaluated each time."""
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
            # The only error message with a special meaning:
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
            if error.message == "Unauthorized":
                raise RefusedError("UNAUTHORIZED", "Unauthorized") from error
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error") from error
        except (FunctionTimeoutError, PayloadTooLargeError, ThrottledError) as error:
            raise RefusedError("AUTHORIZER_FAILURE", "Internal server error") from error
        try:
            verdict = _read_verdict(answer)
        except MalformedError as error:
            LOG.warning("%s returned a malformed authorizer response: %s", authorizer.function, error)
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error") from error
        if caches:
            with self._verdicts_lock:
                self._verdicts[key] = (self._clock() + authorizer.ttl_seconds, verdict)
        return verdict


def _identity(request: Request, sources: Sequence[str]) -> tuple[str, ...] | None:
    """Return the values of the identity sources, or None if one is missing or empty."""
    query = dict(query_pairs(request.raw_query))
    values = []
    for source in sources:
        kind, _, name = source.removeprefix("method.request.").partition(".")
        value = request.header(name) if kind == "header" else query.get(name, "")
        if not value.strip():
            return None
        values.append(value)
    return tuple(values)


def _read_verdict(answer: Any) -> Verdict:
    """Validate the response of an authorizer. Raises MalformedError, whose message never quotes the response.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
    """
    if not isinstance(answer, dict):
        raise MalformedError("not an object")
    principal_id = answer.get("principalId")
    if not isinstance(principal_id, str) or not principal_id:
        raise MalformedError("no principalId")
    document = answer.get("policyDocument")
    statements = document.get("Statement") if isinstance(document, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise MalformedError("no policyDocument with statements")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in {"Allow", "Deny"}:
            raise MalformedError("a statement's Effect is neither Allow nor Deny")
        if unknown := statement.keys() - {"Sid", "Effect", "Action", "Resource"}:
            raise MalformedError(f"a statement has {', '.join(sorted(unknown))}, which is not supported locally")
        for key in ("Action", "Resource"):
            patterns = statement.get(key)
            patterns = [patterns] if isinstance(patterns, str) else patterns
            if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) for p in patterns):
                raise MalformedError(f"a statement's {key} is not text")
    context = answer.get("context") or {}
    if not isinstance(context, dict):
        raise MalformedError("its context is not an object")
    values = {}
    for name, value in context.items():
        # Strings, numbers and booleans are allowed; functions receive all of them as strings.
        if not isinstance(value, str | int | float):
            raise MalformedError(f"its context's {name} is not a string, a number or a boolean")
        values[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return Verdict(principal_id, tuple(statements), values)


def _applies(statement: Mapping[str, Any], method_arn: str) -> bool:
    return _matches(statement["Action"], "execute-api:Invoke", re.IGNORECASE) and _matches(
        statement["Resource"], method_arn
    )


def _matches(patterns: str | Sequence[str], text: str, flags: int = 0) -> bool:
    """Return whether any pattern matches. In a pattern, * matches any text and ? any character."""
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, text, flags | re.DOTALL):
            return True
    return False
