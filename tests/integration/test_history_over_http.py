"""Tests of every page in every order of a thousand rows, and of the queries that a page needs."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from api_client import Api
from invariants import all_rows, check

from local.seed import Seeder, container_id, long_history
from local.stack import LocalStack

pytestmark = pytest.mark.databases("real")

LONG = container_id(17)
ROWS = HISTORY_ROWS = 1000
LIMITS = [1, 7, 10, 100]
ORDERS = [
    (sort_by, sort_order)
    for sort_by in ("transition_time", "created_at", "to_status", "from_status")
    for sort_order in ("asc", "desc")
]
COLUMNS = (
    "id",
    "container_id",
    "from_status",
    "to_status",
    "transition_time",
    "created_at",
    "duration_ms",
    "triggered_by",
    "metadata",
)


@pytest.fixture(scope="module")
def rows(stack: LocalStack) -> list[dict[str, Any]]:
    """The rows of the container with a long history as the API returns them, oldest first."""
    return shown(stack, LONG)


def shown(stack: LocalStack, identity: str) -> list[dict[str, Any]]:
    return [{column: row.get(column) for column in COLUMNS} for row in all_rows(stack, identity)]


def in_order(rows: list[dict[str, Any]], sort_by: str, sort_order: str) -> list[dict[str, Any]]:
    """Sort all rows: null first, equal values by time. Descending order is the reverse of ascending order."""
    return sorted(rows, key=lambda row: (row[sort_by] or "", row["transition_time"]), reverse=sort_order == "desc")


def pages_of(limit: int, total: int = ROWS) -> int:
    return -(-total // limit)


def read(page: int, limit: int, sort_by: str, sort_order: str, identity: str = LONG, **filters: str) -> Any:
    """Return the data of a page from the function's reader, without HTTP."""
    from longshore.domain.pages import StatusLogsQuery
    from longshore.wiring import api_functions

    given = {"page": [str(page)], "limit": [str(limit)], "sort_by": [sort_by], "sort_order": [sort_order]}
    query, faults = StatusLogsQuery.parse(given | {name: [value] for name, value in filters.items()})
    assert faults == {}
    return api_functions.history_reader().page("viewer", identity, query)


def pagination(page: int, limit: int, total: int = ROWS) -> dict[str, int]:
    return {"total": total, "page": page, "limit": limit, "totalPages": pages_of(limit, total)}


@contextmanager
def recorded_queries(stack: LocalStack) -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Record the functions' queries of the history, with parameters and response."""
    from longshore.wiring import api_functions

    calls: list[tuple[dict[str, Any], dict[str, Any]]] = []
    asked: list[dict[str, Any]] = []

    def before(params: dict[str, Any], **_: Any) -> None:
        # In operation the functions do not request the consumed capacity.
        params["ReturnConsumedCapacity"] = "INDEXES"
        if params["TableName"] == stack.table_name("StatusLogsTable"):
            asked.append(params)

    def after(parsed: dict[str, Any], **_: Any) -> None:
        if parsed.get("ConsumedCapacity", {}).get("TableName") == stack.table_name("StatusLogsTable"):
            calls.append((asked[len(calls)], parsed))

    events = api_functions.dynamodb().meta.events
    events.register("provide-client-params.dynamodb.Query", before)
    events.register("after-call.dynamodb.Query", after)
    try:
        yield calls
    finally:
        events.unregister("provide-client-params.dynamodb.Query", before)
        events.unregister("after-call.dynamodb.Query", after)


