"""EventBridge events of ECS tasks and services: complete operations, record exits and changed counts."""

from collections.abc import Mapping
from typing import Any

import longshore.wiring.coldstart
from longshore.edge.lambda_events import event_handler
from longshore.edge.metrics import Metric
from longshore.wiring import api_functions, event_functions


@event_handler(Metric.TASK_EVENTS, counts_of=lambda result: {result["effect"]: 1})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    return {"effect": event_functions.task_events().apply(event).value}


longshore.wiring.coldstart.ready(event_functions.task_events, api_functions.ssm)
