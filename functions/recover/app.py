"""EventBridge schedules: resume overdue operations, or reconcile containers with ECS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import longshore.wiring.coldstart
from longshore.edge.lambda_events import PartialFailureError, enough_time, event_handler
from longshore.edge.metrics import Metric
from longshore.engine.continuation import Position, sweep_drift
from longshore.wiring import api_functions, event_functions

if TYPE_CHECKING:
    from longshore.engine.drift import Drift
    from longshore.engine.sweeps import Recovery


@event_handler(Metric.RECOVERY, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """Run one sweep and return its counts.

    `{"sweep": "drift"}` reconciles containers with ECS; any other event resumes overdue operations. Other invocations
    continue the drift sweep when the time runs out, and sweep the tasks of each cluster if there are several.

    Raises:
        PartialFailureError: Some items or tasks could not be listed. All others have been processed.
    """
    sweep: Recovery | Drift
    if event.get("sweep") == "drift":
        sweep = event_functions.drift(context.function_name, enough_time(context))
        continuation = event_functions.sweep_continuation(context.invoked_function_arn)
        counts = sweep_drift(sweep, continuation, event_functions.clusters(), Position.of(event))
    else:
        sweep = event_functions.recovery(context.function_name, enough_time(context))
        counts = sweep.sweep()
    if sweep.unlisted:
        raise PartialFailureError(counts, sweep.unlisted)
    return counts


longshore.wiring.coldstart.ready(event_functions.task_events, event_functions.sweeps, api_functions.ssm)
