"""Tests of the times of schedules: time zones, clock changes, rates and single times."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from longshore.domain.timetable import LONGEST_EXPRESSION, next_runs, timetable, zone_of
from unit.test_cron import independent, random_fields

ZONES = [
    "Africa/Cairo",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
]
BERLIN = "Europe/Berlin"


def runs(expression: str, zone: str, after: str, count: int = 3) -> list[str]:
    found = zone_of(zone)
    assert found is not None
    times = next_runs(timetable(expression, found), datetime.fromisoformat(after), count)
    return [f"{time:%Y-%m-%d %H:%M}" for time in times]


# --- another implementation -------------------------------------------------------------------------------------------


def is_far_from_a_clock_change(moment: datetime, zone: ZoneInfo) -> bool:
    days = [(moment + timedelta(days=days)).astimezone(zone).utcoffset() for days in range(-2, 3)]
    return len(set(days)) == 1


@pytest.mark.parametrize("zone_name", ZONES)
def test_runs_of_random_crons_equal_those_of_another_implementation(zone_name: str) -> None:
    """The other implementation knows no time zones: its local times are converted."""
    chance, zone = random.Random(zone_name), ZoneInfo(zone_name)
    compared = 0
    for _ in range(200):
        fields = random_fields(chance)
        after = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(10 * 365 * 24 * 60))
        local = independent(fields, after.astimezone(zone).replace(tzinfo=None), 3)
        expected = [time.replace(tzinfo=zone).astimezone(UTC) for time in local]
        if not all(is_far_from_a_clock_change(moment, zone) for moment in (after, *expected)):
            continue
        assert next_runs(timetable(f"cron({fields})", zone), after, 3)[: len(expected)] == expected, fields
        compared += 1
    assert compared > 150


# --- clock changes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # The clocks are set forward: the time that is skipped does not run.
        (
            "cron(30 2 * * ? *)",
            BERLIN,
            "2026-03-27T12:00Z",
            ["2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30"],
        ),
        (
            "cron(0 2 * * ? *)",
            "America/New_York",
            "2026-03-07T12:00Z",
            ["2026-03-09 06:00", "2026-03-10 06:00", "2026-03-11 06:00"],
        ),
        # The last time before, and the first after the change.
        ("cron(59 1 29 3 ? 2026)", BERLIN, "2026-03-01T00:00Z", ["2026-03-29 00:59"]),
        ("cron(0 3 29 3 ? 2026)", BERLIN, "2026-03-01T00:00Z", ["2026-03-29 01:00"]),
        # The clocks are set back: the time that occurs twice runs once.
        (
            "cron(30 2 * * ? *)",
            BERLIN,
            "2026-10-24T12:00Z",
            ["2026-10-25 00:30", "2026-10-26 01:30", "2026-10-27 01:30"],
        ),
        # It does not run again if the schedule is saved between the two, or in the hour that is repeated.
        ("cron(30 2 25 10 ? 2026)", BERLIN, "2026-10-25T00:29Z", ["2026-10-25 00:30"]),
        ("cron(30 2 25 10 ? 2026)", BERLIN, "2026-10-25T00:30Z", []),
        ("cron(30 2 25 10 ? 2026)", BERLIN, "2026-10-25T01:10Z", []),
        (
            "cron(0/30 * * * ? *)",
            BERLIN,
            "2026-10-25T00:00Z",
            ["2026-10-25 00:30", "2026-10-25 02:00", "2026-10-25 02:30"],
        ),
        (
            "cron(0/30 * * * ? *)",
            BERLIN,
            "2026-10-25T01:10Z",
            ["2026-10-25 02:00", "2026-10-25 02:30", "2026-10-25 03:00"],
        ),
        (
            "cron(0/30 * * * ? *)",
            BERLIN,
            "2026-03-29T00:00Z",
            ["2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30"],
        ),
        # Working hours across both changes.
        (
            "cron(0 8 ? * MON-FRI *)",
            BERLIN,
            "2026-03-27T00:00Z",
            ["2026-03-27 07:00", "2026-03-30 06:00", "2026-03-31 06:00"],
        ),
        (
            "cron(0 18 ? * MON-FRI *)",
            BERLIN,
            "2026-10-23T00:00Z",
            ["2026-10-23 16:00", "2026-10-26 17:00", "2026-10-27 17:00"],
        ),
        # A change of half an hour, at midnight, and a day that did not occur.
        (
            "cron(15 2 * * ? *)",
            "Australia/Lord_Howe",
            "2026-10-02T00:00Z",
            ["2026-10-02 15:45", "2026-10-04 15:15", "2026-10-05 15:15"],
        ),
        (
            "cron(0 0 * * ? *)",
            "America/Santiago",
            "2026-09-05T00:00Z",
            ["2026-09-05 04:00", "2026-09-07 03:00", "2026-09-08 03:00"],
        ),
        ("cron(0 12 30 12 ? 2011)", "Pacific/Apia", "2011-01-01T00:00Z", []),
        # A day of a rate has 24 hours.
        ("rate(1 day)", BERLIN, "2026-03-28T07:00Z", ["2026-03-29 07:00", "2026-03-30 07:00", "2026-03-31 07:00"]),
        ("rate(2 days)", BERLIN, "2026-10-24T06:00Z", ["2026-10-26 06:00", "2026-10-28 06:00", "2026-10-30 06:00"]),
        ("rate(1 hour)", BERLIN, "2026-10-25T00:00Z", ["2026-10-25 01:00", "2026-10-25 02:00", "2026-10-25 03:00"]),
        # A single time that occurs twice runs once.
        ("at(2026-10-25T02:30:00)", BERLIN, "2026-10-01T00:00Z", ["2026-10-25 00:30"]),
        ("at(2026-10-25T02:30:00)", BERLIN, "2026-10-25T00:30Z", []),
    ],
)
def test_clock_changes(expression: str, zone: str, after: str, expected: list[str]) -> None:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#daylist-savings-time"""
    assert runs(expression, zone, after) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_runs_increase_and_never_repeat_a_local_time(zone: str) -> None:
    found = zone_of(zone)
    assert found is not None
    times = list(islice(timetable("cron(0/30 * * * ? *)", found).runs_after(datetime(2025, 1, 1, tzinfo=UTC)), 18_000))
    assert times == sorted(set(times))
    assert times[-1].year == 2026
    local = [time.astimezone(found).replace(tzinfo=None) for time in times]
    assert local == sorted(set(local))


