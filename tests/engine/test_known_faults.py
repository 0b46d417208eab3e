"""Regression tests of faults that a review of the protocol found, each named after the required behaviour.

Two of the faults were in the host script: late commands, and tasks with exited containers. The tests of the script are
in tests/integration/test_host_command.py.
"""

from contextlib import suppress
from datetime import timedelta

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import ledger_of

from engine.aws import DENIED, FAILED, HOST, NOT_FOUND, Answer, Call
from engine.stage import Stage

NO_MEMORY = "No instance of the cluster has enough memory left"


def still_running(_: Call, answer: Answer) -> Answer:
    """Change an answer so that its tasks are still RUNNING."""
    if "task" in answer:
        return {"task": answer["task"] | {"lastStatus": "RUNNING"}}
    return answer | {"tasks": [task | {"lastStatus": "RUNNING"} for task in answer["tasks"]]}


def still_pending(_: Call, answer: Answer) -> Answer:
    """Change an answer so that its tasks are still PENDING."""
    return answer | {"tasks": [task | {"lastStatus": "PENDING", "startedAt": None} for task in answer["tasks"]]}


# --- absence is not evidence ---------------------------------------------------------------------------------------


def test_force_stop_waits_for_a_task_that_stop_task_does_not_find_yet(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped", labels={"simulate.start": "never"})
    assert stage.ask(container, "start").kind == "accepted"
    stage.fail("StopTask", NOT_FOUND, times=-1)
    stage.hide_tasks()
    assert stage.ask(container, "force-stop").kind == "accepted"
    assert len(stage.live(container)) == 1
    stage.heal()
    stage.pass_deadline()
    assert (stage.status(container), stage.live(container)) == ("stopped", [])


@pytest.mark.parametrize(
    ("status", "operation", "expected"),
    [
        ("running", "pause", "paused"),
        ("running", "force-stop", "stopped"),
        ("paused", "resume", "running"),
        ("paused", "stop", "stopped"),
        ("paused", "force-stop", "stopped"),
    ],
)
def test_one_lookup_without_a_task_does_not_fail_a_container(
    stage: Stage, status: str, operation: str, expected: str
) -> None:
    stage.with_events()
    container = stage.add(status)
    stage.hide_tasks(times=1)
    stage.ask(container, operation)
    stage.advance(1)
    stage.advance(1)
    assert stage.status(container) == expected
    assert [row["to_status"] for row in stage.rows(container)] == [status, expected]


def test_one_drift_sweep_without_a_task_does_not_fail_a_container(stage: Stage) -> None:
    container = stage.add("running")
    stage.hide_tasks(times=1)
    stage.drift_sweep()
    assert stage.status(container) == "running"


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_task_that_ecs_returns_again_is_recorded(stage: Stage, status: str) -> None:
    container = stage.add(status)
    stage.hide_tasks()
    for _ in range(2):
        stage.drift_sweep()
        stage.advance(60)
    assert stage.status(container) == "failed"
    stage.heal()
    stage.drift_sweep()
    assert stage.status(container) == status


# --- attempts ------------------------------------------------------------------------------------------------------


def test_retries_of_a_request_do_not_use_up_the_attempts(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("running")
    stage.fail("SendCommand", FAILED, times=11)
    for _ in range(11):
        try:
            stage.ask(container, "pause", key="k")
        except ExternalServiceError:
            stage.advance(0.3)
    assert stage.status(container) == "running"
    stage.heal()
    stage.pass_deadline()
    assert stage.status(container) == "paused"


# --- nothing happened ----------------------------------------------------------------------------------------------


def test_a_refused_stop_task_after_a_kill_does_not_abandon_the_operation(stage: Stage) -> None:
    container = stage.add("running")
    stage.fail("StopTask", DENIED)
    stage.refused(container, "force-stop")
    assert stage.container(container).pending == "force-stop"
    stage.pass_deadline()
    assert stage.rows(container)[-1]["to_status"] == "stopped"


def test_a_refused_run_task_after_a_stopped_leftover_does_not_abandon_the_operation(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("failed")
    stage.give_task(container)
    stage.fail("RunTask", DENIED)
    stage.refused(container, "restart")
    assert stage.live(container) == []
    assert stage.container(container).pending == "restart"
    stage.pass_deadline()
    assert stage.status(container) == "running"


def test_a_placement_failure_after_a_stopped_leftover_has_a_row(stage: Stage) -> None:
    container = stage.add("failed")
    stage.give_task(container)
    stage.ecs.set_capacity(HOST, memory=0)
    assert stage.refused(container, "restart") == NO_MEMORY
    assert stage.live(container) == []
    assert stage.rows(container)[-1].get("metadata", {}).get("reason") == NO_MEMORY


def test_an_accepted_operation_ends_with_a_row_and_a_stored_answer(stage: Stage) -> None:
    container = stage.add("failed")
    stage.give_task(container, stop_timeout=40)
    assert stage.ask(container, "restart", key="k").kind == "accepted"
    stage.ecs.set_capacity(HOST, memory=0)
    stage.pass_deadline()
    assert stage.rows(container)[-1].get("metadata", {}).get("reason") == NO_MEMORY
    stage.ecs.set_capacity(HOST)
    assert stage.ask(container, "restart", key="k").kind == "accepted"
    assert stage.container(container).operation is None


def test_a_repeated_refusal_is_not_a_conflict_with_itself(stage: Stage) -> None:
    """The reply to the write that abandons the operation is lost, and botocore sends the write again."""
    container = stage.add("stopped")
    stage.ecs.set_capacity(HOST, memory=0)
    stage.repeat("UpdateItem", times=-1)
    stage.repeat("TransactWriteItems", times=-1)
    assert stage.refused(container, "start") == NO_MEMORY
    assert stage.container(container).operation is None


def test_concurrent_retries_do_not_store_a_conflict_with_each_other(stage: Stage) -> None:
    """The second request reads the pending container, and then that the key of the first is free again."""
    container = stage.add("stopped")
    stage.crash(container, "start", "TransactWriteItems", key="k")

    def abandon(_: Call) -> None:
        stage.wired.store.abandon(stage.container(container))

    stage.after("GetItem", abandon)
    assert stage.ask(container, "start", key="k").kind == "completed"
    assert stage.status(container) == "running"


# --- sweeps --------------------------------------------------------------------------------------------------------


def test_an_unreadable_item_does_not_stop_a_recovery_sweep(stage: Stage) -> None:
    containers = [stage.add("stopped", number=number) for number in (1, 2, 3)]
    for container in containers:
        stage.crash(container, "start", "RunTask")
    stage.damage(containers[0])
    stage.pass_deadline()
    assert [stage.status(container) for container in containers[1:]] == ["running", "running"]
    assert stage.stuck == [0]


def test_an_unreadable_item_does_not_stop_a_drift_sweep(stage: Stage) -> None:
    containers = [stage.add("running", number=number) for number in (1, 2, 3)]
    for container in containers:
        stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.damage(containers[0])
    stage.drift_sweep()
    assert [stage.status(container) for container in containers[1:]] == ["stopped", "stopped"]


def test_a_missing_cluster_does_not_stop_a_drift_sweep(stage: Stage) -> None:
    elsewhere = stage.add("running", number=1, cluster="absent")
    stage.edit(elsewhere, tasks=ledger_of("arn:aws:ecs:us-east-1:123456789012:task/absent/1"))
    container = stage.add("running", number=2)
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.drift_sweep()
    assert (stage.status(elsewhere), stage.status(container)) == ("running", "stopped")


def test_an_unreadable_item_does_not_prevent_other_containers_from_expiring(stage: Stage) -> None:
    containers = [stage.add("stopped", number=number, server=HOST) for number in (1, 2, 3)]
    stage.damage(containers[0])
    with suppress(Exception):  # The event has to be delivered again.
        stage.terminate(HOST)
    assert [stage.status(container) for container in containers[1:]] == ["expired", "expired"]


# --- schedules -----------------------------------------------------------------------------------------------------


def test_a_repeated_schedule_does_not_stop_containers_started_since(stage: Stage) -> None:
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.advance(2)
    assert stage.schedule(scheduled, container)["stopped"] == 1
    stage.advance(5)
    stage.deliver_all()
    assert stage.status(container) == "stopped"
    stage.ask(container, "start")
    assert stage.schedule(scheduled, container)["skipped"] == 1
    assert (stage.container(container).pending, stage.status(container)) == (None, "running")


def test_a_schedule_that_is_more_than_an_hour_late_stops_nothing(stage: Stage) -> None:
    container = stage.add("running")
    stage.schedule(stage.clock.now() - timedelta(hours=1, seconds=1), container)
    assert (stage.container(container).pending, stage.status(container)) == (None, "running")


# --- commands to hosts ---------------------------------------------------------------------------------------------


def test_a_late_command_does_not_freeze_a_running_container(stage: Stage) -> None:
    """The first command of a pause is delivered after the second command and after a resume."""
    stage.with_events()
    container = stage.add("running")
    stage.ssm._delay = timedelta(minutes=10)
    assert stage.ask(container, "pause").kind == "accepted"
    stage.ssm._delay = timedelta(seconds=0.1)
    stage.pass_deadline()
    stage.ask(container, "resume")
    assert stage.status(container) == "running"
    stage.advance(1200)
    (task,) = stage.live(container)
    assert not task.containers[0].paused
    assert [command["action"] for command in stage.commands()] == [["pause"], ["pause"], ["unpause"]]
    numbers = [int(command["number"][0]) for command in stage.commands()]
    assert numbers == sorted(set(numbers))


def test_a_task_with_a_container_that_has_exited_can_be_paused(stage: Stage) -> None:
    container = stage.add("running", sidecars=1)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0, "side-0")
    assert stage.ask(container, "pause").kind == "completed"
    assert [process.paused for process in task.containers] == [True, False]


# --- events --------------------------------------------------------------------------------------------------------


def test_the_end_of_a_task_is_not_lost_when_its_driver_crashes_before_it_writes_it(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.exit-after": "0.05", "simulate.exit-code": "3"})
    stage.crash(container, "start", "TransactWriteItems")
    assert stage.status(container) == "running"
    stage.deliver_all()
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running", "failed"]


def test_the_event_of_a_failed_start_is_applied_without_an_error(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    stage.hide_tasks()
    assert stage.ask(container, "start").kind == "accepted"
    stage.heal()
    stage.deliver_all()
    assert (stage.status(container), stage.container(container).operation) == ("failed", None)


def test_a_token_that_ecs_has_forgotten_does_not_run_a_second_task(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    stage.advance(25 * 3600)
    stage.sweep()
    assert len(stage.live(container)) == 1
    assert stage.status(container) == "running"


def test_a_full_history_does_not_prevent_an_operation_from_ending(stage: Stage) -> None:
    container = stage.add("running")
    stage.history_is_full = True
    assert stage.ask(container, "stop").kind == "completed"
    assert (stage.status(container), stage.container(container).operation) == ("stopped", None)
    assert "history is full" in stage.refused(container, "start")


@pytest.mark.parametrize(("operation", "expected"), [("pause", "failed"), ("stop", "stopped")])
def test_the_event_of_an_exit_is_applied_before_describe_tasks_returns_it(
    stage: Stage, operation: str, expected: str
) -> None:
    container = stage.add("running")
    stage.ssm._delay = timedelta(minutes=10)
    stage.change("DescribeTasks", still_running)
    stage.change("StopTask", still_running)
    (task,) = stage.live(container)
    assert stage.ask(container, operation).kind == "accepted"
    if task.live:
        stage.ecs.exit(task.arn, 1)
    stage.advance(1)
    stage.deliver_all()
    assert (stage.status(container), stage.container(container).operation) == (expected, None)


def test_the_event_of_a_start_is_applied_before_describe_tasks_returns_it(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.change("DescribeTasks", still_pending)
    stage.change("RunTask", still_pending)
    assert stage.ask(container, "start").kind == "accepted"
    stage.deliver_all()
    assert (stage.status(container), stage.container(container).operation) == ("running", None)
