"""Tests of the lists of containers: the query, the filters, the order and the cursor."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from longshore.domain.listing import SORT_COLUMNS, SORT_ORDERS, ContainersQuery, Entry, Position, arranged

PROJECT = "507f1f77bcf86cd799439033"
OTHER = "507f1f77bcf86cd799439044"
ID = "507f1f77bcf86cd799439011"

ENTRIES = [
    Entry("03" * 12, "web", "running", "2025-01-03", "2025-01-09", {"env": "dev", "team": "a"}),
    Entry("01" * 12, "web", "stopped", "2025-01-01", "2025-01-09", {"env": "prod"}),
    Entry("02" * 12, "Éclair", "running", "2025-01-02", "2025-01-05", {"env": ""}),
    Entry("04" * 12, "API", "failed", "2025-01-03", "2025-01-06"),
    Entry("05" * 12, "straße \U0001f600", "expired", "2025-01-04", "2025-01-07", {"tier": "a:b"}),
    Entry("06" * 12, "\uffee", "paused", "2025-01-05", "2025-01-08"),
]


def parse(project: str | None = PROJECT, **given: str | Sequence[str]) -> tuple[ContainersQuery, dict[str, str]]:
    values = {name: [value] if isinstance(value, str) else value for name, value in given.items()}
    return ContainersQuery.parse(values, project)


def query_of(project: str | None = PROJECT, **given: str | Sequence[str]) -> ContainersQuery:
    query, faults = parse(project, **given)
    assert faults == {}
    return query


def found(**given: str | Sequence[str]) -> set[str]:
    return {entry.id[:2] for entry in arranged(ENTRIES, query_of(PROJECT, **given))}


def test_the_defaults() -> None:
    query = query_of()
    assert query == ContainersQuery(PROJECT, 1, 50, "name", "asc", (), "", (), False, None)
    assert query.has_cursor


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"page": "0"}, {"page": "must be >= 1"}),
        ({"page": "x"}, {"page": "must be integer"}),
        ({"limit": "101"}, {"limit": "must be <= 100"}),
        ({"limit": "0"}, {"limit": "must be >= 1"}),
        ({"limit": ["1", "2"]}, {"limit": "must be given once"}),
        ({"sort_by": "project_id"}, {"sort_by": "must be one of: name, status, created_at, updated_at, id"}),
        ({"sort_by": ""}, {"sort_by": "must be one of: name, status, created_at, updated_at, id"}),
        ({"sort_order": "up"}, {"sort_order": "must be one of: asc, desc"}),
        ({"status": ["running", "paused"]}, {"status": "must be given once"}),
        ({"name": ["a", "b"]}, {"name": "must be given once"}),
        ({"cursor": ["", ""]}, {"cursor": "must be given once"}),
        ({"page": "0", "limit": "0"}, {"page": "must be >= 1", "limit": "must be >= 1"}),
    ],
)
def test_faults(given: dict[str, Any], faults: dict[str, str]) -> None:
    assert parse(**given)[1] == faults


@pytest.mark.parametrize("status", ["", ",", "running,", "Running", "running, paused", "melted", "running;paused"])
def test_unknown_statuses_are_faults(status: str) -> None:
    assert parse(status=status)[1] == {
        "status": "must be one or more of, separated by commas: stopped, running, paused, failed, expired"
    }


@pytest.mark.parametrize("label", ["", ":", ":x", "ENV:dev", "a b", "k" * 64, "env:" + "v" * 129, "é"])
def test_malformed_labels_are_faults(label: str) -> None:
    assert parse(label=["env:dev", label])[1].keys() == {"label"}


def test_longest_labels() -> None:
    query = query_of(label=["k" * 63 + ":" + "v" * 128, "a.b_c-9", "env:", "env:a:\n"])
    assert query.label == (("k" * 63, "v" * 128), ("a.b_c-9", None), ("env", ""), ("env", "a:\n"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"01", "02", "03", "04", "05", "06"}),
        ({"status": "running"}, {"02", "03"}),
        ({"status": "running,failed,running"}, {"02", "03", "04"}),
        ({"name": "WEB"}, {"01", "03"}),
        ({"name": "éCL"}, {"02"}),
        ({"name": "STRASSE"}, {"05"}),
        ({"name": ""}, {"01", "02", "03", "04", "05", "06"}),
        ({"name": "nothing"}, set()),
        ({"label": "env"}, {"01", "02", "03"}),
        ({"label": "env:dev"}, {"03"}),
        ({"label": "env:"}, {"02"}),
        ({"label": ["env", "team:a"]}, {"03"}),
        ({"label": ["env:dev", "env:prod"]}, set()),
        ({"label": "tier:a:b"}, {"05"}),
        ({"status": "running", "name": "e", "label": "env:dev"}, {"03"}),
    ],
)
def test_filters(given: dict[str, Any], expected: set[str]) -> None:
    assert found(**given) == expected


@pytest.mark.parametrize("sort_by", SORT_COLUMNS)
def test_orders(sort_by: str) -> None:
    ascending = arranged(ENTRIES, query_of(sort_by=sort_by))
    assert [(getattr(entry, sort_by), entry.id) for entry in ascending] == sorted(
        (getattr(entry, sort_by), entry.id) for entry in ENTRIES
    )
    assert arranged(ENTRIES, query_of(sort_by=sort_by, sort_order="desc")) == ascending[::-1]


def test_the_order_by_name_is_that_of_its_bytes() -> None:
    names = [entry.name for entry in arranged(ENTRIES, query_of())]
    assert names == sorted(names, key=str.encode)


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ({}, {"id", "name"}),
        ({"sort_by": "id"}, {"id"}),
        ({"sort_by": "status", "name": "x"}, {"id", "status", "name"}),
        ({"status": "failed", "label": "env"}, {"id", "name", "status", "labels"}),
    ],
)
def test_only_necessary_attributes_are_read(given: dict[str, Any], attributes: set[str]) -> None:
    assert query_of(**given).attributes == attributes


# --- The cursor -------------------------------------------------------------------------------------------------------


def cursor_of(**content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


def valid(**changes: Any) -> dict[str, Any]:
    return {"project_id": PROJECT, "sort_order": "asc", "name": "web", "id": ID} | changes


@pytest.mark.parametrize("name", ["web", "a" * 128, 'Éclair \U0001f600 \\ "', "x"])
@pytest.mark.parametrize("sort_order", SORT_ORDERS)
def test_a_cursor_is_the_position_after_an_entry(name: str, sort_order: str) -> None:
    cursor = query_of(sort_order=sort_order).next_cursor(Entry(ID, name))
    assert cursor is not None
    query = query_of(sort_order=sort_order, cursor=cursor, limit="7")
    assert query.after == Position(name, ID)
    assert query.walks


def test_an_empty_cursor_is_the_first_page() -> None:
    query = query_of(cursor="")
    assert query.walks
    assert query.after is None


@pytest.mark.parametrize(
    "given",
    [
        {"sort_by": "status"},
        {"status": "running"},
        {"name": "a"},
        {"label": "env"},
    ],
)
def test_other_sorts_and_filters_have_no_cursor(given: dict[str, Any]) -> None:
    assert query_of(**given).next_cursor(ENTRIES[0]) is None
    fault = "requires a project and sort_by=name, and excludes filters and page"
    assert parse(cursor="", **given)[1] == {"cursor": fault}


def test_the_list_over_all_projects_has_no_cursor() -> None:
    assert query_of(None).next_cursor(ENTRIES[0]) is None
    assert parse(None, cursor="")[1].keys() == {"cursor"}


def test_a_cursor_excludes_a_page() -> None:
    assert parse(cursor="", page="1")[1].keys() == {"cursor"}


def test_this_form_of_cursor_is_valid() -> None:
    """The tests of malformed cursors depend on it."""
    assert query_of(cursor=cursor_of(**valid())).after == Position("web", ID)


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "====",
        "é",
        "bm90IGpzb24",
        "W10",
        "bnVsbA",
        "A" * 5000,
        cursor_of(),
        cursor_of(**valid(project_id=OTHER)),
        cursor_of(**valid(project_id=None)),
        cursor_of(**valid(sort_order="desc")),
        cursor_of(**valid(name="")),
        cursor_of(**valid(name=5)),
        cursor_of(**valid(name="\ud800")),
        cursor_of(**valid(name="n" * 1025)),
        cursor_of(**valid(id="x")),
        cursor_of(**valid(id=None)),
        cursor_of(**valid(more=1)),
        cursor_of(**valid())[:-1],
        cursor_of(**valid()) + "=",
        cursor_of(**valid()) + "\n",
        base64.urlsafe_b64encode(json.dumps(valid()).encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("="),
    ],
)
def test_malformed_and_foreign_cursors_are_faults(cursor: str) -> None:
    query, faults = parse(cursor=cursor)
    assert faults == {"cursor": "must be the next_cursor of a page of the same list"}
    assert query.after is None
