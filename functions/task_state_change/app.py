"""EventBridge "ECS Task State Change": complete what is pending, record a task that stopped by itself."""

from collections.abc import Mapping
from typing import Any

from longshore import event_bootstrap
from longshore.events import event_handler


@event_handler(metrics_of=lambda result: {f"TaskEvents{result['effect'].title().replace('-', '')}": 1})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    return {"effect": event_bootstrap.task_events().apply(event["detail"]).value}
