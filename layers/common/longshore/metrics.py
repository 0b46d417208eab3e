"""What the functions count, in CloudWatch's namespace `Longshore`. The template's alarms and dashboard name these."""

from collections.abc import Mapping
from enum import StrEnum

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


class Metric(StrEnum):
    """The names. Each has the dimensions `service` and `function`; those of events have `effect` too."""

    REQUESTS = "Requests"  # answered by a function, whatever the answer
    DURATION = "Duration"  # of a request, in milliseconds
    ACCEPTED = "Accepted"  # answered 202: the effect was not observed within the wait
    REFUSALS = "Refusals"  # answered 4xx
    CONFLICTS = "Conflicts"  # of these, by the container's status or a pending operation
    FAULTS = "Faults"  # answered 5xx
    TASK_EVENTS = "TaskEvents"  # by what became of them
    CONTAINERS_EXPIRED = "ContainersExpired"  # because their server is gone
    SCHEDULED_STOPS = "ScheduledStops"  # containers, by what became of them
    RECOVERY = "Recovery"  # containers that a sweep has looked at, by what it found
    STUCK_OPERATIONS = "StuckOperations"  # that several sweeps have not brought to an end
    EVENT_FAILURES = "EventFailures"  # events whose handler raised, and which will come again or be dead letters


def publish(function: str, values: Mapping[Metric, float], **dimensions: str) -> None:
    """Write the values to the log, from where CloudWatch takes them (Embedded Metric Format)."""
    # Not the shared Metrics: functions may run in threads of one process, each with its own numbers.
    metrics = EphemeralMetrics()
    for dimension, what in {"function": function, **dimensions}.items():
        metrics.add_dimension(dimension, what)
    for metric, value in values.items():
        unit = MetricUnit.Milliseconds if metric is Metric.DURATION else MetricUnit.Count
        metrics.add_metric(metric.value, unit, value)
    metrics.flush_metrics()
