"""Tests of the search for a client token's task, and of the replacement of tokens."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import KnownTask, LastTask
from longshore.engine.attempt import Attempt

from engine.aws import CLUSTER, FAILED, Answer, Call
from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
LAST = timedelta(minutes=10)
UNSHOWN = timedelta(minutes=5)
HOUR = timedelta(hours=1)


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a pending start that has run nothing for an hour; calls take no time."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_known(container, called_from=stage.clock.now() - HOUR)
    stage.tick = 0
    with stage.open():
        yield container


def search(stage: Stage, searching: Attempt) -> bool:
    """Search for the task, and return whether it was found."""
    return searching.search(searching.pending.token, stage.clock.now() - timedelta(minutes=1)) is not None


def incomplete(_: Call, answer: Answer) -> Answer:
    """Remove the tasks from an answer of DescribeTasks, although ListTasks returned them."""
    return answer | {"tasks": []}


def test_two_searches_prove_that_a_token_was_not_used(stage: Stage, container: str) -> None:
    stage.edit_known(container, "another", called_from=stage.clock.now() - HOUR)
    searching = stage.looking(container)
    token = searching.pending.token
    first = stage.clock.now()
    assert not search(stage, searching)
    assert (searching.tasks[token].absent_since, searching.ended) == (first, {})
    stage.clock.time = first + LOOKS - MILLISECOND
    assert not search(stage, searching)
    assert (searching.tasks[token].absent_since, searching.ended) == (first, {})
    stage.clock.time = first + LOOKS
    assert not search(stage, searching)
    assert searching.ended == {token: None}
    assert list(searching.tasks) == ["another"]
    assert searching.tasks["another"].absent_since is None


@pytest.mark.parametrize(
    ("since", "unused"),
    [(LOOKS - MILLISECOND, False), (LOOKS, True), (LAST, True), (LAST + MILLISECOND, False)],
)
def test_a_search_of_an_earlier_attempt(stage: Stage, container: str, since: timedelta, unused: bool) -> None:
    now = stage.clock.now()
    token = stage.pending(container).token
    stage.edit_known(container, absent_since=now - since)
    searching = stage.looking(container)
    assert searching.ended == {}  # this attempt has not searched yet
    assert not search(stage, searching)
    assert searching.ended == ({token: None} if unused else {})
    if not unused:
        assert searching.tasks[token].absent_since == (now if since > LAST else now - since)


@pytest.mark.parametrize(
    ("called_from", "called_until", "unused"),
    [
        # An operation uses the token, so that RunTask may have been called until it was too old.
        (HOUR - MILLISECOND, None, False),
        (HOUR, None, True),
        # No operation uses it any more.
        (LAST, UNSHOWN - MILLISECOND, False),
        (LAST, UNSHOWN, True),
        (None, UNSHOWN, True),
        # RunTask may still be called.
        (HOUR, -MILLISECOND, False),
        # Nothing is known.
        (None, None, False),
    ],
)
def test_searches_prove_nothing_while_ecs_may_not_show_the_task_yet(
    stage: Stage, container: str, called_from: timedelta | None, called_until: timedelta | None, unused: bool
) -> None:
    now = stage.clock.now()
    token = stage.pending(container).token
    stage.edit_known(
        container,
        called_from=called_from and now - called_from,
        called_until=called_until and now - called_until,
        absent_since=now - LOOKS,
    )
    searching = stage.looking(container)
    assert not search(stage, searching)
    assert searching.ended == ({token: None} if unused else {})
    assert (token in searching.tasks) is not unused


def test_a_late_answer_to_the_second_search_proves_nothing(stage: Stage, container: str) -> None:
    stage.edit_known(container, absent_since=stage.clock.now() - LOOKS + MILLISECOND)
    searching = stage.looking(container)
    stage.tick = 1  # the lists of running and of stopped tasks
    assert not search(stage, searching)
    assert searching.ended == {}
    assert not search(stage, searching)
    assert searching.ended == {searching.pending.token: None}


def test_a_listed_task_that_is_not_described_prevents_the_proof(stage: Stage, container: str) -> None:
    """It may be the token's task, so the search has not proved that there is none."""
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("DescribeTasks", incomplete)
    token = stage.pending(container).token
    searching = stage.looking(container)
    assert not search(stage, searching)
    assert (searching.tasks[token].absent_since, searching.ended) == (None, {})
    first = stage.clock.now() - LOOKS
    stage.edit_known(container, absent_since=first)
    searching = stage.looking(container)
    assert not search(stage, searching)
    assert (searching.tasks[token].absent_since, searching.ended) == (first, {})


