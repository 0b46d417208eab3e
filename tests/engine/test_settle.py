"""What follows an attempt: the table of `settle`, by observation and role."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.ledger import PROCESSED_LATE, KnownTask
from longshore.domain.lifecycle import Operation, Status, Step
from longshore.domain.models import Container
from longshore.domain.pending import GivenUp, PendingOperation
from longshore.engine.decisions import Abandon, Accept, Commit, DriverRole, GiveUp, Note, Overtaken, Release, Write
from longshore.engine.observations import (
    Changed,
    Ended,
    Findings,
    Launched,
    NeverRan,
    NoEffect,
    Noting,
    Observation,
    Reached,
    Result,
    Reverted,
    TokenExpired,
    Uncertain,
    Unobserved,
)
from longshore.engine.settle import DEADLINE, LAST_ATTEMPT, LEAST_TIME, ON_ITS_WAY, settle

from engine.stage import Stage

TOKEN = "f" * 24
TASK = "arn:aws:ecs:us-east-1:123456789012:task/default/1"
LATER = timedelta(seconds=7)
OWNERS = (DriverRole.CLAIMER, DriverRole.CALLER, DriverRole.SWEEP)


def claimed(stage: Stage, operation: str = "start", **changes: Any) -> Container:
    """Return a container with a pending operation that was claimed just now."""
    container = stage.add("stopped" if operation == "start" else "running")
    stage.claim(container, operation)
    stage.edit_pending(container, **changes)
    return stage.container(container)


def pending(container: Container) -> PendingOperation:
    assert container.operation is not None
    return container.operation


def decided(
    stage: Stage, container: Container, seen: Observation, role: DriverRole = DriverRole.SWEEP, **findings: Any
) -> Write:
    """Return the decision, a moment after the attempt was made."""
    now = stage.clock.now() + LATER
    return settle(container, Result(seen, Findings(**findings)), role, now, fresh_token=TOKEN)


@pytest.mark.parametrize(
    ("seen", "owner", "event"),
    [
        (NeverRan, Commit, Commit),
        (NoEffect("no", final=True), Commit, Commit),
        (NoEffect("no"), Release, Release),
        (Uncertain("no answer"), Release, Release),
        (Uncertain("too many requests", throttled=True), Accept, Release),
        (Unobserved("not yet"), Accept, Accept),
        (TokenExpired(), Note, Note),
        (Noting({}, {}), Note, Note),
        (Changed(None), Overtaken, Overtaken),
        (Reverted(), Commit, Commit),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_follows_an_observation(stage: Stage, seen: Any, owner: type[Write], event: type[Write]) -> None:
    container = claimed(stage, **({"giving_up": "it failed"} if isinstance(seen, Reverted) else {}))
    observation = NeverRan(stage.clock.now(), "it stopped", None) if seen is NeverRan else seen
    for role in (DriverRole.CALLER, DriverRole.SWEEP):
        assert isinstance(decided(stage, container, observation, role, acted=True), owner)
    assert isinstance(decided(stage, container, observation, DriverRole.EVENT, acted=True), event)


@pytest.mark.parametrize("role", DriverRole)
@pytest.mark.parametrize("final", [True, False])
def test_only_the_claimer_abandons(stage: Stage, role: DriverRole, final: bool) -> None:
    write = decided(stage, claimed(stage), NoEffect("denied", final=final), role)
    assert isinstance(write, Abandon) is (role is DriverRole.CLAIMER)
    if role is DriverRole.CLAIMER:
        assert write == Abandon("denied")


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        ({"attempts": 1}, {}),
        ({"idempotency_id": "k", "idempotency_expires_at": 0, "answered": True}, {}),
        ({"has_row": True}, {}),
        ({"superseded": Operation.START}, {}),
        ({}, {"acted": True}),
    ],
)
def test_an_operation_that_may_have_had_an_effect_is_not_abandoned(
    stage: Stage, changes: dict[str, Any], findings: dict[str, Any]
) -> None:
    container = claimed(stage, **changes)
    assert isinstance(decided(stage, container, NoEffect("denied"), DriverRole.CLAIMER, **findings), Release)


def used_up(stage: Stage, operation: str = "start", **changes: Any) -> Container:
    since = stage.clock.now() + LATER - LEAST_TIME
    return claimed(stage, operation, **({"attempts": LAST_ATTEMPT, "step_since": since} | changes))


@pytest.mark.parametrize("seen", [Unobserved("why"), Uncertain("why"), NoEffect("why")], ids=lambda seen: type(seen))
def test_a_step_is_given_up(stage: Stage, seen: Observation) -> None:
    container = used_up(stage)
    for role in OWNERS:
        write = decided(stage, container, seen, role)
        assert isinstance(write, GiveUp)
        change = write.commit.change
        assert (change.to_status, change.observed.reason) == (Status.FAILED, "Gave up after 10 attempts: why")
    assert not isinstance(decided(stage, container, seen, DriverRole.EVENT), GiveUp)


@pytest.mark.parametrize(
    ("changes", "seen", "findings"),
    [
        ({"attempts": LAST_ATTEMPT - 1}, Unobserved("why"), {}),
        ({}, Uncertain("why", throttled=True), {}),
        ({}, Unobserved("why"), {"on_its_way": True}),
    ],
)
def test_a_step_is_not_given_up_early(
    stage: Stage, changes: dict[str, Any], seen: Observation, findings: dict[str, Any]
) -> None:
    container = used_up(stage, **changes)
    assert isinstance(decided(stage, container, seen, **findings), Accept)


def test_a_step_lasts_at_least_ten_minutes(stage: Stage) -> None:
    since = stage.clock.now() + LATER - LEAST_TIME + timedelta(seconds=1)
    assert isinstance(decided(stage, used_up(stage, step_since=since), Unobserved("why")), Accept)


def test_an_attempt_that_finds_the_task_on_its_way_counts_after_an_hour(stage: Stage) -> None:
    since = stage.clock.now() + LATER - ON_ITS_WAY
    write = decided(stage, used_up(stage, step_since=since), Unobserved("why"), on_its_way=True)
    assert isinstance(write, GiveUp)


def test_giving_up_keeps_the_ledger_and_stops_the_task_of_a_start(stage: Stage) -> None:
    container = used_up(stage)
    token = pending(container).token
    tasks = {token: KnownTask(arn=TASK), "other": KnownTask(called_from=stage.clock.now())}
    write = decided(stage, container, Unobserved("why"), tasks=tasks)
    assert isinstance(write, GiveUp)
    assert (write.stops, write.commit.change.tasks) == ([TASK], tasks)


def test_a_token_that_is_given_up_may_be_used_until_the_deadline(stage: Stage) -> None:
    container = used_up(stage)
    token = pending(container).token
    write = decided(stage, container, Unobserved("why"))
    assert isinstance(write, GiveUp)
    assert write.commit.change.tasks is not None
    assert write.commit.change.tasks[token].called_until == pending(container).deadline + PROCESSED_LATE


def test_a_pause_is_reverted_before_it_is_given_up(stage: Stage) -> None:
    container = used_up(stage, "pause")
    write = decided(stage, container, Unobserved("why"))
    assert isinstance(write, Note)
    now = stage.clock.now() + LATER
    assert write.operation.command.given_up == GivenUp(reason="Gave up after 10 attempts: why", since=now)
    assert write.operation.deadline == write.operation.command.expires_at == now + DEADLINE
    assert write.operation.command.number > pending(container).command.number


def test_a_pause_that_is_being_reverted_keeps_its_deadline(stage: Stage) -> None:
    container = used_up(stage, "pause", giving_up="why", giving_up_since=stage.clock.now())
    assert decided(stage, container, Uncertain("why")) == Release(container, None, "why")


def test_a_stop_is_given_up_without_a_command(stage: Stage) -> None:
    write = decided(stage, used_up(stage, "stop"), Unobserved("why"))
    assert isinstance(write, GiveUp)
    assert (write.stops, write.commit.step, write.commit.answer) == ([], None, None)


@pytest.mark.parametrize(
    ("role", "attempts", "expected"),
    [(DriverRole.SWEEP, 3, 2), (DriverRole.SWEEP, 0, 0), (DriverRole.CALLER, 3, 3), (DriverRole.CLAIMER, 0, 0)],
)
def test_only_an_attempt_that_was_counted_is_taken_back(
    stage: Stage, role: DriverRole, attempts: int, expected: int
) -> None:
    container = claimed(stage, attempts=attempts)
    write = decided(stage, container, Uncertain("too many requests", throttled=True), role)
    assert isinstance(write, Accept)
    assert write.operation is not None
    assert write.operation.attempts == expected


def test_an_expired_token_is_replaced_in_the_ledger(stage: Stage) -> None:
    container = claimed(stage)
    write = decided(stage, container, TokenExpired(), tasks={})
    assert isinstance(write, Note)
    assert write.before.tasks == {TOKEN: KnownTask(called_from=stage.clock.now() + LATER)}
    assert write.operation.token == TOKEN


def test_a_launched_task_is_stored_before_the_wait(stage: Stage) -> None:
    container = claimed(stage)
    token = pending(container).token
    tasks = {token: KnownTask(arn=TASK)}
    stage.ecs.adopt_running("default", container.runtime.task_definition)
    (task,) = stage.ecs.tasks()
    from longshore.domain.task import Task

    seen = Task.of(task.to_api())
    write = decided(stage, container, Launched(seen), DriverRole.CLAIMER, tasks=tasks)
    assert isinstance(write, Note)
    assert (write.before.tasks, write.task, write.keeps_alone) == (tasks, seen, False)


@pytest.mark.parametrize("role", DriverRole)
def test_who_stores_a_202(stage: Stage, role: DriverRole) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    write = decided(stage, stage.container(container), Unobserved("not yet"), role)
    assert isinstance(write, Accept)
    answers = role in (DriverRole.CLAIMER, DriverRole.CALLER, DriverRole.ONLOOKER)
    assert (write.stores_answer, write.operation is not None) == (answers, answers)


def test_a_handler_of_an_event_stores_only_a_task_that_it_has_run(stage: Stage) -> None:
    container = claimed(stage)
    token = pending(container).token
    absent = {token: container.tasks[token].missed(stage.clock.now())}
    write = decided(stage, container, Unobserved("not yet"), DriverRole.EVENT, tasks=absent)
    assert isinstance(write, Accept)
    assert write.operation is None
    write = decided(stage, container, Unobserved("not yet"), DriverRole.EVENT, tasks={token: KnownTask(arn=TASK)})
    assert isinstance(write, Accept)
    assert write.operation is not None


def test_an_absent_task_is_looked_up_again_soon(stage: Stage) -> None:
    container = claimed(stage)
    token = pending(container).token
    now = stage.clock.now() + LATER
    write = decided(stage, container, Unobserved("?"), tasks={token: container.tasks[token].missed(now)})
    assert isinstance(write, Accept)
    assert write.operation is not None
    assert write.operation.deadline == now + timedelta(seconds=30)


def test_a_command_in_flight_delays_the_next_driver(stage: Stage) -> None:
    container = claimed(stage, "pause")
    write = decided(stage, container, Uncertain("?"), acted=True)
    assert isinstance(write, Release)
    assert write.operation is not None
    assert write.operation.deadline == pending(container).command_expiry
    write = decided(stage, container, Uncertain("?"))
    assert isinstance(write, Release)
    assert write.operation is not None
    assert write.operation.deadline == stage.clock.now() + LATER


def test_the_exit_beside_another_task_does_not_stop_the_container(stage: Stage) -> None:
    container = claimed(stage, "stop")
    stray = {"stray": KnownTask(arn=TASK, stray=True)}
    write = decided(stage, container, Ended(stage.clock.now(), None), tasks=stray)
    assert isinstance(write, Commit)
    assert (write.change.to_status, write.change.tasks) == (Status.FAILED, stray)


def test_a_restart_continues_with_its_next_step(stage: Stage) -> None:
    container = claimed(stage, "restart")
    write = decided(stage, container, Reached(stage.clock.now()), tasks={})
    assert isinstance(write, Commit)
    assert (write.change.to_status, write.step, write.answer) == (Status.STOPPED, Step.START, None)
