"""An EventBridge schedule: stop what is running, and hand on what time does not suffice for."""

from collections.abc import Mapping
from typing import Any

import longshore.coldstart
from longshore import bootstrap, event_bootstrap
from longshore.events import PartialFailureError, enough_time, event_handler
from longshore.metrics import Metric
from longshore.schedules import StopInput


@event_handler(Metric.SCHEDULED_STOPS, counts_of=lambda result: result)
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """What failed is tried again with what is left, by the next invocation; the last one raises for it.

    Lambda then repeats the event, which skips what has been stopped. Were it to raise with something left, each repeat
    would hand that on once more.
    """
    wanted = StopInput.model_validate(event)
    result = event_bootstrap.scheduled_stops().run(wanted, context.aws_request_id, enough_time(context))
    if result.left:
        event_bootstrap.continuation(context.invoked_function_arn).hand_on([*result.left, *result.failed], wanted.rule)
    elif result.failed:
        raise PartialFailureError(result.counts, result.failed)
    return result.counts


longshore.coldstart.ready(event_bootstrap.scheduled_stops, bootstrap.ssm)
