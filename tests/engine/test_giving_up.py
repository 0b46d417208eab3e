"""Tests of the end of a step after its last attempt."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError, OperationFailedError
from longshore.domain.ledger import PROCESSED_LATE
from longshore.domain.pending import GivenUp

from engine.aws import DENIED, FAILED, HOST, NOT_FOUND, THROTTLED
from engine.stage import HIGH, USER, Stage, with_acting_event

MINUTE = timedelta(seconds=60)
MILLISECOND = timedelta(milliseconds=1)
TEN_MINUTES = timedelta(minutes=10)
DENIED_REASON = "Longshore is not permitted to do this on the cluster"


def due(stage: Stage, container: str, *, attempts: int = 9, age: timedelta = TEN_MINUTES, **more: Any) -> None:
    """Set the clock to the pending operation's deadline, and the age and attempts of its step; calls take no time."""
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, attempts=attempts, step_since=stage.clock.now() - age, **more)
    stage.tick = 0
    stage.calls.clear()


@pytest.mark.parametrize(
    ("attempts", "age", "ends"),
    [
        (8, TEN_MINUTES, False),
        (9, TEN_MINUTES - MILLISECOND, False),
        (9, TEN_MINUTES, True),
        (10, TEN_MINUTES, True),
        (99, TEN_MINUTES - MILLISECOND, False),
        (8, timedelta(days=1), False),
    ],
)
def test_a_step_has_at_least_ten_attempts_and_ten_minutes(
    stage: Stage, attempts: int, age: timedelta, ends: bool
) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container, attempts=attempts, age=age)
    with pytest.raises(ExternalServiceError) as raised:
        stage.take_over(container, wait=0)
    assert isinstance(raised.value, OperationFailedError) is ends
    assert (stage.status(container), len(stage.rows(container))) == (("failed", 2) if ends else ("stopped", 1))
    if not ends:
        assert stage.pending(container).attempts == attempts + 1


def test_a_step_without_a_time_has_the_age_of_the_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container, started_at=stage.clock.now() - TEN_MINUTES)
    stage.edit_pending(container, step_since=None)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)


def test_a_new_step_starts_with_no_attempts(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "restart")
    due(stage, container, attempts=20, age=timedelta(hours=2), absent={"arn:x": stage.clock.now()})
    stage.tick = 0.001
    stage.fail("RunTask", FAILED, times=-1)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container)
    stopped_at = stage.container(container).last_transition_time
    pending = stage.pending(container)
    assert (pending.step, pending.attempts, pending.step_since, pending.has_row) == ("start", 0, stopped_at, True)
    assert stage.known(container, pending.token).called_from == stopped_at


def test_the_row_of_a_start_that_is_given_up(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container, started_at=stage.clock.now() - MINUTE)
    with pytest.raises(OperationFailedError) as raised:
        stage.take_over(container, wait=0)
    reason = f"Gave up after 10 attempts: {DENIED_REASON}"
    assert raised.value.reason == reason
    (row,) = stage.rows(container)[1:]
    assert row["metadata"] == {
        "command": "start",
        "actor": USER,
        "request_id": "r-1",
        "operation_id": row["metadata"]["operation_id"],
        "reason": reason,
    }
    assert (row["to_status"], row["triggered_by"]) == ("failed", "user")
    assert row["transition_time"] == to_text(stage.clock.now())
    assert row["duration_ms"] == 120_000 - 1
    after = stage.container(container)
    assert after.operation is None
    # Another driver may use the client token until the operation's deadline.
    (known,) = after.tasks.values()
    assert known.arn is None
    assert known.called_until == stage.clock.now() + MINUTE + PROCESSED_LATE
    # No key stores an error.
    assert stage.record() is None


def test_a_start_that_is_given_up_stops_its_task(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    due(stage, container, age=timedelta(hours=1))
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    assert [(call["task"], call["reason"]) for call in stage.parameters("StopTask")] == [
        (task.arn, "Longshore: the start was superseded")
    ]
    after = stage.container(container)
    assert (after.status, [known.arn for known in after.tasks.values()]) == ("failed", [task.arn])
    assert after.due_at == after.status_since
    metadata = stage.rows(container)[-1]["metadata"]
    assert (metadata["reason"], metadata["task_id"]) == ("Gave up after 10 attempts: The task is PENDING", task.id)


def test_a_start_that_is_given_up_keeps_a_task_that_ecs_does_not_return(stage: Stage) -> None:
    """ECS does not return the task of a start that is given up: the container keeps it, and it ends."""
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    stage.clock.time = stage.pending(container).deadline
    stage.fail("DescribeTasks", FAILED, times=-1)
    stage.fail("StopTask", DENIED, times=-1)
    stage.edit_known(container, arn=task.arn, called_until=stage.clock.now())
    due(stage, container)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.status, [known.arn for known in after.tasks.values()]) == ("failed", [task.arn])
    assert stage.count("StopTask") == 1
    # The task started after all: it is stopped.
    stage.heal()
    for _ in range(3):
        stage.advance(1)
        stage.deliver_all()
        stage.pass_deadline()
    after = stage.container(container)
    assert (after.status, after.tasks, stage.live(container)) == ("failed", {}, [])


