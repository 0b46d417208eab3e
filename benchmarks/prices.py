"""AWS's list prices and limits, and what follows from them and the measured units. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REGION = "us-east-1"
AS_OF = "September 2026"

# Dollars. Pages "AWS Lambda pricing", "Amazon API Gateway pricing", "Amazon DynamoDB pricing" (on-demand, Standard) and
# "Amazon CloudWatch pricing"; first tiers, nothing of it free.
LAMBDA_REQUEST = 0.20e-6
LAMBDA_GB_SECOND = {"x86_64": 16.6667e-6, "arm64": 13.3334e-6}
GATEWAY_REQUEST = 3.50e-6
READ_UNIT = 0.125e-6
WRITE_UNIT = 0.625e-6
LOGS_GB = 0.50

# Assumed, since only AWS could tell.
ROUND_TRIP = 0.005  # seconds that a request to DynamoDB takes within the region
WHOLE_PROCESSOR_MB = 1769  # Lambda's memory that comes with one processor; less memory, a smaller share
PLATFORM_LOG = 600  # bytes of Lambda's own lines about an invocation
ACCESS_LOG = 400  # bytes of API Gateway's line about a request
EFFECT = {"start": 3.0, "stop": 2.0, "force_stop": 1.0, "restart": 5.0, "pause": 1.0, "resume": 1.0}
"""Seconds until ECS or the host shows what an operation has done; the function waits for it."""


@dataclass(frozen=True)
class Price:
    """Dollars of a million calls, by what they are paid for."""

    gateway: float
    functions: float
    database: float
    logs: float

    @property
    def total(self) -> float:
        return self.gateway + self.functions + self.database + self.logs


def duration(case: Mapping[str, Any], memory: int) -> float:
    """Seconds that a warm call is taken to last: CPU on its share of a processor, round trips, and the effect."""
    effect = EFFECT.get(case["function"], 0.0) if case["wcu"] else 0.0
    cpu = float(case["cpu_seconds"]) * max(1.0, WHOLE_PROCESSOR_MB / memory)
    return cpu + float(case["round_trips"]) * ROUND_TRIP + effect


def price(case: Mapping[str, Any], memory: int, architecture: str) -> Price:
    """What a million such calls cost, data that leaves AWS and the authorizer aside."""
    seconds = duration(case, memory)
    logged = float(case["logged_bytes"]) + PLATFORM_LOG + (ACCESS_LOG if case["gateway"] else 0)
    return Price(
        gateway=1e6 * GATEWAY_REQUEST if case["gateway"] else 0.0,
        functions=1e6 * (LAMBDA_REQUEST + seconds * memory / 1024 * LAMBDA_GB_SECOND[architecture]),
        database=1e6 * (float(case["rcu"]) * READ_UNIT + float(case["wcu"]) * WRITE_UNIT),
        logs=1e6 * logged / 2**30 * LOGS_GB,
    )


@dataclass(frozen=True)
class Limit:
    """What bounds a rate: whose limit it is, what AWS calls it and where, and the rate that it leaves."""

    scope: str
    name: str
    source: str
    value: str
    rate: str


_PARTITION = "Best practices for designing and using partition keys effectively in DynamoDB"
_QUOTAS = "Quotas in Amazon DynamoDB"
_ECS = "Request throttling for the Amazon ECS API"


def limits(figures: Mapping[str, Any], memory: int, throttle: tuple[int, int]) -> list[Limit]:
    """The limits that matter, narrowest scope first. `figures` are the measured costs."""
    cases = figures["cases"]
    page, start = cases["page of 10 rows"], cases["start"]
    logs, containers = start["wcu_by_table"]["StatusLogs"], start["wcu_by_table"]["Containers"]
    row = figures["row_bytes"]
    read_container, read_rows = figures["page_rcu"]["Containers"], figures["page_rcu"]["StatusLogs"]
    rate, burst = throttle
    polls = start["other_requests"]["ecs DescribeTasks"]
    return [
        Limit(
            "one container",
            "Reads of a partition",
            _PARTITION,
            "3,000 RCU a second",
            f"{3000 / max(read_container, read_rows):,.0f} pages of 10 a second",
        ),
        Limit(
            "one container",
            "Writes of a partition",
            _PARTITION,
            "1,000 WCU a second",
            f"{1000 / max(logs, containers):,.0f} changes of status a second; but operations on one container"
            " exclude each other",
        ),
        Limit(
            "one container",
            "Size of an item collection",
            "Item collections (local secondary indexes)",
            "10 GB",
            f"{10 * 2**30 / (4 * row) / 1e6:,.1f} million rows of {row} bytes, four copies of each",
        ),
        Limit(
            "one user",
            "Reads of a partition",
            _PARTITION,
            "3,000 RCU a second",
            f"{3000 / figures['page_rcu']['Access']:,.0f} requests a second, for whoever has few projects",
        ),
        Limit(
            "one table",
            "On-demand write throughput",
            _QUOTAS,
            "40,000 WRU a second (new tables 4,000)",
            f"{40000 / logs:,.0f} changes of status a second (new: {4000 / logs:,.0f})",
        ),
        Limit(
            "one table",
            "On-demand read throughput",
            _QUOTAS,
            "40,000 RRU a second (new tables 12,000)",
            f"{40000 / max(read_container, read_rows):,.0f} pages of 10 a second"
            f" (new: {12000 / max(read_container, read_rows):,.0f})",
        ),
        Limit(
            "the stage",
            "ThrottleRate, ThrottleBurst",
            "this stack's parameters",
            f"{rate:,} a second, burst {burst:,}",
            f"{rate:,} requests a second, until the parameters are raised",
        ),
        Limit(
            "one account",
            "Requests of API Gateway",
            "Amazon API Gateway quotas",
            "10,000 a second, burst 5,000",
            "10,000 requests a second, all APIs of the region together",
        ),
        Limit(
            "one account",
            "Concurrent executions",
            "AWS Lambda quotas",
            "1,000 (new accounts may have fewer)",
            f"{1000 / duration(page, memory):,.0f} pages a second; {1000 / duration(start, memory):,.0f} starts a"
            " second, each of which waits for its task",
        ),
        Limit(
            "one account",
            "ECS cluster resource modify actions: RunTask, StopTask",
            _ECS,
            "40 a second, burst 100",
            "40 starts and stops a second, 20 restarts",
        ),
        Limit(
            "one account",
            "ECS cluster resource read actions: DescribeTasks",
            _ECS,
            "20 a second, burst 100",
            f"{20 / polls:,.0f} starts a second whose task is looked at {polls} time{'s' if polls > 1 else ''};"
            " what is not seen in time is answered 202 and settled by ECS's event",
        ),
        Limit(
            "one account",
            "SendCommand of Systems Manager",
            "not published; it throttles by account and region",
            "unknown",
            "bounds pause, resume and force-stop; a throttled one is tried again, then reported",
        ),
    ]
