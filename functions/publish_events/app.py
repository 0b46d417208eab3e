"""Stream of the history table: publish new rows as events on the event bus."""

from typing import Any

import longshore.wiring.coldstart
from longshore.aws.stream import records_of
from longshore.edge.lambda_events import enough_time
from longshore.edge.metrics import Metric
from longshore.edge.stream_events import BatchResult, stream_handler
from longshore.wiring import event_functions


@stream_handler(Metric.STATUS_EVENTS)
def handler(event: dict[str, Any], context: Any) -> BatchResult:
    publication = event_functions.publisher(enough_time(context)).publish(records_of(event))
    return BatchResult(publication.counts, publication.failed)


longshore.wiring.coldstart.ready(event_functions.publishing)
