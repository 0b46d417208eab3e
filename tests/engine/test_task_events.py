"""Tests of task events: which are applied, and their effects."""

from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Status

NO_NEWER = 2**53
from longshore.domain.task import adopted_as

from engine.aws import CLUSTER, DENIED, FAILED, NOT_FOUND, Call
from engine.stage import Stage, event

# --- no pending operation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["running", "paused"])
@pytest.mark.parametrize(("code", "expected"), [(0, "stopped"), (1, "failed"), (137, "failed")])
def test_a_task_that_ends_by_itself(stage: Stage, status: str, code: int, expected: str) -> None:
    container = stage.add(status)
    (task,) = stage.live(container)
    before = stage.container(container)
    stage.ecs.exit(task.arn, code)
    stage.advance(1)
    (reported,) = stage.events
    assert stage.deliver(reported) == "recorded"
    (row,) = stage.rows(container)[1:]
    assert task.stopped_at is not None
    assert {name: value for name, value in row.items() if name not in ("id", "created_at", "to_rank", "from_rank")} == {
        "container_id": container,
        "from_status": status,
        "to_status": expected,
        "transition_time": to_text(task.stopped_at),
        "triggered_by": "system",
        "metadata": {
            "task_id": task.id,
            "reason": "Essential container in task exited",
            "stop_code": "EssentialContainerExited",
            "exit_code": code,
        },
        "seq": 2,
        "schema": 2,
        "project_id": before.project_id,
        "to_n": {status[0]: 1, expected[0]: 1},
        "from_n": {"n": 1, status[0]: 1},
    }
    after = stage.container(container)
    assert (after.status, after.task_arn, after.task_version) == (expected, task.arn, before.task_version + 1)
    assert (after.generation, after.requested_at) == (before.generation, None)
    assert stage.pending_ids == []
    assert {call.service for call in stage.calls} == {"dynamodb"}
    # Again, and late.
    assert stage.deliver(reported) == "stale"
    assert len(stage.rows(container)) == 2


@pytest.mark.parametrize(
    ("status", "reported", "newer", "effect", "expected"),
    [
        ("running", "STOPPED", -1, "stale", "running"),
        ("running", "STOPPED", 0, "stale", "running"),
        ("running", "STOPPED", 1, "recorded", "stopped"),
        ("paused", "STOPPED", 1, "recorded", "stopped"),
        ("running", "RUNNING", 1, "stale", "running"),
        ("running", "DEACTIVATING", 1, "stale", "running"),
        ("paused", "RUNNING", 1, "stale", "paused"),
        ("stopped", "STOPPED", 1, "stale", "stopped"),
        ("stopped", "RUNNING", 1, "stale", "stopped"),
        ("expired", "RUNNING", 1, "stale", "expired"),
        ("expired", "STOPPED", 1, "stale", "expired"),
        ("failed", "STOPPED", 0, "stale", "failed"),
        ("failed", "STOPPED", 1, "recorded", "failed"),
        ("failed", "RUNNING", -1, "stale", "failed"),
        ("failed", "RUNNING", 0, "stale", "failed"),
        ("failed", "RUNNING", 1, "recorded", "running"),
        ("failed", "PENDING", 1, "stale", "failed"),
    ],
)
def test_events_of_the_containers_task(
    stage: Stage, status: str, reported: str, newer: int, effect: str, expected: str
) -> None:
    container = stage.add("stopped", status)
    task = stage.live(container)[0] if stage.live(container) else stage.give_task(container)
    task.containers[0].exit_code = 0
    version = stage.container(container).task_version
    assert stage.deliver(event(task, reported, version=version + newer)) == effect
    after = stage.container(container)
    assert after.status == expected
    assert after.task_version == (version + newer if effect == "recorded" else version)
    assert len(stage.rows(container)) == (3 if expected != status else 2)
    assert stage.count("StopTask") == 0


