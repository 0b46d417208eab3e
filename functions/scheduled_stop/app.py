"""EventBridge schedule: stop running containers, and continue in another invocation when the time runs out."""

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
    """Run a scheduled stop and return its counts.

    If the time runs out, the next invocation receives the remaining containers together with the failed ones. Only the
    last invocation raises for failed containers. Lambda then retries the event, which skips stopped containers. If an
    invocation with remaining containers raised, each retry would start another continuation.

    Raises:
        PartialFailureError: Some containers could not be stopped.
    """
    now = SystemClock().now()
    wanted = StopInput.of(event, now)
    result = event_functions.scheduled_stops().run(wanted, context.aws_request_id, enough_time(context), now=now)
    if result.late:
        logger.warning("scheduled stop skipped: more than an hour late", scheduled_at=event.get("time"))
    if result.left:
        event_functions.continuation(context.invoked_function_arn).hand_on([*result.left, *result.failed], wanted)
    elif result.failed:
        raise PartialFailureError(result.counts, result.failed)
    return result.counts


longshore.wiring.coldstart.ready(event_functions.scheduled_stops, api_functions.ssm)
