"""EventBridge event "EC2 Instance State-change Notification" (terminated): expire the server's containers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import longshore.wiring.coldstart
from longshore.edge.lambda_events import event_handler
from longshore.edge.metrics import Metric
from longshore.wiring import event_functions


@event_handler(Metric.CONTAINERS_EXPIRED, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    at = datetime.fromisoformat(event["time"])
    return {"expired": event_functions.servers().terminated(event["detail"]["instance-id"], at)}


longshore.wiring.coldstart.ready(event_functions.servers)
