"""Tests of `stop_at` in the request of an operation."""

from datetime import timedelta

import pytest
from longshore.domain.errors import ExternalServiceError, LongshoreError

from engine.stage import PROJECT, USER, Stage
from engine.test_lifetimes import due

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _owner(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})


@pytest.mark.parametrize(
    ("statuses", "operation"),
    [(["stopped"], "start"), (["running"], "restart"), (["failed"], "restart"), (["running", "paused"], "resume")],
)
@pytest.mark.parametrize("before", [None, 2 * HOUR])
def test_an_operation_sets_stop_at(stage: Stage, statuses: list[str], operation: str, before: timedelta | None) -> None:
    container = stage.add("stopped", *statuses)
    now = stage.clock.now()
    if before:
        stage.patch(container, stop_at=now + before)
    stage.with_events()
    stage.ask(container, operation, stop_at=now + HOUR)
    assert stage.container(container).stop_at == due(stage, container) == now + HOUR


def test_an_operation_removes_stop_at(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.with_events()
    stage.ask(container, "restart", stop_at=None)
    assert (stage.container(container).stop_at, due(stage, container)) == (None, None)


@pytest.mark.parametrize("before", [None, 2 * HOUR])
def test_an_operation_that_ends_without_a_row_restores_stop_at(stage: Stage, before: timedelta | None) -> None:
    container = stage.add("running", "paused")
    now = stage.clock.now()
    old = None if before is None else now + before
    stage.patch(container, stop_at=old)
    stage.ssm.disconnect("i-0a1b2c3d4e5f60718")
    stage.refused(container, "resume")
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "resume", stop_at=now + HOUR)
    found = stage.container(container)
    assert (found.operation, found.stop_at, found.stop_at_by, due(stage, container)) == (None, old, None, old)


def test_a_start_that_is_refused_restores_stop_at(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.set_capacity("i-0a1b2c3d4e5f60718", memory=0)
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "start", stop_at=stage.clock.now() + HOUR)
    found = stage.container(container)
    assert (found.status, found.operation, found.stop_at, found.stop_at_by) == ("stopped", None, None, None)


@pytest.mark.parametrize("changed", [3 * HOUR, HOUR, None])
def test_a_change_during_an_operation_without_effect_is_kept(stage: Stage, changed: timedelta | None) -> None:
    """Also a change to the value that the claim has set."""
    container = stage.add("stopped")
    now = stage.clock.now()
    stage.ecs.set_capacity("i-0a1b2c3d4e5f60718", memory=0)
    new = None if changed is None else now + changed
    stage.before("RunTask", lambda _: stage.patch(container, stop_at=new))
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "start", stop_at=now + HOUR)
    found = stage.container(container)
    assert (found.operation, found.stop_at) == (None, new)


@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("failed", "restart")])
def test_a_container_that_is_not_live_starts_without_a_past_stop_at(stage: Stage, status: str, operation: str) -> None:
    container = stage.add("stopped", *([status] if status == "failed" else []))
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.advance(3600)
    stage.ask(container, operation)
    assert (stage.status(container), stage.container(container).stop_at, due(stage, container)) == (
        "running",
        None,
        None,
    )
    assert stage.sweep() == {}


def test_a_future_stop_at_survives_the_start(stage: Stage) -> None:
    container = stage.add("stopped")
    stop_at = stage.clock.now() + HOUR
    assert stage.patch(container, stop_at=stop_at).pending_deadline is None
    stage.ask(container, "start")
    assert stage.container(container).stop_at == due(stage, container) == stop_at


def test_a_past_stop_at_is_refused_unless_an_answer_is_stored(stage: Stage) -> None:
    container = stage.add("stopped")
    stop_at = stage.clock.now() + MINUTE
    first = stage.ask(container, "start", key="k", stop_at=stop_at)
    stage.advance(120)
    assert stage.ask(container, "start", key="k", stop_at=stop_at) == first
    for key in (None, "other"):
        with pytest.raises(LongshoreError) as raised:
            stage.ask(container, "start", key=key, stop_at=stop_at)
        assert raised.value.data == [{"instancePath": "/stop_at", "message": "must be in the future"}]
    assert stage.count("RunTask") == 1


def test_a_past_stop_at_is_refused_before_permissions(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": "account", "banned": True})
    with pytest.raises(LongshoreError) as raised:
        stage.ask(stage.add("stopped"), "start", stop_at=stage.clock.now())
    assert raised.value.code == "VALIDATION_ERROR"
