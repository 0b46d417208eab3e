"""Batches of a stream: one decorator logs the result, publishes metrics, and reports the first record to retry.

Lambda repeats a batch from that record on, or the whole batch if the function raises an error.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

from longshore.edge.logs import logger
from longshore.edge.metrics import Metric, publish


class BatchResult(NamedTuple):
    """The result of a batch.

    Attributes:
        counts: The number of records by effect.
        failed: The sequence number of the first record to retry; None if there is none.
    """

    counts: Mapping[str, int]
    failed: str | None


def stream_handler(metric: Metric) -> Callable[[Callable[[dict[str, Any], Any], BatchResult]], Any]:
    """Turn a handler into a Lambda function that reports the first record to retry (ReportBatchItemFailures)."""

    def decorate(handler: Callable[[dict[str, Any], Any], BatchResult]) -> Any:
        @wraps(handler)
        def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
            function = context.function_name
            logger.thread_safe_append_keys(correlation_id=context.aws_request_id, function=function)
            try:
                result = handler(event, context)
                logger.info("batch handled", result=result.counts, failed=result.failed)
                for effect, count in result.counts.items():
                    publish(function, {metric: count}, effect=effect)
            except Exception:
                logger.exception("batch failed")
                publish(function, {Metric.EVENT_FAILURES: 1})
                raise
            finally:
                logger.thread_safe_clear_keys()
            return {"batchItemFailures": [] if result.failed is None else [{"itemIdentifier": result.failed}]}

        return lambda_handler

    return decorate
