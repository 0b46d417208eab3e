"""Tests of runs of the six operations, of their targets, and of the role of the user who saved the schedule."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Operation, effect_of
from longshore.engine.schedules import RunResult, ScheduleInput
from pydantic import ValidationError

from engine.aws import NO_ANSWER
from engine.stage import PROJECT, USER, Stage

MILLISECOND = timedelta(milliseconds=1)
ELSEWHERE = "e" * 24


def run(stage: Stage, operation: str = "start", **changes: Any) -> RunResult:
    """Run a schedule of the project that the user has saved."""
    now = stage.clock.now()
    wanted = {"project_id": PROJECT, "operation": operation, "rule": "hours", "actor": USER, "time": now} | changes
    with stage.open():
        return stage.wired.schedules.run(ScheduleInput(**wanted), "run-1", lambda: stage.time_left(), now=now)


def counts(stage: Stage, operation: str = "start", **changes: Any) -> dict[str, int]:
    """Return the counts of a run that are not 0."""
    return {effect: count for effect, count in run(stage, operation, **changes).counts.items() if count}


def settle(stage: Stage) -> None:
    """Let the tasks and commands take effect, and deliver their events."""
    for _ in range(4):
        stage.advance(15)
        stage.deliver_all()
    stage.pass_deadline()
    stage.deliver_all()


# --- the operations ---------------------------------------------------------------------------------------------------

BEGINS = {
    "start": {"stopped": "running"},
    "stop": {"running": "stopped", "paused": "stopped"},
    "force-stop": {"running": "stopped", "paused": "stopped", "failed": "stopped"},
    "restart": {"stopped": "running", "running": "running", "paused": "running", "failed": "running"},
    "pause": {"running": "paused"},
    "resume": {"paused": "running"},
}


@pytest.mark.parametrize("status", ["stopped", "running", "paused", "failed", "expired"])
@pytest.mark.parametrize("operation", Operation)
def test_every_operation_and_status(stage: Stage, operation: Operation, status: str) -> None:
    container = stage.add(status)
    final = BEGINS[operation.value].get(status)
    if final is None:
        assert counts(stage, operation.value, container_ids=[container]) == {"skipped": 1}
        assert stage.container(container).requested_at is None
        assert len(stage.rows(container)) == 1
        return
    assert counts(stage, operation.value) == {effect_of(operation): 1}
    settle(stage)
    row = stage.rows(container)[-1]
    assert (row["to_status"], stage.status(container), row["triggered_by"]) == (final, final, "schedule")
    metadata = row["metadata"]
    assert (metadata["command"], metadata["rule"], metadata["actor"]) == (operation.value, "hours", USER)
    assert metadata["request_id"] == "run-1"


@pytest.mark.parametrize("operation", ["start", "restart", "pause", "resume"])
def test_a_run_does_not_wait_for_the_effect(stage: Stage, operation: str) -> None:
    stage.add({"start": "stopped", "resume": "paused"}.get(operation, "running"))
    before = stage.clock.now()
    assert counts(stage, operation) == {effect_of(Operation(operation)): 1}
    assert stage.clock.now() - before < timedelta(seconds=0.1)


@pytest.mark.parametrize("operation", Operation)
def test_a_repeated_event_has_no_second_effect(stage: Stage, operation: Operation) -> None:
    container = stage.add(next(iter(BEGINS[operation.value])))
    wanted = {"time": stage.clock.now(), "container_ids": [container]}
    assert counts(stage, operation.value, **wanted) == {effect_of(operation): 1}
    for _ in range(2):
        assert counts(stage, operation.value, **wanted) == {"skipped": 1}
        settle(stage)
    rows = len(stage.rows(container))
    assert counts(stage, operation.value, **wanted) == {"skipped": 1}
    assert len(stage.rows(container)) == rows


@pytest.mark.parametrize(
    ("status", "pending", "operation", "effect"),
    [
        ("stopped", "start", "start", "skipped"),
        ("stopped", "start", "stop", "failed"),
        ("stopped", "start", "restart", "failed"),
        ("stopped", "start", "pause", "failed"),
        ("stopped", "start", "resume", "skipped"),
        ("stopped", "start", "force-stop", "force-stopped"),
        ("running", "stop", "start", "failed"),
        ("running", "stop", "stop", "skipped"),
        ("running", "stop", "restart", "failed"),
        ("running", "stop", "force-stop", "force-stopped"),
        ("running", "force-stop", "force-stop", "skipped"),
        ("running", "force-stop", "stop", "skipped"),
        ("running", "restart", "restart", "skipped"),
        ("running", "restart", "start", "skipped"),
        ("running", "pause", "pause", "skipped"),
        ("running", "pause", "stop", "failed"),
        ("paused", "resume", "start", "skipped"),
        ("paused", "resume", "pause", "failed"),
    ],
)
def test_an_operation_that_is_pending(stage: Stage, status: str, pending: str, operation: str, effect: str) -> None:
    """It was requested before the scheduled time. `failed` containers are retried."""
    stage.claim(stage.add(status), pending)
    stage.advance(1)
    assert counts(stage, operation) == {effect: 1}


def test_pause_of_a_container_without_a_host_is_skipped(stage: Stage) -> None:
    container = stage.add("running", fargate=True)
    assert counts(stage, "pause") == {"skipped": 1}
    stage.claim(container, "stop")
    stage.advance(1)
    assert counts(stage, "pause") == {"skipped": 1}


def test_a_user_who_stops_a_container_after_the_scheduled_start(stage: Stage) -> None:
    container = stage.add("stopped")
    time = stage.clock.now()
    run(stage, time=time)
    settle(stage)
    stage.ask(container, "stop")
    assert counts(stage, time=time) == {"skipped": 1}
    assert stage.status(container) == "stopped"


def test_a_start_that_cannot_be_placed_is_tried_again(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.set_capacity("i-0a1b2c3d4e5f60718", memory=0)
    time = stage.clock.now()
    assert counts(stage, time=time) == {"failed": 1}
    stage.ecs.set_capacity("i-0a1b2c3d4e5f60718")
    assert counts(stage, time=time) == {"started": 1}
    settle(stage)
    assert stage.status(container) == "running"


# --- targets ----------------------------------------------------------------------------------------------------------


def added(stage: Stage, **labels: str) -> str:
    number = len(stage.dynamodb.tables["containers"].items) + 1
    container = stage.add("stopped", number=number)
    stage.edit(container, labels=labels)
    return container


def started(stage: Stage) -> list[str]:
    items = stage.dynamodb.tables["containers"].items
    return [key[0] for key in sorted(items) if stage.container(key[0]).operation is not None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(None, [0, 1, 2]), ({"env": "dev"}, [0, 1]), ({"env": "dev", "team": "shop"}, [1]), ({"env": ""}, [])],
)
def test_targets_by_label(stage: Stage, labels: dict[str, str] | None, expected: list[int]) -> None:
    containers = [added(stage, env="dev"), added(stage, env="dev", team="shop"), added(stage, env="prod")]
    stage.edit(added(stage, env="dev", team="shop"), project_id=ELSEWHERE)
    run(stage, labels=labels)
    assert started(stage) == [containers[number] for number in expected]


def test_a_stop_by_label(stage: Stage) -> None:
    containers = [stage.add("running", number=number) for number in (1, 2)]
    stage.edit(containers[1], labels={"env": "dev"})
    assert counts(stage, "stop", labels={"env": "dev"}) == {"stopped": 1}
    assert started(stage) == [containers[1]]


def test_a_label_that_was_removed_after_the_index_was_read(stage: Stage) -> None:
    container = added(stage, env="dev")
    stage.before("GetItem", lambda _: stage.edit(container, labels={}))
    assert counts(stage, labels={"env": "dev"}) == {"skipped": 1}


def test_targets_by_id(stage: Stage) -> None:
    containers = [added(stage), added(stage)]
    stage.edit(containers[1], project_id=ELSEWHERE)
    assert counts(stage, container_ids=[*containers, containers[0], "f" * 24]) == {"started": 1, "skipped": 2}


def test_the_list_cannot_be_read(stage: Stage) -> None:
    stage.fail("Query", NO_ANSWER, times=-1)
    with pytest.raises(ExternalServiceError):
        run(stage, actor=None)


def test_remaining_containers(stage: Stage) -> None:
    containers = [added(stage) for _ in range(3)]
    answers = [True, False, False]
    stage.time_left = lambda: answers.pop(0)
    result = run(stage)
    assert (result.begun, len(result.left)) == (1, 2)
    stage.time_left = lambda: True
    assert counts(stage, container_ids=result.left) == {"started": 2}
    assert started(stage) == containers


@pytest.mark.parametrize(
    "wanted",
    [
        {"all": True, "operation": "start"},
        {"container_ids": ["a" * 24], "labels": {"env": "dev"}},
        {"container_ids": ["a" * 24], "actor": "ann"},
        {"project_id": PROJECT, "labels": {}},
        {"project_id": PROJECT, "operation": "explode"},
    ],
)
def test_an_invalid_input(wanted: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScheduleInput(**wanted)


# --- the role of the user who saved the schedule ----------------------------------------------------------------------


@pytest.mark.parametrize("role", ["operator", "owner"])
def test_an_operator(stage: Stage, role: str) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": role})
    stage.add("stopped")
    assert counts(stage) == {"started": 1}


@pytest.mark.parametrize(
    "item",
    [
        {"user_id": USER, "scope": f"project#{PROJECT}", "role": "viewer"},
        {"user_id": USER, "scope": f"project#{PROJECT}", "role": "none"},
        {"user_id": USER, "scope": "account", "banned": True},
    ],
    ids=["viewer", "revoked", "banned"],
)
@pytest.mark.parametrize("operation", Operation)
def test_a_user_without_the_role(stage: Stage, operation: Operation, item: dict[str, Any]) -> None:
    container = stage.add(next(iter(BEGINS[operation.value])))
    stage._put("access", item)
    assert counts(stage, operation.value) == {"unauthorized": 1}
    assert stage.count("UpdateItem") == 0
    assert (stage.container(container).operation, len(stage.rows(container))) == (None, 1)


def test_a_user_who_left_the_project(stage: Stage) -> None:
    stage.add("stopped")
    assert counts(stage, actor="stranger") == {"unauthorized": 1}


def test_a_late_run_is_late_for_everybody(stage: Stage) -> None:
    stage.add("stopped")
    long_ago = stage.clock.now() - timedelta(hours=1) - MILLISECOND
    assert counts(stage, actor="stranger", time=long_ago) == {"late": 1}


def test_the_role_cannot_be_read(stage: Stage) -> None:
    """The event is delivered again."""
    stage.add("stopped")
    stage.fail("Query", NO_ANSWER, times=-1)
    with pytest.raises(ExternalServiceError):
        run(stage)


def test_a_rule_acts_without_a_role(stage: Stage) -> None:
    stage.add("running")
    assert counts(stage, "stop", actor=None) == {"stopped": 1}
