"""Tests of task events: which are applied, and their effects."""

from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.task import Task, adopted_as

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
    assert before.own is not None
    assert (after.status, after.tasks) == (expected, {})
    assert after.last_task == LastTask(id=task.id, version=before.own.version + 1)
    assert (after.generation, after.requested_at) == (before.generation, None)
    assert stage.pending_ids == []
    assert {call.service for call in stage.calls} == {"dynamodb"}
    # Again, and late.
    assert stage.deliver(reported) == "stale"
    assert len(stage.rows(container)) == 2


@pytest.mark.parametrize(
    ("status", "reported", "newer", "effect", "expected"),
    [
        ("running", "STOPPED", -1, "recorded", "stopped"),
        ("running", "STOPPED", 0, "recorded", "stopped"),
        ("running", "STOPPED", 1, "recorded", "stopped"),
        ("paused", "STOPPED", 1, "recorded", "stopped"),
        ("running", "RUNNING", 1, "stale", "running"),
        ("running", "DEACTIVATING", 1, "stale", "running"),
        ("paused", "RUNNING", 1, "stale", "paused"),
    ],
)
def test_events_of_the_containers_task(
    stage: Stage, status: str, reported: str, newer: int, effect: str, expected: str
) -> None:
    """A task that has stopped stays stopped, so the version of that event does not matter."""
    container = stage.add("stopped", status)
    (task,) = stage.live(container)
    task.containers[0].exit_code = 0
    before = stage.container(container)
    assert stage.deliver(event(task, reported, version=stage.known(container).version + newer)) == effect
    after = stage.container(container)
    assert after.status == expected
    assert after.tasks == ({} if effect == "recorded" else before.tasks)
    assert len(stage.rows(container)) == (3 if expected != status else 2)
    assert stage.count("StopTask") == 0


@pytest.mark.parametrize("status", ["stopped", "expired", "failed"])
@pytest.mark.parametrize(
    ("reported", "newer", "effect", "stops"),
    [
        ("STOPPED", 0, "recorded", 0),
        ("STOPPED", 1, "recorded", 0),
        ("RUNNING", -1, "stale", 0),
        ("RUNNING", 0, "stale", 0),
        ("RUNNING", 1, "stray-stopped", 1),
        ("PENDING", 1, "stray-stopped", 1),
    ],
)
def test_events_of_a_task_that_has_to_end(
    stage: Stage, status: str, reported: str, newer: int, effect: str, stops: int
) -> None:
    container = stage.add("stopped", status)
    task = stage.give_task(container)
    assert stage.deliver(event(task, reported, version=task.version + newer)) == effect
    after = stage.container(container)
    assert (after.status, len(stage.rows(container)), stage.count("StopTask")) == (status, 2, stops)
    assert bool(after.tasks) is (reported != "STOPPED")


@pytest.mark.parametrize(("reported", "newer"), [("STOPPED", 1), ("RUNNING", -1), ("RUNNING", 1)])
def test_a_late_event_of_a_task_whose_end_is_known(stage: Stage, reported: str, newer: int) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    assert stage.ask(container, "force-stop").kind == "completed"
    before, calls = stage.container(container), stage.count("StopTask")
    assert stage.deliver(event(task, reported, version=task.version + newer)) == "stale"
    assert (stage.container(container), stage.count("StopTask")) == (before, calls)


def test_a_task_of_a_start_that_was_given_up_is_stopped(stage: Stage) -> None:
    container = stage.add("stopped", "failed")
    task = stage.give_task(container, stop_timeout=0.1)
    task.version += 1
    assert stage.deliver(event(task)) == "stray-stopped"
    stage.advance(1)
    stage.deliver_all()
    assert (stage.status(container), stage.live(container), stage.container(container).tasks) == ("failed", [], {})


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_task_that_ecs_did_not_return_for_a_while(stage: Stage, status: str) -> None:
    container = stage.add("stopped", status, "failed")
    task = stage.give_task(container)
    stage.lose(container, task, paused=status == "paused")
    task.version += 1
    assert stage.deliver(event(task)) == "recorded"
    row = stage.rows(container)[-1]
    moment = to_text(stage.clock.now() - timedelta(milliseconds=1))
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == ("failed", status, "system")
    assert row["transition_time"] == moment
    assert row["metadata"] == {"task_id": task.id, "reason": "ECS shows the task running"}
    after = stage.container(container)
    assert after.tasks == {task.id: KnownTask(arn=task.arn, shown=True, version=task.version)}
    assert after.last_task is None


@pytest.mark.parametrize(
    ("reported", "newer", "shown", "effect"),
    [
        ("RUNNING", 0, False, "stale"),
        ("RUNNING", -1, True, "stale"),
        ("PENDING", 1, False, "stale"),
        ("STOPPED", 1, False, "stale"),
        ("RUNNING", 0, True, "recorded"),
        ("RUNNING", 1, True, "recorded"),
    ],
)
def test_which_news_of_a_gone_task_count(stage: Stage, reported: str, newer: int, shown: bool, effect: str) -> None:
    """DescribeTasks may return an old state too, but an equal version is current if ECS itself shows it."""
    container = stage.add("stopped", "running", "failed")
    task = stage.give_task(container)
    stage.lose(container, task)
    seen = Task.of(event(task, reported, version=task.version + newer)["detail"])
    with stage.open():
        assert stage.wired.drift._events.look_at(seen, CLUSTER, shown=shown) == effect
    assert stage.status(container) == ("running" if effect == "recorded" else "failed")
    assert stage.count("StopTask") == 0


def test_a_row_forgets_that_a_task_was_gone(stage: Stage) -> None:
    """The task is then stopped if ECS shows it again."""
    container = stage.add("stopped", "running", "failed")
    task = stage.give_task(container)
    stage.lose(container, task)
    assert stage.ask(container, "force-stop").kind == "completed"
    task.version += 1
    assert stage.deliver(event(task)) == "stray-stopped"
    assert stage.container(container).tasks[task.id].stray


def test_a_gone_task_in_an_unknown_state_is_stopped(stage: Stage) -> None:
    """A command may have paused it."""
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.lose(container, task, unclear=True)
    assert stage.deliver(event(task, version=task.version + 5)) == "stray-stopped"
    assert stage.status(container) == "failed"


def test_a_gone_task_beside_another_task_is_stopped(stage: Stage) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.lose(container, task)
    stage.edit_known(container, "token", called_from=stage.clock.now(), called_until=stage.clock.now())
    assert stage.deliver(event(task, version=task.version + 5)) == "stray-stopped"
    assert stage.container(container).tasks.keys() == {"token", task.id}


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


def test_a_gone_task_that_ecs_returns_is_live_again(stage: Stage) -> None:
    container = stage.add("running", "failed")
    task = stage.give_task(container)
    stage.lose(container, task)
    stage.drift_sweep()
    row = stage.rows(container)[-1]
    assert (row["to_status"], row["triggered_by"]) == ("running", "recovery")
    assert stage.known(container).version == task.version


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
