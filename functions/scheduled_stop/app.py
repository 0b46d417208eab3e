"""An EventBridge schedule: stop what is running, and hand on what time does not suffice for."""

from collections.abc import Mapping
from typing import Any

from longshore import event_bootstrap
from longshore.events import PartialFailureError, enough_time, event_handler
from longshore.metrics import Metric
from longshore.schedules import StopInput


@event_handler(Metric.SCHEDULED_STOPS, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """Raises when a container could not be stopped: the repeat, a minute later, skips those that could."""
    wanted = StopInput.model_validate(event)
    result = event_bootstrap.scheduled_stops().run(wanted, context.aws_request_id, enough_time(context))
    event_bootstrap.continuation(context.invoked_function_arn).hand_on(result.left, wanted.rule)
    if result.failed:
        raise PartialFailureError(result.counts, result.failed)
    return result.counts
