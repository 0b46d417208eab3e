"""The state of a request in the gateway, and the events that functions receive."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from local.gateway.definition import Route
from local.gateway.messages import Request, query_pairs, single_and_multi
from local.template import ACCOUNT_ID, Api


class Invoke(Protocol):
    """Invokes a function by logical id, like `Runtime.invoke`."""

    def __call__(self, function: str, event: Any, wait: float | None = None) -> Any: ...


class Exchange:
    """A request and its `$context` variables."""

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
            # As with a custom domain name whose base path mapping is empty: without the stage.
            "path": request.raw_path,
            "protocol": request.protocol,
            "requestId": str(uuid.uuid4()),
            "requestTime": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
            "requestTimeEpoch": str(int(now.timestamp() * 1000)),
            "stage": api.stage,
        }
        self.route: Route | None = None
        self.path_parameters: dict[str, str] = {}

    def set_authorizer(self, principal_id: str, values: Mapping[str, str]) -> None:
        self.context["authorizer.principalId"] = principal_id
        self.context.update({f"authorizer.{name}": value for name, value in values.items()})

    def event(self, api: Api) -> dict[str, Any]:
        """Return the event of a Lambda proxy integration, version 1.0.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        headers, multi_headers = single_and_multi(self.request.headers, ignore_case=True)
        query, multi_query = single_and_multi(query_pairs(self.request.raw_query), ignore_case=False)
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
            # The API declares no binary media types, so bodies are text; invalid UTF-8 is replaced.
            "body": self.request.body.decode("utf-8", "replace") or None,
            "isBase64Encoded": False,
        }

    def authorizer_event(self, api: Api, method_arn: str) -> dict[str, Any]:
        """Return the event of a REQUEST authorizer: no body, and empty objects instead of null.

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
