"""Lambda proxy integrations and mock integrations."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from local.concurrency import ThrottledError
from local.gateway.definition import Method
from local.gateway.errors import MalformedError, RefusedError
from local.gateway.exchange import Exchange, Invoke
from local.gateway.responses import mapped
from local.runtime import FunctionError, FunctionTimeoutError, PayloadTooLargeError
from local.template import Api

LOG = logging.getLogger("local.gateway")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
INTEGRATION_TIMEOUT_SECONDS = 29.0

# Status, headers and body.
Answer = tuple[int, Sequence[tuple[str, str]], bytes]


def integrate(api: Api, invoke: Invoke, exchange: Exchange, method: Method) -> Answer:
    """Return the response of a method. Raises RefusedError."""
    if method.function is None:
        return _mock(method.integration)
    wait = float(method.integration.get("timeoutInMillis", INTEGRATION_TIMEOUT_SECONDS * 1000)) / 1000
    try:
        answer = invoke(method.function, exchange.event(api), wait)
    except FunctionTimeoutError as error:
        raise RefusedError("INTEGRATION_TIMEOUT", "Endpoint request timed out") from error
    except ThrottledError as error:
        # "If the Lambda API rejects the invocation request, API Gateway returns a 500 error code", never 429:
        # https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html. The type is by observation.
        raise RefusedError("INTEGRATION_FAILURE", "Internal server error", 500) from error
    except PayloadTooLargeError as error:
        raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long") from error
    except FunctionError as error:
        raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", 502) from error
    try:
        return _read_proxy_answer(answer)
    except MalformedError as error:
        LOG.warning("%s returned a malformed proxy response: %s", method.function, error)
        raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", 502) from error


def _mock(integration: Mapping[str, Any]) -> Answer:
    """Return the response of a mock integration. The status in its request template selects the response."""
    template = integration.get("requestTemplates", {}).get("application/json", '{"statusCode": 200}')
    status = str(json.loads(template)["statusCode"])
    responses = integration.get("responses", {})
    chosen = next(
        (item for pattern, item in responses.items() if pattern != "default" and re.fullmatch(pattern, status)),
        responses.get("default", {"statusCode": status}),
    )
    headers = [("Content-Type", "application/json")]
    for target, source in chosen.get("responseParameters", {}).items():
        value = mapped(str(source), {})
        if value is not None:
            headers.append((str(target).removeprefix("method.response.header."), value))
    body = chosen.get("responseTemplates", {}).get("application/json", "")
    return int(chosen["statusCode"]), headers, body.encode("utf-8")


def _read_proxy_answer(answer: Any) -> Answer:
    """Validate the response of a proxy integration. Raises MalformedError, whose message never quotes the response.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    if not isinstance(answer, dict):
        raise MalformedError("not an object")
    known = {"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"}
    if unknown := answer.keys() - known:
        raise MalformedError(f"it has {', '.join(sorted(unknown))}")
    status = answer.get("statusCode")
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise MalformedError("its statusCode is not a status")
    body = answer.get("body")
    if body is not None and not isinstance(body, str):
        raise MalformedError("its body is not a string")
    content = (body or "").encode("utf-8", "replace")
    # isBase64Encoded has an effect only in APIs that declare binary media types.

    merged: dict[str, list[tuple[str, str]]] = {}
    for name, value in _mapping(answer, "headers").items():
        merged[name.lower()] = [(name, _header_value(name, value))]
    for name, values in _mapping(answer, "multiValueHeaders").items():
        if not isinstance(values, list):
            raise MalformedError(f"its multiValueHeaders' {name} is not a list")
        merged[name.lower()] = [(name, _header_value(name, value)) for value in values]
    merged.setdefault("content-type", [("Content-Type", "application/json")])
    return status, [pair for pairs in merged.values() for pair in pairs], content


def _mapping(answer: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = answer.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"its {key} is not an object")
    return value


def _header_value(name: str, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise MalformedError(f"its header {name} is not text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.search(r"[\r\n\0]", name + text) or not name:
        raise MalformedError("a header has no name, or contains a line break or a null character")
    return text
