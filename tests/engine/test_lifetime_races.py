"""Tests of changes of a container's lifetime at any moment of sweeps and operations."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import LongshoreError, StateConflictError

from engine.aws import Call
from engine.stage import PROJECT, USER, Stage
from engine.test_lifetimes import CHANGES, due, overdue, row, settle, stop_and_start

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _owner(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})


@pytest.mark.parametrize(
    "act",
    [
        lambda stage, container: stage.patch(container, stop_at=None),
        lambda stage, container: stage.patch(container, stop_at=stage.clock.now() + HOUR),
        stop_and_start,
        lambda stage, container: stage.ask(container, "restart", stop_at=None),
    ],
    ids=["cleared", "moved", "stopped and started", "restarted"],
)
def test_a_sweep_does_not_stop_a_run_whose_stop_at_has_changed(stage: Stage, act: Callable[[Stage, str], Any]) -> None:
    container = overdue(stage)
    stage.before("UpdateItem", lambda _: act(stage, container))
    assert stage.sweep() == {"changed": 1}
    settle(stage)
    assert (stage.status(container), stage.container(container).operation) == ("running", None)
    assert "schedule" not in [each["triggered_by"] for each in stage.rows(container)]


def test_a_restart_without_stop_at_is_stopped_because_of_the_old_one(stage: Stage) -> None:
    """A restart keeps `stop_at`."""
    container = overdue(stage)
    stage.with_events()
    stage.before("UpdateItem", lambda _: stage.ask(container, "restart"))
    assert stage.sweep() == {"lifetime ended": 1}
    settle(stage)
    assert row(stage, container) == ("stopped", "schedule", "stop_at")


def test_a_container_that_was_kept_alive_before_the_claim_is_not_stopped(stage: Stage) -> None:
    container = overdue(stage, idle_timeout=300)
    stage.before("UpdateItem", lambda _: stage.keep_alive(container))
    assert stage.sweep() == {"changed": 1}
    assert stage.container(container).operation is None
    assert due(stage, container) == stage.container(container).idle_at


def test_a_container_that_is_being_stopped_cannot_be_kept_alive(stage: Stage) -> None:
    container = overdue(stage, idle_timeout=300)
    refused: list[LongshoreError] = []

    def keep_alive(_: Call) -> None:
        with pytest.raises(StateConflictError) as raised:
            stage.keep_alive(container)
        refused.append(raised.value)

    stage.after("UpdateItem", keep_alive)
    assert stage.sweep() == {"lifetime ended": 1}
    assert [error.message for error in refused] == ["Container is stopping"]


@pytest.mark.parametrize("passed", [False, True])
def test_a_container_that_was_kept_alive_and_whose_stop_at_has_passed(stage: Stage, passed: bool) -> None:
    """The next sweep stops it, for the other reason."""
    container = stage.add("running")
    stage.patch(container, idle_timeout=300, stop_at=stage.clock.now() + HOUR)
    stage.advance(3601 if passed else 301)
    stage.before("UpdateItem", lambda _: stage.keep_alive(container))
    assert stage.sweep() == {"changed": 1}
    assert stage.sweep() == ({"lifetime ended": 1} if passed else {})


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(
    ("statuses", "operation"),
    [(["stopped"], "start"), (["running"], "restart"), (["running", "paused"], "resume"), (["running"], "pause")],
)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_any_two_calls_of_an_operation(
    stage: Stage, statuses: list[str], operation: str, name: str, key: str | None
) -> None:
    """The operation completes as without the change, and the key of the index is that of the changed container."""
    stage.with_events()
    plain = stage.add("stopped", *statuses, number=1)
    stage.edit(plain, idle_timeout=300)
    stage.ask(plain, operation, key=key)
    calls = [call.operation for call in stage.calls]

    def changes_it(container: str) -> Callable[[object], None]:
        def change(_: object) -> None:
            try:
                CHANGES[name](stage, container)
            except StateConflictError:
                assert name == "keep-alive"

        return change

    for number, call in enumerate(calls, 2):
        container = stage.add("stopped", *statuses, number=number)
        stage.edit(container, idle_timeout=300)
        stage.before(call, changes_it(container), skip=calls[: number - 2].count(call))
        outcome = stage.ask(container, operation, key=key and f"{key}-{number}")
        found = stage.container(container)
        assert outcome.kind == "completed"
        assert len(stage.rows(container)) == len(stage.rows(plain))
        assert found.pending_deadline == found.ends_at
        if name == "idle_timeout":
            assert found.idle_timeout == 900
        if name == "stop_at":
            assert found.stop_at is not None


def test_a_change_between_the_lookup_and_the_write_of_a_drift_sweep(stage: Stage) -> None:
    container = stage.add("running")
    stage.hide_tasks()
    stage.before("UpdateItem", lambda _: stage.patch(container, idle_timeout=300))
    assert stage.drift_sweep() == {"absent": 1}
    found = stage.container(container)
    assert stage.known(container).absent_since is not None
    assert found.tasks_due_at is not None
    assert (found.idle_timeout, found.pending_deadline) == (300, found.tasks_due_at)


def test_an_absent_task_does_not_prevent_the_stop(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, stop_at=stage.clock.now() + timedelta(seconds=20))
    stage.hide_tasks(times=1)
    assert stage.drift_sweep()["absent"] == 1
    stage.advance(31)
    assert stage.sweep() == {"lifetime ended": 1}
    assert stage.container(container).absent_since is None
