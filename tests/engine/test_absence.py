"""Tests of the rule when a task that ECS does not return counts as gone."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt

from engine.aws import CLUSTER, DENIED, FAILED, NOT_FOUND, Call
from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
UNSHOWN = timedelta(minutes=5)
LAST = timedelta(minutes=10)
NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a task and a pending operation; calls take no time."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.tick = 0
    with stage.open():
        yield container


def note(stage: Stage, container: str, **changes: Any) -> None:
    """Add a task to the ledger that ECS does not show now. Unless stated otherwise, ECS has shown it before."""
    stage.edit_known(container, "noted", **{"arn": NOTED, "shown": True} | changes)


def own_token(stage: Stage, container: str) -> str:
    """Return the key of the container's own task in the ledger."""
    token = stage.container(container).own_token
    assert token is not None
    return token


def absent(attempt: Attempt) -> dict[str, datetime]:
    """Return since when the tasks are absent that the attempt has left in the ledger."""
    return {token: known.absent_since for token, known in attempt.tasks.items() if known.absent_since is not None}


@pytest.mark.parametrize(
    ("since_look", "shown", "since_run", "gone"),
    [
        # ECS has returned the task before: two lookups 30 seconds apart.
        (LOOKS - MILLISECOND, True, timedelta(0), False),
        (LOOKS, True, timedelta(0), True),
        (LOOKS + MILLISECOND, True, timedelta(0), True),
        # Never returned: also five minutes since its RunTask.
        (LOOKS, False, UNSHOWN - MILLISECOND, False),
        (LOOKS, False, UNSHOWN, True),
        (LOOKS - MILLISECOND, False, UNSHOWN, False),
        (LAST, False, UNSHOWN - MILLISECOND, False),
        # The time of the RunTask is unknown and counts as now.
        (LAST, False, None, False),
        (LOOKS, True, None, True),
    ],
)
def test_task_of_the_operation_is_gone_after_two_lookups(
    stage: Stage, container: str, since_look: timedelta, shown: bool, since_run: timedelta | None, gone: bool
) -> None:
    now = stage.clock.now()
    called_until = None if since_run is None else now - since_run
    note(stage, container, shown=shown, called_until=called_until, absent_since=now - since_look)
    looking = stage.looking(container)
    assert looking.ended == {}  # this attempt has not looked yet
    assert looking.look("noted") is None
    assert looking.ended == ({"noted": None} if gone else {})
    assert absent(looking) == ({} if gone else {"noted": now - since_look})
    assert ("noted" in looking.tasks) is not gone


@pytest.mark.parametrize(("since_look", "gone"), [(LOOKS - MILLISECOND, False), (LOOKS, True)])
def test_own_task_is_gone_after_two_lookups(stage: Stage, container: str, since_look: timedelta, gone: bool) -> None:
    own = own_token(stage, container)
    stage.edit_known(container, absent_since=stage.clock.now() - since_look)
    stage.hide_tasks()
    looking = stage.looking(container)
    assert looking.look(own) is None
    assert (own in looking.ended) is gone
    assert (own in looking.tasks) is not gone


@pytest.mark.parametrize(("since_look", "gone"), [(LAST, True), (LAST + MILLISECOND, False)])
def test_an_expired_lookup_proves_nothing(stage: Stage, container: str, since_look: timedelta, gone: bool) -> None:
    now = stage.clock.now()
    note(stage, container, absent_since=now - since_look)
    looking = stage.looking(container)
    looking.look("noted")
    assert ("noted" in looking.ended) is gone
    assert absent(looking) == ({} if gone else {"noted": now})


def test_a_first_lookup_proves_nothing(stage: Stage, container: str) -> None:
    note(stage, container)
    looking = stage.looking(container)
    assert looking.look("noted") is None
    assert absent(looking) == {"noted": stage.clock.now()}
    stage.advance(29.999)
    looking.look("noted")
    assert looking.ended == {}
    stage.advance(0.001)
    assert looking.ended == {}
    looking.look("noted")
    assert looking.ended == {"noted": None}


def test_a_late_response_proves_nothing(stage: Stage, container: str) -> None:
    """The time between two lookups ends when the second is sent, not when it is answered."""
    now = stage.clock.now()
    note(stage, container, absent_since=now - LOOKS + MILLISECOND, shown=False, called_until=now - UNSHOWN)
    looking = stage.looking(container)
    stage.tick = 20
    looking.look("noted")
    assert stage.clock.now() == now + timedelta(seconds=20)
    assert looking.ended == {}
    looking.look("noted")
    assert looking.ended == {"noted": None}


