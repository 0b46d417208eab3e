"""Tests of RunTask's client tokens: how long a token is reused, and how the task of an expired token is found."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.engine.observations import Reached, TokenExpired, Unobserved

from engine.aws import Call
from engine.stage import Stage
from local.emulator.errors import AwsError

MILLISECOND = timedelta(milliseconds=1)
CONFLICT = AwsError("ConflictException", "The token is in use with other parameters")


def searched_before(stage: Stage, container: str, **changes: Any) -> None:
    """Record a search half a minute ago that found no task of the token."""
    pending = stage.pending(container)
    absent = {pending.token: stage.clock.now() - timedelta(seconds=30)}
    stage.edit_pending(container, **{"absent": absent} | changes)


# --- the client token ----------------------------------------------------------------------------------------------


def test_a_replacement_token_is_used(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_pending(container, client_token="b" * 24, client_token_since=stage.clock.now())
    stage.attempt(container)
    assert [call["clientToken"] for call in stage.parameters("RunTask")] == ["b" * 24]


@pytest.mark.parametrize(
    ("minutes", "less", "expected"),
    [
        (50, MILLISECOND, "RunTask"),
        (50, timedelta(), "ECS may have run the task, and does not list it yet"),
        (60, MILLISECOND, "ECS may have run the task, and does not list it yet"),
        (60, timedelta(), TokenExpired()),
        (2000, timedelta(), TokenExpired()),
    ],
)
def test_a_token_is_replaced_when_it_is_too_old(stage: Stage, minutes: int, less: timedelta, expected: object) -> None:
    """Check which tokens are reused and which replaced, after an earlier search that found no task."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    now = stage.clock.now()
    searched_before(stage, container, client_token_since=now - timedelta(minutes=minutes) + less)
    stage.tick = 0
    seen, _ = stage.attempt(container, wait=0)
    if expected == "RunTask":
        assert (stage.count("RunTask"), stage.count("ListTasks")) == (1, 0)
        return
    assert seen == (Unobserved(expected) if isinstance(expected, str) else expected)
    assert stage.count("RunTask") == 0
    assert stage.parameters("ListTasks") == [
        {"cluster": "default", "startedBy": container, "desiredStatus": status} for status in ("RUNNING", "STOPPED")
    ]


def test_a_token_without_a_time_has_the_age_of_the_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    searched_before(stage, container, started_at=stage.clock.now() - timedelta(minutes=61))
    assert isinstance(stage.attempt(container).observation, TokenExpired)


@pytest.mark.parametrize("error", [CONFLICT, None], ids=["conflict", "old"])
def test_a_task_of_an_earlier_attempt_is_found_by_list_tasks(stage: Stage, error: Exception | None) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(1)
    (task,) = stage.live(container)
    if error is not None:
        stage.fail("RunTask", error, times=-1)
    else:
        stage.advance(55 * 60)
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert seen.task.arn == findings.task_arn == task.arn
    assert findings.task_shown


def test_a_conflict_without_a_task_stays_pending(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", CONFLICT, times=-1)
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("ECS may have run the task, and does not list it yet")
    assert findings.acted
    assert stage.count("RunTask") == 1


def listed(stage: Stage, container: str, *ages: tuple[float, bool]) -> list[str]:
    """Create live or exited tasks of the container, each this many seconds before its operation. Returns their ARNs."""
    started_at = stage.pending(container).started_at
    arns = []
    for seconds, lives in ages:
        task = stage.ecs.adopt_running("default", "web-1", container)
        task.created_at = started_at - timedelta(seconds=seconds)
        if not lives:
            stage.ecs.exit(task.arn, 0)
        arns.append(task.arn)
    return arns


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([(5, True)], 0),
        ([(5.001, True)], None),
        ([(-30, True), (-40, True)], 1),
        ([(-40, True), (-30, True)], 0),
        ([(-40, False), (-30, True)], 1),
        ([(-40, False), (-50, False)], 1),
        ([(600, True), (-1, False)], 1),
        ([], None),
    ],
)
def test_the_newest_live_task_since_the_claim_is_chosen(
    stage: Stage, ages: list[tuple[float, bool]], expected: int | None
) -> None:
    """Check that the newest live task created since the claim is chosen; clocks differ by at most 5 seconds."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(60)
    arns = listed(stage, container, *ages)
    stage.fail("RunTask", CONFLICT, times=-1)
    stage.tick = 0
    seen, findings = stage.attempt(container, wait=0)
    if expected is None:
        assert isinstance(seen, Unobserved)
        assert findings.task_arn is None
    else:
        assert isinstance(seen, Reached)
        assert (findings.task_arn, findings.task_run_at) == (arns[expected], stage.clock.now())


def test_the_containers_previous_task_is_not_chosen(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    (arn,) = listed(stage, container, (-1, False))
    stage.edit(container, task_arn=arn)
    stage.fail("RunTask", CONFLICT, times=-1)
    assert isinstance(stage.attempt(container).observation, Unobserved)


def test_a_new_token_is_stored_before_it_is_used(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_pending(container, absent={"arn:x": stage.clock.now()})
    stage.advance(3 * 3600)
    stored: list[Any] = []
    stage.before("RunTask", lambda _: stored.append(stage.pending(container)))
    assert stage.sweep() == {"accepted": 1}
    first = stage.pending(container)
    assert (first.client_token, stage.count("RunTask"), list(first.absent)) == (None, 0, ["arn:x", first.id])
    assert stage.clock.now() < first.deadline <= first.absent[first.id] + timedelta(seconds=37)
    stage.clock.time = first.deadline
    assert stage.sweep() == {"accepted": 1}
    (pending,) = stored
    (call,) = stage.parameters("RunTask")
    assert call["clientToken"] == pending.client_token != pending.id
    assert len(pending.client_token) == 24
    noted_at = stage.clock.now() - pending.client_token_since
    assert timedelta() < noted_at < timedelta(seconds=5)
    assert (pending.absent, pending.attempts) == ({}, 2)
    stage.advance(1)
    assert stage.status(container) == "running"


def test_another_worker_stores_a_new_token_first(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(3 * 3600)
    searched_before(stage, container)

    def other(_: Call) -> None:
        stage.advance(61)
        stage.sweep()

    stage.before("UpdateItem", other, skip=1)
    stage.sweep()
    stage.advance(1)
    assert stage.count("RunTask") == 1
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running"]
