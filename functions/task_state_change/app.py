"""EventBridge "ECS Task State Change": complete what is pending, record a task that stopped by itself."""

from collections.abc import Mapping
from typing import Any

import longshore.coldstart
from longshore import bootstrap, event_bootstrap
from longshore.events import event_handler
from longshore.metrics import Metric


@event_handler(Metric.TASK_EVENTS, counts_of=lambda result: {result["effect"]: 1})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    return {"effect": event_bootstrap.task_events().apply(event["detail"]).value}


longshore.coldstart.ready(event_bootstrap.task_events, bootstrap.ssm)
