"""Tests of the step `kill`, for the container's task and for the task of a superseded start."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import PROCESSED_LATE
from longshore.domain.lifecycle import Status
from longshore.engine.observations import Ended, NoEffect, Reached, Uncertain, Unobserved

from engine.aws import CLUSTER, DENIED, FAILED, HOST, NOT_FOUND, Answer, Call
from engine.stage import Stage
from local.emulator.ecs import SimulatedTask
from local.emulator.errors import AwsError

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
UNSHOWN = timedelta(minutes=5)
CONFLICT = AwsError("ConflictException", "The token is in use with other parameters")


# --- the container's task ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_task_is_killed_on_its_host_and_stopped(stage: Stage, status: str) -> None:
    container = stage.add(status)
    pending = stage.claim(container, "force-stop")
    (task,) = stage.live(container)
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert (seen.at, seen.facts, seen.task.arn) == (stage.clock.now(), seen.task.facts, task.arn)
    assert (seen.facts.exit_code, seen.facts.kill_refused) == (137, None)
    assert (findings.acted, findings.tasks) == (True, {})
    names = [call.operation for call in stage.calls]
    assert names[:4] == ["DescribeTasks", "DescribeContainerInstances", "SendCommand", "StopTask"]
    assert stage.parameters("StopTask")[0]["reason"] == f"Longshore operation {pending.id}"
    assert stage.count("GetCommandInvocation") == 0


@pytest.mark.parametrize(
    ("error", "acted", "reason"),
    [
        (DENIED, False, "Systems Manager refused the command"),
        (FAILED, True, "Systems Manager returned an error"),
        (None, False, "The instance is not reachable through Systems Manager"),
    ],
    ids=["denied", "failed", "disconnected"],
)
def test_a_host_that_does_not_accept_the_command(
    stage: Stage, error: Exception | None, acted: bool, reason: str
) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    if error is not None:
        stage.fail("SendCommand", error)
    else:
        stage.ssm.disconnect(HOST)
    stage.fail("StopTask", DENIED)
    seen, findings = stage.attempt(container)
    denied = "Longshore is not permitted to do this on the cluster"
    assert seen == (Uncertain(denied) if acted else NoEffect(denied))
    assert findings.acted is acted
    # By StopTask and its timeout.
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert seen.facts.exit_code == (0 if error is None else 137)


def test_the_row_contains_the_refusal_of_the_host(stage: Stage) -> None:
    container = stage.add("running")
    stage.ssm.disconnect(HOST)
    assert stage.ask(container, "force-stop").kind == "completed"
    metadata = stage.rows(container)[-1]["metadata"]
    assert metadata["kill_refused"] == "The instance is not reachable through Systems Manager"
    assert metadata["stop_code"] == "UserInitiated"


def test_a_task_that_does_not_stop_in_time(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.ssm.disconnect(HOST)
    stage.claim(container, "force-stop")
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The task has not stopped")
    assert (findings.acted, findings.on_its_way) == (True, True)


def test_a_task_that_ecs_does_not_return_is_stopped(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    stage.hide_tasks(times=1)
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert (stage.count("StopTask"), stage.count("SendCommand")) == (1, 0)


def test_a_task_that_ecs_never_returns(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    stage.hide_tasks()
    stage.fail("StopTask", NOT_FOUND, times=-1)
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("The task has not stopped")
    assert findings.tasks is not None
    assert [known.absent_since is None for known in findings.tasks.values()] == [False]
    stage.tick = 0
    stage.edit_known(container, absent_since=stage.clock.now() - timedelta(seconds=30))
    assert stage.attempt(container, wait=0).observation == Ended(stage.clock.now(), None)
    stage.edit_known(container, absent_since=stage.clock.now() - timedelta(seconds=30) + MILLISECOND)
    assert isinstance(stage.attempt(container, wait=0).observation, Unobserved)


def test_a_container_without_a_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.edit(container, tasks={})
    stage.claim(container, "force-stop")
    assert stage.attempt(container).observation == Ended(stage.clock.now(), None)


def test_a_failed_container_without_a_task(stage: Stage) -> None:
    container = stage.add("failed")
    stage.claim(container, "force-stop")
    assert stage.attempt(container).observation == Reached(stage.clock.now())
    assert stage.calls == []


def test_a_failed_container_whose_task_lives(stage: Stage) -> None:
    container = stage.add("failed")
    task = stage.give_task(container)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert not task.live
    assert stage.rows(container)[-1]["metadata"]["task_id"] == task.id
    assert stage.commands()[0]["action"] == ["kill"]


def test_a_failed_container_whose_task_has_ended(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 3)
    stage.deliver_all()
    stage.calls.clear()
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "failed"
    assert stage.ask(container, "force-stop").kind == "completed"
    assert (stage.count("StopTask"), stage.count("SendCommand")) == (0, 0)
    assert "exit_code" not in stage.rows(container)[-1]["metadata"]


@pytest.mark.parametrize(("before", "ended"), [(MILLISECOND, True), (timedelta(), False)])
@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_task_that_has_already_stopped(stage: Stage, before: timedelta, ended: bool, status: str) -> None:
    container = stage.add("running")
    stage.claim(container, "force-stop")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    task.stopped_at = stage.pending(container).since - before
    if status == "failed":
        stage.edit(container, status=Status.FAILED)
    seen, _ = stage.attempt(container)
    if ended and status == "running":
        assert isinstance(seen, Ended)
        assert seen.task is not None
        assert (seen.at, seen.task.arn) == (task.stopped_at, task.arn)
    else:
        assert isinstance(seen, Reached)
    assert (stage.count("StopTask"), stage.count("SendCommand")) == (0, 0)


# --- the task of a superseded start ----------------------------------------------------------------------------------


def superseding(stage: Stage, *, crash_at: str = "RunTask") -> tuple[str, list[SimulatedTask]]:
    """Return a container whose start may have run a task, and whose force-stop is claimed."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.crash(container, "start", crash_at)
    stage.claim(container, "force-stop")
    return container, stage.live(container)


