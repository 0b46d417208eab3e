"""Tests of the ranks of rows and the intervals of pages, compared with sorting the whole history."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.aws.access import Access
from longshore.aws.history_pages import HistoryPages, shown
from longshore.aws.items import container_item, log_item
from longshore.domain.clock import MILLISECOND, SystemClock, to_text
from longshore.domain.errors import UnreadableItemError
from longshore.domain.facts import Observed, Requested
from longshore.domain.history import Entry, append
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pages import Span, StatusLogsQuery, page_of, rank_key
from longshore.domain.pending import Trigger
from longshore.domain.ranges import between
from longshore.domain.views import StatusLogsPage
from longshore.engine.reader import HistoryReader

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
SORTS = ["transition_time", "created_at", "to_status", "from_status"]
LIMITS = [1, 3, 7, 10, 100]
# Pairs of a seed and a number of rows.
HISTORIES = [(1, 1), (2, 2), (3, 7), (4, 10), (5, 41), (6, 100), (7, 101), (8, 230)]


def empty(status: Status = Status.STOPPED) -> Container:
    return Container(
        id="507f1f77bcf86cd799439011",
        project_id="507f1f77bcf86cd799439033",
        name="demo",
        status=status,
        status_since=START,
        runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        created_at=START,
        updated_at=START,
    )


def change(status: Status, at: datetime, **more: Any) -> Change:
    return Change(to_status=status, observed_at=at, triggered_by=Trigger.USER, **more)


def history(seed: int, rows: int) -> tuple[Container, list[Entry], list[datetime]]:
    """Return a container with this number of changes, its rows, and the time of each change. Clocks jump."""
    choose = random.Random(seed)
    container = empty(choose.choice(list(Status)))
    entries: list[Entry] = []
    observed: list[datetime] = []
    moment = START
    for number in range(rows):
        moment += timedelta(milliseconds=choose.choice([-5000, -1, 0, 0, 1, 2, 900, 60_000]))
        now = moment + timedelta(milliseconds=choose.choice([-3000, 0, 0, 12, 400]))
        container, entry = append(container, change(choose.choice(list(Status)), moment), f"{number:024x}", now)
        entries.append(entry)
        observed.append(moment)
    return container, entries, observed


def ascending(entries: list[Entry], sort_by: str) -> list[Entry]:
    """Sort all entries: null first, equal values by time."""

    def key(entry: Entry) -> tuple[Any, datetime]:
        value = getattr(entry.log, sort_by)
        return ("" if value is None else value, entry.log.transition_time)

    return sorted(entries, key=key)


def within(entries: list[Entry], where: Span) -> list[Entry]:
    """Return the entries that a Query of the span reads, in the order of the Query."""
    found = [entry for entry in entries if where.low <= getattr(entry, where.attribute) <= where.high]
    return sorted(found, key=lambda entry: getattr(entry, where.attribute), reverse=not where.ascending)


@pytest.mark.parametrize(("seed", "rows"), HISTORIES)
@pytest.mark.parametrize("sort_by", SORTS)
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("limit", LIMITS)
def test_every_page_is_a_slice_of_the_sorted_whole(
    seed: int, rows: int, sort_by: str, sort_order: str, limit: int
) -> None:
    container, entries, _ = history(seed, rows)
    whole = ascending(entries, sort_by)
    if sort_order == "desc":
        whole.reverse()
    pages = -(-rows // limit)
    joined: list[Entry] = []
    for page in range(1, pages + 1):
        where = span(container, query(page, limit, sort_by, sort_order))
        assert where is not None
        joined += within(entries, where)
        assert joined == whole[: page * limit]
    assert joined == whole
    assert span(container, query(pages + 1, limit, sort_by, sort_order)) is None
    assert span(container, query(2**53 - 1, limit, sort_by, sort_order)) is None


def span(container: Container, query: StatusLogsQuery) -> Span | None:
    """Return the position of a page of the whole history, which is one Query, or None if it is past the end."""
    spans = page_of(between(container, None, None), query).spans
    assert len(spans) <= 1
    return spans[0] if spans else None


def query(page: int, limit: int, sort_by: str, sort_order: str) -> StatusLogsQuery:
    given = {"page": [str(page)], "limit": [str(limit)], "sort_by": [sort_by], "sort_order": [sort_order]}
    return StatusLogsQuery.parse(given)[0]


@pytest.mark.parametrize(
    ("sort_by", "index", "attribute"),
    [
        ("transition_time", "by-seq", "seq"),
        ("created_at", "by-seq", "seq"),
        ("to_status", "by-to-status", "to_rank"),
        ("from_status", "by-from-status", "from_rank"),
    ],
)
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_the_index_of_each_order(sort_by: str, index: str, attribute: str, sort_order: str) -> None:
    container, _, _ = history(1, 5)
    where = span(container, query(1, 2, sort_by, sort_order))
    assert where is not None
    assert (where.index_name, where.attribute, where.ascending) == (index, attribute, sort_order == "asc")


@pytest.mark.parametrize("sort_by", SORTS)
def test_an_empty_history_has_no_pages(sort_by: str) -> None:
    assert span(empty(), query(1, 10, sort_by, "asc")) is None


def test_a_page_that_straddles_statuses_is_one_interval() -> None:
    container = empty().model_copy(update={"log_count": 9, "to_counts": {"stopped": 4, "failed": 2, "running": 3}})
    page = span(container, query(2, 4, "to_status", "asc"))
    assert page == Span("by-to-status", "to_rank", "running#0000000003", "stopped#0000000003", ascending=True)


def test_inconsistent_counters_are_an_error() -> None:
    container = empty().model_copy(update={"log_count": 3, "to_counts": {"stopped": 2}})
    with pytest.raises(ValueError, match="have no row 2"):
        span(container, query(1, 3, "to_status", "asc"))


@pytest.mark.parametrize(("seed", "rows"), HISTORIES)
def test_invariants_of_every_history(seed: int, rows: int) -> None:
    container, entries, observed = history(seed, rows)
    to_seen: dict[str, int] = {}
    from_seen: dict[str, int] = {}
    before: Entry | None = None
    for number, (entry, at) in enumerate(zip(entries, observed, strict=True), start=1):
        log = entry.log
        assert entry.seq == number
        assert log.from_status == (before.log.to_status if before else None)
        to_seen[log.to_status] = to_seen.get(log.to_status, 0) + 1
        assert entry.to_rank == f"{log.to_status}#{to_seen[log.to_status]:010d}"
        name = log.from_status or ""
        from_seen[name] = from_seen.get(name, 0) + 1
        assert entry.from_rank == f"{name}#{from_seen[name]:010d}"
        if before is not None and at <= before.log.transition_time:
            assert log.transition_time == before.log.transition_time + MILLISECOND
            assert log.metadata == {"observed_at": to_text(at)}
        else:
            assert log.transition_time == at
            assert log.metadata is None
        assert log.created_at >= log.transition_time
        if before is not None:
            assert log.transition_time > before.log.transition_time
            assert log.created_at >= before.log.created_at
        before = entry
    assert before is not None
    assert container.log_count == rows
    assert container.to_counts == to_seen
    assert container.from_counts == {name or "none": count for name, count in from_seen.items()}
    assert container.status == before.log.to_status
    assert container.status_since == container.last_transition_time == before.log.transition_time
    assert container.updated_at == container.last_created_at == before.log.created_at


def test_the_histories_cover_all_cases() -> None:
    """They contain adjusted times, rows created at the same time, and every status."""
    _, entries, _ = history(8, 230)
    assert any(entry.log.metadata for entry in entries)
    assert any(not entry.log.metadata for entry in entries)
    assert len({entry.log.created_at for entry in entries}) < len(entries)
    assert {entry.log.to_status for entry in entries} == set(Status)


@pytest.mark.parametrize("back", [timedelta(0), MILLISECOND, timedelta(hours=1)])
def test_a_change_observed_before_the_last_row_follows_it(back: timedelta) -> None:
    container, _ = append(empty(), change(Status.STOPPED, START), "a" * 24, START)
    late = change(Status.RUNNING, START - back, requested=Requested("start"))
    after, entry = append(container, late, "b" * 24, START - back)
    assert entry.log.transition_time == after.status_since == START + MILLISECOND
    assert entry.log.metadata == {"command": "start", "observed_at": to_text(START - back)}
    # Not before the change that the row records, even if the clock is behind.
    assert entry.log.created_at == START + MILLISECOND


def test_created_at_does_not_go_back_with_the_clock() -> None:
    container, first = append(empty(), change(Status.STOPPED, START), "a" * 24, START + timedelta(hours=1))
    assert first.log.created_at == START + timedelta(hours=1)
    at = START + timedelta(minutes=1)
    _, second = append(container, change(Status.RUNNING, at), "b" * 24, at)
    assert second.log.transition_time == at
    assert second.log.created_at == START + timedelta(hours=1)


def test_a_row_contains_the_change() -> None:
    container, _ = append(empty(), change(Status.STOPPED, START), "a" * 24, START)
    given = change(
        Status.RUNNING,
        START + timedelta(seconds=5),
        duration_ms=3500,
        requested=Requested(command="start"),
        observed=Observed(exit_code=0, reason=""),
        tasks=ledger_of("arn:task", 4),
    )
    after, entry = append(container, given, "b" * 24, START + timedelta(seconds=6))
    assert entry.log.model_dump(mode="json") == {
        "id": "b" * 24,
        "container_id": container.id,
        "from_status": "stopped",
        "to_status": "running",
        "transition_time": "2025-01-15T10:30:05.000Z",
        "created_at": "2025-01-15T10:30:06.000Z",
        "duration_ms": 3500,
        "triggered_by": "user",
        # Only None is left out.
        "metadata": {"command": "start", "exit_code": 0, "reason": ""},
    }
    assert (after.task_arn, after.tasks) == ("arn:task", ledger_of("arn:task", 4))


def test_a_change_without_a_task_keeps_the_task_of_the_container() -> None:
    container = empty().model_copy(update={"tasks": ledger_of("arn:mine", 7)})
    after, _ = append(container, change(Status.STOPPED, START), "a" * 24, START)
    assert after.tasks == ledger_of("arn:mine", 7)


def test_append_does_not_modify_its_argument() -> None:
    container, _, _ = history(3, 7)
    kept = container.model_dump()
    append(container, change(Status.RUNNING, START), "a" * 24, START)
    assert container.model_dump() == kept


@pytest.mark.parametrize(
    ("status", "rank", "key"),
    [("running", 1203, "running#0000001203"), (None, 1, "#0000000001"), ("failed", 9_999_999_999, "failed#9999999999")],
)
def test_rank_key(status: str | None, rank: int, key: str) -> None:
    assert rank_key(status, rank) == key


# --- reading rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "rows"), HISTORIES)
def test_a_row_is_read_as_its_model_would_serialize_it(seed: int, rows: int) -> None:
    """Rows are converted from item to response without a model. Keys, values and their order must be the same."""
    _, entries, _ = history(seed, rows)
    choose = random.Random(seed)
    for entry in entries:
        metadata = choose.choice([None, {"command": "start"}, {"exit_code": 137, "task_id": "a", "more": [None, True]}])
        log = entry.log.model_copy(update={"metadata": metadata, "duration_ms": choose.choice([None, 0, 3500])})
        row = shown(log_item(entry._replace(log=log)))
        assert json.dumps(row) == json.dumps(log.model_dump(mode="json"))


class Tables:
    """A DynamoDB client whose tables contain one container, its rows, and a viewer of its project."""

    def __init__(self, container: Container, entries: list[Entry]) -> None:
        self._item = container_item(container)
        self._rows = [log_item(entry) for entry in entries]
        self._grant = {"scope": {"S": f"project#{container.project_id}"}, "role": {"S": "viewer"}}

    def get_item(self, **_: Any) -> Any:
        return {"Item": self._item}

    def query(self, **asked: Any) -> Any:
        return {"Items": [self._grant] if asked["TableName"] == "access" else self._rows}


def test_a_page_equals_its_model() -> None:
    container, entries, _ = history(3, 7)
    tables: Any = Tables(container, entries)
    pages = HistoryPages(tables, containers="containers", status_logs="logs")
    reader = HistoryReader(pages, Access(tables, "access"), SystemClock(), 0)
    page = reader.page("ada", container.id, query(1, 10, "transition_time", "asc"))
    model = StatusLogsPage.model_validate(page)
    assert json.dumps(model.model_dump(mode="json")) == json.dumps(page)
    assert [log.id for log in model.logs] == [entry.log.id for entry in entries]
    assert reader.page("ada", container.id, query(2, 10, "transition_time", "asc")) == {
        "logs": [],
        "pagination": {"total": 7, "page": 2, "limit": 10, "totalPages": 1},
    }


def test_the_counters_of_a_container() -> None:
    container, entries, _ = history(3, 7)
    tables: Any = Tables(container, entries)
    pages = HistoryPages(tables, containers="containers", status_logs="logs")
    read = pages.counters(container.id)
    assert read
    assert read[:3] == (container.id, container.project_id, 7)
    assert (read.to_counts, read.from_counts) == (container.to_counts, container.from_counts)
    tables._item = {"project_id": {"S": container.project_id}}
    with pytest.raises(UnreadableItemError):
        pages.counters(container.id)