def test_a_late_response_does_not_prove_that_a_new_task_is_gone(stage: Stage, container: str) -> None:
    now = stage.clock.now()
    note(stage, container, absent_since=now - LOOKS, shown=False, called_until=now - UNSHOWN + MILLISECOND)
    looking = stage.looking(container)
    stage.tick = 1
    looking.look("noted")
    assert looking.ended == {}
    looking.look("noted")
    assert looking.ended == {"noted": None}


def test_after_ecs_has_shown_a_task_again_two_new_lookups_are_needed(stage: Stage, container: str) -> None:
    own, now = own_token(stage, container), stage.clock.now()
    note(stage, container, absent_since=now)
    stage.edit_known(container, own, absent_since=now - LOOKS + MILLISECOND)
    looking = stage.looking(container)
    stage.hide_tasks(times=1)
    assert looking.look(own) is None
    assert absent(looking) == {own: now - LOOKS + MILLISECOND, "noted": now}
    assert looking.look(own) is not None
    assert absent(looking) == {"noted": now}
    stage.advance(30)
    stage.hide_tasks()
    assert looking.look(own) is None
    assert (looking.ended, absent(looking)) == ({}, {own: now + LOOKS, "noted": now})
    stage.advance(30)
    assert looking.look(own) is None
    assert looking.ended == {own: None}


def test_a_lookup_does_not_change_the_ledger_of_the_container(stage: Stage, container: str) -> None:
    """The attempt has a copy, which the driver stores."""
    note(stage, container)
    looking = stage.looking(container)
    before = stage.container(container)
    looking.look("noted")
    assert (absent(looking), looking.container.tasks) == ({"noted": stage.clock.now()}, before.tasks)
    assert stage.container(container) == before


def test_a_task_from_an_event_needs_no_describe_tasks(stage: Stage, container: str) -> None:
    note(stage, container)
    (task,) = stage.live(container)
    reported = Task.of(task.to_api())
    looking = stage.looking(container, reported=reported)
    assert looking.look(own_token(stage, container)) == reported
    assert stage.count("DescribeTasks") == 0
    looking.look("noted")
    assert stage.count("DescribeTasks") == 1