def test_a_search_that_finds_the_task_clears_earlier_searches(stage: Stage, container: str) -> None:
    token = stage.pending(container).token
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    now = stage.clock.now()
    stage.edit_known(container, absent_since=now - LOOKS)
    stage.edit_known(container, "x", arn="arn:x", shown=True, absent_since=now)
    searching = stage.looking(container)
    assert search(stage, searching)
    assert searching.tasks[token] == KnownTask(arn=task.arn, shown=True, version=task.version)
    assert searching.tasks["x"].absent_since == now
    assert (searching.acted, searching.ended) == (False, {})


def test_a_search_that_finds_the_end_of_the_task_is_proof(stage: Stage, container: str) -> None:
    token = stage.pending(container).token
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.ecs.exit(task.arn, 0)
    searching = stage.looking(container)
    assert search(stage, searching)
    found = searching.ended[token]
    assert found is not None
    assert (found.arn, found.is_stopped, searching.tasks) == (task.arn, True, {})


def test_other_live_tasks_of_a_search_are_strays(stage: Stage, container: str) -> None:
    """Tasks in the ledger, tasks that have stopped, and tasks whose end is known are not."""
    token = stage.pending(container).token
    tasks = [stage.ecs.adopt_running(CLUSTER, "web-1", container) for _ in range(5)]
    stopped, of_token, known, ended, stray = tasks
    stage.ecs.exit(stopped.arn, 0)
    for task in tasks:
        task.created_at = stage.clock.now() - HOUR
    of_token.created_at = stage.clock.now()
    stage.edit_known(container, "known", arn=known.arn, shown=True)
    stage.edit(container, last_task=LastTask(id=ended.id))
    searching = stage.looking(container)
    assert search(stage, searching)
    assert {key: each.arn for key, each in searching.tasks.items()} == {
        token: of_token.arn,
        "known": known.arn,
        stray.id: stray.arn,
    }
    assert [key for key, each in searching.tasks.items() if each.stray] == [stray.id]
    assert searching.tasks[stray.id].shown


def test_a_search_that_fails_proves_nothing(stage: Stage, container: str) -> None:
    stage.edit_known(container, absent_since=stage.clock.now() - LOOKS, called_from=stage.clock.now() - LAST * 7)
    stage.fail("ListTasks", FAILED, times=-1)
    searching = stage.looking(container)
    with pytest.raises(ExternalServiceError):
        search(stage, searching)
    assert searching.ended == {}
    assert searching.tasks == stage.container(container).tasks


@pytest.mark.parametrize(
    ("tasks", "described", "complete"), [(0, 0, True), (3, 3, True), (3, 2, False), (250, 250, True)]
)
def test_all_tasks_are_described(stage: Stage, container: str, tasks: int, described: int, complete: bool) -> None:
    arns = [f"arn:aws:ecs:us-east-1:123456789012:task/default/{number:032x}" for number in range(tasks)]
    model = stage.ecs.adopt_running(CLUSTER, "web-1", container).to_api()
    stage.change(
        "ListTasks", lambda call, _: {"taskArns": arns if call.parameters["desiredStatus"] == "RUNNING" else []}
    )
    known = arns[:described]

    def describe(call: Call, _: Answer) -> Answer:
        return {"tasks": [model | {"taskArn": arn} for arn in call.parameters["tasks"] if arn in known]}

    stage.change("DescribeTasks", describe)
    found, is_complete = stage.looking(container)._search()
    assert ([task.arn for task in found], is_complete) == (known, complete)
    assert [len(call["tasks"]) for call in stage.parameters("DescribeTasks")] == (
        [100, 100, 50] if tasks > 3 else [3][:tasks]
    )


