"""Tests of a driver whose commit fails its condition: the answer follows from the changes in the meantime."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ContainerExpiredError, ContainerNotFoundError, OperationFailedError
from longshore.engine.apply import Continue
from longshore.engine.decisions import DriverRole
from longshore.engine.observations import Launched
from longshore.engine.settle import settle

from engine.aws import DENIED, HOST, Call, Crash
from engine.stage import Stage


def before_commit(stage: Stage, hook: Any, *, key: str | None = None) -> None:
    """Call the hook just before the driver's first commit. A claim with a key is also a transaction."""
    stage.before("TransactWriteItems", lambda _: hook(), skip=1 if key else 0)


def sweep(stage: Stage, container: str) -> None:
    """Take over and continue the operation as another worker."""
    stage.edit_pending(container, deadline=stage.clock.now())
    stage.take_over(container)


def test_another_driver_has_completed_the_operation(stage: Stage) -> None:
    container = stage.add("stopped")
    before_commit(stage, lambda: sweep(stage, container))
    outcome = stage.ask(container, "start")
    assert (outcome.kind, outcome.message, outcome.status) == (
        "completed",
        "Container started successfully",
        "running",
    )
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running"]
    assert stage.count("StopTask") == 0


def test_another_driver_has_completed_the_operation_and_another_followed(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook() -> None:
        sweep(stage, container)
        stage.ask(container, "stop")

    before_commit(stage, hook)
    outcome = stage.ask(container, "start")
    assert (outcome.kind, outcome.status) == ("completed", "running")
    assert stage.status(container) == "stopped"


def test_another_driver_has_failed_the_operation(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})

    def hook() -> None:
        with pytest.raises(OperationFailedError):
            sweep(stage, container)

    before_commit(stage, hook)
    reason = stage.refused(container, "start")
    assert reason.startswith("CannotPullContainerError")
    assert len(stage.rows(container)) == 2


def test_another_driver_has_failed_the_operation_without_a_reason(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})

    def hook() -> None:
        with pytest.raises(OperationFailedError):
            sweep(stage, container)
        for item in stage.dynamodb.tables["status-logs"].items.values():
            if "metadata" in item:
                del item["metadata"]["M"]["reason"]

    before_commit(stage, hook)
    assert stage.refused(container, "start") == "The operation failed"