def test_the_client_token_finds_the_task(stage: Stage) -> None:
    container, (task,) = superseding(stage)
    (token,) = stage.container(container).tasks
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert seen.task is not None
    assert seen.task.arn == task.arn
    assert [call["clientToken"] for call in stage.parameters("RunTask")] == [token]
    assert [call["task"] for call in stage.parameters("StopTask")] == [task.arn]
    assert (findings.tasks, findings.acted) == ({}, True)
    assert stage.live(container) == []


def test_an_unused_token_runs_a_task_that_is_stopped(stage: Stage) -> None:
    container, tasks = superseding(stage, crash_at="UpdateItem")
    assert tasks == []
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert (stage.count("RunTask"), stage.count("StopTask")) == (1, 1)
    assert stage.live(container) == []


def test_a_start_that_continues_later_gets_the_stopped_task(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.before("RunTask", lambda _: stage.ask(container, "force-stop"))
    assert stage.refused(container, "start") == "Container start was superseded"
    assert stage.live(container) == []
    assert len(stage.ecs.tasks()) == 1
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["metadata"]["superseded"]) == ("stopped", "start")


def test_a_recorded_task_needs_no_run_task(stage: Stage) -> None:
    container, (task,) = superseding(stage)
    stage.edit_known(container, arn=task.arn, called_until=stage.clock.now())
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert (stage.count("RunTask"), stage.count("ListTasks")) == (0, 0)


@pytest.mark.parametrize(("left", "proves"), [(timedelta(), True), (MILLISECOND, False)])
def test_a_placement_failure_proves_that_a_token_ran_no_task_that_nobody_else_can_use(
    stage: Stage, left: timedelta, proves: bool
) -> None:
    container, _ = superseding(stage, crash_at="UpdateItem")
    stage.ecs.set_capacity(HOST, memory=0)
    stage.tick = 0
    stage.edit_known(container, called_until=stage.clock.now() + left)
    seen, findings = stage.attempt(container, wait=0)
    assert isinstance(seen, Reached) is proves
    assert bool(findings.tasks) is not proves
    assert (findings.acted, stage.count("StopTask"), stage.count("ListTasks")) == (False, 0, 0)


def test_the_driver_of_a_superseded_start_may_use_its_token_until_its_deadline(stage: Stage) -> None:
    container = stage.add("stopped")
    deadline = stage.claim(container, "start").deadline
    stage.claim(container, "force-stop")
    assert stage.known(container).called_until == deadline + PROCESSED_LATE


def test_a_token_whose_use_fails(stage: Stage) -> None:
    container, _ = superseding(stage)
    stage.fail("RunTask", FAILED, times=-1)
    seen, findings = stage.attempt(container)
    assert seen == Uncertain("ECS returned an error")
    assert (findings.acted, stage.count("ListTasks"), stage.count("StopTask")) == (True, 0, 0)


@pytest.mark.parametrize("error", [DENIED, CONFLICT], ids=["denied", "conflict"])
def test_a_refused_token_leads_to_a_search(stage: Stage, error: Exception) -> None:
    container, (task,) = superseding(stage)
    stage.fail("RunTask", error, times=-1)
    seen, findings = stage.attempt(container)
    assert isinstance(seen, Reached)
    assert (findings.tasks, stage.live(container), task.live) == ({}, [], False)
    assert stage.count("ListTasks") == 2


@pytest.mark.parametrize(
    ("age", "uses"),
    [(timedelta(minutes=50) - MILLISECOND, 1), (timedelta(minutes=50), 0)],
    ids=["fresh", "old"],
)
def test_an_old_token_is_not_used(stage: Stage, age: timedelta, uses: int) -> None:
    container, (task,) = superseding(stage)
    stage.tick = 0
    stage.edit_known(container, called_from=stage.clock.now() - age)
    _, findings = stage.attempt(container, wait=0)
    assert findings.tasks is not None
    assert (stage.count("RunTask"), [known.arn for known in findings.tasks.values()]) == (uses, [task.arn])