def test_the_history_meets_the_requirements_of_these_tests(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == ROWS
    assert rows[0]["from_status"] is None
    assert {row["to_status"] for row in rows} == {"stopped", "running", "paused", "failed"}
    assert all(row["transition_time"] > before["transition_time"] for before, row in pairwise(rows))


@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_all_pages_over_http(api: Api, rows: list[dict[str, Any]], sort_by: str, sort_order: str) -> None:
    joined: list[dict[str, Any]] = []
    for page in range(1, pages_of(100) + 1):
        response = api.logs(LONG, "viewer", sort_by=sort_by, sort_order=sort_order, limit=100, page=page)
        body = response.json()
        assert response.status_code == 200
        assert (body["statusCode"], body["message"]) == (200, "Container status logs retrieved successfully")
        assert body["data"].keys() == {"logs", "pagination"}
        assert body["data"]["pagination"] == pagination(page, 100)
        joined += body["data"]["logs"]
    assert joined == in_order(rows, sort_by, sort_order)
    assert [list(row) for row in joined[:1]] == [list(COLUMNS)]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_all_pages(stack: LocalStack, rows: list[dict[str, Any]], sort_by: str, sort_order: str, limit: int) -> None:
    """The joined pages equal the sorted rows. On moto, which is slow, the test reads only a few pages."""
    whole = in_order(rows, sort_by, sort_order)
    last = pages_of(limit)
    some = sorted({1, 2, last, random.Random(f"{sort_by} {sort_order} {limit}").randint(3, last)})
    for page in some:
        data = read(page, limit, sort_by, sort_order)
        assert data["logs"] == whole[(page - 1) * limit : page * limit]
        assert data["pagination"] == pagination(page, limit)
    if "moto" not in stack.database:
        assert joined(limit, sort_by, sort_order) == whole


def joined(limit: int, sort_by: str, sort_order: str) -> list[dict[str, Any]]:
    """Return the rows of all pages, for a single read of the container."""
    from longshore.wiring import api_functions

    container = api_functions.store().container(LONG)
    found = []
    for page in range(1, pages_of(limit) + 1):
        found += read_part(container, page, limit, sort_by, sort_order)
    return found


def read_part(container: Any, page: int, limit: int, sort_by: str, sort_order: str) -> list[dict[str, Any]]:
    """Return the rows of a page of the history as of the read of the container, with one Query."""
    from longshore.domain.pages import StatusLogsQuery, page_of
    from longshore.domain.ranges import between
    from longshore.wiring import api_functions

    given = {"page": [str(page)], "limit": [str(limit)], "sort_by": [sort_by], "sort_order": [sort_order]}
    (span,) = page_of(between(container, None, None), StatusLogsQuery.parse(given)[0]).spans
    return api_functions.history_pages().page(container.id, span, container.log_count)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_all_pages_of_a_short_history(
    stack: LocalStack, seeder: Seeder, sort_by: str, sort_order: str, limit: int
) -> None:
    """The test reads every page on every database."""
    identity, count = "5" * 24, 24
    if not all_rows(stack, identity):
        seeder.add(identity, long_history(count))
    whole = in_order(shown(stack, identity), sort_by, sort_order)
    assert len(whole) == count
    joined: list[dict[str, Any]] = []
    for page in range(1, pages_of(limit, count) + 1):
        data = read(page, limit, sort_by, sort_order, identity)
        assert data["pagination"] == pagination(page, limit, count)
        joined += data["logs"]
    assert joined == whole


@pytest.mark.parametrize("status", ["", "running", "failed", "expired"])
@pytest.mark.parametrize("within", [(None, None), (150, None), (None, 849), (150, 849), (500, 500)])
@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_filtered_pages(
    stack: LocalStack,
    rows: list[dict[str, Any]],
    sort_by: str,
    sort_order: str,
    within: tuple[int | None, int | None],
    status: str,
) -> None:
    """The total and the rows equal those of filtering and sorting all rows. `from` and `to` are inclusive."""
    low, high = within
    column = "from_status" if sort_by == "from_status" else "to_status"
    query = {column: status} if status else {}
    query |= {"from": rows[low]["transition_time"]} if low is not None else {}
    query |= {"to": rows[high]["transition_time"]} if high is not None else {}
    ranged = rows[low : None if high is None else high + 1]
    expected = in_order([row for row in ranged if status in ("", row[column])], sort_by, sort_order)
    last = pages_of(7, len(expected))
    for page in sorted({1, 2, max(last, 1), last + 1}):
        data = read(page, 7, sort_by, sort_order, **query)
        assert data["logs"] == expected[(page - 1) * 7 : page * 7]
        assert data["pagination"] == pagination(page, 7, len(expected))


def test_a_range_between_two_rows_is_empty(api: Api, rows: list[dict[str, Any]]) -> None:
    since = rows[10]["transition_time"].replace("Z", "1Z")
    until = rows[11]["transition_time"].replace("Z", "+00:00")
    for query, total in [({"from": since, "to": since}, 0), ({"from": since, "to": until}, 1), ({"to": since}, 11)]:
        assert api.logs(LONG, **query).json()["data"]["pagination"]["total"] == total


@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_a_page_past_the_end(api: Api, sort_by: str, sort_order: str) -> None:
    for page, limit in [(11, 100), (1001, 1), (2**53 - 1, 100)]:
        response = api.logs(LONG, sort_by=sort_by, sort_order=sort_order, page=page, limit=limit)
        assert response.status_code == 200
        assert response.json()["data"] == {"logs": [], "pagination": pagination(page, limit)}


@pytest.mark.parametrize(("page", "limit", "found"), [(1, 7, 7), (143, 7, 6), (10, 100, 100), (334, 3, 1)])
def test_the_last_page_contains_the_remaining_rows(api: Api, page: int, limit: int, found: int) -> None:
    assert len(api.logs(LONG, page=page, limit=limit).json()["data"]["logs"]) == found


def test_the_default_page_contains_the_ten_newest_rows(api: Api, rows: list[dict[str, Any]]) -> None:
    data = api.logs(LONG).json()["data"]
    assert data["logs"] == rows[:-11:-1]
    assert data["pagination"] == pagination(1, 10)


@pytest.mark.parametrize(("page", "limit"), [(1, 10), (50, 10), (1000, 1), (143, 7)])
@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_a_page_is_one_query_of_exactly_its_rows(
    stack: LocalStack, sort_by: str, sort_order: str, page: int, limit: int
) -> None:
    with recorded_queries(stack) as queries:
        data = read(page, limit, sort_by, sort_order)
    ((asked, answered),) = queries
    expected = min(limit, ROWS - (page - 1) * limit)
    assert len(data["logs"]) == answered["Count"] == answered["ScannedCount"] == expected
    assert "LastEvaluatedKey" not in answered
    assert asked["ConsistentRead"] is True
    assert "FilterExpression" not in asked


@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_a_page_past_the_end_needs_no_query(stack: LocalStack, sort_by: str, sort_order: str) -> None:
    with recorded_queries(stack) as queries:
        read(11, 100, sort_by, sort_order)
        assert queries == []
        # Check that queries are recorded.
        read(10, 100, sort_by, sort_order)
    assert len(queries) == 1


@pytest.mark.parametrize(("sort_by", "sort_order"), ORDERS)
def test_rows_added_after_the_read_of_the_container_are_not_in_the_page(
    stack: LocalStack, seeder: Seeder, fresh_id: str, sort_by: str, sort_order: str
) -> None:
    """`total` and the rows are consistent, although they come from two reads."""
    from longshore.wiring import api_functions

    statuses = long_history(40)
    seeder.add(fresh_id, statuses[:20])
    container = api_functions.store().container(fresh_id)
    assert container is not None
    before = in_order(shown(stack, fresh_id), sort_by, sort_order)
    seeder.add(fresh_id, statuses)
    joined = []
    for page in range(1, 4):
        joined += [row["id"] for row in read_part(container, page, 7, sort_by, sort_order)]
    assert joined == [row["id"] for row in before]


def test_a_row_is_readable_immediately(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation, total in [("start", 2), ("pause", 3), ("resume", 4), ("stop", 5)]:
        answer = api.post(fresh_id, operation)
        assert answer.status_code == 200
        for sort_by in ("transition_time", "created_at"):
            data = api.logs(fresh_id, sort_by=sort_by, limit=1).json()["data"]
            assert data["pagination"]["total"] == total
            assert data["logs"][0]["to_status"] == answer.json()["data"]["status"]
            assert data["logs"][0]["metadata"]["command"] == operation
    check(stack, fresh_id)
