"""Tests of cron expressions, also against aws-croniter, which is another implementation of the same dialect."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # without types
from longshore.domain.cron import Cron

START = datetime(2025, 1, 15, 10, 30)  # noqa: DTZ001  (local time)


def times(fields: str, count: int = 3, start: datetime = START) -> list[str]:
    found = islice(Cron.parse(fields).times_from(start), count)
    return [f"{time:%a %Y-%m-%d %H:%M}" for time in found]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("30 10 15 1 ? 2025", ["Wed 2025-01-15 10:30"]),
        ("0 8 ? * MON-FRI *", ["Thu 2025-01-16 08:00", "Fri 2025-01-17 08:00", "Mon 2025-01-20 08:00"]),
        ("0 8 ? * 2-6 *", ["Thu 2025-01-16 08:00", "Fri 2025-01-17 08:00", "Mon 2025-01-20 08:00"]),
        ("15 12 * * ? *", ["Wed 2025-01-15 12:15", "Thu 2025-01-16 12:15", "Fri 2025-01-17 12:15"]),
        ("0/20 10 * * ? *", ["Wed 2025-01-15 10:40", "Thu 2025-01-16 10:00", "Thu 2025-01-16 10:20"]),
        ("10-30/10 22-23,1 * * ? *", ["Wed 2025-01-15 22:10", "Wed 2025-01-15 22:20", "Wed 2025-01-15 22:30"]),
        ("0 0 L * ? *", ["Fri 2025-01-31 00:00", "Fri 2025-02-28 00:00", "Mon 2025-03-31 00:00"]),
        ("0 0 L-2 * ? *", ["Wed 2025-01-29 00:00", "Wed 2025-02-26 00:00", "Sat 2025-03-29 00:00"]),
        ("0 0 L-30 * ? *", ["Sat 2025-03-01 00:00", "Thu 2025-05-01 00:00", "Tue 2025-07-01 00:00"]),
        ("0 0 LW * ? *", ["Fri 2025-01-31 00:00", "Fri 2025-02-28 00:00", "Mon 2025-03-31 00:00"]),
        ("0 0 LW 5,8 ? *", ["Fri 2025-05-30 00:00", "Fri 2025-08-29 00:00", "Fri 2026-05-29 00:00"]),
        ("0 0 1W * ? *", ["Mon 2025-02-03 00:00", "Mon 2025-03-03 00:00", "Tue 2025-04-01 00:00"]),
        ("0 0 31W * ? *", ["Fri 2025-01-31 00:00", "Mon 2025-03-31 00:00", "Fri 2025-05-30 00:00"]),
        ("0 0 15W 2,3,6 ? *", ["Fri 2025-02-14 00:00", "Fri 2025-03-14 00:00", "Mon 2025-06-16 00:00"]),
        ("0 0 ? * L *", ["Sat 2025-01-18 00:00", "Sat 2025-01-25 00:00", "Sat 2025-02-01 00:00"]),
        ("0 0 ? * 6L *", ["Fri 2025-01-31 00:00", "Fri 2025-02-28 00:00", "Fri 2025-03-28 00:00"]),
        ("0 0 ? * FRIL *", ["Fri 2025-01-31 00:00", "Fri 2025-02-28 00:00", "Fri 2025-03-28 00:00"]),
        ("0 0 ? * 3#2 *", ["Tue 2025-02-11 00:00", "Tue 2025-03-11 00:00", "Tue 2025-04-08 00:00"]),
        ("0 0 ? * TUE#5 *", ["Tue 2025-04-29 00:00", "Tue 2025-07-29 00:00", "Tue 2025-09-30 00:00"]),
        ("0 0 ? feb mon#5 *", ["Mon 2044-02-29 00:00", "Mon 2072-02-29 00:00", "Mon 2112-02-29 00:00"]),
        ("0 0 29 2 ? *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00", "Fri 2036-02-29 00:00"]),
        ("0 0 ? * FRI-MON *", ["Fri 2025-01-17 00:00", "Sat 2025-01-18 00:00", "Sun 2025-01-19 00:00"]),
        ("0 0 1 NOV-FEB ? *", ["Sat 2025-02-01 00:00", "Sat 2025-11-01 00:00", "Mon 2025-12-01 00:00"]),
        ("0 0 1 1 ? 2026/3", ["Thu 2026-01-01 00:00", "Mon 2029-01-01 00:00", "Thu 2032-01-01 00:00"]),
        ("0 0 1 1 ? 2026,2028-2029", ["Thu 2026-01-01 00:00", "Sat 2028-01-01 00:00", "Mon 2029-01-01 00:00"]),
        ("0 0 31 12 ? 2199", ["Tue 2199-12-31 00:00"]),
        # These never occur.
        ("0 0 30 2 ? *", []),
        ("0 0 1 1 ? 2020-2025", []),
    ],
)
def test_the_times_of_an_expression(fields: str, expected: list[str]) -> None:
    assert times(fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "* * * *",
        "0 8 * * *",
        "0 8 ? * MON-FRI * *",
        "0 8 * * * *",
        "0 8 ? * ? *",
        "0 8 1 * MON *",
        "60 8 * * ? *",
        "-1 8 * * ? *",
        "0 24 * * ? *",
        "0 8 0 * ? *",
        "0 8 32 * ? *",
        "0 8 1 0 ? *",
        "0 8 1 13 ? *",
        "0 8 1 MON ? *",
        "0 8 ? * 0 *",
        "0 8 ? * 8 *",
        "0 8 ? * MO *",
        "0 8 1 * ? 1969",
        "0 8 1 * ? 2200",
        "0 8 1 * ? 2030-2026",
        "0 8 1 * ? 26",
        "0/0 8 * * ? *",
        "0/61 8 * * ? *",
        "0/ 8 * * ? *",
        ", 8 * * ? *",
        "0,,1 8 * * ? *",
        "1-2-3 8 * * ? *",
        "1.5 8 * * ? *",
        "٣ 8 * * ? *",
        "0 8 L-0 * ? *",
        "0 8 L-31 * ? *",
        "0 8 W * ? *",
        "0 8 0W * ? *",
        "0 8 32W * ? *",
        "0 8 1,L * ? *",
        "0 8 1-5W * ? *",
        "0 8 ? * MON#0 *",
        "0 8 ? * MON#6 *",
        "0 8 ? * 3#1,6#3 *",
        "0 8 ? * 8L *",
        "0 ? * * ? *",
        "0 8 L L ? *",
        "0 8 ? * 15W *",
        "0 8 3#2 * ? *",
    ],
)
def test_an_invalid_expression(fields: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Cron.parse(fields)


def test_times_at_the_start_are_included() -> None:
    assert times("30 10 * * ? *", 1) == ["Wed 2025-01-15 10:30"]
    assert times("30 10 * * ? *", 1, START.replace(second=1)) == ["Thu 2025-01-16 10:30"]


# --- another implementation -------------------------------------------------------------------------------------------


def random_fields(chance: random.Random) -> str:
    """Return a valid expression that aws-croniter also supports (it does not support LW, and L for weekdays)."""

    def part(low: int, high: int, names: str = "") -> str:
        def value(number: int) -> str:
            return names.split()[number - 1] if names and chance.random() < 0.5 else str(number)

        def item() -> str:
            first, last = sorted((chance.randint(low, high), chance.randint(low, high)))
            kinds: list[Callable[[], str]] = [
                lambda: value(first),
                lambda: f"{value(first)}-{value(last)}",
                lambda: f"{value(last)}-{value(first)}",
                lambda: f"{first}/{chance.randint(1, high)}",
                lambda: f"{first}-{last}/{chance.randint(1, high)}",
                lambda: f"*/{chance.randint(1, high)}",
            ]
            # aws-croniter has no increments for weekdays.
            return chance.choice(kinds[:3] if high == 7 else kinds)()

        return "*" if chance.random() < 0.3 else ",".join(item() for _ in range(chance.choice((1, 1, 2, 3))))

    months = part(1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
    day = chance.choice((part(1, 28), part(1, 31), "L", f"L-{chance.randint(1, 27)}", f"{chance.randint(1, 28)}W", "*"))
    weekday = "?"
    if chance.random() < 0.5:
        number = chance.randint(1, 7)
        weekdays = part(1, 7, "SUN MON TUE WED THU FRI SAT")
        day, weekday = "?", chance.choice((weekdays, weekdays, f"{number}L", f"{number}#{chance.randint(1, 4)}"))
    return f"{part(0, 59)} {part(0, 23)} {day} {months} {weekday} *"


def independent(fields: str, start: datetime, count: int) -> list[datetime]:
    """Return the first times after `start` according to aws-croniter. Both are local times."""
    # It gives up after ten months or years without a day, and returns None.
    found = AwsCroniter(fields).get_next(start.replace(tzinfo=UTC), count)
    return [time.replace(tzinfo=None) for time in found if time is not None]


def test_times_equal_those_of_another_implementation() -> None:
    chance = random.Random(14)
    compared = 0
    for _ in range(500):
        fields = random_fields(chance)
        start = START + timedelta(minutes=chance.randrange(30 * 365 * 24 * 60))
        expected = independent(fields, start, 3)
        ours = [time for time in islice(Cron.parse(fields).times_from(start), 4) if time > start][: len(expected)]
        assert ours == expected, f"{fields} after {start}"
        compared += len(expected)
    assert compared > 1300
