"""What the functions count, in CloudWatch's namespace `Longshore`. The template's alarms and dashboard name these.

CloudWatch takes them from the log (Embedded Metric Format): from a line of their own, or, for a request, from the line
that tells of its answer.
"""

import time
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.metrics.functions import is_metrics_disabled


class Metric(StrEnum):
    """The names. Each has the dimensions `service` and `function`; those of events have `effect` too."""

    REQUESTS = "Requests"  # answered by a function, whatever the answer
    DURATION = "Duration"  # of a request, in milliseconds
    ACCEPTED = "Accepted"  # answered 202: the effect was not observed within the wait
    REFUSALS = "Refusals"  # answered 4xx
    CONFLICTS = "Conflicts"  # of these, by the container's status or a pending operation
    FAULTS = "Faults"  # answered 5xx
    TASK_EVENTS = "TaskEvents"  # by what became of them
    COMMAND_EVENTS = "CommandEvents"  # of hosts that have paused, resumed or killed, by what became of them
    CONTAINERS_EXPIRED = "ContainersExpired"  # because their server is gone
    SCHEDULED_STOPS = "ScheduledStops"  # containers by effect, and runs that were too late
    RECOVERY = "Recovery"  # containers that a sweep has looked at, by what it found
    STUCK_OPERATIONS = "StuckOperations"  # that several sweeps have not brought to an end
    UNREADABLE_ITEMS = "UnreadableItems"  # containers whose item a sweep could not read, and skipped
    EVENT_FAILURES = "EventFailures"  # events whose handler raised, and which will come again or be dead letters


def publish(function: str, values: Mapping[Metric, float], **dimensions: str) -> None:
    """Write the values to the log, in a line of their own."""
    _collected(function, values, dimensions).flush_metrics()


def embedded(function: str, values: Mapping[Metric, float]) -> dict[str, Any]:
    """The same as fields of a line of the log that has `service` and `function` already. None when metrics are off."""
    described = _described(function, tuple(values))
    if described is None:
        return {}
    directive = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": described}
    # Plain text is written twice as fast as a member of an enumeration.
    return {"_aws": directive, **{metric._value_: value for metric, value in values.items()}}


@cache
def _described(function: str, metrics: tuple[Metric, ...]) -> Any:
    """What tells CloudWatch which of a line's fields are metrics: the same whatever their values are."""
    if is_metrics_disabled():
        return None
    line: Any = _collected(function, dict.fromkeys(metrics, 0), {}).serialize_metric_set()
    return line["_aws"]["CloudWatchMetrics"]


def _collected(function: str, values: Mapping[Metric, float], dimensions: Mapping[str, str]) -> EphemeralMetrics:
    # Not the shared Metrics: functions may run in threads of one process, each with its own numbers.
    metrics = EphemeralMetrics()
    for dimension, what in {"function": function, **dimensions}.items():
        metrics.add_dimension(dimension, what)
    for metric, value in values.items():
        unit = MetricUnit.Milliseconds if metric is Metric.DURATION else MetricUnit.Count
        metrics.add_metric(metric.value, unit, value)
    return metrics
