"""Tests of takeovers: when an operation is taken over, how often, and which attempts are counted."""

from datetime import datetime, timedelta

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import KnownTask
from longshore.domain.pending import HostCommand, Launch

from engine.aws import DENIED, FAILED, HOST, THROTTLED, Call, Crash
from engine.stage import HIGH, Stage

MINUTE = timedelta(seconds=60)
MILLISECOND = timedelta(milliseconds=1)


def crash(_: Call) -> None:
    raise Crash


@pytest.mark.parametrize(("after", "taken"), [(-MILLISECOND, False), (timedelta(), True), (MILLISECOND, True)])
def test_an_operation_is_taken_over_from_its_deadline_on(stage: Stage, after: timedelta, taken: bool) -> None:
    container = stage.add("stopped")
    deadline = stage.claim(container, "start").deadline
    stage.clock.time = deadline + after
    outcome = stage.take_over(container)
    assert (outcome is not None) is taken
    assert (stage.count("RunTask"), stage.count("UpdateItem")) == (
        (1, 2) if taken else (0, 0)
    )  # taken over; the task is stored


@pytest.mark.parametrize("for_caller", [False, True])
def test_attributes_that_a_takeover_stores(stage: Stage, for_caller: bool) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.edit(container, command_number=HIGH + 6, generation=4)
    stage.edit_pending(container, attempts=2)
    stage.clock.time = stage.pending(container).deadline
    before, pending = stage.container(container), stage.pending(container)
    stage.after("UpdateItem", crash)
    with pytest.raises(Crash):
        stage.take_over(container, for_caller=for_caller)
    until = before.operation.deadline + MINUTE if before.operation else None
    renewed = pending.model_copy(
        update={
            "deadline": until,
            "attempts": 2 if for_caller else 3,
            "command": HostCommand(number=HIGH + 7, expires_at=until),
        }
    )
    expected = {"operation": renewed, "command_number": HIGH + 8, "generation": 5, "pending_deadline": until}
    assert stage.container(container) == before.model_copy(update=expected)
    assert stage.parameters("SendCommand") == []


def test_nothing_is_pending(stage: Stage) -> None:
    container = stage.add("running")
    assert stage.take_over(container) is None
    assert stage.calls == []


@pytest.mark.parametrize("change", ["taken over", "deadline", "completed", "superseded", "a row"])
def test_another_worker_takes_over_first(stage: Stage, change: str) -> None:
    container = stage.add("stopped")
    pending = stage.claim(container, "start")
    stage.clock.time = pending.deadline

    def other(_: Call) -> None:
        match change:
            case "taken over":
                stage.after("UpdateItem", crash)
                with pytest.raises(Crash):
                    stage.take_over(container)
            case "deadline":
                stage.edit_pending(container, deadline=pending.deadline - MILLISECOND)
            case "completed":
                stage.take_over(container)
            case "superseded":
                stage.claim(container, "force-stop")
            case "a row":
                stage.edit(container, log_count=2)

    stage.before("UpdateItem", other)
    runs = stage.count("RunTask")
    assert stage.take_over(container) is None
    assert stage.count("RunTask") - runs == (1 if change == "completed" else 0)
    assert stage.count("StopTask") == 0


def test_the_previous_driver_can_no_longer_commit(stage: Stage) -> None:
    """The first driver is slow, and a sweep takes over and completes its operation."""
    container = stage.add("stopped")

    def slow(_: Call) -> None:
        stage.advance(61)
        assert stage.sweep() == {"completed": 1}

    stage.after("RunTask", slow)
    assert stage.ask(container, "start").kind == "completed"
    assert len(stage.rows(container)) == 2
    assert len(stage.live(container)) == 1


def test_the_first_driver_waits_no_longer_than_until_the_deadline(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    start = stage.clock.now()
    assert stage.ask(container, "start").kind == "accepted"
    assert stage.pending(container).deadline > stage.clock.now()
    assert timedelta(seconds=20) <= stage.clock.now() - start < timedelta(seconds=23)


# --- counted attempts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("for_caller", [False, True])
@pytest.mark.parametrize(
    ("error", "counts"), [(DENIED, True), (FAILED, True), (THROTTLED, False)], ids=["denied", "failed", "throttled"]
)
def test_attempts_are_counted_for_sweeps_unless_ecs_throttles(
    stage: Stage, error: Exception, counts: bool, for_caller: bool
) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.edit_pending(container, attempts=3)
    stage.clock.time = stage.pending(container).deadline
    stage.fail("RunTask", error, times=-1)
    if error is THROTTLED:
        outcome = stage.take_over(container, for_caller=for_caller)
        assert outcome is not None
        assert outcome.kind == "accepted"
    else:
        with pytest.raises(ExternalServiceError):
            stage.take_over(container, for_caller=for_caller)
    assert stage.pending(container).attempts == (4 if counts and not for_caller else 3)
    # Released: the next sweep or retry can take over immediately.
    assert stage.pending(container).deadline < stage.clock.now()


@pytest.mark.parametrize(
    ("age", "attempts"), [(timedelta(hours=1) - MILLISECOND, 3), (timedelta(hours=1), 4)], ids=["before", "after"]
)
def test_attempts_with_a_task_in_transition_count_after_an_hour(stage: Stage, age: timedelta, attempts: int) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.crash(container, "start", "RunTask")
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=3, step_since=stage.clock.now() - age)
    stage.tick = 0
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert stage.pending(container).attempts == attempts


