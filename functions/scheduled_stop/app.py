"""An EventBridge schedule: stop the containers that are running, and hand on those that time does not suffice for."""

from collections.abc import Mapping
from typing import Any

import longshore.wiring.coldstart
from longshore.domain.clock import SystemClock
from longshore.edge.lambda_events import PartialFailureError, enough_time, event_handler
from longshore.edge.logs import logger
from longshore.edge.metrics import Metric
from longshore.engine.schedules import StopInput
from longshore.wiring import api_functions, event_functions


@event_handler(Metric.SCHEDULED_STOPS, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """Run a scheduled stop.

    The next invocation tries the containers that failed together with those that are left; the last one raises for
    those that failed. Lambda then repeats the event, which skips what has been stopped. If an invocation with
    containers left raised, each repeat would hand them on once more.
    """
    now = SystemClock().now()
    wanted = StopInput.of(event, now)
    result = event_functions.scheduled_stops().run(wanted, context.aws_request_id, enough_time(context), now=now)
    if result.late:
        logger.warning("the scheduled stop is more than an hour late and does nothing", scheduled_at=event.get("time"))
    if result.left:
        event_functions.continuation(context.invoked_function_arn).hand_on([*result.left, *result.failed], wanted)
    elif result.failed:
        raise PartialFailureError(result.counts, result.failed)
    return result.counts


longshore.wiring.coldstart.ready(event_functions.scheduled_stops, api_functions.ssm)