@pytest.mark.parametrize(
    ("age", "searched", "known"),
    [
        (UNSHOWN - MILLISECOND, LOOKS, False),
        (UNSHOWN, LOOKS - MILLISECOND, False),
        (UNSHOWN, LOOKS, True),
        (UNSHOWN, timedelta(minutes=10), True),
        (UNSHOWN, timedelta(minutes=10) + MILLISECOND, False),
        (timedelta(days=1), None, False),
    ],
)
def test_two_late_searches_prove_that_a_superseded_start_ran_no_task(
    stage: Stage, age: timedelta, searched: timedelta | None, known: bool
) -> None:
    """A task is ruled out five minutes after the latest time of its RunTask, by two searches without a result."""
    container, _ = superseding(stage, crash_at="UpdateItem")
    stage.fail("RunTask", DENIED, times=-1)
    stage.tick = 0
    now = stage.clock.now()
    stage.edit_known(container, called_until=now - age, absent_since=now - searched if searched else None)
    seen, findings = stage.attempt(container, wait=0)
    assert seen == (Reached(now) if known else Unobserved("The task has not stopped"))
    first = now - searched if searched and searched <= timedelta(minutes=10) else now
    assert [each.absent_since for each in (findings.tasks or {}).values()] == ([] if known else [first])
    assert stage.count("StopTask") == 0


def test_a_force_stop_does_not_take_an_earlier_task_for_that_of_the_superseded_start(stage: Stage) -> None:
    """RunTask with the token is refused since the task definition has changed, and the new task is not shown yet."""
    stage.with_events()
    container = stage.add("stopped")
    earlier = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.ecs.exit(earlier.arn, 0)
    stage.advance(2)
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    stage.fail("RunTask", CONFLICT)

    def without_the_task(_: Call, answer: Answer) -> Answer:
        return answer | {"tasks": [each for each in answer["tasks"] if each["taskArn"] != task.arn]}

    stage.change("DescribeTasks", without_the_task, times=2)
    assert stage.ask(container, "force-stop").kind == "accepted"
    assert stage.pass_deadline() == {"accepted": 1}
    assert (stage.status(container), stage.live(container)) == ("stopped", [])


def test_a_task_of_a_superseded_start_that_is_gone(stage: Stage) -> None:
    container, (task,) = superseding(stage)
    stage.ecs.forget(task.arn)
    stage.tick = 0
    now = stage.clock.now()
    known: dict[str, Any] = {"arn": task.arn, "absent_since": now - timedelta(seconds=30)}
    stage.edit_known(container, None, **known, called_until=now - timedelta(minutes=5) + MILLISECOND)
    assert stage.attempt(container, wait=0).observation == Unobserved("The task has not stopped")
    stage.edit_known(container, None, **known, called_until=now - timedelta(minutes=5))
    assert stage.attempt(container, wait=0).observation == Reached(now)
    stage.edit_known(container, None, **known, called_until=now, shown=True)
    assert stage.attempt(container, wait=0).observation == Reached(now)


def test_the_row_of_a_force_stop_that_superseded_a_start(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.ask(container, "start")
    (task,) = stage.live(container)
    at = stage.clock.now()
    assert stage.ask(container, "force-stop", request_id="r-2").kind == "completed"
    (row,) = stage.rows(container)[1:]
    assert (row["from_status"], row["to_status"]) == ("stopped", "stopped")
    metadata = row["metadata"]
    assert (metadata["command"], metadata["superseded"], metadata["request_id"]) == ("force-stop", "start", "r-2")
    assert metadata["task_id"] == task.id
    assert to_text(at) < row["transition_time"] <= to_text(stage.clock.now())
    assert not task.live
    assert stage.container(container).tasks == {}


def test_both_tasks_of_a_restart_of_a_failed_container(stage: Stage) -> None:
    container = stage.add("failed")
    leftover = stage.give_task(container)
    pending = stage.claim(container, "restart")
    other = stage.ecs.adopt_running("default", "web-1", container)
    stage.edit_known(container, pending.token, arn=other.arn, shown=True)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert stage.live(container) == []
    assert {call["task"] for call in stage.parameters("StopTask")} == {leftover.arn, other.arn}
    after = stage.container(container)
    assert after.tasks == {}
    assert stage.rows(container)[-1]["metadata"]["task_id"] in (leftover.id, other.id)


def test_a_superseded_start_stops_its_task(stage: Stage) -> None:
    """Force-stop completes before the start runs its task with a token that ECS has not seen."""
    container = stage.add("stopped")

    def superseded(_: Call) -> None:
        stage.ecs.set_capacity(HOST, memory=0)
        stage.ask(container, "force-stop")
        stage.ecs.set_capacity(HOST)
        stage.ecs._tokens.clear()

    stage.before("RunTask", superseded)
    stage.refused(container, "start")
    stage.advance(2)
    assert stage.live(container) == []
    assert stage.parameters("StopTask")[-1]["reason"] == "Longshore: the start was superseded"