@pytest.mark.parametrize(("operation", "attempts"), [("stop", 0), ("force-stop", 0), ("pause", 1)])
def test_a_task_that_stops_slowly_is_in_transition(stage: Stage, operation: str, attempts: int) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.ssm.fail_next(5)
    stage.ssm._delay = timedelta(seconds=100)
    stage.claim(container, operation)
    stage.clock.time = stage.pending(container).deadline
    outcome = stage.take_over(container)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert stage.pending(container).attempts == attempts


def test_the_first_attempt_is_not_counted(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    assert stage.pending(container).attempts == 0


def test_the_attempts_of_a_new_step_are_never_negative(stage: Stage) -> None:
    """The attempt was counted for the stop step of a restart; the throttled start step has no attempt to subtract."""
    container = stage.add("running", labels={"simulate.start": "never"})
    stage.claim(container, "restart")
    stage.clock.time = stage.pending(container).deadline
    stage.fail("RunTask", THROTTLED, times=-1)
    outcome = stage.take_over(container)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert (stage.pending(container).step, stage.pending(container).attempts) == ("start", 0)


# --- changes while the operation stays pending ---------------------------------------------------------------------


def test_the_task_is_recorded_before_the_wait(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    ran_at: list[datetime] = []
    stage.after("RunTask", lambda _: ran_at.append(stage.clock.now()))
    recorded: list[str | None] = []
    stage.before("GetItem", lambda _: recorded.append(stage.known(container).arn), skip=2)
    stage.ask(container, "start")
    (task,) = stage.live(container)
    pending = stage.pending(container)
    assert recorded == [task.arn]
    known = KnownTask(arn=task.arn, called_from=pending.started_at, called_until=ran_at[0])
    assert stage.container(container).tasks == {pending.token: known}
    assert (pending.answered, pending.deadline) == (False, pending.started_at + MINUTE)
    assert stage.container(container).generation == 1


def test_nothing_is_written_when_nothing_was_found(stage: Stage) -> None:
    """The claim contains everything already, and a further write would only conflict with others."""
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    (task,) = stage.live(container)
    task.containers[0].stop_timeout = timedelta(minutes=5)
    assert stage.ask(container, "stop").kind == "accepted"
    assert (stage.count("UpdateItem"), stage.container(container).generation) == (1, 0)


def test_a_recorded_task_is_found_without_run_task(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    stage.calls.clear()
    before, known = stage.pending(container), stage.known(container)
    stage.pass_deadline()
    assert (stage.count("RunTask"), stage.count("UpdateItem")) == (0, 2)  # taken over; the attempt does not count
    after = stage.pending(container)
    renewed = ("deadline", "command")
    assert after.model_dump(exclude={*renewed}) == before.model_dump(exclude={*renewed})
    assert (known.shown, stage.known(container).shown) == (False, True)


def test_a_missing_task_is_looked_up_again_after_30_seconds(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.hide_tasks()
    stage.change("RunTask", lambda _, answer: {"tasks": [answer["tasks"][0] | {"lastStatus": "PENDING"}]})
    first_look: list[datetime] = []
    stage.after("DescribeTasks", lambda _: first_look.append(stage.clock.now()))
    stage.ask(container, "start")
    pending = stage.pending(container)
    noted_at = stage.clock.now() - timedelta(milliseconds=1)
    known = stage.known(container)
    assert (known.absent_since, known.shown) == (first_look[0], False)
    assert pending.deadline == noted_at + timedelta(seconds=30)


def test_a_missing_task_does_not_extend_the_deadline(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.hide_tasks()
    stage.change("RunTask", lambda _, answer: {"tasks": [answer["tasks"][0] | {"lastStatus": "PENDING"}]})
    taken_at = stage.clock.time = stage.pending(container).deadline
    stage.take_over(container, wait=40)
    assert stage.clock.now() > taken_at + timedelta(seconds=40)
    assert stage.pending(container).deadline == taken_at + MINUTE


def test_an_event_does_not_change_the_deadline(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    pending = stage.claim(container, "start")
    stage.hide_tasks()
    stage.fail("RunTask", FAILED, times=-1)
    event = {"source": "aws.ecs", "detail": {}}
    task = stage.ecs.adopt_running(stage.container(container).runtime.cluster, "web-1", container)
    event["detail"] = task.to_api()
    with pytest.raises(ExternalServiceError):
        stage.deliver(event)
    assert stage.pending(container) == pending.model_copy(update={"launch": Launch(event_acted=True)})


def test_an_operation_is_released_when_its_command_has_expired(stage: Stage) -> None:
    """The operation is released only when the command that may be in flight has expired."""
    container = stage.add("running")
    stage.fail("SendCommand", FAILED)
    stage.refused(container, "pause")
    pending = stage.pending(container)
    assert pending.deadline == pending.command.expires_at
    assert pending.deadline == pending.started_at + MINUTE


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_stop_is_released_immediately_unless_it_has_sent_a_command(stage: Stage, status: str) -> None:
    container = stage.add(status)
    stage.fail("StopTask", FAILED, times=-1)
    stage.refused(container, "stop")
    pending = stage.pending(container)
    if status == "paused":
        assert pending.deadline == pending.command.expires_at
    else:
        assert pending.deadline == stage.clock.now() - MILLISECOND


def test_an_operation_with_a_refused_command_is_released_immediately(stage: Stage) -> None:
    """It is not the first attempt, so the operation is not abandoned; no command is in flight."""
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.clock.time = stage.pending(container).deadline
    stage.ssm.disconnect(HOST)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container)
    assert stage.pending(container).deadline == stage.clock.now() - MILLISECOND
    assert stage.pending(container).attempts == 1
