"""Tests of how a driver learns from the history what another driver made of its operation."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ContainerExpiredError, OperationFailedError

from engine.aws import HOST, Call
from engine.stage import Stage

NO_EFFECT = "The operation was refused and had no effect"


def before_commit(stage: Stage, hook: Any, *, key: str | None = None) -> None:
    """Call the hook just before the driver's first commit. A claim with a key is also a transaction."""
    stage.before("TransactWriteItems", lambda _: hook(), skip=1 if key else 0)


def abandon(stage: Stage, container: str) -> None:
    stage.wired.store.abandon(stage.container(container))


def sweep(stage: Stage, container: str) -> None:
    """Take over and continue the operation as another worker."""
    stage.edit_pending(container, deadline=stage.clock.now())
    stage.take_over(container)


# --- another driver has abandoned it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("running", "stop"), ("running", "pause")])
def test_another_driver_has_abandoned_the_operation(stage: Stage, status: str, operation: str, key: str | None) -> None:
    """The caller receives an error, and no key stores it."""
    container = stage.add(status)
    before_commit(stage, lambda: abandon(stage, container), key=key)
    with pytest.raises(OperationFailedError) as raised:
        stage.ask(container, operation, key=key)
    assert raised.value.reason == NO_EFFECT
    assert (stage.status(container), stage.container(container).operation) == (status, None)
    assert len(stage.rows(container)) == 1
    assert stage.record() is None


def test_the_task_of_a_start_that_another_driver_has_abandoned_is_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    before_commit(stage, lambda: abandon(stage, container))
    assert stage.refused(container, "start") == NO_EFFECT
    stage.advance(1)
    assert stage.live(container) == []


def test_the_operation_was_abandoned_and_another_was_claimed(stage: Stage) -> None:
    container = stage.add("running")

    def hook() -> None:
        abandon(stage, container)
        stage.claim(container, "pause")

    before_commit(stage, hook)
    assert stage.refused(container, "stop") == "Container is pausing"


def test_the_operation_was_abandoned_and_the_task_has_ended(stage: Stage) -> None:
    container = stage.add("running")

    def hook() -> None:
        abandon(stage, container)
        stage.advance(1)
        stage.deliver_all()

    before_commit(stage, hook)
    assert stage.refused(container, "stop") == "Container is already stopped"
    assert [row["triggered_by"] for row in stage.rows(container)] == ["system", "system"]


def test_the_operation_was_abandoned_and_the_container_has_expired(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)

    def hook() -> None:
        abandon(stage, container)
        stage.terminate(HOST)

    before_commit(stage, hook)
    with pytest.raises(ContainerExpiredError):
        stage.ask(container, "start")


# --- without rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "operation"), [("running", "stop"), ("running", "pause"), ("stopped", "start")])
def test_with_a_full_history_the_item_shows_the_completion(stage: Stage, status: str, operation: str) -> None:
    """The other driver completed the operation, but there was no room for its row."""
    container = stage.add(status)

    def hook() -> None:
        stage.history_is_full = True
        sweep(stage, container)

    before_commit(stage, hook)
    outcome = stage.ask(container, operation)
    assert (outcome.kind, outcome.status) == ("completed", stage.status(container))
    assert stage.status(container) != status
    assert len(stage.rows(container)) == 1


@pytest.mark.parametrize("follows", [False, True])
def test_with_a_full_history_the_item_shows_the_failure(stage: Stage, follows: bool) -> None:
    """Another driver ended the start with a failure; another operation may be pending since."""
    container = stage.add("stopped", labels={"simulate.start": "fail"})

    def hook() -> None:
        stage.history_is_full = True
        with pytest.raises(OperationFailedError):
            sweep(stage, container)
        if follows:
            stage.claim(container, "force-stop")

    before_commit(stage, hook)
    with pytest.raises(OperationFailedError) as raised:
        stage.ask(container, "start")
    assert raised.value.reason == "The operation failed"


def test_with_a_full_history_a_restart_is_complete_although_another_operation_is_pending(stage: Stage) -> None:
    """The row `stopped` of the restart had room, its row `running` had not, and a force-stop has been claimed since."""
    container = stage.add("running")

    def hook() -> None:
        def now_full(_: Call) -> None:
            stage.history_is_full = True

        stage.before("RunTask", now_full)
        sweep(stage, container)
        assert stage.container(container).operation is None
        stage.claim(container, "force-stop")

    before_commit(stage, hook)
    outcome = stage.ask(container, "restart")
    assert (outcome.kind, outcome.status) == ("completed", "running")
    assert [row["to_status"] for row in stage.rows(container)] == ["running", "stopped"]


def test_with_a_full_history_a_restart_that_was_superseded_before_its_end_is_a_conflict(stage: Stage) -> None:
    container = stage.add("running")

    def hook() -> None:
        stage.history_is_full = True
        stage.crash(container, "force-stop", "StopTask")

    stage.before("RunTask", lambda _: hook())
    assert stage.refused(container, "restart") == "Container is force-stopping"


def test_with_a_full_history_another_pending_operation_is_a_conflict(stage: Stage) -> None:
    """The status is reached, but another operation is pending, which may have caused it."""
    container = stage.add("running")

    def hook() -> None:
        stage.history_is_full = True
        stage.ask(container, "force-stop")
        stage.edit(container, history_full=True)
        stage.history_is_full = False
        stage.edit(container, history_full=False)
        stage.claim(container, "start")
        stage.edit(container, history_full=True)

    before_commit(stage, hook)
    assert stage.refused(container, "stop") == "Container is starting"


def test_with_a_full_history_an_abandoned_operation_is_an_error(stage: Stage) -> None:
    container = stage.add("running")

    def hook() -> None:
        abandon(stage, container)
        stage.edit(container, history_full=True)

    before_commit(stage, hook)
    with pytest.raises(OperationFailedError) as raised:
        stage.ask(container, "stop")
    assert raised.value.reason == NO_EFFECT


# --- results of sweeps ------------------------------------------------------------------------------------------------


def test_a_sweep_learns_that_the_operation_was_abandoned(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.advance(61)
    stage.sweep()
    stage.advance(61)
    before_commit(stage, lambda: abandon(stage, container))
    assert stage.sweep() == {"failed": 1}
    assert stage.failures == [container]
    stage.advance(1)
    assert stage.live(container) == []


def test_a_retry_learns_that_the_operation_was_abandoned(stage: Stage) -> None:
    """The retry has taken over the operation, and its key is free again."""
    container = stage.add("stopped")
    stage.claim(container, "start", key="k")
    stage.clock.time = stage.pending(container).deadline
    before_commit(stage, lambda: abandon(stage, container))
    with pytest.raises(OperationFailedError):
        stage.ask(container, "start", key="k")
    assert stage.record() is None
    stage.advance(timedelta(minutes=1).total_seconds())
    assert stage.ask(container, "start", key="k").kind == "completed"


def test_an_event_of_an_abandoned_operation(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    calls: list[Call] = []

    def hook() -> None:
        calls.append(stage.calls[-1])
        abandon(stage, container)

    before_commit(stage, hook)
    assert stage.deliver({"source": "aws.ecs", "detail": task.to_api()}) == "recorded"
    assert (len(calls), stage.status(container)) == (1, "stopped")


def test_the_rows_since(stage: Stage) -> None:
    container = stage.add("stopped", "running", "paused")
    with stage.open():
        rows = stage.wired.store.rows_since(container, 1)
        assert [row.to_status for row in rows] == ["running", "paused"]
        assert stage.wired.store.rows_since(container, 0)[0].from_status is None
        assert stage.wired.store.rows_since(container, 3) == []
