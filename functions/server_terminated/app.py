"""EventBridge "EC2 Instance State-change Notification", terminated: expire the containers bound to the server."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import longshore.coldstart
from longshore import event_bootstrap
from longshore.events import event_handler
from longshore.metrics import Metric


@event_handler(Metric.CONTAINERS_EXPIRED, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    at = datetime.fromisoformat(event["time"])
    return {"expired": event_bootstrap.servers().terminated(event["detail"]["instance-id"], at)}


longshore.coldstart.ready(event_bootstrap.servers)
