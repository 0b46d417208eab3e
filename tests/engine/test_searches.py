"""Tests of the search for a client token's task, and of the replacement of tokens."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.engine.attempt import Attempt

from engine.aws import CLUSTER, FAILED, Answer, Call
from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
LAST = timedelta(minutes=10)


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a pending start that has run nothing; calls take no time."""
    container = stage.add("stopped")
    stage.claim(container, "start")
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
    searching = stage.looking(container)
    token = searching.pending.token
    first = stage.clock.now()
    assert not search(stage, searching)
    assert (searching.absent, searching.is_unused(token)) == ({token: first}, False)
    stage.clock.time = first + LOOKS - MILLISECOND
    assert not search(stage, searching)
    assert not searching.is_unused(token)
    stage.clock.time = first + LOOKS
    assert not search(stage, searching)
    assert (searching.absent, searching.is_unused(token)) == ({token: first}, True)
    assert not searching.is_unused("another")


@pytest.mark.parametrize(
    ("since", "unused"),
    [(LOOKS - MILLISECOND, False), (LOOKS, True), (LAST, True), (LAST + MILLISECOND, False)],
)
def test_a_search_of_an_earlier_attempt(stage: Stage, container: str, since: timedelta, unused: bool) -> None:
    now = stage.clock.now()
    token = stage.pending(container).token
    stage.edit_pending(container, absent={token: now - since})
    searching = stage.looking(container)
    assert not searching.is_unused(token)  # this attempt has not searched yet
    assert not search(stage, searching)
    assert searching.is_unused(token) is unused
    assert searching.absent == {token: now if since > LAST else now - since}


def test_a_listed_task_that_is_not_described_prevents_the_proof(stage: Stage, container: str) -> None:
    """It may be the token's task, so the search has not proved that there is none."""
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("DescribeTasks", incomplete)
    token = stage.pending(container).token
    searching = stage.looking(container)
    assert not search(stage, searching)
    assert (searching.absent, searching.is_unused(token)) == ({}, False)
    stage.edit_pending(container, absent={token: stage.clock.now() - LOOKS})
    searching = stage.looking(container)
    assert not search(stage, searching)
    assert not searching.is_unused(token)


def test_a_search_that_finds_the_task_clears_earlier_searches(stage: Stage, container: str) -> None:
    token = stage.pending(container).token
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.edit_pending(container, absent={token: stage.clock.now() - LOOKS, "arn:x": stage.clock.now()})
    searching = stage.looking(container)
    assert search(stage, searching)
    assert searching.absent == {"arn:x": stage.clock.now()}
    assert (searching.task_arn, searching.task_run_at, searching.task_shown) == (task.arn, stage.clock.now(), True)
    assert (searching.acted, searching.is_unused(token)) == (False, False)


def test_a_search_that_fails_proves_nothing(stage: Stage, container: str) -> None:
    token = stage.pending(container).token
    stage.edit_pending(
        container, absent={token: stage.clock.now() - LOOKS}, client_token_since=stage.clock.now() - LAST * 7
    )
    stage.fail("ListTasks", FAILED, times=-1)
    searching = stage.looking(container)
    with pytest.raises(ExternalServiceError):
        search(stage, searching)
    assert not searching.is_unused(token)


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
    found, is_complete = stage.wired.steps._ecs.started_by(stage.container(container).runtime, container)
    assert ([task.arn for task in found], is_complete) == (known, complete)
    assert [len(call["tasks"]) for call in stage.parameters("DescribeTasks")] == (
        [100, 100, 50] if tasks > 3 else [3][:tasks]
    )


def test_a_task_that_stops_between_the_two_lists_is_one_task(stage: Stage, container: str) -> None:
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("ListTasks", lambda *_: {"taskArns": [task.arn]})
    found, complete = stage.wired.steps._ecs.started_by(stage.container(container).runtime, container)
    assert ([each.arn for each in found], complete) == ([task.arn], True)


# --- replacing a token -----------------------------------------------------------------------------------------------


def old(stage: Stage, container: str, **changes: Any) -> None:
    """Set the age of the pending start's token to an hour, and its deadline to now."""
    now = stage.clock.now()
    stage.edit_pending(container, client_token_since=now - timedelta(minutes=60), deadline=now, **changes)


def test_a_token_is_replaced_after_the_second_search(stage: Stage, container: str) -> None:
    old(stage, container)
    pending = stage.pending(container)
    first = stage.clock.now()
    stage.take_over(container, wait=0)
    assert stage.pending(container).absent == {pending.token: first}
    assert stage.pending(container).deadline == first + LOOKS
    assert (stage.pending(container).token, stage.count("RunTask")) == (pending.token, 0)
    stage.clock.time = first + LOOKS
    stage.before("RunTask", lambda _: stage.hide_tasks())
    stage.take_over(container, wait=0)
    after = stage.pending(container)
    assert (after.token == pending.token, after.token_since) == (False, first + LOOKS)
    assert [call["clientToken"] for call in stage.parameters("RunTask")] == [after.token]
    assert pending.token not in after.absent


def test_a_token_is_not_replaced_while_a_listed_task_is_not_described(stage: Stage, container: str) -> None:
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.change("DescribeTasks", incomplete)
    token = stage.pending(container).token
    old(stage, container, absent={token: stage.clock.now() - LOOKS})
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
    assert (stage.pending(container).absent, stage.pending(container).token) == ({}, token)
    assert stage.count("RunTask") == 0


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
