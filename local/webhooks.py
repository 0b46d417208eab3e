"""HTTP requests to the API destinations of EventBridge rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import requests

from local.runtime import FunctionError
from local.template import TemplateError

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

    from local.emulator.bridge import Webhook

NAME = "longshore-webhook"
"""The name of the rule, the API destination and the connection that `subscribe` creates."""

# EventBridge's timeout.
_TIMEOUT_SECONDS = 5


def sender(find: Callable[[str], Webhook | None]) -> Callable[[str, Any], None]:
    """Return a function that sends an event to an API destination, by ARN. It raises FunctionError."""

    def send(arn: str, event: Any) -> None:
        webhook = find(arn)
        if webhook is None:
            raise FunctionError(arn, "NotFound", "There is no such API destination")
        try:
            response = requests.request(
                webhook.method,
                webhook.url,
                data=json.dumps(event).encode(),
                headers={"Content-Type": "application/json; charset=utf-8", **webhook.headers},
                timeout=_TIMEOUT_SECONDS,
            )
            response.raise_for_status()
        except requests.RequestException as error:
            raise FunctionError(webhook.url, type(error).__name__, str(error)) from error

    return send


def subscribe(events: EventBridgeClient, bus: str, url: str) -> None:
    """Create a rule on a bus that sends all status changes to a URL.

    Raises:
        TemplateError: The name of the bus is empty, so that the stack publishes no status changes.
    """
    if not bus:
        raise TemplateError("the webhook needs EventBusName: without a bus, the stack publishes no events")
    connection = events.create_connection(
        Name=NAME,
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "local"}},
    )
    destination = events.create_api_destination(
        Name=NAME, ConnectionArn=connection["ConnectionArn"], InvocationEndpoint=url, HttpMethod="POST"
    )
    events.put_rule(Name=NAME, EventBusName=bus, EventPattern=json.dumps({"source": ["longshore"]}))
    events.put_targets(Rule=NAME, EventBusName=bus, Targets=[{"Id": NAME, "Arn": destination["ApiDestinationArn"]}])
