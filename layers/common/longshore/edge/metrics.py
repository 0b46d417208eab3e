"""The metrics of the functions, in CloudWatch's namespace `Longshore`. The template's alarms and dashboard use them."""

import os
from collections.abc import Mapping
from enum import StrEnum

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


class Metric(StrEnum):
    """Names of metrics. Each has the dimension `service`, and all but HISTORY_GIGABYTES the dimension `function`.

    Metrics of events also have the dimension `effect`.
    """

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
    CLUSTER_FAILURES = "ClusterFailures"  # drift sweeps that could not list the tasks of a cluster, by cluster
    STATUS_EVENTS = "StatusEvents"  # history rows that were published as events, or were not, by effect
    EVENT_FAILURES = "EventFailures"  # events whose handler failed: they are retried, then become dead letters
    HISTORY_GIGABYTES = "HistoryGigabytes"  # the size of a container's history, if it is near DynamoDB's limit


ALWAYS = frozenset({Metric.STUCK_OPERATIONS, Metric.UNREADABLE_ITEMS, Metric.HISTORY_GIGABYTES})
"""Metrics of alarms that every stack has. The others are published only if the stack's metrics are enabled."""

_UNITS = {Metric.DURATION: MetricUnit.Milliseconds, Metric.HISTORY_GIGABYTES: MetricUnit.Gigabytes}


def publish(function: str | None, values: Mapping[Metric, float], **dimensions: str) -> None:
    """Write metrics to the log, as one line in CloudWatch's Embedded Metric Format. CloudWatch charges for each metric.

    Args:
        function: The function's name; None: the metric is one for all functions.
        values: Values in the unit of the metric.
        dimensions: Dimensions besides `service` and `function`.
    """
    if os.environ.get("METRICS_ENABLED") != "true":
        values = {metric: number for metric, number in values.items() if metric in ALWAYS}
    if not values:
        return
    # The shared `Metrics` collects values in one place; functions of the local stack run in threads of one process.
    metrics = EphemeralMetrics()
    for dimension, value in {**({"function": function} if function else {}), **dimensions}.items():
        metrics.add_dimension(dimension, value)
    for metric, number in values.items():
        metrics.add_metric(metric.value, _UNITS.get(metric, MetricUnit.Count), number)
    metrics.flush_metrics()
