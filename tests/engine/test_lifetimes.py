"""Tests of the recovery sweep at the end of a container's lifetime: its `stop_at` has passed, or it has been idle."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import Container

from engine.aws import DENIED, FAILED, NO_ANSWER
from engine.services import ServiceStage
from engine.stage import PROJECT, USER, Stage

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture(autouse=True)
def _owner(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})


def due(stage: Stage, container: str) -> datetime | None:
    """Return the key by which the recovery sweep finds the container."""
    return stage.container(container).pending_deadline


def settle(stage: Stage) -> None:
    stage.advance(1)
    stage.deliver_all()


def row(stage: Stage, container: str) -> tuple[str, str, str | None]:
    """Return the status, the trigger and the rule of the last row."""
    last = stage.rows(container)[-1]
    return last["to_status"], last["triggered_by"], (last.get("metadata") or {}).get("rule")


CHANGES: dict[str, Callable[[Stage, str], Any]] = {
    "stop_at": lambda stage, container: stage.patch(container, stop_at=stage.clock.now() + HOUR),
    "idle_timeout": lambda stage, container: stage.patch(container, idle_timeout=900),
    "keep-alive": lambda stage, container: stage.keep_alive(container),
}


def overdue(stage: Stage, **values: Any) -> str:
    """Return a running container whose lifetime has just ended."""
    container = stage.add("running")
    stage.patch(container, **values or {"stop_at": stage.clock.now() + HOUR})
    stage.advance(3600)
    return container


def stop_and_start(stage: Stage, container: str) -> None:
    stage.ask(container, "stop")
    stage.ask(container, "start")


# --- due times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["running", "paused"])
@pytest.mark.parametrize(("milliseconds", "stopped"), [(-1, False), (0, True), (1, True)])
def test_a_container_is_stopped_at_its_stop_at(stage: Stage, status: str, milliseconds: int, stopped: bool) -> None:
    container = stage.add("stopped", "running", *([status] if status == "paused" else []))
    stop_at = stage.clock.now() + HOUR
    assert stage.patch(container, stop_at=stop_at).pending_deadline == stop_at
    stage.tick = 0
    stage.clock.time = stop_at + timedelta(milliseconds=milliseconds)
    assert stage.sweep() == ({"lifetime ended": 1} if stopped else {})
    settle(stage)
    found = stage.container(container)
    assert (found.status, found.stop_at) == (("stopped", None) if stopped else (status, stop_at))
    if stopped:
        assert row(stage, container) == ("stopped", "schedule", "stop_at")
        assert due(stage, container) is None
        assert stage.sweep() == {}


def test_the_sweep_does_not_wait_for_the_effect(stage: Stage) -> None:
    container = stage.add("running", labels={"simulate.ignore-sigterm": "true"})
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.advance(3600)
    before = stage.clock.now()
    assert stage.sweep() == {"lifetime ended": 1}
    assert stage.clock.now() - before < timedelta(seconds=1)
    assert stage.pending(container).rule == "stop_at"


@pytest.mark.parametrize("seconds", [0.1, 3])
def test_a_paused_container_is_stopped_without_an_event_of_its_command(stage: Stage, seconds: float) -> None:
    """Events of Systems Manager may not arrive, and the result of the command is otherwise read two minutes later."""
    container = stage.add("stopped", "running", "paused")
    stop_at = stage.clock.now() + HOUR
    stage.patch(container, stop_at=stop_at)
    stage.ssm._delay = timedelta(seconds=seconds)
    # Sweeps run every minute.
    stage.advance(3660)
    assert stage.sweep() == {"lifetime ended": 1}
    assert stage.count("StopTask") == 1
    stage.events = [event for event in stage.events if event["source"] == "aws.ecs"]
    settle(stage)
    assert row(stage, container) == ("stopped", "schedule", "stop_at")
    assert stage.clock.now() - stop_at < 2 * MINUTE


def test_a_sweep_waits_only_briefly_for_a_paused_container(stage: Stage) -> None:
    """The next sweep reads the result of the command."""
    container = stage.add("stopped", "running", "paused")
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.ssm._delay = timedelta(seconds=8)
    stage.advance(3600)
    before = stage.clock.now()
    assert stage.sweep() == {"lifetime ended": 1}
    assert stage.clock.now() - before < timedelta(seconds=6)
    assert (stage.count("SendCommand"), stage.count("StopTask")) == (1, 0)
    stage.advance(61)
    stage.sweep()
    assert (stage.count("SendCommand"), stage.count("StopTask")) == (1, 1)


def test_idle_time_counts_from_the_last_of_all_events(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ask(container, "start")
    started = stage.container(container).status_since
    given = stage.patch(container, idle_timeout=300)
    assert given.idle_timeout_at is not None
    assert given.idle_timeout_at > started
    assert given.idle_at == given.pending_deadline == given.idle_timeout_at + 5 * MINUTE
    stage.advance(100)
    kept = stage.keep_alive(container)
    assert kept.kept_alive_at is not None
    assert kept.idle_at == kept.pending_deadline == kept.kept_alive_at + 5 * MINUTE
    stage.advance(100)
    stage.ask(container, "pause")
    assert (stage.container(container).idle_at, due(stage, container)) == (None, None)
    stage.advance(1000)
    assert stage.sweep() == {}
    stage.ask(container, "resume")
    resumed = stage.container(container)
    assert resumed.idle_at == resumed.pending_deadline == resumed.status_since + 5 * MINUTE
    stage.advance(301)
    assert stage.sweep() == {"lifetime ended": 1}
    settle(stage)
    assert row(stage, container) == ("stopped", "schedule", "idle_timeout")
    stage.ask(container, "start")
    again = stage.container(container)
    assert again.idle_at == again.pending_deadline == again.status_since + 5 * MINUTE
    assert stage.patch(container, idle_timeout=None).pending_deadline is None


@pytest.mark.parametrize(("stop_after", "rule"), [(299, "stop_at"), (300, "stop_at"), (301, "idle_timeout")])
def test_the_earlier_of_stop_at_and_idle_at_is_the_rule(stage: Stage, stop_after: int, rule: str) -> None:
    container = stage.add("running")
    stage.tick = 0
    now = stage.clock.now()
    stage.patch(container, idle_timeout=300, stop_at=now + timedelta(seconds=stop_after))
    assert due(stage, container) == now + timedelta(seconds=min(300, stop_after))
    stage.advance(302)
    stage.sweep()
    assert stage.pending(container).rule == rule


@pytest.mark.parametrize("values", [{"stop_at": None}, {"idle_timeout": None}])
def test_a_removed_limit_removes_the_key(stage: Stage, values: dict[str, None]) -> None:
    container = stage.add("running")
    (name,) = values
    stage.patch(container, **{name: 300 if name == "idle_timeout" else stage.clock.now() + HOUR})
    assert due(stage, container) is not None
    found = stage.patch(container, **values)
    assert (due(stage, container), found.ends_at, found.stop_at, found.idle_timeout_at) == (None,) * 4


def test_stop_at_ignores_holds(stage: Stage) -> None:
    container = stage.add("running")
    now = stage.clock.now()
    stage.patch(container, stop_at=now + MINUTE, hold_until=now + 9 * HOUR)
    stage.advance(61)
    assert stage.sweep() == {"lifetime ended": 1}


# --- rows clear stop_at -----------------------------------------------------------------------------------------------


def exits(stage: Stage, container: str) -> None:
    stage.ecs.exit(stage.live(container)[0].arn, 1)
    settle(stage)


@pytest.mark.parametrize(
    "end",
    [
        lambda stage, container: stage.ask(container, "stop"),
        lambda stage, container: stage.ask(container, "force-stop"),
        exits,
        lambda stage, _: stage.terminate("i-0a1b2c3d4e5f60718"),
    ],
    ids=["stop", "force-stop", "exit", "expiry"],
)
def test_the_last_row_of_a_run_clears_stop_at(stage: Stage, end: Callable[[Stage, str], Any]) -> None:
    container = stage.add("running", server="i-0a1b2c3d4e5f60718")
    stage.patch(container, stop_at=stage.clock.now() + HOUR, idle_timeout=300)
    end(stage, container)
    for _ in range(3):  # the sweep ends the task of an expired container
        stage.pass_deadline()
    found = stage.container(container)
    assert (found.is_live, found.stop_at, found.idle_timeout, due(stage, container)) == (False, None, 300, None)


def test_a_restart_keeps_stop_at(stage: Stage) -> None:
    container = stage.add("running")
    stop_at = stage.clock.now() + HOUR
    stage.patch(container, stop_at=stop_at)
    stage.with_events()
    stage.ask(container, "restart")
    assert stage.container(container).stop_at == due(stage, container) == stop_at
    assert [each["to_status"] for each in stage.rows(container)[-2:]] == ["stopped", "running"]


def test_a_task_that_exits_during_a_restart_keeps_stop_at(stage: Stage) -> None:
    """The restart continues with its start, and the new run has the requested limit."""
    container = stage.add("running")
    stop_at = stage.clock.now() + HOUR
    stage.before("StopTask", lambda _: stage.ecs.exit(stage.live(container)[0].arn, 1))
    stage.ask(container, "restart", stop_at=stop_at)
    assert stage.container(container).stop_at == due(stage, container) == stop_at


def test_a_failed_start_clears_stop_at(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "fail"})
    assert stage.refused(container, "start")
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "restart")
    assert (stage.status(container), stage.container(container).stop_at) == ("failed", None)


def test_a_full_history_clears_stop_at(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.history_is_full = True
    stage.ask(container, "stop")
    assert (stage.status(container), stage.container(container).stop_at) == ("stopped", None)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [FAILED, NO_ANSWER])
@pytest.mark.parametrize("lost", [False, True])
def test_a_claim_that_fails_is_repeated_by_the_next_sweep(stage: Stage, error: Exception, lost: bool) -> None:
    container = overdue(stage)
    stage.fail("UpdateItem", error, lost=lost)
    assert stage.sweep() == {"failed": 1}
    assert stage.failures == [container]
    for _ in range(3):
        stage.advance(61)
        stage.sweep()
        settle(stage)
    assert row(stage, container) == ("stopped", "schedule", "stop_at")
    assert [each["to_status"] for each in stage.rows(container)] == ["running", "stopped"]


def test_a_refused_stop_is_repeated_by_the_next_sweep(stage: Stage) -> None:
    container = overdue(stage)
    stage.fail("StopTask", DENIED)
    assert stage.sweep() == {"failed": 1}
    settle(stage)
    assert stage.container(container).is_live
    stage.advance(60)
    stage.sweep()
    settle(stage)
    assert row(stage, container) == ("stopped", "schedule", "stop_at")


@pytest.mark.parametrize("call", ["keep-alive", "stop_at", "idle_timeout"])
@pytest.mark.parametrize("fault", ["error", "no answer", "lost", "repeated"])
def test_a_change_whose_reply_is_lost_may_be_repeated(stage: Stage, call: str, fault: str) -> None:
    container = stage.add("running")
    stage.patch(container, idle_timeout=600)
    act = CHANGES[call]
    if fault == "repeated":
        stage.repeat("UpdateItem")
        act(stage, container)
    else:
        stage.fail("UpdateItem", NO_ANSWER if fault == "no answer" else FAILED, lost=fault == "lost")
        with pytest.raises(ExternalServiceError):
            act(stage, container)
        found = stage.container(container)
        assert found.pending_deadline == found.ends_at
        act(stage, container)
    found = stage.container(container)
    assert found.pending_deadline == found.ends_at
    assert {"stop_at": found.stop_at, "idle_timeout": found.idle_timeout == 900, "keep-alive": found.kept_alive_at}[
        call
    ]


def test_a_commit_whose_reply_is_lost_keeps_the_key(stage: Stage) -> None:
    container = stage.add("stopped")
    stop_at = stage.clock.now() + HOUR
    stage.repeat("TransactWriteItems")
    stage.ask(container, "start", stop_at=stop_at)
    assert due(stage, container) == stop_at
    assert len(stage.rows(container)) == 2


def test_a_claim_whose_reply_is_lost_restores_stop_at(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.set_capacity("i-0a1b2c3d4e5f60718", memory=0)
    stage.repeat("UpdateItem")
    with pytest.raises(ExternalServiceError):
        stage.ask(container, "start", stop_at=stage.clock.now() + HOUR)
    assert (stage.container(container).operation, stage.container(container).stop_at) == (None, None)


# --- the key of the index ---------------------------------------------------------------------------------------------


def without_key(stage: Stage, container: str) -> None:
    """Remove the key, as a write of another version may do."""
    item = stage.dynamodb.tables["containers"].items[(container,)]
    for name in ("pending_shard", "pending_deadline"):
        del item[name]


@pytest.mark.parametrize("values", [{"stop_at": HOUR}, {"idle_timeout": 4000}])
def test_the_drift_sweep_restores_a_missing_key(stage: Stage, values: dict[str, Any]) -> None:
    container = stage.add("running")
    given = {name: stage.clock.now() + value if name == "stop_at" else value for name, value in values.items()}
    stage.patch(container, **given)
    key = due(stage, container)
    without_key(stage, container)
    stage.advance(130)
    assert stage.sweep() == {}
    assert stage.drift_sweep()["listed again"] == 1
    assert due(stage, container) == key is not None
    assert stage.drift_sweep()["true"] == 1


def test_a_change_during_the_restoration_is_kept(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, idle_timeout=4000)
    without_key(stage, container)
    stage.advance(130)
    stage.before("UpdateItem", lambda _: stage.patch(container, idle_timeout=300))
    stage.drift_sweep()
    found = stage.container(container)
    assert (found.idle_timeout, found.pending_deadline) == (300, found.ends_at)


def test_an_operation_keeps_the_attributes_of_users(stage: Stage) -> None:
    container = stage.add("stopped")
    now = stage.clock.now()
    given = {"hold_until": now + HOUR, "idle_timeout": 300, "stop_at": now + HOUR, "labels": {"a": "b"}}
    stage.patch(container, **given)
    stage.ask(container, "start")
    found = stage.container(container)
    assert {name: getattr(found, name) for name in given} == given
    assert isinstance(found, Container)
    assert to_text(found.ends_at or now) == to_text(found.status_since + 5 * MINUTE)


def test_a_count_that_somebody_else_changes_does_not_postpone_the_end_of_an_idle_service() -> None:
    stage = ServiceStage()
    container = stage.add_service("running")
    stage.patch(container, idle_timeout=900)
    stage.advance(300)
    idle_at = stage.container(container).idle_at
    for count in (5, 4):
        stage.services.set_desired(stage.service(), count)
        stage.while_time_passes(200)
        assert stage.drift_sweep() == {"repaired": 1}
        after = stage.container(container)
        assert (after.desired_count, after.idle_at, after.pending_deadline) == (count, idle_at, idle_at)
    # A restart does.
    stage.ask(container, "restart")
    restarted = stage.container(container)
    assert restarted.idle_at == restarted.status_since + 15 * MINUTE


def test_the_time_since_a_service_runs_is_not_used_after_a_row_that_does_not_write_it() -> None:
    """Version 0.2 writes rows without it."""
    stage = ServiceStage()
    container = stage.add_service("running")
    stage.patch(container, idle_timeout=900)
    stage.advance(200)
    stage.services.set_desired(stage.service(), 5)
    stage.while_time_passes(10)
    stage.drift_sweep()
    later = stage.container(container).status_since + 10 * MINUTE
    stage.edit(container, status_since=later)
    assert stage.container(container).idle_at == later + 15 * MINUTE
