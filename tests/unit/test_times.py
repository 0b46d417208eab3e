"""Tests of times that callers send, and of the filters of status-logs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore.domain.pages import StatusLogsQuery
from longshore.domain.times import EARLIEST, LATEST, Moment

NOT_A_TIME = "must be an RFC 3339 time with an offset, such as 2025-01-15T10:30:00Z"
STATUSES = "must be one of: stopped, running, paused, failed, expired"


def parse(text: str) -> Moment:
    moment = Moment.parse(text)
    assert moment is not None
    return moment


@pytest.mark.parametrize(
    ("text", "floor", "ceiling"),
    [
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-15t10:30:00z", "2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-15 10:30:00Z", "2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-15T10:30:00.5Z", "2025-01-15T10:30:00.500Z", "2025-01-15T10:30:00.500Z"),
        ("2025-01-15T10:30:00.0005Z", "2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00.001Z"),
        ("2025-01-15T10:30:00.123000000Z", "2025-01-15T10:30:00.123Z", "2025-01-15T10:30:00.123Z"),
        ("2025-01-15T10:30:00.1230000001Z", "2025-01-15T10:30:00.123Z", "2025-01-15T10:30:00.124Z"),
        ("2025-12-31T23:59:59.9999999Z", "2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00.000Z"),
        ("2025-01-15T10:30:00+02:00", "2025-01-15T08:30:00.000Z", "2025-01-15T08:30:00.000Z"),
        ("2025-01-15T10:30:00-00:00", "2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-01T00:30:00+01:00", "2024-12-31T23:30:00.000Z", "2024-12-31T23:30:00.000Z"),
        ("0001-01-01T00:00:00+14:00", EARLIEST, EARLIEST),
        ("0000-02-29T00:00:00.5Z", EARLIEST, EARLIEST),
        ("9999-12-31T23:59:59-14:00", LATEST, LATEST),
        ("9999-12-31T23:59:59.9999Z", LATEST, LATEST),
    ],
)
def test_valid_times(text: str, floor: str, ceiling: str) -> None:
    assert (parse(text).floor(), parse(text).ceiling()) == (floor, ceiling)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2025-01-15",
        "2025-01-15T10:30:00",
        "2025-01-15T10:30:00 02:00",
        "2025-01-15T10:30Z",
        "2025-01-15T10:30:00.Z",
        "2025-01-15T10:30:00,5Z",
        "2025-01-15T10:30:00+0200",
        "2025-01-15T10:30:00+02",
        "2025-01-15T10:30:00+24:00",
        "2025-01-15T10:30:00+02:60",
        "2025-13-15T10:30:00Z",
        "2025-02-29T10:30:00Z",
        "2025-01-15T25:30:00Z",
        "2025-01-15T10:30:60Z",
        "20250115T103000Z",
        "2025-W03-3T10:30:00Z",
        "0000-13-01T00:00:00Z",
        "1736937000",
        " 2025-01-15T10:30:00Z",
        "2025-01-15T10:30:00Z\n",
        "２025-01-15T10:30:00Z",  # noqa: RUF001
    ],
)
@pytest.mark.parametrize("name", ["from", "to"])
def test_invalid_times(text: str, name: str) -> None:
    assert Moment.parse(text) is None
    assert StatusLogsQuery.parse({name: [text]})[1] == {name: NOT_A_TIME}


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001
@settings(derandomize=True, database=None, deadline=None)
def test_times_are_rounded_to_the_milliseconds_around_them(local: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    moment = parse(f"{local.isoformat(timespec='microseconds')}{offset}")
    exact = (local - timedelta(minutes=minutes)).replace(tzinfo=UTC)
    floor, ceiling = (datetime.fromisoformat(text) for text in (moment.floor(), moment.ceiling()))
    assert floor <= exact <= ceiling
    assert ceiling - floor == timedelta(milliseconds=1 if exact.microsecond % 1000 else 0)


@pytest.mark.parametrize(
    ("since", "until", "is_valid"),
    [
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00Z", True),
        ("2025-01-15T10:30:00.0001Z", "2025-01-15T10:30:00.0002Z", True),
        ("2025-01-15T10:30:00.0002Z", "2025-01-15T10:30:00.0001Z", False),
        ("2025-01-15T10:30:00.25Z", "2025-01-15T10:30:00.3Z", True),
        ("2025-01-15T10:30:00.100Z", "2025-01-15T10:30:00.1Z", True),
        ("2025-01-15T12:30:00+02:00", "2025-01-15T10:30:00Z", True),
        ("2025-01-15T10:30:01Z", "2025-01-15T10:30:00Z", False),
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00+00:01", False),
    ],
)
def test_the_order_of_from_and_to(since: str, until: str, is_valid: bool) -> None:
    _, faults = StatusLogsQuery.parse({"from": [since], "to": [until]})
    assert faults == ({} if is_valid else {"from": "must not be after to"})


@pytest.mark.parametrize(
    ("given_", "faults"),
    [
        ({"to_status": "running", "from_status": "stopped"}, {"from_status": "cannot be combined with to_status"}),
        (
            {"to_status": "running", "sort_by": "from_status"},
            {"sort_by": "must be transition_time, created_at or to_status with the filter to_status"},
        ),
        (
            {"from_status": "running", "sort_by": "to_status"},
            {"sort_by": "must be transition_time, created_at or from_status with the filter from_status"},
        ),
        ({"to_status": "none"}, {"to_status": STATUSES}),
        ({"from_status": ""}, {"from_status": STATUSES}),
        ({"to_status": "running,stopped"}, {"to_status": STATUSES}),
        ({"to_status": "running", "sort_by": "to_status"}, {}),
        ({"from_status": "running", "sort_by": "from_status"}, {}),
        ({"from_status": "expired", "sort_by": "created_at"}, {}),
    ],
)
def test_filters_by_status(given_: dict[str, str], faults: Any) -> None:
    assert StatusLogsQuery.parse({name: [value] for name, value in given_.items()})[1] == faults


@pytest.mark.parametrize("name", ["from", "to", "to_status", "from_status"])
def test_a_repeated_filter(name: str) -> None:
    value = "running" if name.endswith("status") else "2025-01-15T10:30:00Z"
    assert StatusLogsQuery.parse({name: [value, value]})[1] == {name: "must be given once"}
