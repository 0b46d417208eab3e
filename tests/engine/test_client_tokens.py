"""Tests of RunTask's client tokens: how long a token is reused, and how the task of an expired token is found."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.models import Container
from longshore.domain.pending import Launch
from longshore.engine.observations import NeverRan, Reached, TokenExpired, Unobserved

from engine.aws import Call
from engine.stage import Stage
from local.emulator.ecs import SimulatedTask
from local.emulator.errors import AwsError

MILLISECOND = timedelta(milliseconds=1)
CONFLICT = AwsError("ConflictException", "The token is in use with other parameters")


def searched_before(stage: Stage, container: str, **changes: Any) -> None:
    """Record a search half a minute ago that found no task of the token."""
    absent_since = stage.clock.now() - timedelta(seconds=30)
    stage.edit_known(container, stage.pending(container).token, **{"absent_since": absent_since} | changes)


# --- the client token ----------------------------------------------------------------------------------------------


def test_a_replacement_token_is_used(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_pending(container, client_token="b" * 24)
    stage.edit(container, tasks={"b" * 24: KnownTask(called_from=stage.clock.now())})
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
    searched_before(stage, container, called_from=now - timedelta(minutes=minutes) + less)
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


@pytest.mark.parametrize(
    ("minutes", "since", "expected"),
    [(59, None, "unobserved"), (61, None, "expired"), (61, 59, "unobserved"), (90, 61, "expired")],
)
def test_the_age_of_a_token_of_version_0_2(stage: Stage, minutes: int, since: int | None, expected: str) -> None:
    """A token without a time has the age of the operation."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    now = stage.clock.now()
    stage.edit_pending(container, started_at=now - timedelta(minutes=minutes))
    item = stage.dynamodb.tables["containers"].items[(container,)]
    operation = item["operation"]["M"]
    operation["absent"] = {"M": {operation["id"]["S"]: {"S": to_text(now - timedelta(seconds=30))}}}
    operation.pop("client_token_since", None)
    if since is not None:
        operation["client_token_since"] = {"S": to_text(now - timedelta(minutes=since))}
    del item["tasks"]
    item["schema"] = {"N": "2"}
    observation = stage.attempt(container, wait=0).observation
    assert isinstance(observation, TokenExpired if expected == "expired" else Unobserved)
    assert stage.count("RunTask") == 0


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
    assert findings.tasks is not None
    (known,) = findings.tasks.values()
    assert seen.task.arn == known.arn == task.arn
    assert known.shown


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
    stage.edit_pending(container, deadline=stage.clock.now() + timedelta(seconds=60))
    stage.fail("RunTask", CONFLICT, times=-1)
    stage.tick = 0
    seen, findings = stage.attempt(container, wait=0)
    assert findings.tasks is not None
    token = stage.pending(container).token
    strays = [known.arn for known in findings.tasks.values() if known.stray]
    chosen = None if expected is None else arns[expected]
    assert strays == [arn for arn, (_, lives) in zip(arns, ages, strict=True) if lives and arn != chosen]
    if expected is None:
        assert isinstance(seen, Unobserved)
        assert findings.tasks[token].arn is None
        return
    if strays and ages[expected][1]:
        # `running` is written when all other tasks have ended.
        assert isinstance(seen, Unobserved)
        assert seen.reason == "Another task of the container has not stopped"
    elif strays:
        # The task has ended, and `running` is not written beside another task.
        assert isinstance(seen, NeverRan)
    else:
        assert isinstance(seen, Reached)
    assert seen.task is not None
    assert seen.task.arn == arns[expected]
    # A task that has stopped leaves the ledger.
    expected_entry = chosen if ages[expected][1] else None
    assert (findings.tasks[token].arn if token in findings.tasks else None) == expected_entry


