"""Lists of containers: pages of a project with 10,000 containers, paired with the same pages of a project with 100.

The handler from `sam build` queries DynamoDB Local. For comparison, the usual ways to a page with a number are measured
on the same data: following LastEvaluatedKey from the first page, and PostgreSQL's OFFSET with a count for the total.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from longshore.aws.items import container_item
from longshore.domain.lifecycle import Status

from benchmarks import console, database, postgres, samples
from benchmarks.costs import depth as round_trips
from benchmarks.depth import consumed
from benchmarks.figures import middle, ratios
from benchmarks.progress import bar
from benchmarks.runs import Warm
from benchmarks.targets import WORK, MissingError, Targets
from benchmarks.warm import body
from local.seed import Seeder

LARGE, SMALL = "1a46e0000000000000000000", "5ba110000000000000000000"
_LIMIT = 50
_READ = 2**20  # bytes that DynamoDB reads with one request; DynamoDB Local counts the whole items
_LEAST = 0.03  # minimum seconds of an AWS call, so that independent calls overlap
_STATUSES = ("running", "stopped", "paused", "failed")
_SQL = postgres.Table(
    create="CREATE TABLE containers (id text, project_id text, name text, item jsonb)",
    name="containers",
    columns=("id", "project_id", "name", "item"),
    index="CREATE UNIQUE INDEX by_name ON containers (project_id, name, id)",
    page="SELECT id, name, item FROM containers WHERE project_id = %s ORDER BY name, id LIMIT %s OFFSET %s",
    count="SELECT count(*) FROM containers WHERE project_id = %s",
)


def measure(targets: Targets, aws: database.Aws, containers: int, rounds: int) -> dict[str, Any]:
    """Load the two projects and measure pages of their lists.

    Args:
        targets: The built functions.
        aws: The emulated AWS.
        containers: The number of containers of the large project; the small one has a hundredth.
        rounds: The number of pairs per page.
    """
    seeder = Seeder(aws.stack)
    sizes = {LARGE: containers, SMALL: containers // 100}
    for project in sizes:
        seeder.grant(samples.USER, project, "operator")
    with TemporaryDirectory(dir=WORK) as folder:
        copied = Path(folder) / "containers"
        with copied.open("w", encoding="utf-8") as copy:
            items = bar(_containers(sizes, copy), "loading", sum(sizes.values()))
            database.write(aws, "ContainersTable", items)
        handler, table = targets.functions["list_project_containers"], targets.table("ContainersTable")
        with Warm(targets.python, handler, "live", environment=aws.environment) as ours:
            result = {
                "containers": containers,
                "limit": _LIMIT,
                "pages": [
                    _compare(ours, table, name, *queries, rounds) for name, queries in _pages(ours, sizes).items()
                ],
                "cursor": _cursor(ours, rounds),
            }
        last = containers // _LIMIT
        result["walk"] = _walk(aws, targets, [1, last], 2 if rounds < 10 else 15)
        result["offset"] = _unless_missing(
            lambda: postgres.measure(_SQL, LARGE, copied, [1, last], _LIMIT, 3 if rounds < 10 else 15)
        )
    result["console"] = _unless_missing(lambda: console.measure(aws.stack.url, samples.USER, LARGE, SMALL, rounds))
    return result


def _containers(sizes: dict[str, int], copy: Any) -> Iterator[samples.Item]:
    """Yield the items of all containers, and write them as rows of the table in PostgreSQL."""
    number = 0
    for project, size in sizes.items():
        for position in range(size):
            number += 1
            container = samples.new_container(_STATUSES[position % 4]).model_copy(
                update={
                    "id": f"{number:024x}",
                    "project_id": project,
                    "name": f"{'web' if position % 10 else 'batch'}-{position:05d}",
                    "labels": {"env": "dev" if position % 3 else "live", "team": f"team-{position % 7}"},
                    "status": Status(_STATUSES[position % 4]),
                }
            )
            item = container_item(container)
            copy.write("\t".join([container.id, project, container.name, json.dumps(item)]) + "\n")
            yield item


def _pages(ours: Warm, sizes: dict[str, int]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Return the queries of the pages, for the large and for the small project."""

    def both(**query: str) -> tuple[dict[str, str], dict[str, str]]:
        return query, query

    last_large, last_small = ({"page": str(-(-size // _LIMIT))} for size in sizes.values())
    by_change = {"sort_by": "updated_at", "sort_order": "desc"}
    return {
        "first page by name": both(),
        "last page by name": (last_large, last_small),
        "first page by status": both(sort_by="status"),
        "last page by `updated_at`": (last_large | by_change, last_small | by_change),
        "filter: status": both(status="running"),
        "filter: part of the name": both(name="batch"),
        "filter: label": both(label="env:dev"),
        "cursor, first page": both(cursor=""),
        "cursor, last page": (_last_cursor(ours, LARGE), _last_cursor(ours, SMALL)),
    }


def _last_cursor(ours: Warm, project: str) -> dict[str, str]:
    """Walk by cursor, and return the query of the last page."""
    cursor = ""
    while following := _page(ours.call(_event(project, {"cursor": cursor})))["pagination"]["next_cursor"]:
        cursor = following
    return {"cursor": cursor}


def _compare(
    ours: Warm, table: str, name: str, large: dict[str, str], small: dict[str, str], rounds: int
) -> dict[str, Any]:
    events = _event(LARGE, large), _event(SMALL, small)
    pairs = _paired(ours, *events, rounds)
    ours.delay(_LEAST)
    called = ours.call(events[0])
    ours.delay(0)
    if not _page(called)["containers"]:
        raise RuntimeError(f"{name}: the page is empty")
    return {
        "page": name,
        "seconds": middle([one for one, _ in pairs]),
        "ratio": ratios(pairs).as_dict(),
        "requests": len(called["calls"]),
        "round_trips": round_trips(called["calls"]),
        "round_trips_of_aws": 1 + max(1, math.ceil(_index_bytes(called["calls"], table) / _READ)),
        "rcu": consumed(called["calls"]),
    }


def _index_bytes(calls: Iterable[Mapping[str, Any]], table: str) -> float:
    """Return the bytes of index entries that were read: an eventually consistent unit is 8 KB."""
    return 8192 * consumed(call for call in calls if (call["operation"], call["table"]) == ("Query", table))


def _cursor(ours: Warm, rounds: int) -> dict[str, float]:
    """Return the time of the last page of the walk by cursor, relative to its first page."""
    events = _event(LARGE, _last_cursor(ours, LARGE)), _event(LARGE, {"cursor": ""})
    return ratios(_paired(ours, *events, rounds)).as_dict()


def _paired(ours: Warm, one: Any, other: Any, rounds: int) -> list[tuple[float, float]]:
    for event in (one, other, one, other):
        _page(ours.call(event))
    pairs = []
    for turn in range(rounds):
        first, second = (one, other) if turn % 2 else (other, one)
        seconds = ours.call(first)["seconds"], ours.call(second)["seconds"]
        pairs.append(seconds if turn % 2 else (seconds[1], seconds[0]))
    return pairs


def _event(project: str, query: dict[str, str]) -> Any:
    event = samples.event("list_project_containers")
    event["pathParameters"]["project_id"] = project
    event["queryStringParameters"] = {"limit": str(_LIMIT), **query}
    event["multiValueQueryStringParameters"] = {name: [value] for name, value in event["queryStringParameters"].items()}
    return event


def _page(called: dict[str, Any]) -> Any:
    return body(called)["data"]


def _walk(aws: database.Aws, targets: Targets, pages: list[int], rounds: int) -> list[dict[str, Any]]:
    """Measure how long it takes to reach a page by following LastEvaluatedKey, a page at a time."""
    query: Any = {
        "TableName": targets.table("ContainersTable"),
        "IndexName": "by-project",
        "KeyConditionExpression": "project_id = :project",
        "ExpressionAttributeValues": {":project": {"S": LARGE}},
        "Limit": _LIMIT,
    }
    client = aws.client()

    def read(number: int) -> float:
        began = time.perf_counter()
        start: dict[str, Any] = {}
        for _ in range(number):
            answer = client.query(**query, **start)
            start = {"ExclusiveStartKey": answer.get("LastEvaluatedKey")}
        if len(answer["Items"]) != _LIMIT:
            raise RuntimeError(f"page {number} is not full")
        return time.perf_counter() - began

    read(1)
    return [
        {"page": page, "requests": page, "seconds": middle([read(page) for _ in range(rounds)])}
        for page in bar(pages, "walking")
    ]


def _unless_missing(part: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Measure a part whose program may be missing, except in CI."""
    try:
        return part()
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        print(f"skipped: {missing}")
        return None