def test_a_start_without_a_task_stops_nothing(stage: Stage) -> None:
    container = stage.add("failed")
    stage.claim(container, "restart")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    assert stage.count("StopTask") == 0


def test_a_stop_that_is_given_up_keeps_its_task_and_stops_nothing_more(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    before = stage.container(container)
    stage.fail("StopTask", FAILED, times=-1)
    due(stage, container)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    after = stage.container(container)
    assert (after.status, after.tasks) == ("failed", before.tasks)
    assert (stage.count("StopTask"), stage.count("SendCommand")) == (1, 0)


@pytest.mark.parametrize("age", [TEN_MINUTES, timedelta(days=2)])
def test_an_attempt_that_is_throttled_is_never_the_last(stage: Stage, age: timedelta) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", THROTTLED, times=-1)
    due(stage, container, attempts=30, age=age)
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert stage.pending(container).attempts == 30


@pytest.mark.parametrize(
    ("age", "ends"), [(timedelta(hours=1) - MILLISECOND, False), (timedelta(hours=1), True)], ids=["before", "after"]
)
@pytest.mark.parametrize("operation", ["start", "stop"])
def test_a_task_that_is_starting_or_stopping_has_an_hour(
    stage: Stage, operation: str, age: timedelta, ends: bool
) -> None:
    labels = {"simulate.start": "never", "simulate.ignore-sigterm": "true"}
    container = stage.add("stopped" if operation == "start" else "running", labels=labels)
    for task in stage.live(container):
        task.containers[0].stop_timeout = timedelta(hours=9)
    stage.ask(container, operation)
    due(stage, container, age=age)
    if ends:
        with pytest.raises(OperationFailedError):
            stage.take_over(container, wait=0)
    else:
        outcome = stage.take_over(container, wait=0)
        assert outcome is not None
        assert outcome.kind == "accepted"


def test_an_event_is_never_the_last_attempt(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container, attempts=10, age=timedelta(hours=5))
    stage.edit_pending(container, deadline=stage.clock.now() + MINUTE)
    task = stage.ecs.adopt_running("default", "web-1", container)
    before = stage.container(container)
    with pytest.raises(ExternalServiceError):
        stage.deliver({"source": "aws.ecs", "detail": task.to_api()})
    assert stage.container(container) == with_acting_event(before)


def test_a_retry_can_be_the_last_attempt_but_is_not_counted(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.fail("RunTask", DENIED, times=-1)
    due(stage, container, attempts=9)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container, wait=0, for_caller=True)
    assert stage.pending(container).attempts == 9
    due(stage, container, attempts=10)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0, for_caller=True)


# --- steps that have sent a command -----------------------------------------------------------------------------------


def exhaust(stage: Stage, container: str, operation: str) -> None:
    """Make the last attempt send a command whose result is unknown."""
    stage.edit(container, command_number=HIGH)
    stage.claim(container, operation)
    stage.ssm._delay = timedelta(hours=1)
    due(stage, container)


@pytest.mark.parametrize("operation", ["resume", "stop"])
def test_an_unpause_that_is_given_up_is_not_reverted(stage: Stage, operation: str) -> None:
    """A sweep ends the task, and a frozen process would not handle SIGTERM."""
    container = stage.add("paused")
    exhaust(stage, container, operation)
    with pytest.raises(OperationFailedError):
        stage.take_over(container, wait=0)
    assert [command["action"] for command in stage.commands()] == [["unpause"]]
    after = stage.container(container)
    assert (after.status, after.operation, len(after.tasks)) == ("failed", None, 1)


