"""The metrics of the functions, in CloudWatch's namespace `Longshore`. The template's alarms and dashboard use them."""

from collections.abc import Mapping
from enum import StrEnum

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


class Metric(StrEnum):
    """Names of metrics. Each has the dimensions `service` and `function`; metrics of events also have `effect`."""

    REQUESTS = "Requests"  # requests answered, with any status
    DURATION = "Duration"  # duration of a request in milliseconds
    ACCEPTED = "Accepted"  # requests answered 202: the effect was not observed within the wait
    REFUSALS = "Refusals"  # requests answered 4xx
    CONFLICTS = "Conflicts"  # requests refused because of the container's status or a pending operation
    FAULTS = "Faults"  # requests answered 5xx
    TASK_EVENTS = "TaskEvents"  # ECS task events, by effect
    COMMAND_EVENTS = "CommandEvents"  # events of commands to hosts, by effect
    CONTAINERS_EXPIRED = "ContainersExpired"  # containers whose server was terminated
    SCHEDULED_STOPS = "ScheduledStops"  # of all schedules: containers by effect, and runs that did nothing
    RECOVERY = "Recovery"  # containers that a sweep processed, by effect
    STUCK_OPERATIONS = "StuckOperations"  # operations that several sweeps could not complete
    UNREADABLE_ITEMS = "UnreadableItems"  # containers that a sweep skipped because their item cannot be read
    EVENT_FAILURES = "EventFailures"  # events whose handler failed: they are retried, then become dead letters


def publish(function: str, values: Mapping[Metric, float], **dimensions: str) -> None:
    """Write metrics to the log, as one line in CloudWatch's Embedded Metric Format.

    Args:
        function: The function's name.
        values: Counts, or milliseconds for `Metric.DURATION`.
        dimensions: Dimensions besides `service` and `function`.
    """
    # The shared `Metrics` collects values in one place; functions of the local stack run in threads of one process.
    metrics = EphemeralMetrics()
    for dimension, value in {"function": function, **dimensions}.items():
        metrics.add_dimension(dimension, value)
    for metric, number in values.items():
        unit = MetricUnit.Milliseconds if metric is Metric.DURATION else MetricUnit.Count
        metrics.add_metric(metric.value, unit, number)
    metrics.flush_metrics()