def test_a_stray_that_a_search_finds_is_stopped_before_the_start_is_done(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(60)
    wanted, stray = listed(stage, container, (-40, True), (600, True))
    stage.fail("RunTask", CONFLICT, times=-1)
    stage.sweep()
    assert (stage.status(container), stage.known(container, stray.rsplit("/", 1)[-1]).stray) == ("stopped", True)
    assert stage.container(container).tasks[stage.pending(container).token].arn == wanted
    stage.pass_deadline()
    stage.pass_deadline()
    after = stage.container(container)
    assert (after.status, after.task_arn, after.operation, len(after.tasks)) == ("running", wanted, None, 1)
    assert [task.arn for task in stage.live(container)] == [wanted]
    assert {call["task"] for call in stage.parameters("StopTask")} == {stray}


def test_a_stray_is_not_forgotten_when_the_task_of_the_start_has_ended(stage: Stage) -> None:
    """The search finds that the task of the start has run and ended, and another one alive."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(60)
    _, stray = listed(stage, container, (-40, False), (600, True))
    stage.fail("RunTask", CONFLICT, times=-1)
    stage.with_events()
    stage.sweep()
    after = stage.container(container)
    assert stray in [known.arn for known in after.tasks.values()]
    assert after.status != "stopped" or after.operation is not None
    stage.heal()
    for _ in range(4):
        stage.pass_deadline()
    assert (stage.live(container), stage.container(container).tasks) == ([], {})
    assert stage.container(container).operation is None


def test_the_containers_previous_task_is_not_chosen(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    (arn,) = listed(stage, container, (-1, False))
    stage.edit(container, last_task=LastTask(id=arn.rsplit("/", 1)[-1]))
    stage.fail("RunTask", CONFLICT, times=-1)
    assert isinstance(stage.attempt(container).observation, Unobserved)


def test_a_new_token_is_stored_before_it_is_used(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(3 * 3600)
    stored: list[Container] = []
    stage.before("RunTask", lambda _: stored.append(stage.container(container)))
    assert stage.sweep() == {"accepted": 1}
    first = stage.pending(container)
    absent_since = stage.known(container, first.id).absent_since
    assert absent_since is not None
    assert (first.launch, stage.count("RunTask")) == (Launch(), 0)
    assert stage.clock.now() < first.deadline <= absent_since + timedelta(seconds=37)
    stage.clock.time = first.deadline
    assert stage.sweep() == {"accepted": 1}
    (before,) = stored
    (call,) = stage.parameters("RunTask")
    pending = before.operation
    assert pending is not None
    assert call["clientToken"] == pending.token != pending.id
    assert len(pending.token) == 24
    known = before.tasks[pending.token]
    assert known == KnownTask(called_from=known.called_from)
    assert known.called_from is not None
    assert timedelta() < stage.clock.now() - known.called_from < timedelta(seconds=5)
    assert (list(before.tasks), pending.attempts) == ([pending.token], 2)
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


def test_a_stray_that_the_search_for_an_earlier_token_finds_ends_before_run_task(stage: Stage) -> None:
    """One search proves that the earlier token is unused, and shows another task that is alive."""
    stage.with_events()
    container = stage.add("failed")
    now = stage.clock.now()
    earlier = KnownTask(
        called_from=now - timedelta(minutes=60),
        called_until=now - timedelta(minutes=10),
        absent_since=now - timedelta(seconds=31),
    )
    stage.edit(container, tasks={"t" * 24: earlier})
    stray = stage.ecs.adopt_running("default", "web-1", container)
    stray.created_at = now - timedelta(hours=3)
    stage.before("RunTask", lambda _: alive.extend(stage.live(container)))
    alive: list[SimulatedTask] = []
    assert stage.ask(container, "restart").kind == "accepted"
    assert stage.known(container, stray.id).stray
    stage.pass_deadline()
    stage.pass_deadline()
    after = stage.container(container)
    assert (after.status, after.operation, alive) == ("running", None, [])
    assert [task.arn for task in stage.live(container)] == [after.task_arn]
    assert after.task_arn != stray.arn
