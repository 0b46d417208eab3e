"""EventBridge event "EC2 Command Invocation Status-change Notification": complete operations that wait for a host."""

from collections.abc import Mapping
from typing import Any

import longshore.wiring.coldstart
from longshore.edge.lambda_events import event_handler
from longshore.edge.metrics import Metric
from longshore.wiring import api_functions, event_functions


@event_handler(Metric.COMMAND_EVENTS, counts_of=lambda result: {result["effect"]: 1})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    return {"effect": event_functions.command_events().apply(event["detail"]).value}


longshore.wiring.coldstart.ready(event_functions.command_events, api_functions.ssm)
