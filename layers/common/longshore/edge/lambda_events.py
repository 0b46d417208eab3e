"""The edge towards EventBridge: one decorator logs, counts, and lets what fails come again.

An event whose handler raises is delivered again by Lambda, twice, and then goes to the dead-letter queue. So a handler
must be safe to repeat, and must raise whatever it could not do.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from longshore.domain.errors import LongshoreError
from longshore.domain.models import PendingOperation
from longshore.edge.logs import logger
from longshore.edge.metrics import Metric, publish

Counts = Callable[[Mapping[str, Any]], Mapping[str, int]]
Handler = Callable[[dict[str, Any], Any], Mapping[str, Any]]


class PartialFailureError(Exception):
    """Part of the work could not be done. `counts` says what was, `failed` names what was not."""

    def __init__(self, counts: Mapping[str, int], failed: Sequence[str]) -> None:
        super().__init__(f"{len(failed)} failed: {', '.join(failed[:10])}")
        self.counts = counts
        self.failed = failed


# What is kept back of a function's time, to end what has begun and to hand on the rest (milliseconds).
_RESERVE = 8000


def event_handler(metric: Metric, counts_of: Counts) -> Callable[[Handler], Handler]:
    """Make a Lambda function of the handler. `counts_of` gives the counts to publish, by effect, from its result."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def lambda_handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
            function = context.function_name
            correlation = str(event.get("id") or context.aws_request_id)
            logger.thread_safe_append_keys(correlation_id=correlation, function=function)
            try:
                result = handler(event, context)
                logger.info("handled", result=result)
                _publish(function, metric, counts_of(result))
            except Exception as error:
                logger.exception("failed")
                publish(function, {Metric.EVENT_FAILURES: 1})
                if isinstance(error, PartialFailureError):
                    _publish(function, metric, error.counts)
                raise
            finally:
                logger.thread_safe_clear_keys()
            return result

        return lambda_handler

    return decorate


def log_pending(pending: PendingOperation, container_id: str | None = None) -> None:
    """Log whose operation is driven on, so that a request's id leads to what became of it."""
    logger.info(
        "drives on",
        request_id=pending.request_id,
        operation_id=pending.id,
        operation=pending.operation.value,
        step=pending.step.value,
        attempts=pending.attempts,
        container_id=container_id,
    )


def log_failure(name: str, error: LongshoreError) -> None:
    """Log a container, or a cluster, that could not be handled; the others were."""
    logger.error("Item not handled", item=name, code=error.code, reason=getattr(error, "reason", error.message))


def enough_time(context: Any) -> Callable[[], bool]:
    """Whether there is time to begin something more, before the function has to end."""
    return lambda: context.get_remaining_time_in_millis() > _RESERVE


def _publish(function: str, metric: Metric, counts: Mapping[str, int]) -> None:
    for effect, count in counts.items():
        publish(function, {metric: count}, effect=effect)
