"""EventBridge schedules: drive on operations that nobody drives any more, or compare containers with ECS."""

from collections.abc import Mapping
from typing import Any

from longshore import event_bootstrap
from longshore.events import enough_time, event_handler


@event_handler(metrics_of=lambda result: {f"Recovery{name.title().replace('-', '')}": n for name, n in result.items()})
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """`{"sweep": "drift"}` compares; anything else drives on."""
    if event.get("sweep") == "drift":
        return event_bootstrap.drift(enough_time(context)).sweep(event_bootstrap.cluster())
    return event_bootstrap.recovery(enough_time(context)).sweep()
