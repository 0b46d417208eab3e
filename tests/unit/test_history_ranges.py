"""Tests of filters of a history, with random histories and compared with filtering and sorting all rows."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from longshore.aws.history_pages import HistoryPages
from longshore.aws.items import log_item
from longshore.domain.clock import to_text
from longshore.domain.errors import UnreadableItemError
from longshore.domain.history import Entry
from longshore.domain.lifecycle import Status
from longshore.domain.models import Container
from longshore.domain.pages import SORT_COLUMNS, STATUS_COLUMNS, StatusLogsQuery
from longshore.domain.ranges import NO_STATUS, expanded, shortened
from longshore.engine.reader import HistoryReader
from unit.histories import START, EverybodyReads, PagesInMemory, Stopped, random_history, row

SOME = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def queries(sort_by: str) -> dict[str, list[str]]:
    """Return the filters by status that a sort column allows."""
    columns = STATUS_COLUMNS if sort_by not in STATUS_COLUMNS else (sort_by,)
    return {column: list(Status) for column in columns}


@st.composite
def asked(draw: Any) -> StatusLogsQuery:
    """A valid query, whose times have up to microseconds and lie around the history."""

    def moment() -> str | None:
        if draw(st.booleans()):
            return None
        at = START + timedelta(milliseconds=draw(st.integers(-5, 120)), microseconds=draw(st.sampled_from([0, 1, 999])))
        return at.isoformat()

    sort_by = draw(st.sampled_from(SORT_COLUMNS))
    since, until = moment(), moment()
    if since and until and since > until:
        since, until = until, since
    filters = [None, *((column, status) for column, all_of in queries(sort_by).items() for status in all_of)]
    chosen = draw(st.sampled_from(filters))
    given_ = {
        "page": str(draw(st.integers(1, 4))),
        "limit": str(draw(st.sampled_from([1, 2, 3, 7, 100]))),
        "sort_by": sort_by,
        "sort_order": draw(st.sampled_from(["asc", "desc"])),
        **({"from": since} if since else {}),
        **({"to": until} if until else {}),
        **(dict([chosen]) if chosen else {}),
    }
    query, faults = StatusLogsQuery.parse({name: [value] for name, value in given_.items()})
    assert faults == {}
    return query


def matching(entries: list[Entry], query: StatusLogsQuery) -> list[Entry]:
    """Filter and sort all entries: null first, equal values by time."""

    def matches(entry: Entry) -> bool:
        at = to_text(entry.log.transition_time).removesuffix("Z") + "000"
        if (query.since and at < exact(query.since)) or (query.until and at > exact(query.until)):
            return False
        return query.column is None or query.status in (None, getattr(entry.log, query.column))

    return sorted(
        filter(matches, entries),
        key=lambda entry: (getattr(entry.log, query.sort_by) or "", entry.log.transition_time),
        reverse=query.sort_order == "desc",
    )


def exact(moment: Any) -> str:
    """Return the time with microseconds, as text that sorts in the order of time."""
    return f"{moment.second:%Y-%m-%dT%H:%M:%S}.{moment.fraction:0<6}"


def read(pages: PagesInMemory, query: StatusLogsQuery, retention: int = 0, now: datetime = START) -> Any:
    parts: Any = (pages, EverybodyReads(), Stopped(now), retention)
    return HistoryReader(*parts).page("ada", "507f1f77bcf86cd799439011", query)


@SOME
@given(st.integers(0, 10**6), st.integers(1, 40), asked())
def test_a_page_equals_filtering_and_sorting_all_rows(seed: int, rows: int, query: StatusLogsQuery) -> None:
    container, entries = random_history(seed, rows)
    pages = PagesInMemory(container, entries)
    check(pages, query, entries)
    assert pages.queries <= (len(Status) + 1 if query.has_range else 1)


@SOME
@given(st.integers(0, 10**6), st.integers(2, 40), asked(), st.data())
def test_newer_rows_than_the_counters_are_not_in_the_page(
    seed: int, rows: int, query: StatusLogsQuery, data: Any
) -> None:
    """The counters are read while rows are added."""
    _, entries = random_history(seed, rows)
    at_read = data.draw(st.integers(1, rows - 1))
    container, _ = random_history_up_to(seed, rows, at_read)
    check(PagesInMemory(container, entries), query, entries[:at_read])


def random_history_up_to(seed: int, rows: int, count: int) -> tuple[Container, list[Entry]]:
    """Return the container and the rows of a random history after its first `count` rows."""
    container, entries = random_history(seed, rows)
    counts = entries[count - 1].counts
    before = {
        "log_count": count,
        "to_counts": dict(counts.to_counts),
        "from_counts": dict(counts.from_counts),
    }
    return container.model_copy(update=before), entries[:count]


def check(
    pages: PagesInMemory, query: StatusLogsQuery, entries: list[Entry], retention: int = 0, now: datetime = START
) -> None:
    expected = matching(entries, query)
    first = (query.page - 1) * query.limit
    found = read(pages, query, retention, now)
    assert found["logs"] == [row(entry) for entry in expected[first : first + query.limit]]
    assert found["pagination"] == {
        "total": len(expected),
        "page": query.page,
        "limit": query.limit,
        "totalPages": -(-len(expected) // query.limit),
    }


def test_the_pages_of_a_query_joined_are_all_matching_rows() -> None:
    container, entries = random_history(8, 200)
    middle = [to_text(entries[at].log.transition_time) for at in (31, 170)]
    for sort_by in SORT_COLUMNS:
        for order in ("asc", "desc"):
            given_ = {"sort_by": [sort_by], "sort_order": [order], "from": middle[:1], "to": middle[1:], "limit": ["7"]}
            joined: list[Any] = []
            for page in range(1, 22):
                query, _ = StatusLogsQuery.parse({**given_, "page": [str(page)]})
                joined += read(PagesInMemory(container, entries), query)["logs"]
            assert [log["id"] for log in joined] == [entry.log.id for entry in matching(entries, query)]
            assert len(joined) == 140


@given(st.dictionaries(st.sampled_from([*Status, NO_STATUS]), st.integers(1, 10**7)))
@example({})
@settings(derandomize=True, database=None)
def test_shortened_counters_are_read_again(counts: dict[str, int]) -> None:
    assert all(len(letter) == 1 for letter in shortened(counts))
    assert expanded(shortened(counts)) == counts


def test_counters_of_statuses_of_later_versions_are_left_out() -> None:
    assert expanded({"s": 3, "z": 1}) == {"stopped": 3}


def test_the_last_row_carries_the_counters_of_the_container() -> None:
    container, entries = random_history(3, 30)
    item = log_item(entries[-1])
    assert item["project_id"] == {"S": container.project_id}
    for name, counts in (("to_n", container.to_counts), ("from_n", container.from_counts)):
        assert item[name] == {"M": {status[0]: {"N": str(count)} for status, count in counts.items()}}


def test_the_counters_and_the_project_take_little_space() -> None:
    """A row has four copies in one item collection, whose size is limited, and one in the index by project."""
    counts = {"stopped": 1_000_000, "running": 1_000_000, "paused": 500_000, "failed": 1000, "expired": 1}
    added = str({"to_n": shortened(counts), "from_n": shortened(counts | {NO_STATUS: 1})})
    assert len(added) < 200


def test_contradicting_counters_are_an_error() -> None:
    container, entries = random_history(3, 30)
    wrong = container.model_copy(update={"to_counts": {"stopped": 2}})
    query, _ = StatusLogsQuery.parse({"sort_by": ["to_status"], "page": ["3"]})
    with pytest.raises(ValueError, match="have no row"):
        read(PagesInMemory(wrong, entries), query)


@pytest.mark.parametrize("damaged", [{"to_n"}, {"from_n"}, {"to_n", "from_n"}])
def test_a_row_without_counters_cannot_be_read(damaged: set[str]) -> None:
    _, entries = random_history(3, 30)
    item = {name: value for name, value in log_item(entries[-1]).items() if name not in damaged}
    client: Any = SimpleNamespace(query=lambda **_: {"Items": [item]})
    pages = HistoryPages(client, containers="containers", status_logs="logs")
    with pytest.raises(UnreadableItemError):
        pages.first_row("507f1f77bcf86cd799439011", "2025-01-01T00:00:00.000Z")