def test_a_task_of_a_failed_container_that_reaches_running(stage: Stage) -> None:
    container = stage.add("stopped", "failed")
    task = stage.give_task(container)
    task.version += 1
    assert stage.deliver(event(task)) == "recorded"
    row = stage.rows(container)[-1]
    assert task.started_at is not None
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("failed", "running", "system")
    assert row["transition_time"] == to_text(task.started_at)
    assert row["metadata"] == {"task_id": task.id, "reason": "ECS shows the task running"}
    assert stage.container(container).task_version == task.version


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_task_that_ecs_did_not_return_for_a_while(stage: Stage, status: str) -> None:
    container = stage.add("stopped", status, "failed")
    task = stage.give_task(container)
    task.version += 1
    task.started_at = stage.clock.now() - timedelta(hours=2)
    assert stage.deliver(event(task)) == "recorded"
    row = stage.rows(container)[-1]
    moment = to_text(stage.clock.now() - timedelta(milliseconds=1))
    assert (row["to_status"], row["transition_time"]) == (status, moment)
    assert row["metadata"] == {"task_id": task.id, "reason": "ECS shows the task running"}


@pytest.mark.parametrize("history", [("paused", "failed", "failed"), ("running", "paused", "failed", "failed")])
def test_a_frozen_task_that_ecs_returns_after_another_failure(stage: Stage, history: tuple[str, ...]) -> None:
    """The last row does not have the earlier status, because the container failed again while its task was missing."""
    container = stage.add("stopped", *history)
    task = stage.give_task(container)
    task.version += 1
    task.started_at = stage.clock.now() - timedelta(hours=2)
    assert stage.deliver(event(task)) == "recorded"
    assert stage.status(container) == "paused"


def test_another_task_is_not_frozen(stage: Stage) -> None:
    """A start that was given up starts its task after all; whether the previous task was frozen does not matter."""
    container = stage.add("stopped", "running", "paused")
    stage.ask(container, "force-stop")
    assert stage.container(container).was_paused
    stage.crash(container, "start", "RunTask")
    stage.clock.time = stage.pending(container).deadline
    stage.take_over(container)
    assert (stage.status(container), stage.container(container).was_paused) == ("running", False)


def test_a_task_that_reaches_running_at_an_unknown_time(stage: Stage) -> None:
    container = stage.add("stopped", "failed")
    task = stage.give_task(container)
    task.version += 1
    task.started_at = None
    assert stage.deliver(event(task)) == "recorded"
    assert stage.rows(container)[-1]["transition_time"] == to_text(stage.clock.now() - timedelta(milliseconds=1))


def test_a_task_that_reaches_running_for_a_container_without_rows(stage: Stage) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.dynamodb.tables["status-logs"].items.clear()
    task.version += 1
    assert stage.deliver(event(task)) == "recorded"
    assert stage.status(container) == "running"


def test_a_task_in_an_unknown_state_is_never_applied(stage: Stage) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, task_version=NO_NEWER)
    assert stage.deliver(event(task, version=NO_NEWER + 5)) == "stale"
    assert stage.status(container) == "failed"


def test_a_running_task_that_is_not_the_containers_is_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray)) == "stray-stopped"
    assert stage.parameters("StopTask") == [
        {"cluster": CLUSTER, "task": stray.arn, "reason": "Longshore: not the task that its container has"}
    ]
    assert len(stage.rows(container)) == 1


@pytest.mark.parametrize("reported", ["PROVISIONING", "PENDING", "RUNNING", "DEACTIVATING", "STOPPED"])
def test_each_status_of_a_stray_task(stage: Stage, reported: str) -> None:
    container = stage.add("running")
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.deliver(event(stray, reported)) == ("stale" if reported == "STOPPED" else "stray-stopped")
    assert stage.count("StopTask") == (0 if reported == "STOPPED" else 1)


def test_a_stray_task_that_stop_task_does_not_find(stage: Stage) -> None:
    container = stage.add("stopped")
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.fail("StopTask", NOT_FOUND)
    assert stage.deliver(event(stray)) == "stray-stopped"


def test_a_stray_task_that_cannot_be_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.fail("StopTask", FAILED)
    with pytest.raises(ExternalServiceError):
        stage.deliver(event(stray))


