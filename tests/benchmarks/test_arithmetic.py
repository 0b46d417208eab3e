"""Tests of the computations of the benchmarks."""

import re
from pathlib import Path
from typing import Any

import pytest
from longshore.domain.lifecycle import Status

from benchmarks import costs, depth, monthly, prices, samples
from benchmarks.figures import Spread, ratios
from benchmarks.targets import HERE, PEERS, ROOT
from local import template
from local.seed import long_history

CASE: dict[str, Any] = {
    "function": "start",
    "gateway": True,
    "round_trips": 3,
    "cpu_seconds": 0.01,
    "rcu": 2.0,
    "wcu": 16.0,
    "logged_bytes": 600,
}


def test_a_ratio_is_the_median_of_pairs() -> None:
    spread = ratios([(2, 1), (30, 10), (4, 1)])
    assert spread == Spread(median=3.0, low=2.5, high=3.5, samples=3)


def test_a_constant_is_subtracted_from_both() -> None:
    assert ratios([(3, 2)], less=1).median == 2.0
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 1)


@pytest.mark.parametrize(
    ("times", "length"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (0, 1)], 1),
        ([(0, 1), (0, 3), (1, 2), (3, 4)], 3),
        ([(0, 1), (1, 2), (2, 3)], 3),
    ],
)
def test_overlapping_calls_are_independent(times: list[tuple[int, int]], length: int) -> None:
    assert costs.depth({"began": began, "ended": ended} for began, ended in times) == length


def test_the_reads_of_a_waiting_operation_are_one_round_trip() -> None:
    names = ["GetItem", "UpdateItem", "GetItem", "GetItem", "GetItem", "Query"]
    calls = [{"operation": name, "began": number, "ended": number + 1} for number, name in enumerate(names)]
    assert [call["began"] for call in costs.without_polls(calls)] == [0, 1, 4, 5]


def test_the_price_of_an_operation_includes_the_events_that_complete_it() -> None:
    event = {**CASE, "gateway": False, "memory": 256}
    both = prices.price({**CASE, "events": [event]}, 512, "arm64").total
    expected = prices.price(CASE, 512, "arm64").total + prices.price(event, 256, "arm64", 0.0).total
    assert both == pytest.approx(expected)


def test_the_size_of_an_item() -> None:
    assert costs.item_size({"id": {"S": "ab"}, "n": {"N": "-123"}, "m": {"M": {"k": {"S": "v"}}}}) == 15


def test_the_duration_of_a_call_includes_its_effect() -> None:
    least = 0.01 * 1769 / 512 + 3 * prices.ROUND_TRIP
    assert prices.duration(CASE, 512) == pytest.approx(least + prices.EFFECT["start"])
    assert prices.duration({**CASE, "wcu": 0.0}, 512) == pytest.approx(least)
    assert prices.duration(CASE, 512, 8.0) == pytest.approx(least + 8)


def test_the_price_of_a_million_calls() -> None:
    price = prices.price(CASE, 512, "arm64")
    assert price.gateway == pytest.approx(3.50)
    assert price.database == pytest.approx(2 * 0.125 + 16 * 0.625)
    assert price.functions == pytest.approx(0.20 + prices.duration(CASE, 512) * 0.5 * 13.3334)
    assert price.total == pytest.approx(price.gateway + price.functions + price.database + price.logs)
    assert prices.price({**CASE, "gateway": False}, 512, "arm64").gateway == 0


def test_loaded_rows_form_a_history() -> None:
    rows = list(samples.history(long_history(200)))
    container, last = rows[-1]
    assert container.log_count == 200
    assert [int(item["seq"]["N"]) for _, item in rows] == list(range(1, 201))
    assert sum(container.to_counts.values()) == sum(container.from_counts.values()) == 200
    assert last["to_status"]["S"] == container.status


@pytest.mark.parametrize("column", ["to_status", "from_status"])
@pytest.mark.parametrize(("low", "high"), [(1, 200), (50, 150), (7, 7), (1, 1)])
def test_counted_rows_are_those_of_the_counters(column: str, low: int, high: int) -> None:
    rows = list(samples.history(long_history(200)))
    counts = [getattr(container, f"{column.removesuffix('_status')}_counts") for container, _ in rows]
    for status in Status:
        before = counts[low - 2].get(status, 0) if low > 1 else 0
        assert depth.counted(200, low, high, column, status) == counts[high - 1].get(status, 0) - before


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)(?: ;.*)?(?: \\)?$", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("peer", ["boto3", *PEERS])
def test_peers_use_the_same_versions(peer: str) -> None:
    ours = pins(ROOT / "layers" / "common" / "requirements.txt")
    theirs = pins(HERE / "peers" / peer / "requirements.txt")
    assert "botocore" in theirs
    assert {name: version for name, version in theirs.items() if name in ours}.items() <= ours.items()


def test_the_monthly_costs() -> None:
    stack = template.load()
    base = {line.item: line for line in monthly.base(stack, "x86_64")}
    assert base["metrics that alarms watch"].number.endswith(
        f" in {len(stack.of_type('AWS::CloudWatch::Alarm'))} alarms"
    )
    assert base["secrets"].cost == prices.SECRET
    assert 0 < base["sweeps"].cost < 1
    cheaper = template.load(parameters={"TokenSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine"})
    assert {line.item: line for line in monthly.base(cheaper, "x86_64")}["secrets"].cost == 0
    rows, reads = monthly.usage(stack, {"row_bytes": 2**30 / 1e6 - 100})
    # A gigabyte of rows: the table, three local indexes and a global index.
    assert rows.cost == pytest.approx(5 * prices.STORED_GB + 4 * prices.RECOVERABLE_GB)
    assert reads.cost == pytest.approx(1000 * 30 * 24 * 4 * prices.READ_UNIT)


def test_the_costs_of_metrics() -> None:
    stack, metrics = template.load(), template.load(parameters={"MetricsEnabled": "true"})
    alarms, dashboard, functions, methods = (
        line for line in monthly.options(stack, metrics) if line.item == "`MetricsEnabled`"
    )
    total = sum(line.cost for line in monthly.base(metrics, "x86_64"))
    assert total == pytest.approx(sum(line.cost for line in monthly.base(stack, "x86_64")) + alarms.cost)
    assert dashboard.cost == prices.DASHBOARD
    assert 0 < functions.cost < len(stack.functions) * 6 * prices.METRIC
    assert methods.cost > 0


def test_the_memory_of_a_function() -> None:
    stack = template.load(parameters={"MemorySize": "512", "OperationMemorySize": "192"})
    assert (prices.memory_of(stack, "start"), prices.memory_of(stack, "status_logs")) == (192, 512)
