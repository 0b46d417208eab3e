"""AWS list prices and quotas, and the prices and rates that result from the measured units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.template import Stack

REGION = "us-east-1"
AS_OF = "September 2026"

# US dollars. Sources: the AWS pricing pages of Lambda, API Gateway, DynamoDB (on-demand, Standard), CloudWatch, Secrets
# Manager, KMS, WAF, X-Ray and EventBridge. First tiers, without the free tier.
LAMBDA_REQUEST = 0.20e-6
LAMBDA_GB_SECOND = {"x86_64": 16.6667e-6, "arm64": 13.3334e-6}
GATEWAY_REQUEST = 3.50e-6
READ_UNIT = 0.125e-6
WRITE_UNIT = 0.625e-6
LOGS_GB = 0.50
# Per month.
ALARM_METRIC = 0.10
DASHBOARD = 3.00
METRIC = 0.30
SECRET = 0.40
STORED_GB = 0.25
RECOVERABLE_GB = 0.20  # point-in-time recovery, for the table and its local indexes
KEY = 1.00
WEB_ACL = 5.00
WEB_ACL_RULE = 1.00
# Per unit.
EVENT = 1.00e-6  # custom event of up to 64 KB
WEB_ACL_REQUEST = 0.60e-6
TRACE = 5.00e-6

# Assumptions. They can be measured on AWS only.
ROUND_TRIP = 0.005  # seconds of a request to DynamoDB within the region
WHOLE_PROCESSOR_MB = 1769  # memory at which Lambda allocates one vCPU; less memory means a proportional share
PLATFORM_LOG = 600  # bytes of Lambda's log lines per invocation
ACCESS_LOG = 400  # bytes of API Gateway's access log line per request
EFFECT = {"start": 3.0, "stop": 2.0, "force_stop": 1.0, "restart": 5.0, "pause": 1.0, "resume": 1.0}
"""Seconds until the effect of an operation is visible. The function waits for it."""


@dataclass(frozen=True)
class Price:
    """The price of a million calls in US dollars, by service."""

    gateway: float
    functions: float
    database: float
    logs: float

    @property
    def total(self) -> float:
        return self.gateway + self.functions + self.database + self.logs


def memory_of(stack: Stack, function: str) -> int:
    """Return the memory in MB of the function whose code is in a folder of `functions`."""
    return next(each.memory for each in stack.functions.values() if each.code_path.name == function)


def duration(case: Mapping[str, Any], memory: int, effect: float | None = None) -> float:
    """Return the estimated seconds of a warm call: CPU on its share of a vCPU, round trips, and the wait.

    Args:
        case: The measured units of the call.
        memory: The memory of the function in MB.
        effect: The seconds that the function waits for the effect; None: those of EFFECT.
    """
    if effect is None:
        effect = EFFECT.get(case["function"], 0.0) if case["wcu"] else 0.0
    cpu = float(case["cpu_seconds"]) * max(1.0, WHOLE_PROCESSOR_MB / memory)
    return cpu + float(case["round_trips"]) * ROUND_TRIP + effect


def price(case: Mapping[str, Any], memory: int, architecture: str, effect: float | None = None) -> Price:
    """Return the price of a million calls, without data transfer and without the authorizer.

    It includes the function that applies the events of the tasks that the operation has run or stopped.

    Args:
        case: The measured units of the call.
        memory: The memory of the function in MB.
        architecture: The architecture of the function.
        effect: As in `duration`.
    """
    seconds = duration(case, memory, effect)
    logged = float(case["logged_bytes"]) + PLATFORM_LOG + (ACCESS_LOG if case["gateway"] else 0)
    own = Price(
        gateway=1e6 * GATEWAY_REQUEST if case["gateway"] else 0.0,
        functions=1e6 * (LAMBDA_REQUEST + seconds * memory / 1024 * LAMBDA_GB_SECOND[architecture]),
        database=1e6 * (float(case["rcu"]) * READ_UNIT + float(case["wcu"]) * WRITE_UNIT),
        logs=1e6 * logged / 2**30 * LOGS_GB,
    )
    applied = [price(event, event["memory"], architecture, 0.0) for event in case.get("events", [])]
    return Price(*(sum(part) for part in zip(*map(astuple, [own, *applied]), strict=True)))


@dataclass(frozen=True)
class Limit:
    """A limit of AWS or of the stack.

    Attributes:
        scope: The resource that it applies to.
        name: The name of the quota.
        source: The page of the AWS documentation.
        value: The value of the quota.
        rate: The maximum rate that results from it.
    """

    scope: str
    name: str
    source: str
    value: str
    rate: str


_PARTITION = "Best practices for designing and using partition keys effectively in DynamoDB"
_QUOTAS = "Quotas in Amazon DynamoDB"
_ECS = "Request throttling for the Amazon ECS API"


def limits(figures: Mapping[str, Any], stack: Stack, throttle: tuple[int, int]) -> list[Limit]:
    """Return the relevant limits, narrowest scope first.

    Args:
        figures: The measured costs.
        stack: The stack, which determines the memory of the functions.
        throttle: The rate and the burst of the stage.
    """
    cases = figures["cases"]
    page, start = cases["page of 10 rows"], cases["start"]
    logs, containers = _written(start, "StatusLogs"), _written(start, "Containers")
    row = figures["row_bytes"]
    read_container, read_rows = figures["page_rcu"]["Containers"], figures["page_rcu"]["StatusLogs"]
    rate, burst = throttle
    return [
        Limit(
            "one container",
            "Reads of a partition",
            _PARTITION,
            "3,000 RCU per second",
            f"{3000 / max(read_container, read_rows):,.0f} pages of 10 rows per second",
        ),
        Limit(
            "one container",
            "Writes of a partition",
            _PARTITION,
            "1,000 WCU per second",
            f"{1000 / max(logs, containers):,.0f} status changes per second; operations on one container are"
            " mutually exclusive",
        ),
        Limit(
            "one container",
            "Size of an item collection",
            "Item collections (local secondary indexes)",
            "10 GB",
            f"{10 * 2**30 / (4 * row) / 1e6:,.1f} million rows of {row} bytes, with four copies of each",
        ),
        Limit(
            "one user",
            "Reads of a partition",
            _PARTITION,
            "3,000 RCU per second",
            f"{3000 / figures['page_rcu']['Access']:,.0f} requests per second for a user with few projects",
        ),
        Limit(
            "one table",
            "On-demand write throughput",
            _QUOTAS,
            "40,000 WRU per second (new tables 4,000)",
            f"{40000 / logs:,.0f} status changes per second (new tables {4000 / logs:,.0f})",
        ),
        Limit(
            "one table",
            "On-demand read throughput",
            _QUOTAS,
            "40,000 RRU per second (new tables 12,000)",
            f"{40000 / max(read_container, read_rows):,.0f} pages of 10 rows per second"
            f" (new tables {12000 / max(read_container, read_rows):,.0f})",
        ),
        Limit(
            "the stage",
            "ThrottleRate, ThrottleBurst",
            "this stack's parameters",
            f"{rate:,} per second, burst {burst:,}",
            f"{rate:,} requests per second",
        ),
        Limit(
            "one account",
            "Requests of API Gateway",
            "Amazon API Gateway quotas",
            "10,000 per second, burst 5,000",
            "10,000 requests per second for all APIs in the region",
        ),
        Limit(
            "one account",
            "Concurrent executions",
            "AWS Lambda quotas",
            "1,000 (new accounts may have fewer)",
            f"{1000 / duration(page, memory_of(stack, 'status_logs')):,.0f} pages per second, or"
            f" {1000 / duration(start, memory_of(stack, 'start')):,.0f} starts per second, which wait for their tasks",
        ),
        Limit(
            "one account",
            "ECS cluster resource modify actions: RunTask, StopTask",
            _ECS,
            "40 per second, burst 100",
            "40 starts or stops per second, or 20 restarts",
        ),
        Limit(
            "one account",
            "ECS cluster resource read actions: DescribeTasks",
            _ECS,
            "20 per second, burst 100",
            "limits pause and resume; starts and stops are completed by events, without these calls",
        ),
        Limit(
            "one account",
            "SendCommand of Systems Manager",
            "not published; throttled per account and region",
            "unknown",
            "limits pause, resume and force-stop; throttled commands are retried",
        ),
    ]


def _written(case: Mapping[str, Any], table: str) -> float:
    """Return the write units of a call, and of the events that complete it, on a table."""
    return sum(float(each["wcu_by_table"].get(table, 0.0)) for each in (case, *case.get("events", ())))