def test_another_driver_has_recorded_the_exit_of_the_task(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.advance(1)
    before_commit(stage, lambda: sweep(stage, container), key="k")
    assert stage.refused(container, "stop", key="k") == "Container is already stopped"
    assert len(stage.rows(container)) == 2


@pytest.mark.parametrize("key", [None, "k"])
def test_the_operation_was_superseded(stage: Stage, key: str | None) -> None:
    container = stage.add("stopped")
    before_commit(stage, lambda: stage.ask(container, "force-stop"), key=key)
    assert stage.refused(container, "start", key=key) == "Container start was superseded"
    assert stage.live(container) == []
    (row,) = stage.rows(container)[1:]
    assert row["metadata"]["superseded"] == "start"
    if key:
        record = stage.record()
        assert record is not None
        assert record["answer"]["message"] == "Container start was superseded"


def test_the_operation_was_superseded_and_the_container_started_again(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook() -> None:
        stage.ask(container, "force-stop")
        stage.ask(container, "start")

    before_commit(stage, hook)
    assert stage.refused(container, "start") == "Container is already running"
    assert len(stage.live(container)) == 1


def test_a_superseded_stop(stage: Stage) -> None:
    container = stage.add("running")
    before_commit(stage, lambda: stage.ask(container, "force-stop"))
    assert stage.refused(container, "stop") == "Container is already stopped"


def test_the_task_of_a_superseded_start_is_stopped(stage: Stage) -> None:
    """The force-stop is pending and has not looked for the task yet."""
    container = stage.add("stopped")
    before_commit(stage, lambda: stage.claim(container, "force-stop"))
    assert stage.refused(container, "start") == "Container is force-stopping"
    (call,) = stage.parameters("StopTask")
    (task,) = stage.ecs.tasks()
    assert (call["task"], call["reason"]) == (task.arn, "Longshore: the start was superseded")


def test_a_stray_task_that_cannot_be_stopped_is_left_to_its_event(stage: Stage) -> None:
    container = stage.add("stopped")
    before_commit(stage, lambda: stage.claim(container, "force-stop"))
    stage.fail("StopTask", DENIED)
    assert stage.refused(container, "start") == "Container is force-stopping"
    assert len(stage.live(container)) == 1


def test_the_container_has_expired(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    before_commit(stage, lambda: stage.terminate(HOST))
    with pytest.raises(ContainerExpiredError):
        stage.ask(container, "start")
    stage.advance(1)
    assert stage.live(container) == []
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "expired"]


def test_the_container_was_deleted(stage: Stage) -> None:
    container = stage.add("stopped")
    before_commit(stage, lambda: stage.dynamodb.tables["containers"].items.clear())
    with pytest.raises(ContainerNotFoundError):
        stage.ask(container, "start")


def test_an_event_has_committed_the_step_of_a_restart(stage: Stage) -> None:
    """The driver continues with the next step."""
    stage.with_events()
    container = stage.add("running")

    def hook() -> None:
        (task,) = stage.ecs.tasks()
        stage.fail("RunTask", Crash())
        with pytest.raises(Crash):
            stage.deliver({"source": "aws.ecs", "detail": task.to_api()})

    before_commit(stage, hook)
    assert stage.ask(container, "restart").kind == "completed"
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped", "running"]
    assert stage.count("StopTask") == 1


def test_a_caller_continues_an_operation_that_was_taken_over(stage: Stage) -> None:
    stage.with_events()
    container = stage.add("stopped")

    def hook() -> None:
        stage.edit_pending(container, attempts=1, deadline=stage.clock.now() + timedelta(seconds=60))
        stage.edit(container, generation=stage.container(container).generation + 1)

    before_commit(stage, hook)
    assert stage.ask(container, "start").kind == "completed"
    assert stage.container(container).generation == 2  # taken over, and its task is stored


def test_a_caller_is_answered_202_after_its_wait(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook() -> None:
        stage.edit_pending(container, attempts=1)
        stage.edit(container, generation=stage.container(container).generation + 1)
        stage.advance(30)

    before_commit(stage, hook)
    outcome = stage.ask(container, "start")
    assert (outcome.kind, outcome.status) == ("accepted", "stopped")
    assert stage.container(container).pending == "start"
    assert len(stage.live(container)) == 1


def test_a_202_after_the_wait_is_stored_for_the_key(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook(_: Call) -> None:
        stage.edit_pending(container, attempts=1)
        stage.edit(container, generation=stage.container(container).generation + 1)
        stage.advance(30)

    stage.before("TransactWriteItems", hook, skip=1)
    deadline = timedelta(seconds=60)
    outcome = stage.ask(container, "start", key="k")
    pending = stage.pending(container)
    assert (outcome.kind, pending.answered, pending.attempts) == ("accepted", True, 1)
    assert pending.deadline == pending.started_at + deadline
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "accepted"


def test_a_sweep_leaves_the_operation_to_the_other_driver(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.clock.time = stage.pending(container).deadline

    def hook() -> None:
        stage.edit_pending(container, attempts=5)
        stage.edit(container, generation=stage.container(container).generation + 1)

    before_commit(stage, hook)
    outcome = stage.take_over(container)
    assert outcome is not None
    assert outcome.kind == "accepted"
    assert stage.pending(container).attempts == 5
    assert len(stage.rows(container)) == 1


def test_a_sweep_continues_if_only_an_answer_was_stored(stage: Stage) -> None:
    """Storing an answer is no takeover: the row count and the attempts are unchanged."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.clock.time = stage.pending(container).deadline

    def hook(_: Call) -> None:
        with stage.open():
            assert stage.wired.driver.accept(stage.container(container)) is not None

    stage.before("TransactWriteItems", hook)
    outcome = stage.take_over(container)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("completed", "running")
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "accepted"


def test_a_start_goes_on_without_a_lookup_if_only_an_answer_was_stored(stage: Stage) -> None:
    """RunTask has returned the task, so its event is expected until the time is over."""
    container = stage.add("stopped", labels={"simulate.start": "never"})

    def hook() -> None:
        stage.clock.waited = lambda: None
        with stage.open():
            assert stage.wired.driver.accept(stage.container(container)) is not None

    stage.clock.waited = hook
    began = stage.clock.now()
    looked_at: list[timedelta] = []
    stage.before("DescribeTasks", lambda _: looked_at.append(stage.clock.now() - began))
    assert stage.ask(container, "start", key="k").kind == "accepted"
    assert (len(looked_at), stage.count("DescribeTasks"), stage.count("RunTask")) == (1, 1, 1)
    assert looked_at[0] > timedelta(seconds=4)


def test_other_drivers_may_act_as_soon_as_a_task_is_stored(stage: Stage) -> None:
    """Its events are applied, so a refused call no longer proves that nothing has happened."""
    container = stage.add("stopped")
    pending = stage.claim(container, "start")
    before, until = stage.container(container), stage.clock.now() + timedelta(seconds=5)
    with stage.open():
        result = stage.wired.steps.run(before, pending, until, look_first=False)
        assert isinstance(result.observation, Launched)
        write = settle(before, result, DriverRole.CLAIMER, stage.clock.now(), fresh_token=pending.token)
        left = stage.wired.driver._applier.apply(before, write, DriverRole.CLAIMER, until)
    assert isinstance(left, Continue)
    assert (left.is_alone, left.is_stored) == (False, True)


def test_the_row_of_another_operation_does_not_count(stage: Stage) -> None:
    """The start was superseded, and another caller started again: the row `running` is not this operation's."""
    container = stage.add("running")

    def hook() -> None:
        stage.ask(container, "force-stop")
        stage.ask(container, "start")
        stage.ask(container, "stop")

    before_commit(stage, hook)
    assert stage.refused(container, "stop") == "Container is already stopped"


def test_the_last_row_of_the_operation_counts(stage: Stage) -> None:
    """Another driver completed the restart: its first row is `stopped`, its last row `running`."""
    container = stage.add("running")
    before_commit(stage, lambda: sweep(stage, container))
    outcome = stage.ask(container, "restart")
    assert (outcome.kind, outcome.status) == ("completed", "running")


def test_a_stored_202_is_the_answer(stage: Stage) -> None:
    """A retry was answered 202, and the operation was superseded: the first driver also answers 202."""
    container = stage.add("stopped")

    def hook(_: Call) -> None:
        with stage.open():
            stage.wired.driver.accept(stage.container(container))
        stage.ask(container, "force-stop")

    stage.before("TransactWriteItems", hook, skip=1)
    assert stage.ask(container, "start", key="k").kind == "accepted"


def test_a_change_of_the_operation_fails_after_it_was_superseded(stage: Stage) -> None:
    """A sweep has not found the task, and a force-stop has then superseded the operation."""
    container = stage.add("running")
    before = stage.container(container).generation
    stage.claim(container, "stop")
    stage.clock.time = stage.pending(container).deadline
    stage.before("UpdateItem", lambda _: stage.ask(container, "force-stop"), skip=1)
    stage.hide_tasks(times=200)
    outcome = stage.take_over(container, wait=0)
    assert outcome is not None
    assert (outcome.kind, outcome.message) == ("conflict", "Container is force-stopping")
    assert stage.container(container).generation > before


def test_an_event_runs_the_task_while_the_drivers_run_task_is_refused(stage: Stage) -> None:
    """The handler of an older task's event uses the client token and crashes after RunTask."""
    container = stage.add("stopped")
    older = stage.ecs.adopt_running("default", "web-1", container)
    stage.ecs.exit(older.arn, 0)
    event = {"source": "aws.ecs", "detail": older.to_api()}

    def crash(_: Call) -> None:
        raise Crash

    def deliver(_: Call) -> None:
        stage.after("RunTask", crash)
        with pytest.raises(Crash):
            stage.deliver(event)

    stage.fail("RunTask", DENIED)
    stage.before("TransactWriteItems", deliver)
    outcome = stage.ask(container, "start")
    assert (outcome.kind, outcome.status) == ("completed", "running")
    assert len(stage.live(container)) == 1
    assert [row["to_status"] for row in stage.rows(container)] == ["stopped", "running"]