def test_a_task_that_stops_between_the_two_lists_is_one_task(stage: Stage, container: str) -> None:
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("ListTasks", lambda *_: {"taskArns": [task.arn]})
    found, complete = stage.looking(container)._search()
    assert ([each.arn for each in found], complete) == ([task.arn], True)


# --- replacing a token -----------------------------------------------------------------------------------------------


def old(stage: Stage, container: str, **changes: Any) -> None:
    """Set the age of the pending start's token to an hour, and its deadline to now."""
    now = stage.clock.now()
    stage.edit_known(container, called_from=now - HOUR, **changes)
    stage.edit_pending(container, deadline=now)


def test_a_token_is_replaced_after_the_second_search(stage: Stage, container: str) -> None:
    old(stage, container)
    pending = stage.pending(container)
    first = stage.clock.now()
    stage.take_over(container, wait=0)
    assert stage.known(container, pending.token).absent_since == first
    assert stage.pending(container).deadline == first + LOOKS
    assert (stage.pending(container).token, stage.count("RunTask")) == (pending.token, 0)
    stage.clock.time = first + LOOKS
    stage.before("RunTask", lambda _: stage.hide_tasks())
    stage.take_over(container, wait=0)
    after = stage.pending(container)
    assert after.token != pending.token
    assert list(stage.container(container).tasks) == [after.token]
    assert stage.known(container, after.token).called_from == first + LOOKS
    assert [call["clientToken"] for call in stage.parameters("RunTask")] == [after.token]


def test_a_token_that_expires_during_the_search_is_replaced(stage: Stage, container: str) -> None:
    """The token is old enough when the second search is sent, and was not when the attempt began."""
    token, now = stage.pending(container).token, stage.clock.now()
    stage.edit_known(container, called_from=now - HOUR + timedelta(seconds=2), absent_since=now - LOOKS * 2)
    stage.edit_pending(container, deadline=now)
    stage.fail("ListTasks", FAILED, times=6)
    stage.take_over(container, wait=10)
    assert stage.clock.now() >= now + timedelta(seconds=2)
    (row,) = stage.rows(container)[1:]
    assert row["to_status"] == "running"
    (call,) = stage.parameters("RunTask")
    assert call["clientToken"] != token
    assert list(stage.container(container).tasks) == [call["clientToken"]]


def test_a_token_is_not_replaced_while_a_listed_task_is_not_described(stage: Stage, container: str) -> None:
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("DescribeTasks", incomplete)
    token = stage.pending(container).token
    old(stage, container, absent_since=stage.clock.now() - LOOKS)
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, stage.pending(container).token, stage.count("RunTask")) == ("accepted", token, 0)


def test_the_search_of_an_event_does_not_replace_the_token(stage: Stage, container: str) -> None:
    """An event's search records nothing, so that the driver is not disturbed."""
    token = stage.pending(container).token
    old(stage, container)
    stage.change("ListTasks", lambda *_: {"taskArns": []})
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stray.created_at = stage.clock.now() - timedelta(hours=9)
    reported = {"source": "aws.ecs", "detail": stray.to_api()}
    for _ in range(2):
        stage.deliver(reported)
        stage.advance(40)
    assert (stage.known(container, token).absent_since, stage.pending(container).token) == (None, token)
    assert (stage.count("RunTask"), list(stage.container(container).tasks)) == (0, [token])


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize(
    ("age", "found"),
    [
        (timedelta(), (True, True)),
        (MILLISECOND, (False, True)),
        (timedelta(seconds=5), (False, True)),
        (timedelta(seconds=5, milliseconds=1), (False, False)),
    ],
)
def test_the_search_ignores_a_stopped_task_of_an_earlier_operation(
    stage: Stage, container: str, stopped: bool, age: timedelta, found: tuple[bool, bool]
) -> None:
    """A task that has not stopped is found even if the clock of ECS is five seconds behind."""
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    created = stage.clock.now()
    if stopped:
        stage.ecs.exit(task.arn, 0)
        stage.advance(10)
    searching = stage.looking(container)
    assert (searching.search(searching.pending.token, created + age) is not None) is found[0 if stopped else 1]
