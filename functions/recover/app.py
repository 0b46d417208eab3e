"""EventBridge schedules: drive on operations that nobody drives any more, or compare containers with ECS."""

from collections.abc import Mapping
from typing import Any

import longshore.coldstart
from longshore import bootstrap, event_bootstrap
from longshore.events import enough_time, event_handler
from longshore.metrics import Metric


@event_handler(Metric.RECOVERY, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """`{"sweep": "drift"}` compares; anything else drives on."""
    if event.get("sweep") == "drift":
        return event_bootstrap.drift(enough_time(context)).sweep(event_bootstrap.cluster())
    return event_bootstrap.recovery(context.function_name, enough_time(context)).sweep()


longshore.coldstart.ready(event_bootstrap.task_events, event_bootstrap.sweeps, bootstrap.ssm)