def test_a_single_time_that_does_not_occur_is_invalid() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        timetable("at(2026-03-29T02:30:00)", ZoneInfo(BERLIN))


# --- expressions ------------------------------------------------------------------------------------------------------


def test_a_rate_continues_from_its_start() -> None:
    start = datetime(2025, 1, 15, 10, tzinfo=UTC)
    hourly = timetable("rate(1 hours)", UTC)
    for after, first in (
        (start - timedelta(days=1), start),
        (start - timedelta(seconds=1), start),
        (start, start + timedelta(hours=1)),
        (start + timedelta(minutes=150), start + timedelta(hours=3)),
    ):
        assert next_runs(hourly, after, 2, start) == [first, first + timedelta(hours=1)]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "cron()",
        "cron 0 8 * * ? *",
        "CRON(0 8 * * ? *)",
        "cron(0 8 * * ? *) ",
        "cron(0 8 * * *)",
        f"cron(0 8 * * ? {'2026,' * 50}2026)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(1.5 hours)",
        "rate(5 seconds)",
        "rate(5 weeks)",
        "rate(5)",
        "rate(99999999 days)",
        "at(2025-01-15)",
        "at(2025-01-15T10:30)",
        "at(2025-01-15T10:30:00Z)",
        "at(2025-01-15 10:30:00)",
        "at(2025-02-30T10:30:00)",
        "at(0001-01-01T00:00:00)",
        "every day",
    ],
)
def test_an_invalid_expression(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        timetable(expression, ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(("years", "valid"), [(47, True), (49, False)])
def test_the_longest_expression(years: int, valid: bool) -> None:
    expression = f"cron(0 0 1 1 ? {','.join(['2199'] * years)})"
    assert (len(expression) <= LONGEST_EXPRESSION) is valid
    if valid:
        assert runs(expression, "UTC", "2025-01-01T00:00Z") == ["2199-01-01 00:00"]
    else:
        with pytest.raises(ValueError, match="neither"):
            timetable(expression, UTC)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "US/Eastern"])
def test_time_zones(name: str) -> None:
    assert zone_of(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "Europe/Atlantis",
        "../zoneinfo/UTC",
        "posix/UTC",
        "right/UTC",
        "posixrules",
        "localtime",
        "Factory",
        "zone.tab",
        "tzdata.zi",
        "UTC\0",
        "Euröpe/Berlin",
        "A" * 51,
    ],
)
def test_names_that_are_not_time_zones(name: str) -> None:
    assert zone_of(name) is None
