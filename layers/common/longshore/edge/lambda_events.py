"""Events of EventBridge: one decorator logs the result, publishes metrics, and lets failed events be retried.

Lambda retries an event whose handler fails twice, and then sends it to the dead-letter queue. A handler must therefore
be safe to repeat, and must raise an error for work that it could not do.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from longshore.domain.errors import LongshoreError
from longshore.edge.logs import logger
from longshore.edge.metrics import Metric, publish

if TYPE_CHECKING:
    from longshore.domain.pending import PendingOperation

Counts = Callable[[Mapping[str, Any]], Mapping[str, int]]
Handler = Callable[[dict[str, Any], Any], Mapping[str, Any]]


class PartialFailureError(Exception):
    """Part of the work could not be done.

    Attributes:
        counts: The number of completed items, by effect.
        failed: The names of the failed items.
    """

    def __init__(self, counts: Mapping[str, int], failed: Sequence[str]) -> None:
        super().__init__(f"{len(failed)} failed: {', '.join(failed[:10])}")
        self.counts = counts
        self.failed = failed


# Milliseconds of a function's time that are reserved for completing items and invoking the next function.
_RESERVE = 8000


def event_handler(metric: Metric, counts_of: Counts) -> Callable[[Handler], Handler]:
    """Turn a handler into a Lambda function.

    Args:
        metric: The metric to publish.
        counts_of: Returns the counts to publish, by effect, from the handler's result.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def lambda_handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
            function = context.function_name
            correlation = str(event.get("id") or context.aws_request_id)
            logger.thread_safe_append_keys(correlation_id=correlation, function=function)
            try:
                result = handler(event, context)
                logger.info("event handled", result=result)
                _publish(function, metric, counts_of(result))
            except Exception as error:
                logger.exception("event failed")
                publish(function, {Metric.EVENT_FAILURES: 1})
                if isinstance(error, PartialFailureError):
                    _publish(function, metric, error.counts)
                raise
            finally:
                logger.thread_safe_clear_keys()
            return result

        return lambda_handler

    return decorate


def log_pending(pending: "PendingOperation", container_id: str | None = None) -> None:
    """Log that a pending operation is continued. Its `request_id` connects the log lines of a request."""
    logger.info(
        "continuing pending operation",
        request_id=pending.request_id,
        operation_id=pending.id,
        operation=pending.operation.value,
        step=pending.step.value,
        attempts=pending.attempts,
        container_id=container_id,
    )


def log_failure(name: str, error: LongshoreError) -> None:
    """Log a container or a cluster that a function could not process. Others are not affected."""
    logger.error("item failed", item=name, code=error.code, reason=getattr(error, "reason", error.message))


def log_large_history(container_id: str, size: float) -> None:
    """Log that a container's history is near DynamoDB's limit of 10 GB."""
    logger.warning("history near its limit", container_id=container_id, gigabytes=size)


def enough_time(context: Any) -> Callable[[], bool]:
    """Return a function that returns whether there is time to begin another item."""
    return lambda: context.get_remaining_time_in_millis() > _RESERVE


def _publish(function: str, metric: Metric, counts: Mapping[str, int]) -> None:
    for effect, count in counts.items():
        publish(function, {metric: count}, effect=effect)
