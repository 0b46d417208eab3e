"""A driver whose commit is refused: what has happened meanwhile is the answer."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ContainerExpiredError, ContainerNotFoundError, OperationFailedError

from engine.aws import DENIED, HOST, Call, Crash
from engine.stage import Stage


def before_commit(stage: Stage, hook: Any, *, key: str | None = None) -> None:
    """Call the hook just before the driver's first commit. With a key, the claim is a transaction too."""
    stage.before("TransactWriteItems", lambda _: hook(), skip=1 if key else 0)


def sweep(stage: Stage, container: str) -> None:
    """Another worker takes the operation over and goes on with it."""
    stage.edit_pending(container, deadline=stage.clock.now())
    stage.take_over(container)


def test_another_driver_has_completed_it(stage: Stage) -> None:
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


def test_another_driver_has_completed_it_and_something_else_was_done_since(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook() -> None:
        sweep(stage, container)
        stage.ask(container, "stop")

    before_commit(stage, hook)
    outcome = stage.ask(container, "start")
    assert (outcome.kind, outcome.status) == ("completed", "running")
    assert stage.status(container) == "stopped"


def test_another_driver_has_ended_it_with_a_failure(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})

    def hook() -> None:
        with pytest.raises(OperationFailedError):
            sweep(stage, container)

    before_commit(stage, hook)
    reason = stage.refused(container, "start")
    assert reason.startswith("CannotPullContainerError")
    assert len(stage.rows(container)) == 2


def test_another_driver_has_ended_it_with_a_row_without_a_reason(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})

    def hook() -> None:
        with pytest.raises(OperationFailedError):
            sweep(stage, container)
        for item in stage.dynamodb.tables["status-logs"].items.values():
            if "metadata" in item:
                del item["metadata"]["M"]["reason"]

    before_commit(stage, hook)
    assert stage.refused(container, "start") == "The operation failed"


def test_another_driver_has_recorded_that_the_task_had_ended(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.advance(1)
    before_commit(stage, lambda: sweep(stage, container), key="k")
    assert stage.refused(container, "stop", key="k") == "Container is already stopped"
    assert len(stage.rows(container)) == 2


@pytest.mark.parametrize("key", [None, "k"])
def test_it_was_superseded(stage: Stage, key: str | None) -> None:
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


def test_it_was_superseded_and_the_container_was_started_since(stage: Stage) -> None:
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
    """The superseding force-stop is pending only: it has not looked for the task yet."""
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
    """The driver goes on with the next step where the other one stands."""
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


def test_a_caller_goes_on_with_what_another_driver_has_continued(stage: Stage) -> None:
    container = stage.add("stopped")

    def hook() -> None:
        stage.edit_pending(container, attempts=1, deadline=stage.clock.now() + timedelta(seconds=60))
        stage.edit(container, generation=stage.container(container).generation + 1)

    before_commit(stage, hook)
    assert stage.ask(container, "start").kind == "completed"
    assert stage.container(container).generation == 1


def test_a_caller_whose_time_is_over_is_answered_202(stage: Stage) -> None:
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


def test_a_caller_with_a_key_whose_time_is_over_keeps_the_202(stage: Stage) -> None:
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


def test_a_sweep_leaves_it_to_the_other_driver(stage: Stage) -> None:
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


def test_a_sweep_goes_on_when_only_an_answer_was_noted(stage: Stage) -> None:
    """The other one has no place of its own: the row count and the attempts are the same."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.clock.time = stage.pending(container).deadline

    def hook(_: Call) -> None:
        with stage.open():
            assert stage.wired.driver.accept(stage.container(container), stage.clock.now()) is not None

    stage.before("TransactWriteItems", hook)
    outcome = stage.take_over(container)
    assert outcome is not None
    assert (outcome.kind, stage.status(container)) == ("completed", "running")
    record = stage.record()
    assert record is not None
    assert record["answer"]["kind"] == "accepted"


def test_a_row_of_another_operation_is_not_its_row(stage: Stage) -> None:
    """Superseded, and started again by another caller: the row that says `running` is not this operation's."""
    container = stage.add("running")

    def hook() -> None:
        stage.ask(container, "force-stop")
        stage.ask(container, "start")
        stage.ask(container, "stop")

    before_commit(stage, hook)
    assert stage.refused(container, "stop") == "Container is already stopped"


def test_the_last_of_its_rows_counts(stage: Stage) -> None:
    """A restart that another driver has completed: its first row says `stopped`, its last one `running`."""
    container = stage.add("running")
    before_commit(stage, lambda: sweep(stage, container))
    outcome = stage.ask(container, "restart")
    assert (outcome.kind, outcome.status) == ("completed", "running")


def test_an_answer_that_was_kept_before_is_the_answer(stage: Stage) -> None:
    """The operation was answered 202 to a repeat, and then superseded: its first driver gets the 202 too."""
    container = stage.add("stopped")

    def hook(_: Call) -> None:
        with stage.open():
            stage.wired.driver.accept(stage.container(container), stage.clock.now())
        stage.ask(container, "force-stop")

    stage.before("TransactWriteItems", hook, skip=1)
    assert stage.ask(container, "start", key="k").kind == "accepted"


def test_a_note_that_is_refused(stage: Stage) -> None:
    """A sweep has not found the task, and force-stop has superseded the operation meanwhile."""
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


def test_an_event_has_run_the_task_while_its_claimer_was_refused(stage: Stage) -> None:
    """The event of an older task makes its handler use the client token, and the handler crashes after RunTask."""
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
