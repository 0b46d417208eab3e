"""Tests of keep-alive: it counts the idle time of a container anew."""

from datetime import timedelta

import pytest
from longshore.domain.errors import ContainerExpiredError, StateConflictError

from engine.stage import PROJECT, USER, Stage

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture(autouse=True)
def _owner(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})


@pytest.mark.parametrize(
    ("status", "pending", "message"),
    [
        ("stopped", None, "Container is not running"),
        ("paused", None, "Container is not running"),
        ("failed", None, "Container is not running"),
        ("stopped", "start", "Container is not running"),
        ("running", "stop", "Container is stopping"),
        ("running", "force-stop", "Container is force-stopping"),
    ],
)
def test_keep_alive_is_refused(stage: Stage, status: str, pending: str | None, message: str) -> None:
    container = stage.add("stopped", *([status] if status != "stopped" else []))
    if pending:
        stage.claim(container, pending)
    before = stage.container(container)
    with pytest.raises(StateConflictError) as raised:
        stage.keep_alive(container)
    data = {
        "error": True,
        "operation": "keep-alive",
        "container_id": container,
        "project_id": PROJECT,
        "message": message,
        "status": status,
        "allowed_operations": before.allowed_operations,
        "pending_operation": before.pending_view,
    }
    assert (raised.value.message, raised.value.data) == (message, data)
    assert stage.container(container) == before


def test_an_expired_container_cannot_be_kept_alive(stage: Stage) -> None:
    with pytest.raises(ContainerExpiredError):
        stage.keep_alive(stage.add("stopped", "expired"))


@pytest.mark.parametrize("pending", ["pause", "restart"])
def test_a_container_with_another_pending_operation_is_kept_alive(stage: Stage, pending: str) -> None:
    container = stage.add("running")
    stage.claim(container, pending)
    deadline = stage.pending(container).deadline
    assert stage.keep_alive(container).kept_alive_at is not None
    assert stage.container(container).pending_deadline == deadline


def test_a_clock_that_is_behind_does_not_shorten_the_time(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, idle_timeout=300)
    later = stage.clock.now() + MINUTE
    stage.edit(container, kept_alive_at=later)
    assert stage.keep_alive(container).kept_alive_at == later
