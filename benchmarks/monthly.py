"""The costs of a stack per month, computed from the template and the prices, without measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from longshore.aws.items import PENDING_SHARDS

from benchmarks import prices
from local.template import Stack

MINUTES = 30 * 24 * 60
_RECOVERIES = MINUTES  # the rule of the recovery sweep is rate(1 minute)
_DRIFTS = MINUTES // 15
_SWEEP_SECONDS = 0.1  # an assumption: the duration of a sweep that finds nothing to do
_SWEEP_LOG = 1500  # bytes, an assumption: the lines of a sweep and of Lambda
_EMPTY_QUERY = 0.5  # read units of an eventually consistent read that finds nothing
_READ_OF_CONTAINER = 1.0  # read units: consistent, up to 4 KB
_STORAGE_OVERHEAD = 100  # bytes that DynamoDB adds to each stored item and each copy in an index
_REQUEST_METRICS = 6  # Requests, Duration, Accepted, Refusals, Conflicts and Faults
_PUBLISHING_SECONDS = 0.05  # an assumption: the duration of an invocation that publishes one event
_PUBLISHING_LOG = 1200  # bytes, an assumption: the lines of the function and of Lambda
_INDEXES = ("LocalSecondaryIndexes", "GlobalSecondaryIndexes")
_METHOD_METRICS = 5  # of API Gateway: Count, Latency, IntegrationLatency, 4XXError and 5XXError


class Line(NamedTuple):
    """A cost.

    Attributes:
        item: What is paid.
        number: How many of it, as text.
        cost: US dollars.
    """

    item: str
    number: str
    cost: float


def base(stack: Stack, architecture: str) -> list[Line]:
    """Return the monthly costs of a stack that receives no requests and has no containers."""
    watched, alarms = _watched(stack), len(stack.of_type("AWS::CloudWatch::Alarm"))
    secrets = len(stack.of_type("AWS::SecretsManager::Secret"))
    sweeps = _sweeps(prices.memory_of(stack, "recover"), architecture)
    return [
        Line("metrics that alarms watch", f"{watched} in {alarms} alarms", watched * prices.ALARM_METRIC),
        Line("secrets", str(secrets), secrets * prices.SECRET),
        Line("sweeps", f"{_RECOVERIES + _DRIFTS:,}", sweeps),
        Line("metrics of the sweeps", "1", prices.METRIC),
    ]


def _watched(stack: Stack) -> int:
    """Return the number of metrics that alarms watch."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    return sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms)


def _sweeps(memory: int, architecture: str) -> float:
    seconds = _SWEEP_SECONDS * memory / 1024 * prices.LAMBDA_GB_SECOND[architecture]
    logs = _SWEEP_LOG / 2**30 * prices.LOGS_GB
    reads = (_RECOVERIES * PENDING_SHARDS + _DRIFTS) * _EMPTY_QUERY * prices.READ_UNIT
    return (_RECOVERIES + _DRIFTS) * (prices.LAMBDA_REQUEST + seconds + logs) + reads


def usage(stack: Stack, figures: Mapping[str, Any]) -> list[Line]:
    """Return the monthly costs that grow with the use of a stack, besides those of its calls.

    Args:
        stack: The stack.
        figures: The measured costs, which contain the size of a row.
    """
    copies = 1 + sum(len(stack.tables["StatusLogsTable"][kind]) for kind in _INDEXES)
    recoverable = 1 + len(stack.tables["StatusLogsTable"]["LocalSecondaryIndexes"])
    row = (figures["row_bytes"] + _STORAGE_OVERHEAD) / 2**30
    rows = 1e6 * row * (copies * prices.STORED_GB + recoverable * prices.RECOVERABLE_GB)
    reads = 1000 * _DRIFTS * _READ_OF_CONTAINER * prices.READ_UNIT
    return [
        Line("a million stored history rows", f"{copies} copies each, with point-in-time recovery", rows),
        Line("1,000 running or paused containers, compared with ECS every 15 minutes", "", reads),
    ]


def events(memory: int, architecture: str) -> list[Line]:
    """Return the costs of a million published status changes, each in an invocation of its own: more share one."""
    seconds = _PUBLISHING_SECONDS * memory / 1024 * prices.LAMBDA_GB_SECOND[architecture]
    return [
        Line("`PutEvents`", "1,000,000", 1e6 * prices.EVENT),
        Line("invocations of the function", "up to 1,000,000", 1e6 * (prices.LAMBDA_REQUEST + seconds)),
        Line("names of containers", "up to 1,000,000 RCU", 1e6 * _READ_OF_CONTAINER * prices.READ_UNIT),
        Line("logs", "", 1e6 * _PUBLISHING_LOG / 2**30 * prices.LOGS_GB),
        Line("reading the stream", "free for Lambda", 0.0),
    ]


def options(stack: Stack, metrics: Stack) -> list[Line]:
    """Return the costs of parameters that are not set by default.

    Args:
        stack: The stack with the default parameters.
        metrics: The stack with `MetricsEnabled`.
    """
    assert metrics.api is not None
    paths = metrics.api.body["paths"]
    functions = sum(arn in str(paths) for arn in metrics.api.functions)
    methods = sum(len(path) for path in paths.values())
    dashboards = len(metrics.of_type("AWS::CloudWatch::Dashboard"))
    watched = _watched(metrics) - _watched(stack)
    return [
        Line("`MetricsEnabled`", f"{watched} more metrics that alarms watch", watched * prices.ALARM_METRIC),
        Line("`MetricsEnabled`", "a dashboard; the first three of an account are free", dashboards * prices.DASHBOARD),
        Line(
            "`MetricsEnabled`",
            f"at most {functions * _REQUEST_METRICS} metrics of functions: {_REQUEST_METRICS} for each of {functions}",
            functions * _REQUEST_METRICS * prices.METRIC,
        ),
        Line(
            "`MetricsEnabled`",
            f"at most {methods * _METHOD_METRICS} metrics of the API: {_METHOD_METRICS} for each of {methods} methods",
            methods * _METHOD_METRICS * prices.METRIC,
        ),
        Line("`TableKmsKeyArn`, `TokenSecretKmsKeyArn`", "each key", prices.KEY),
        Line("`AddressRateLimit`", "web ACL with one rule", prices.WEB_ACL + prices.WEB_ACL_RULE),
        Line("`AddressRateLimit`", "a million requests", 1e6 * prices.WEB_ACL_REQUEST),
        Line("`Tracing`", "a million traces", 1e6 * prices.TRACE),
    ]
