"""Deep pages: time and capacity of pages at any depth of a million rows, in all eight orders.

The handler from `sam build` queries DynamoDB Local. The time of a deep page is paired with that of the first page in
the same order, which runs directly before or after it. For comparison, the usual alternatives are measured: following
LastEvaluatedKey, with one of the peers (all of them do the same), and PostgreSQL's OFFSET.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from longshore.domain.pages import STATUS_COLUMNS

from benchmarks import database, postgres, samples
from benchmarks.costs import depth as round_trips
from benchmarks.figures import middle, ratios
from benchmarks.prices import ROUND_TRIP
from benchmarks.progress import bar
from benchmarks.runs import Warm
from benchmarks.targets import WORK, MissingError, Targets
from benchmarks.warm import body
from local.seed import long_history

ORDERS = [
    (sort_by, order)
    for sort_by in ("transition_time", "created_at", "to_status", "from_status")
    for order in ("asc", "desc")
]
_WALKER = "flask"
_SQL = postgres.Table(
    create="""
CREATE TABLE status_logs (
    id text NOT NULL,
    container_id text NOT NULL,
    seq bigint NOT NULL,
    from_status text,
    to_status text NOT NULL,
    transition_time timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    duration_ms bigint,
    triggered_by text NOT NULL,
    metadata jsonb
)
""",
    name="status_logs",
    columns=database.COLUMNS,
    index="CREATE UNIQUE INDEX by_time ON status_logs (container_id, transition_time)",
    page="""
SELECT id, container_id, from_status, to_status, transition_time, created_at, duration_ms, triggered_by, metadata
FROM status_logs WHERE container_id = %s ORDER BY transition_time DESC LIMIT %s OFFSET %s
""",
    count="SELECT count(*) FROM status_logs WHERE container_id = %s",
)
_LEAST = 0.03  # minimum seconds of an AWS call, so that independent calls overlap


def measure(targets: Targets, aws: database.Aws, rows: int, rounds: int) -> dict[str, Any]:
    """Load the rows and measure pages at fixed fractions of the depth.

    Args:
        targets: The built functions and peers.
        aws: The emulated AWS.
        rows: The number of rows. With a million rows, the pages are 1, 1,000, 50,000 and 99,990.
        rounds: The number of pairs per page.
    """
    pages = [1, rows // 1000, rows // 20, rows // 10 - 10]
    walked = [page for page in (1, 10, 100, 1000) if page <= rows // 10]
    with TemporaryDirectory(dir=WORK) as folder, ExitStack() as stack:
        copied = Path(folder) / "rows"
        with copied.open("w", encoding="utf-8") as copy:
            database.fill(aws, rows, copy)
        ours = stack.enter_context(
            Warm(targets.python, targets.functions["status_logs"], "live", environment=aws.environment)
        )
        walker = stack.enter_context(Warm(targets.python, targets.peers[_WALKER], "live", environment=aws.environment))
        result = {
            "rows": rows,
            "pages": pages,
            "orders": _orders(ours, targets, pages, rounds),
            "filters": _filters(ours, rows, rounds),
            "walk": _walk(walker, ours, targets, walked, pages[-1], 2 if rounds < 10 else 5),
        }
        stack.close()
        result["offset"] = _offset(copied, pages, 3 if rounds < 10 else 15)
    return result


def _orders(ours: Warm, targets: Targets, pages: list[int], rounds: int) -> list[dict[str, Any]]:
    logs = targets.table("StatusLogsTable")
    result = []
    for sort_by, order in bar(ORDERS, "deep pages"):
        events = {page: samples.page_event(page, sort_by=sort_by, order=order) for page in pages}
        for page in (*pages, *pages):
            ours.call(events[page])
        pairs: dict[int, list[tuple[float, float]]] = {page: [] for page in pages[1:]}
        for turn in range(rounds):
            for page in pages[1:]:
                first, second = (1, page) if turn % 2 else (page, 1)
                seconds = {first: ours.call(events[first])["seconds"], second: ours.call(events[second])["seconds"]}
                pairs[page].append((seconds[page], seconds[1]))
        rows = []
        for page in pages:
            called = ours.call(events[page])
            found = body(called)["data"]["logs"]
            if len(found) != samples.ROWS_OF_A_PAGE:
                raise RuntimeError(f"page {page} by {sort_by} {order} has {len(found)} rows")
            rows.append(
                {
                    "page": page,
                    "requests": len(called["calls"]),
                    # The container and the membership are read first, in parallel.
                    "after_access": sum(call["table"] == logs for call in called["calls"]),
                    "rcu": consumed(called["calls"]),
                    "rcu_after_access": consumed(call for call in called["calls"] if call["table"] == logs),
                    "seconds": middle(
                        [one for one, _ in pairs[page]]
                        if page > 1
                        else [other for each in pairs.values() for _, other in each]
                    ),
                    "ratio": ratios(pairs[page]).as_dict() if page > 1 else None,
                }
            )
        result.append({"sort_by": sort_by, "sort_order": order, "pages": rows})
    return result


def _filters(ours: Warm, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Measure the middle page of each filter in each order, paired with the first page of the whole history.

    DynamoDB Local is in the same machine. A second ratio includes the time that requests take within a region of AWS.
    """
    result = []
    for sort_by, order in bar(ORDERS, "filtered pages"):
        for name, (filters, counted) in _filters_of(ours, sort_by, rows).items():
            first = samples.page_event(sort_by=sort_by, order=order)
            total = body(ours.call(samples.page_event(sort_by=sort_by, order=order, filters=filters)))["data"]
            if total["pagination"]["total"] != counted:
                raise RuntimeError(f"{sort_by} {order} with {filters} has {total['pagination']}, not {counted} rows")
            page = total["pagination"]["totalPages"] // 2
            asked = samples.page_event(page, sort_by=sort_by, order=order, filters=filters)
            result.append(
                {
                    "sort_by": sort_by,
                    "sort_order": order,
                    "filter": name,
                    "total": total["pagination"]["total"],
                    "page": page,
                    "ratio": _ratio(ours, asked, first, rounds),
                    "ratio_in_region": _ratio(ours, asked, first, rounds, delay=ROUND_TRIP),
                    "asked": asked,
                }
            )
    ours.delay(_LEAST)
    for each in result:
        called = ours.call(each.pop("asked"))
        if len(body(called)["data"]["logs"]) != samples.ROWS_OF_A_PAGE:
            raise RuntimeError(f"the page of {each} is not full")
        each["round_trips"] = round_trips(called["calls"])
    ours.delay(0)
    return result


