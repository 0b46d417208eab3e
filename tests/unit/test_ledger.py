"""Tests of the ledger: what proves that a task is gone or that a client token is unused, and its pure functions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.domain.ledger import (
    KnownTask,
    Ledger,
    arns,
    callable_until,
    differ,
    ledger_of,
    token_of,
    with_stray,
    without,
)
from longshore.domain.task import Task

NOW = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
ARN = "arn:aws:ecs:us-east-1:123456789012:task/default/one"
OTHER = "arn:aws:ecs:us-east-1:123456789012:task/default/two"


def task(version: int = 1, arn: str = ARN) -> Task:
    return Task.of({"taskArn": arn, "lastStatus": "RUNNING", "version": version})


# --- what a call has found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "expected"), [(0, 5), (4, 5), (5, 5), (6, 6)])
def test_a_task_that_ecs_has_shown(version: int, expected: int) -> None:
    """The entry keeps the newest version, and no time: only lookups since then count."""
    known = KnownTask(called_from=NOW, called_until=NOW, absent_since=NOW, version=5)
    assert known.seen(task(version)) == KnownTask(arn=ARN, shown=True, version=expected)
    assert known.model_copy(update={"stray": True}).seen(task(version)).stray


def test_the_answer_of_run_task_is_no_sighting() -> None:
    """ECS may not show the task yet. Searches that have not found a task do not count for this task."""
    known = KnownTask(called_from=NOW - MINUTE, called_until=NOW + MINUTE, absent_since=NOW - MINUTE)
    expected = KnownTask(arn=ARN, called_from=NOW - MINUTE, called_until=NOW)
    assert known.run(task(7), NOW) == expected


def test_a_repeated_answer_of_run_task_changes_nothing() -> None:
    """The lookups of the task still count, and so does the time of its first RunTask."""
    known = KnownTask(arn=ARN, called_from=NOW - MINUTE, called_until=NOW - MINUTE, absent_since=NOW - LOOKS)
    assert known.run(task(), NOW) == known
    assert known.run(task(arn=OTHER), NOW) == KnownTask(arn=OTHER, called_from=NOW - MINUTE, called_until=NOW)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, NOW),
        (NOW, NOW),
        (NOW - LOOKS, NOW - LOOKS),
        (NOW - 10 * MINUTE, NOW - 10 * MINUTE),
        (NOW - 10 * MINUTE - MILLISECOND, NOW),
    ],
)
def test_a_lookup_that_found_nothing(before: datetime | None, expected: datetime) -> None:
    """The first lookup is kept until it is ten minutes old."""
    known = KnownTask(arn=ARN, called_until=NOW, version=3, absent_since=before)
    assert known.missed(NOW) == known.model_copy(update={"absent_since": expected})


# --- proofs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("absent", "expected"), [(None, False), (timedelta(), False), (LOOKS - MILLISECOND, False), (LOOKS, True)]
)
def test_two_lookups_are_half_a_minute_apart(absent: timedelta | None, expected: bool) -> None:
    absent_since = None if absent is None else NOW - absent
    assert KnownTask(absent_since=absent_since).is_absent_twice(NOW) is expected
    assert KnownTask(arn=ARN, shown=True, absent_since=absent_since).is_gone(NOW) is expected
    assert KnownTask(called_until=NOW - 5 * MINUTE, absent_since=absent_since).is_unused(NOW) is expected


@pytest.mark.parametrize(
    ("shown", "called_until", "expected"),
    [
        (True, None, True),
        (True, NOW, True),
        (False, None, False),
        (False, NOW, False),
        (False, NOW - 5 * MINUTE + MILLISECOND, False),
        (False, NOW - 5 * MINUTE, True),
    ],
)
def test_a_task_is_gone(shown: bool, called_until: datetime | None, expected: bool) -> None:
    """A task that ECS has never shown is not gone before five minutes have passed since RunTask."""
    known = KnownTask(arn=ARN, shown=shown, called_from=NOW - 99 * MINUTE, called_until=called_until)
    assert not known.is_gone(NOW)
    assert known.model_copy(update={"absent_since": NOW - LOOKS}).is_gone(NOW) is expected


def test_a_token_without_a_task_is_not_gone_and_a_task_is_not_unused() -> None:
    known = KnownTask(called_from=NOW - 99 * MINUTE, called_until=NOW - 99 * MINUTE, absent_since=NOW - LOOKS)
    assert (known.is_gone(NOW), known.is_unused(NOW)) == (False, True)
    known = known.model_copy(update={"arn": ARN})
    assert (known.is_gone(NOW), known.is_unused(NOW)) == (True, False)


@pytest.mark.parametrize(
    ("called_from", "called_until", "expected"),
    [
        (None, None, False),
        (NOW - 60 * MINUTE + MILLISECOND, None, False),
        (NOW - 60 * MINUTE, None, True),
        (None, NOW - 5 * MINUTE + MILLISECOND, False),
        (None, NOW - 5 * MINUTE, True),
        (NOW - 60 * MINUTE, NOW - 5 * MINUTE + MILLISECOND, False),
        (NOW - 6 * MINUTE, NOW - 5 * MINUTE, True),
        (NOW - 60 * MINUTE, NOW + MINUTE, False),
    ],
)
def test_a_token_is_unused(called_from: datetime | None, called_until: datetime | None, expected: bool) -> None:
    """While an operation uses the token, it counts as called until it is too old to be used."""
    known = KnownTask(called_from=called_from, called_until=called_until)
    assert not known.is_unused(NOW)
    assert known.model_copy(update={"absent_since": NOW - LOOKS}).is_unused(NOW) is expected


# --- the functions ----------------------------------------------------------------------------------------------------


def test_the_ledger_of_a_task_whose_token_is_not_known() -> None:
    assert ledger_of(ARN, 7) == {"one": KnownTask(arn=ARN, shown=True, version=7)}
    assert ledger_of(ARN)["one"].version == 0


def test_the_key_of_a_task() -> None:
    tasks = {"a": KnownTask(), "b": KnownTask(arn=ARN)}
    assert (token_of(tasks, ARN), token_of(tasks, OTHER), token_of({}, ARN)) == ("b", None, None)


def test_a_ledger_without_some_entries() -> None:
    tasks = {"a": KnownTask(), "b": KnownTask(arn=ARN), "c": KnownTask(arn=OTHER)}
    assert without(tasks, "a", "c", "absent") == {"b": KnownTask(arn=ARN)}
    assert without(tasks) == tasks
    assert list(tasks) == ["a", "b", "c"]


def test_a_stray() -> None:
    tasks = {"a": KnownTask()}
    stray = KnownTask(arn=ARN, shown=True, version=4, stray=True)
    assert with_stray(tasks, task(4)) == {"a": KnownTask(), "one": stray}
    assert tasks == {"a": KnownTask()}


def test_the_arns_of_a_ledger() -> None:
    tasks = {"a": KnownTask(arn=ARN), "b": KnownTask(), "c": KnownTask(arn=OTHER)}
    assert arns(tasks) == [ARN, OTHER]
    assert arns(tasks, ["c", "b", "absent"]) == [OTHER]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, NOW + MINUTE),
        (NOW + MINUTE - MILLISECOND, NOW + MINUTE),
        (NOW + MINUTE, NOW + MINUTE),
        (NOW + MINUTE + MILLISECOND, NOW + MINUTE + MILLISECOND),
    ],
)
def test_how_long_run_task_may_take_effect(before: datetime | None, expected: datetime) -> None:
    """ECS may process a call for a minute after its answer was lost. A later time that is known stays."""
    tasks = {"a": KnownTask(called_from=NOW - MINUTE, called_until=before, absent_since=NOW), "b": KnownTask()}
    after = callable_until(tasks, "a", NOW)
    assert after == {"a": tasks["a"].model_copy(update={"called_until": expected}), "b": KnownTask()}
    assert tasks["a"].called_until == before


@pytest.mark.parametrize("tasks", [{}, {"b": KnownTask()}, {"a": KnownTask(arn=ARN, called_until=NOW)}])
def test_a_token_whose_task_is_known_keeps_its_time(tasks: Ledger) -> None:
    """RunTask returns the same task again. A token that is not in the ledger is not added."""
    after = callable_until(tasks, "a", NOW)
    assert after == tasks
    assert after is not tasks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"arn": OTHER}, True),
        ({"arn": None}, True),
        ({"absent_since": NOW}, True),
        ({"stray": True}, True),
        # What is stored with the next change.
        ({"version": 9}, False),
        ({"shown": False}, False),
        ({"called_until": NOW}, False),
    ],
)
def test_which_differences_are_stored(changes: dict[str, Any], expected: bool) -> None:
    known = KnownTask(arn=ARN, shown=True, version=3)
    tasks, others = {"a": known}, {"a": known.model_copy(update=changes)}
    assert differ(tasks, others) is expected
    assert differ(others, tasks) is expected


def test_other_differences_that_are_stored() -> None:
    """Entries that were added or removed, and until when RunTask can have been called with a token without a task."""
    tasks = {"a": KnownTask()}
    assert not differ(tasks, {"a": KnownTask()})
    assert differ(tasks, {})
    assert differ({}, tasks)
    assert differ(tasks, {"b": KnownTask()})
    assert differ(tasks, {"a": KnownTask(), "b": KnownTask()})
    assert differ(tasks, {"a": KnownTask(called_until=NOW)})
    assert not differ(tasks, {"a": KnownTask(called_from=NOW)})


def test_attributes_of_a_later_version_are_kept() -> None:
    known = KnownTask.model_validate({"arn": ARN, "colour": "green"})
    assert known.seen(task()).missed(NOW).model_dump()["colour"] == "green"
