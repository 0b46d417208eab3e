"""EventBridge schedules: resume overdue operations, or reconcile containers with ECS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import longshore.wiring.coldstart
from longshore.edge.lambda_events import PartialFailureError, enough_time, event_handler
from longshore.edge.metrics import Metric
from longshore.engine.continuation import Position
from longshore.wiring import api_functions, event_functions

if TYPE_CHECKING:
    from longshore.engine.sweeps import Drift, Recovery


@event_handler(Metric.RECOVERY, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """Run one sweep and return its counts.

    `{"sweep": "drift"}` reconciles containers with ECS; any other event resumes overdue operations. When the time runs
    out, another invocation continues the drift sweep at its position.

    Raises:
        PartialFailureError: Some items or tasks could not be listed. All others have been processed.
    """
    sweep: Recovery | Drift
    if event.get("sweep") == "drift":
        sweep = event_functions.drift(context.function_name, enough_time(context))
        counts = sweep.sweep(event_functions.cluster(), Position.of(event))
        if sweep.rest is not None:
            event_functions.sweep_continuation(context.invoked_function_arn).hand_on(sweep.rest)
    else:
        sweep = event_functions.recovery(context.function_name, enough_time(context))
        counts = sweep.sweep()
    if sweep.unlisted:
        raise PartialFailureError(counts, sweep.unlisted)
    return counts


longshore.wiring.coldstart.ready(event_functions.task_events, event_functions.sweeps, api_functions.ssm)
