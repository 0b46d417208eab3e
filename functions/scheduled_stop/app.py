"""Schedules: perform an operation on containers, and continue in another invocation when the time runs out."""

from collections.abc import Mapping
from typing import Any

import longshore.wiring.coldstart
from longshore.domain.clock import SystemClock
from longshore.edge.lambda_events import PartialFailureError, enough_time, event_handler
from longshore.edge.logs import logger
from longshore.edge.metrics import Metric
from longshore.engine.schedules import ScheduleInput
from longshore.wiring import api_functions, event_functions


@event_handler(Metric.SCHEDULED_STOPS, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """Run a schedule and return its counts.

    If the time runs out, the next invocation receives the remaining containers together with the failed ones. Only the
    last invocation raises for failed containers. Lambda then retries the event, which skips containers for which the
    operation has begun. If an invocation with remaining containers raised, each retry would start another continuation.

    Raises:
        PartialFailureError: The operation could not begin for some containers.
    """
    now = SystemClock().now()
    wanted = ScheduleInput.of(event, now)
    result = event_functions.scheduled_runs().run(wanted, context.aws_request_id, enough_time(context), now=now)
    if result.late:
        logger.warning("schedule skipped: more than an hour late", rule=wanted.rule, scheduled_at=event.get("time"))
    if result.unauthorized:
        logger.warning(
            "schedule skipped: the user who saved it is banned or no longer an operator of the project",
            rule=wanted.rule,
            project_id=wanted.project_id,
            actor=wanted.actor,
        )
    if result.left:
        event_functions.continuation(context.invoked_function_arn).hand_on([*result.left, *result.failed], wanted)
    elif result.failed:
        raise PartialFailureError(result.counts, result.failed)
    return result.counts


longshore.wiring.coldstart.ready(event_functions.scheduled_runs, api_functions.ssm)
