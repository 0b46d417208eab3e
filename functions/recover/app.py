"""EventBridge schedules: resume overdue operations, or reconcile containers with ECS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import longshore.coldstart
from longshore import bootstrap, event_bootstrap
from longshore.events import PartialFailureError, enough_time, event_handler
from longshore.metrics import Metric

if TYPE_CHECKING:
    from longshore.sweeps import Drift, Recovery


@event_handler(Metric.RECOVERY, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """`{"sweep": "drift"}` reconciles; any other event resumes overdue operations.

    Raises PartialFailureError: something could not be listed, so that nothing is known of it. The rest was handled.
    """
    sweep: Recovery | Drift
    if event.get("sweep") == "drift":
        sweep = event_bootstrap.drift(context.function_name, enough_time(context))
        counts = sweep.sweep(event_bootstrap.cluster())
    else:
        sweep = event_bootstrap.recovery(context.function_name, enough_time(context))
        counts = sweep.sweep()
    if sweep.unlisted:
        raise PartialFailureError(counts, sweep.unlisted)
    return counts


longshore.coldstart.ready(event_bootstrap.task_events, event_bootstrap.sweeps, bootstrap.ssm)