def _ratio(ours: Warm, event: Any, reference: Any, rounds: int, *, delay: float = 0.0) -> dict[str, Any]:
    """Return the time of a page, relative to another one that is called directly before or after it.

    Args:
        ours: The function.
        event: Requests the page.
        reference: Requests the other page.
        rounds: The number of pairs.
        delay: Seconds that each request to DynamoDB takes longer.
    """
    ours.delay(delay)
    for each in (reference, event, reference, event):
        ours.call(each)
    pairs = []
    for turn in range(rounds):
        called = [ours.call(each)["seconds"] for each in ((reference, event) if turn % 2 else (event, reference))]
        pairs.append((called[1], called[0]) if turn % 2 else (called[0], called[1]))
    ours.delay(0)
    return ratios(pairs).as_dict()


def _filters_of(ours: Warm, sort_by: str, rows: int) -> dict[str, tuple[dict[str, str], int]]:
    """Return the filters that an order allows, and how many rows match: half of the history, a status, and both."""
    first, last = (number // samples.ROWS_OF_A_PAGE for number in (rows // 4, rows // 4 * 3))

    def time_of(page: int) -> str:
        found = body(ours.call(samples.page_event(page, order="asc")))["data"]["logs"]
        return str(found[-1]["transition_time"])

    within = {"from": time_of(first), "to": time_of(last)}
    low, high = first * samples.ROWS_OF_A_PAGE, last * samples.ROWS_OF_A_PAGE
    found = {"none": ({}, rows), "range": (within, high - low + 1)}
    for column in STATUS_COLUMNS if sort_by not in STATUS_COLUMNS else (sort_by,):
        status = {column: "running"}
        found[column] = (status, counted(rows, 1, rows, column, "running"))
        found[f"range and {column}"] = (within | status, counted(rows, low, high, column, "running"))
    return found


def counted(rows: int, low: int, high: int, column: str, status: str) -> int:
    """Count the rows of the loaded history that have a status.

    Args:
        rows: The number of rows of the history.
        low: The number of the first row to count.
        high: The number of the last row to count.
        column: `to_status` or `from_status`.
        status: The status.
    """
    statuses: list[str | None] = [*long_history(rows)]
    if column == "from_status":
        statuses = [None, *statuses[:-1]]
    return statuses[low - 1 : high].count(status)


def _walk(walker: Warm, ours: Warm, targets: Targets, pages: list[int], deepest: int, rounds: int) -> dict[str, Any]:
    """Measure the requests, units and time of the walk, and extrapolate them to the deepest page."""
    rows = []
    for page in bar(pages, "walking"):
        asked = samples.page_event(page)
        called = walker.call(asked)
        if body(called)["data"] != body(ours.call(asked))["data"]:
            raise RuntimeError(f"the walk returns different rows on page {page}")
        seconds = [walker.call(asked)["seconds"] for _ in range(rounds)]
        rows.append(
            {
                "page": page,
                "requests": len(called["calls"]),
                "rcu": consumed(called["calls"]),
                "seconds": middle(seconds),
            }
        )
    first, last = rows[0], rows[-1]
    share = (deepest - 1) / (last["page"] - 1)

    def at_deepest(name: str) -> float:
        return float(first[name] + (last[name] - first[name]) * share)

    return {
        "peer": walker_name(targets),
        "pages": rows,
        "extrapolated": {
            "page": deepest,
            "requests": round(at_deepest("requests")),
            "rcu": round(at_deepest("rcu"), 1),
            "seconds": round(at_deepest("seconds"), 1),
        },
    }


def walker_name(targets: Targets) -> str:
    """Return the name of the peer that follows LastEvaluatedKey."""
    return targets.peers[_WALKER].name


def consumed(calls: Any) -> float:
    """Return the capacity units of read calls."""
    return float(sum(unit["CapacityUnits"] for call in calls for unit in call["capacity"]))


def _offset(rows: Path, pages: list[int], rounds: int) -> dict[str, Any] | None:
    try:
        return postgres.measure(_SQL, samples.CONTAINER, rows, pages, samples.ROWS_OF_A_PAGE, rounds)
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        print(f"skipped: {missing}")
        return None
