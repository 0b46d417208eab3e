"""Tests of the retention of a history: pages and totals before and after DynamoDB has deleted rows, in any order."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore.aws.history_pages import Counters
from longshore.aws.items import log_item
from longshore.domain.clock import to_text
from longshore.domain.errors import UnreadableItemError
from longshore.domain.history import Entry
from longshore.domain.pages import SORT_COLUMNS, StatusLogsQuery
from longshore.domain.pending import IDEMPOTENCY_WINDOW
from longshore.domain.ranges import NO_ROWS, Counts
from longshore.domain.retention import MARGIN, SHORTEST, expiry, floor_of, oldest, shorter
from longshore.domain.times import EARLIEST
from longshore.engine.settle import ON_ITS_WAY
from unit.histories import START, PagesInMemory, random_history
from unit.test_history_ranges import SOME, asked, check, read

from local import template

RETENTIONS = [0, 7, 30]


def shown(entries: Iterable[Entry], floor: str) -> list[Entry]:
    return [entry for entry in entries if to_text(entry.log.transition_time) >= floor]


@SOME
@given(st.data(), st.integers(0, 10**6), st.integers(1, 40), asked())
def test_a_page_equals_filtering_and_sorting_the_retained_rows(
    data: Any, seed: int, rows: int, query: StatusLogsQuery
) -> None:
    """The floor lies anywhere in the history, and DynamoDB has deleted any of the rows before it."""
    container, entries = random_history(seed, rows)
    setting, own = data.draw(st.sampled_from(RETENTIONS)), data.draw(st.sampled_from([None, 7, 30]))
    # The history begins and ends within a second, so one retention at a time divides it.
    divides = data.draw(st.sampled_from([7, 30]))
    now = START + timedelta(days=divides, milliseconds=data.draw(st.integers(-5, 130)))
    container = container.model_copy(update={"history_retention": own})
    stored = data.draw(st.none() | st.sampled_from(entries))
    hidden, at = NO_ROWS, EARLIEST
    if stored is not None:
        before = [entry for entry in entries if entry.seq < stored.seq]
        hidden, at = before[-1].counts if before else NO_ROWS, to_text(stored.log.transition_time)
    floor = max(oldest(now, setting, own), at)
    retained = shown(entries, floor)
    expired = [entry.seq for entry in entries if entry not in retained]
    deleted = data.draw(st.frozensets(st.sampled_from(expired))) if expired else frozenset()
    pages = PagesInMemory(container, entries, deleted, hidden)
    check(pages, query, retained, setting, now)
    # Only a lengthened retention that is not applied yet takes another read.
    assert pages.edges <= 2 + (own is not None and own < (setting or 31))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", SORT_COLUMNS)
def test_pages_stay_the_same_while_rows_are_deleted(sort_by: str, order: str) -> None:
    container, entries = random_history(8, 120)
    now = entries[50].log.transition_time + timedelta(days=30)
    for deleted in ([], [3], [50, 1], [*range(2, 50, 2)], [*range(1, 51)]):
        joined: list[Any] = []
        for page in range(1, 9):
            query, _ = StatusLogsQuery.parse(
                {"sort_by": [sort_by], "sort_order": [order], "page": [str(page)], "limit": ["10"]}
            )
            found = read(PagesInMemory(container, entries, deleted=frozenset(deleted)), query, 30, now)
            assert (found["pagination"]["total"], found["pagination"]["totalPages"]) == (70, 7)
            joined += found["logs"]
        assert sorted(row["id"] for row in joined) == [entry.log.id for entry in entries[50:]]


def test_all_rows_are_past_the_retention() -> None:
    container, entries = random_history(8, 20)
    now = entries[-1].log.transition_time + timedelta(days=30, milliseconds=1)
    found = read(PagesInMemory(container, entries), StatusLogsQuery(), 30, now)
    assert found == {"logs": [], "pagination": {"total": 0, "page": 1, "limit": 10, "totalPages": 0}}
    whole = read(PagesInMemory(container, entries), StatusLogsQuery(limit=100), 0, now)
    assert len(whole["logs"]) == 20


def test_a_row_at_the_floor_is_shown() -> None:
    container, entries = random_history(8, 20)
    now = entries[9].log.transition_time + timedelta(days=7)
    found = read(PagesInMemory(container, entries), StatusLogsQuery(limit=100, sort_order="asc"), 7, now)
    assert [row["id"] for row in found["logs"]] == [entry.log.id for entry in entries[9:]]


@pytest.mark.parametrize(
    ("stored", "setting", "expected"), [(None, 0, None), (7, 0, 7), (None, 7, 7), (7, 30, 7), (30, 7, 7)]
)
def test_the_shorter_retention_is_kept(stored: int | None, setting: int, expected: int | None) -> None:
    assert shorter(stored, setting) == expected


@SOME
@given(st.integers(0, 999_999), st.integers(7, 9999))
def test_a_row_expires_a_day_after_the_floor_has_passed_it(microseconds: int, retention: int) -> None:
    at = START.replace(microsecond=microseconds)
    expires = datetime.fromtimestamp(expiry(at, retention), tz=at.tzinfo)
    assert timedelta(0) <= expires - (at + timedelta(days=retention + 1)) < timedelta(seconds=1)
    assert oldest(expires - timedelta(days=1), retention) >= to_text(at)


def test_the_time_to_live_is_far_longer_than_an_operation() -> None:
    """Drivers read rows to learn how other workers ended an operation, and Idempotency-Keys are kept for a day."""
    assert timedelta(days=SHORTEST) > 2 * IDEMPOTENCY_WINDOW + ON_ITS_WAY + MARGIN
    pattern = re.compile(template.translate()["Parameters"]["HistoryRetentionDays"]["AllowedPattern"])
    allowed = [days for days in range(10_001) if pattern.fullmatch(str(days))]
    assert allowed == [0, *range(SHORTEST, 10_000)]


def test_a_row_has_a_time_to_live_only_with_a_retention() -> None:
    _, (entry, *_) = random_history(8, 1)
    assert "expires_at" not in log_item(entry)
    assert log_item(entry, 7) == log_item(entry) | {"expires_at": {"N": str(expiry(entry.log.transition_time, 7))}}


def test_the_floor_of_an_item() -> None:
    now = START
    stored = {"history_floor": {"at": to_text(now - timedelta(days=10))}}
    assert floor_of({}, now, 0) == EARLIEST
    assert floor_of({}, now, 30) == floor_of({"history_retention": 30}, now, 0) == oldest(now, 30)
    assert floor_of({"history_retention": 7}, now, 30) == oldest(now, 7)
    assert floor_of(stored | {"history_retention": 30}, now, 0) == to_text(now - timedelta(days=10))
    assert floor_of(stored, now, 7) == oldest(now, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history_retention", {"S": "7"}),
        ("history_retention", {"N": "seven"}),
        ("history_floor", {"S": "2025"}),
        ("history_floor", {"M": {"log_count": {"N": "3"}}}),
        ("history_floor", {"M": {"log_count": {"N": "x"}}}),
    ],
)
def test_a_damaged_item_is_reported(name: str, value: Any) -> None:
    """Without its floor, totals would count rows that DynamoDB may have deleted."""
    counters = Counters("a" * 24, "b" * 24, 3, {name: value})
    with pytest.raises(UnreadableItemError):
        _ = (counters.retention, counters.hidden)


def test_the_stored_floor_of_an_item() -> None:
    counts = {"log_count": {"N": "3"}, "to_counts": {"M": {"running": {"N": "3"}}}, "from_counts": {"M": {}}}
    counters = Counters("a" * 24, "b" * 24, 3, {"history_floor": {"M": {"at": {"S": "x"}, **counts}}})
    assert counters.hidden == Counts(3, {"running": 3}, {})
    assert Counters("a" * 24, "b" * 24, 3, {}).hidden == NO_ROWS