def test_find_looks_again_when_the_time_is_over(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    stage.hide_tasks(times=1)
    start = stage.clock.now()
    looking = stage.looking(container, wait=5)
    found = looking.find(own)
    assert found is not None
    assert (found.arn, absent(looking)) == (stage.container(container).task_arn, {})
    assert stage.count("DescribeTasks") == 2
    assert stage.clock.now() - start == timedelta(seconds=5)


def test_find_ends_at_the_timeout_or_when_the_task_is_gone(stage: Stage, container: str) -> None:
    note(stage, container)
    start = stage.clock.now()
    assert stage.looking(container, wait=5).find("noted") is None
    assert stage.clock.now() - start == timedelta(seconds=5)
    assert stage.count("DescribeTasks") == 2
    note(stage, container, absent_since=stage.clock.now() - LOOKS)
    assert stage.looking(container, wait=500).find("noted") is None
    assert stage.clock.now() - start == timedelta(seconds=5)


# --- ending tasks --------------------------------------------------------------------------------------------------


def test_stop_task_is_called_once_per_task(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    other = stage.ecs.adopt_running(CLUSTER, "web-1", container).arn
    note(stage, container, arn=other)
    arn = stage.container(container).task_arn
    ending = stage.looking(container, wait=5)
    assert ending.end([own, "noted"], "because")
    assert [(token, task and task.arn) for token, task in ending.ended.items()] == [(own, arn), ("noted", other)]
    assert all(task is not None and task.is_stopped for task in ending.ended.values())
    assert ending.tasks == {}
    assert [call["task"] for call in stage.parameters("StopTask")] == [arn, other]
    assert ending.acted
    assert ending.on_its_way


def test_a_task_that_has_ended_before_is_not_stopped(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    ending = stage.looking(container)
    seen = ending.look(own)
    assert ending.ended == {own: seen}
    assert ending.end([own], "because")
    assert (stage.count("StopTask"), ending.acted) == (0, False)


def test_stop_task_is_repeated_while_it_does_not_find_the_task(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    stage.fail("StopTask", NOT_FOUND, times=2)
    ending = stage.looking(container, wait=5)
    assert ending.end([own], "because")
    assert stage.count("StopTask") == 3
    assert (list(ending.ended), ending.tasks) == ([own], {})


def test_ending_no_tasks_calls_nothing(stage: Stage, container: str) -> None:
    ending = stage.looking(container)
    assert ending.end([], "because")
    assert ending.ended == {}
    assert (stage.count("StopTask"), stage.count("DescribeTasks")) == (0, 0)
    assert (ending.acted, ending.on_its_way) == (False, False)


def test_a_task_that_is_gone_has_ended(stage: Stage, container: str) -> None:
    note(stage, container, absent_since=stage.clock.now() - LOOKS)
    ending = stage.looking(container)
    assert ending.end(["noted"], "because")
    assert ending.ended == {"noted": None}
    assert (ending.acted, ending.on_its_way) == (False, False)


@pytest.mark.parametrize("since", [LOOKS - MILLISECOND, LOOKS])
def test_a_task_that_stop_task_does_not_find_is_looked_up(stage: Stage, container: str, since: timedelta) -> None:
    """A task that StopTask does not find is looked up before it counts as gone; a lookup has no effect."""
    own = own_token(stage, container)
    stage.edit_known(container, absent_since=stage.clock.now() - since)
    stage.fail("StopTask", NOT_FOUND, times=-1)
    ending = stage.looking(container)
    assert not ending.end([own], "because")
    assert stage.count("DescribeTasks") == (1 if since == LOOKS else 0)
    # It was returned, so two new lookups have to miss it.
    assert absent(ending) == ({} if since == LOOKS else {own: stage.clock.now() - since})
    assert (ending.ended, list(ending.tasks)) == ({}, [own])
    assert not ending.acted


def test_a_task_that_neither_call_finds_is_gone(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    stage.edit_known(container, absent_since=stage.clock.now() - LOOKS)
    stage.fail("StopTask", NOT_FOUND, times=-1)
    stage.hide_tasks()
    ending = stage.looking(container)
    assert ending.end([own], "because")
    assert (stage.count("StopTask"), stage.count("DescribeTasks")) == (1, 1)
    assert (ending.ended, ending.tasks) == ({own: None}, {})


def test_a_first_lookup_that_expires_between_the_two_calls(stage: Stage, container: str) -> None:
    note(stage, container, absent_since=stage.clock.now() - LAST)
    stage.before("DescribeTasks", lambda _: stage.advance(0.001))
    ending = stage.looking(container)
    assert not ending.end(["noted"], "because")
    assert (stage.count("DescribeTasks"), absent(ending)) == (1, {"noted": stage.clock.now()})
    assert ending.ended == {}


def test_a_failed_lookup_does_not_prove_that_a_task_is_gone(stage: Stage, container: str) -> None:
    first = stage.clock.now() - LOOKS
    note(stage, container, absent_since=first)
    stage.fail("DescribeTasks", FAILED)
    ending = stage.looking(container)
    assert not ending.end(["noted"], "because")
    assert (ending.ended, absent(ending)) == ({}, {"noted": first})
    ending = stage.looking(container)
    assert ending.end(["noted"], "because")
    assert ending.ended == {"noted": None}


def test_a_stopping_task_that_is_gone_is_looked_up_when_the_time_is_over(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    arn = stage.container(container).task_arn
    assert arn is not None
    start = stage.clock.now()
    stage.after("StopTask", lambda _: stage.ecs.forget(arn))
    ending = stage.looking(container, wait=60)
    assert not ending.end([own], "because")
    assert (stage.count("StopTask"), stage.count("DescribeTasks")) == (1, 1)
    assert absent(ending) == {own: start + timedelta(seconds=60)}


def test_stop_task_is_repeated_every_two_seconds(stage: Stage, container: str) -> None:
    note(stage, container)
    start, calls = stage.clock.now(), list[float]()

    def record(_: Call) -> None:
        calls.append((stage.clock.now() - start).total_seconds())
        stage.before("StopTask", record)

    stage.before("StopTask", record)
    assert not stage.looking(container, wait=9).end(["noted"], "because")
    assert all(2 <= round(after - before, 2) <= 2.5 for before, after in pairwise(calls[:-1]))
    assert (calls[0], calls[-1], len(calls)) == (0, 9, 6)


def test_timeout_before_a_task_has_ended(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    ending = stage.looking(container)
    assert not ending.end([own], "because")
    assert (ending.acted, ending.on_its_way) == (True, True)
    assert (ending.ended, list(ending.tasks)) == ({}, [own])


def test_end_survives_a_failed_lookup(stage: Stage, container: str) -> None:
    own = own_token(stage, container)
    stage.fail("DescribeTasks", DENIED)
    ending = stage.looking(container, wait=5)
    assert not ending.end([own], "because")
    assert (ending.ended, list(ending.tasks)) == ({}, [own])