def test_the_opposite_command_is_sent_before_the_end(stage: Stage) -> None:
    container = stage.add("running")
    exhaust(stage, container, "pause")
    now = stage.clock.now()
    with pytest.raises(OperationFailedError) as raised:
        stage.take_over(container, wait=0)
    reason = "Gave up after 10 attempts: The instance has not run the command yet"
    assert raised.value.reason == reason
    first, second = stage.commands()
    assert (first["number"], second["number"]) == ([str(HIGH + 3)], [str(HIGH + 5)])
    assert second["action"] == ["unpause"]
    assert second["expires"] == [str(int((now + MINUTE).timestamp()))]
    after = stage.container(container)
    assert (after.status, after.operation, len(after.tasks)) == ("failed", None, 1)
    assert after.command_number == HIGH + 6
    assert stage.rows(container)[-1]["metadata"]["reason"] == reason
    assert stage.count("GetCommandInvocation") == 0


def test_giving_up_is_recorded_before_the_opposite_command(stage: Stage) -> None:
    container = stage.add("running")
    exhaust(stage, container, "pause")
    stage.fail("SendCommand", FAILED, times=-1)
    with pytest.raises(ExternalServiceError) as raised:
        stage.take_over(container, wait=0)
    now = stage.clock.now()
    pending = stage.pending(container)
    reason = "Gave up after 10 attempts: Systems Manager returned an error"
    assert raised.value.reason == reason
    assert pending.command.given_up == GivenUp(reason=reason, since=now)
    assert (pending.deadline, pending.command.expires_at) == (now + MINUTE, now + MINUTE)
    assert (pending.command.number, stage.container(container).command_number) == (HIGH + 5, HIGH + 6)
    assert stage.status(container) == "running"


@pytest.mark.parametrize(
    ("after", "ends"), [(-MILLISECOND, False), (timedelta(), True)], ids=["before the expiry", "at the expiry"]
)
def test_the_opposite_command_is_retried_until_the_last_command_has_expired(
    stage: Stage, after: timedelta, ends: bool
) -> None:
    container = stage.add("running")
    exhaust(stage, container, "pause")
    stage.fail("SendCommand", FAILED, times=-1)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container, wait=0)
    stage.clock.time += MINUTE + after
    stage.edit_pending(container, deadline=stage.clock.now())
    with pytest.raises(ExternalServiceError) as raised:
        stage.take_over(container, wait=0)
    assert isinstance(raised.value, OperationFailedError) is ends
    assert stage.count("SendCommand") == 3
    assert [command["number"] for command in stage.commands()] == [[str(HIGH + n)] for n in (3, 5, 7)]
    assert stage.commands()[-1]["action"] == ["unpause"]
    assert stage.status(container) == ("failed" if ends else "running")


@pytest.mark.parametrize(
    ("what", "ends"),
    [("refused", False), ("hidden", False), ("ecs fails", False), ("stopped", True), ("no task", True)],
)
def test_when_the_opposite_command_is_not_needed(stage: Stage, what: str, ends: bool) -> None:
    container = stage.add("running")
    exhaust(stage, container, "pause")
    now = stage.clock.now()
    stage.edit_pending(container, giving_up="It failed", giving_up_since=now, deadline=now)
    match what:
        case "refused":
            stage.ssm.disconnect(HOST)
        case "hidden":
            stage.hide_tasks()
        case "ecs fails":
            stage.fail("DescribeTasks", FAILED, times=-1)
        case "stopped":
            stage.ecs.exit(stage.live(container)[0].arn, 0)
        case "no task":
            stage.edit(container, tasks={})
    with pytest.raises(ExternalServiceError) as raised:
        stage.take_over(container, wait=0)
    assert isinstance(raised.value, OperationFailedError) is ends
    assert raised.value.reason == "It failed"
    assert stage.count("SendCommand") == (1 if what == "refused" else 0)


def test_another_driver_has_changed_the_operation_when_it_is_given_up(stage: Stage) -> None:
    """The write that records the giving up fails, because the operation has been superseded."""
    container = stage.add("running")
    exhaust(stage, container, "pause")
    stage.before("UpdateItem", lambda _: stage.ask(container, "force-stop"), skip=1)
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, outcome.message) == ("conflict", "Container is not running")
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped"]
    assert [command["action"] for command in stage.commands()] == [["pause"], ["kill"]]


def test_a_missing_task_is_looked_up_every_30_seconds(stage: Stage) -> None:
    """A stop whose task is gone looks it up every 30 seconds."""
    container = stage.add("running")
    stage.hide_tasks()
    stage.fail("StopTask", NOT_FOUND, times=-1)
    assert stage.ask(container, "stop").kind == "accepted"
    assert stage.status(container) == "running"
    stage.advance(31)
    stage.sweep()
    assert (stage.status(container), stage.container(container).operation) == ("failed", None)
    assert stage.rows(container)[-1]["metadata"] == {"reason": "The task is no longer known to ECS"}