# --- ownership of tasks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started_by", "reads"),
    [(None, 1), ("", 1), ("somebody", 1), ("x" * 24, 1), ("507f1f77bcf86cd799439099", 2), ("ecs-svc/123", 1)],
)
def test_a_task_without_a_container(stage: Stage, started_by: str | None, reads: int) -> None:
    """A `startedBy` that is not the id of a container is not looked up."""
    stage.add("stopped")
    task = stage.ecs.adopt_running(CLUSTER, "web-1", started_by)
    assert stage.deliver(event(task)) == "foreign"
    assert (stage.count("GetItem"), stage.count("StopTask")) == (reads, 0)


def test_an_adopted_task(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    item = stage.container(container)
    stage.dynamodb.tables["containers"].items.clear()
    stage.put(item.model_copy(update={"id": adopted_as(task.arn)}))
    task.started_by = "somebody"
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task)) == "recorded"
    assert stage.status(adopted_as(task.arn)) == "stopped"


@pytest.mark.parametrize(
    ("named", "reported", "effect"),
    [
        ("default", "arn:aws:ecs:us-east-1:123456789012:cluster/default", "recorded"),
        ("arn:aws:ecs:us-east-1:123456789012:cluster/default", "default", "recorded"),
        ("arn:aws:ecs:us-east-1:123456789012:cluster/default", "arn:aws:ecs:x:y:cluster/other", "foreign"),
        ("other", "arn:aws:ecs:us-east-1:123456789012:cluster/default", "foreign"),
        ("default", "", "foreign"),
    ],
)
def test_the_task_of_another_cluster(stage: Stage, named: str, reported: str, effect: str) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.edit(container, runtime=stage.container(container).runtime.model_copy(update={"cluster": named}))
    stage.ecs.exit(task.arn, 0)
    assert stage.deliver(event(task, clusterArn=reported)) == effect


def test_an_unreadable_container(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.damage(container)
    with pytest.raises(Exception, match="unexpected error"):
        stage.deliver(event(task))


# --- concurrent changes -----------------------------------------------------------------------------------------------


def test_the_container_has_changed_since_it_was_read(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    reported = event(task)
    changed: list[str] = []
    stage.before("TransactWriteItems", lambda _: changed.append(stage.refused(container, "stop")))
    assert stage.deliver(reported) == "stale"
    assert changed == ["Container is already stopped"]
    assert len(stage.rows(container)) == 2


def test_an_operation_is_claimed_before_the_event_is_applied(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.before("TransactWriteItems", lambda _: stage.claim(container, "stop"))
    assert stage.deliver(event(task)) == "settled"
    assert stage.status(container) == "stopped"
    assert stage.container(container).operation is None


def test_a_container_that_changes_before_every_write(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    tries: list[Call] = []

    def change(call: Call) -> None:
        tries.append(call)
        stage.edit(container, generation=len(tries))
        stage.before("TransactWriteItems", change)

    stage.before("TransactWriteItems", change)
    with pytest.raises(ExternalServiceError) as raised:
        stage.deliver(event(task))
    assert raised.value.reason == "The container is receiving too many requests"
    assert len(tries) == 5


# --- tasks that ECS returns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("newer", "effect"), [(0, "recorded"), (1, "recorded")])
def test_a_running_task_that_ecs_returns_is_applied_regardless_of_its_version(
    stage: Stage, newer: int, effect: str
) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.edit(container, task_version=task.version - newer)
    stage.drift_sweep()
    row = stage.rows(container)[-1]
    assert (row["to_status"], row["triggered_by"]) == ("running", "recovery")
    assert stage.container(container).task_version == task.version
    assert effect == "recorded"


def test_ecs_returns_a_task_in_an_unknown_state(stage: Stage) -> None:
    container = stage.add("running", "failed")
    stage.give_task(container)
    stage.edit(container, task_version=NO_NEWER)
    assert stage.drift_sweep() == {"stale": 1}
    assert stage.status(container) == Status.FAILED


def test_a_stray_task_that_ecs_returns_is_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.drift_sweep() == {"stray-stopped": 1}


def test_a_stray_task_that_ecs_returns_and_that_cannot_be_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.fail("StopTask", DENIED)
    assert stage.drift_sweep() == {"failed": 1}
    assert stage.failures == [task.id]
