"""Tests of the store's pages of a history, in each order."""

from typing import Any

import pytest
from longshore.domain.errors import UnreadableItemError
from longshore.domain.pages import StatusLogsQuery, page_of
from longshore.domain.ranges import between

from engine.stage import Stage

STATUSES = ["stopped", "running", "paused", "running", "failed", "running", "stopped", "running"]


def page(stage: Stage, container: str, **query: Any) -> list[dict[str, Any]]:
    with stage.open():
        counters = stage.wired.pages.counters(container)
        assert counters is not None
        found = page_of(between(counters, None, None), StatusLogsQuery(**query))
        return [row for span in found.spans for row in stage.wired.pages.page(container, span, counters.log_count)]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("by", ["transition_time", "created_at", "to_status", "from_status"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_pages_of_each_order(stage: Stage, by: str, order: str, number: int) -> None:
    container = stage.add(*STATUSES)
    column = by if by.endswith("status") else "seq"
    rows = (
        sorted(stage.rows(container), key=lambda row: (row.get(column) or "", row["seq"]))
        if column != "seq"
        else (stage.rows(container))
    )
    if order == "desc":
        rows = rows[::-1]
    expected = [row["id"] for row in rows][3 * (number - 1) : 3 * number]
    shown = page(stage, container, page=number, limit=3, sort_by=by, sort_order=order)
    assert [row["id"] for row in shown] == expected


def test_the_attributes_of_a_row(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ask(container, "start")
    first, second = page(stage, container, sort_order="asc")
    (_, row) = stage.rows(container)
    assert (first["from_status"], first["duration_ms"], first["metadata"]) == (None, None, None)
    hidden = {"seq", "to_rank", "from_rank", "schema", "project_id", "to_n", "from_n"}
    assert second == {name: value for name, value in row.items() if name not in hidden}


def test_rows_added_after_the_read_are_not_in_the_page(stage: Stage) -> None:
    """A page shows the history as of the read of the container."""
    container = stage.add("stopped", "running")
    stage.before("Query", lambda _: stage.ask(container, "restart"))
    shown = page(stage, container, sort_by="to_status", sort_order="asc")
    assert [row["to_status"] for row in shown] == ["running", "stopped"]


def test_a_page_of_more_than_a_megabyte(stage: Stage) -> None:
    container = stage.add(*STATUSES)

    def cut(call: Any, answer: dict[str, Any]) -> dict[str, Any]:
        items = answer["Items"]
        if len(items) <= 3:
            return answer
        keys = {name: items[2][name] for name in ("container_id", "transition_time", "seq")}
        return answer | {"Items": items[:3], "LastEvaluatedKey": keys}

    stage.change("Query", cut)
    shown = page(stage, container, sort_order="asc")
    assert [row["id"] for row in shown] == [row["id"] for row in stage.rows(container)]
    assert stage.count("Query") == 3


def test_the_counters(stage: Stage) -> None:
    container = stage.add(*STATUSES)
    with stage.open():
        counters = stage.wired.pages.counters(container)
        assert counters is not None
        whole = stage.container(container)
        assert (counters.id, counters.project_id, counters.log_count) == (container, whole.project_id, len(STATUSES))
        assert (counters.to_counts, counters.from_counts) == (whole.to_counts, whole.from_counts)
        assert stage.wired.pages.counters("e" * 24) is None


@pytest.mark.parametrize("name", ["log_count", "to_counts", "from_counts"])
def test_a_container_without_counters_is_damaged(stage: Stage, name: str) -> None:
    """Every writer stores the counters. Without them, an existing history would look empty."""
    container = stage.add("stopped")
    del stage.dynamodb.tables["containers"].items[(container,)][name]
    with stage.open(), pytest.raises(UnreadableItemError):
        getattr(stage.wired.pages.counters(container), name)
