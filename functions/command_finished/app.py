"""EventBridge "EC2 Command Invocation Status-change Notification": complete what waited for a host."""

from collections.abc import Mapping
from typing import Any

import longshore.coldstart
from longshore import bootstrap, event_bootstrap
from longshore.events import event_handler
from longshore.metrics import Metric


@event_handler(Metric.COMMAND_EVENTS, counts_of=lambda result: {result["effect"]: 1})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    return {"effect": event_bootstrap.command_events().apply(event["detail"]).value}


longshore.coldstart.ready(event_bootstrap.command_events, bootstrap.ssm)
