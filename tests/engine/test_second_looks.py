"""Tests of the recovery sweep's second lookup, half a minute after the drift sweep did not find a task."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.lifecycle import Status
from longshore.domain.models import Container
from longshore.domain.pending import Trigger

from engine.aws import CLUSTER, DENIED, FAILED, NO_ANSWER, Call
from engine.stage import Stage, event

LOOKS = timedelta(seconds=30)
LAST = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)


def absent(stage: Stage, since: timedelta, status: str = "running") -> str:
    """Return a due container whose task a sweep did not find the given time ago. Calls take no time."""
    container = stage.add(status)
    stage.tick = 0
    miss(stage, container, since)
    return container


def miss(stage: Stage, container: str, since: timedelta) -> None:
    """Record that a sweep did not find the container's task the given time ago."""
    first = stage.clock.now() - since
    stage.edit_known(container, absent_since=first)
    stage.edit(container, tasks_due_at=first + LOOKS)


def shown_again(before: Container) -> Container:
    """Return the container after its task was found again. The generation refuses all writes that do not know it."""
    tasks = {token: known.model_copy(update={"absent_since": None}) for token, known in before.tasks.items()}
    changes = {"tasks": tasks, "tasks_due_at": None, "pending_deadline": None, "generation": before.generation + 1}
    return before.model_copy(update=changes)


# --- due times --------------------------------------------------------------------------------------------------------


def test_a_container_is_due_half_a_minute_after_the_first_lookup(stage: Stage) -> None:
    container = stage.add("running")
    stage.hide_tasks()
    stage.tick = 0
    now = stage.clock.now()
    assert stage.drift_sweep() == {"absent": 1}
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert item["pending_deadline"] == {"S": to_text(now + LOOKS)}
    assert item["pending_shard"] == {"S": str(int(container[-4:], 16) % 8)}
    stage.clock.time = now + LOOKS - MILLISECOND
    assert stage.sweep() == {}
    stage.clock.time = now + LOOKS
    assert stage.sweep() == {"repaired": 1}
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert "pending_deadline" not in item
    assert "pending_shard" not in item


def test_when_a_container_is_due(stage: Stage) -> None:
    container = stage.add("running")
    now = stage.clock.now()
    assert stage.container(container).due_at is None
    miss(stage, container, timedelta())
    assert stage.container(container).due_at == now + LOOKS
    # While an operation is pending, only its deadline counts.
    stage.claim(container, "stop")
    miss(stage, container, timedelta())
    assert stage.container(container).due_at == stage.pending(container).deadline


@pytest.mark.parametrize("status", ["failed", "expired", "stopped"])
def test_a_container_whose_tasks_have_to_end_is_due_at_once(stage: Stage, status: str) -> None:
    container = stage.add("running", status)
    assert stage.container(container).due_at is None
    stage.give_task(container)
    assert stage.container(container).due_at == stage.container(container).status_since
    # A sweep that has called StopTask looks again later.
    now = stage.clock.now()
    stage.edit(container, tasks_due_at=now + LOOKS)
    assert stage.container(container).due_at == now + LOOKS


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["running", "paused"])
def test_the_task_is_gone(stage: Stage, status: str) -> None:
    container = absent(stage, LOOKS, status)
    (task,) = stage.live(container)
    stage.ecs.forget(task.arn)
    assert stage.sweep() == {"repaired": 1}
    assert stage.parameters("DescribeTasks") == [{"cluster": CLUSTER, "tasks": [task.arn]}]
    (row,) = stage.rows(container)[1:]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (status, "failed", Trigger.RECOVERY)
    assert row["metadata"] == {"reason": "The task is no longer known to ECS"}
    after = stage.container(container)
    assert (after.tasks, after.tasks_due_at, after.operation) == ({}, None, None)
    assert after.last_task == LastTask(id=task.id, version=task.version, gone=True, paused=status == "paused")
    assert (stage.stuck, stage.pending_ids, stage.failures) == ([0], [], [])
    assert stage.sweep() == {}


def test_ecs_returns_the_task_again(stage: Stage) -> None:
    container = absent(stage, LOOKS)
    before = stage.container(container)
    assert stage.sweep() == {"shown again": 1}
    assert stage.container(container) == shown_again(before)
    assert stage.sweep() == {}


def test_an_event_shows_the_task(stage: Stage) -> None:
    container = absent(stage, LOOKS)
    before = stage.container(container)
    (task,) = stage.live(container)
    assert stage.deliver(event(task, version=task.version + 1)) == "recorded"
    token = before.own_token
    assert token is not None
    after = shown_again(before)
    tasks = {token: after.tasks[token].model_copy(update={"version": task.version + 1})}
    assert stage.container(container) == after.model_copy(update={"tasks": tasks})
    assert stage.sweep() == {}


def look_again(stage: Stage, container: Container) -> str:
    """Look up the container's task like the recovery sweep."""
    lookup = stage.wired.lookups.of([container])[container.id]
    return stage.wired.drift.look_again(container, lookup)


def test_another_sweep_has_found_the_task(stage: Stage) -> None:
    """Two lookups prove nothing if ECS has shown the task between them, also to another worker."""
    container = absent(stage, LOOKS)
    before = stage.container(container)
    assert stage.sweep() == {"shown again": 1}
    stage.hide_tasks()
    with stage.open():
        assert look_again(stage, before) == "changed"
    assert (stage.status(container), stage.known(container).absent_since) == (Status.RUNNING, None)
    assert len(stage.rows(container)) == 1


@pytest.mark.parametrize("since", [LOOKS - MILLISECOND, LOOKS])
@pytest.mark.parametrize("drift", [False, True], ids=["recovery", "drift"])
def test_a_late_response_proves_nothing(stage: Stage, drift: bool, since: timedelta) -> None:
    """The half minute ends when the second lookup is sent, not when it is answered."""
    reads = timedelta(seconds=2 if drift else 0)  # the drift sweep reads the index and the item first
    container = absent(stage, since - reads)
    before = stage.container(container)
    stage.hide_tasks()
    with stage.open():
        stage.tick = 1
        result = stage.wired.drift.sweep(CLUSTER) if drift else look_again(stage, before)
    effect = "repaired" if since == LOOKS else "absent"
    assert result in (effect, {effect: 1})
    assert stage.status(container) == ("failed" if since == LOOKS else "running")


def test_the_task_has_ended(stage: Stage) -> None:
    container = absent(stage, LOOKS)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    assert stage.sweep() == {"repaired": 1}
    after = stage.container(container)
    assert (after.status, after.tasks, after.last_task) == ("stopped", {}, LastTask(id=task.id, version=task.version))
    assert stage.rows(container)[-1]["metadata"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("since", "effect", "renewed"),
    [
        (LOOKS - MILLISECOND, "absent", False),
        (LOOKS, "repaired", False),
        (LAST, "repaired", False),
        (LAST + MILLISECOND, "absent", True),
        (timedelta(days=1), "absent", True),
    ],
)
@pytest.mark.parametrize("drift", [False, True], ids=["recovery", "drift"])
def test_a_first_lookup_expires(stage: Stage, drift: bool, since: timedelta, effect: str, renewed: bool) -> None:
    """A first lookup that is too old proves nothing and is repeated."""
    container = absent(stage, since)
    first = stage.known(container).absent_since
    now = stage.clock.now()
    stage.ecs.forget(stage.live(container)[0].arn)
    if drift:
        assert stage.drift_sweep() == {effect: 1}
    else:
        with stage.open():
            assert look_again(stage, stage.container(container)) == effect
    after = stage.container(container)
    assert after.status == ("failed" if effect == "repaired" else "running")
    absences = [known.absent_since for known in after.tasks.values()]
    assert absences == ([] if effect == "repaired" else [now if renewed else first])
    assert after.tasks_due_at == (None if effect == "repaired" else now + LOOKS if renewed else now - since + LOOKS)
    assert stage.count("UpdateItem") == (1 if renewed else 0)


@pytest.mark.parametrize("changes", [{"status": Status.STOPPED}, {"status": Status.FAILED}])
def test_a_container_without_a_task(stage: Stage, changes: dict[str, Any]) -> None:
    container = absent(stage, LOOKS)
    stage.ecs.forget(stage.live(container)[0].arn)
    stage.edit(container, tasks={}, **changes)
    before = stage.container(container)
    with stage.open():
        assert stage.sweep() == {"true": 1}
    assert stage.container(container) == shown_again(before)
    assert stage.count("DescribeTasks") == 0
    assert stage.sweep() == {}


@pytest.mark.parametrize("drift", [False, True], ids=["recovery", "drift"])
def test_a_live_container_without_a_task(stage: Stage, drift: bool) -> None:
    container = absent(stage, LOOKS)
    stage.ecs.forget(stage.live(container)[0].arn)
    stage.edit(container, tasks={})
    assert (stage.drift_sweep() if drift else stage.sweep()) == {"repaired": 1}
    after = stage.container(container)
    assert (after.status, after.tasks, after.tasks_due_at, after.last_task) == ("failed", {}, None, None)
    assert stage.count("DescribeTasks") == 0
    assert stage.sweep() == {}


@pytest.mark.parametrize("shown", [True, False])
def test_the_container_changes_during_the_lookup(stage: Stage, shown: bool) -> None:
    container = absent(stage, LOOKS)
    if not shown:
        stage.ecs.forget(stage.live(container)[0].arn)
    stage.after("DescribeTasks", lambda _: stage.edit(container, generation=7))
    assert stage.sweep() == {"changed": 1}
    assert (stage.status(container), len(stage.rows(container))) == ("running", 1)


def test_an_operation_is_claimed_between_the_lookups(stage: Stage) -> None:
    """The operation looks for its task from then on, but the index may still name the container."""
    container = absent(stage, LOOKS)
    stage.ecs.forget(stage.live(container)[0].arn)
    stage.after("Query", lambda _: stage.claim(container, "stop"), skip=1)
    assert stage.sweep() == {"continued elsewhere": 1}
    after = stage.container(container)
    assert (after.status, after.tasks_due_at, after.due_at) == ("running", None, stage.pending(container).deadline)
    assert len(stage.rows(container)) == 1


def test_the_index_names_a_container_whose_task_was_returned_again(stage: Stage) -> None:
    container = absent(stage, LOOKS)
    after = shown_again(stage.container(container))
    stage.after("Query", lambda _: stage.put(after), skip=1)
    assert stage.sweep() == {"settled": 1}
    assert stage.count("DescribeTasks") == 0


@pytest.mark.parametrize("call", ["DescribeTasks", "TransactWriteItems"])
def test_a_failed_lookup(stage: Stage, call: str) -> None:
    """The container stays due, and the other containers are checked."""
    container = absent(stage, LOOKS)
    other = stage.add("running", number=2)
    miss(stage, other, LOOKS)
    for each in (container, other):
        stage.ecs.forget(stage.live(each)[0].arn)
    if call == "DescribeTasks":
        # Both tasks are in one request, which is repeated first.
        stage.fail(call, FAILED, times=6)
        assert stage.sweep() == {"failed": 2}
        assert stage.failures == [container, other]
        assert (stage.status(container), stage.status(other)) == ("running", "running")
        assert stage.sweep() == {"repaired": 2}
        return
    stage.fail(call, NO_ANSWER)
    assert stage.sweep() == {"failed": 1, "repaired": 1}
    assert stage.failures == [container]
    assert (stage.status(container), stage.status(other)) == ("running", "failed")
    assert stage.sweep() == {"repaired": 1}


# --- failed queries ---------------------------------------------------------------------------------------------------


def fail_shards(stage: Stage, *shards: int) -> None:
    """Make the queries of these shards of the index fail in each sweep until the faults are removed."""

    def fail(call: Call) -> None:
        stage.before("Query", fail)
        if int(call.parameters["ExpressionAttributeValues"][":shard"]["S"]) in shards:
            raise NO_ANSWER

    stage.before("Query", fail)


def test_a_recovery_sweep_reports_shards_that_it_could_not_list(stage: Stage) -> None:
    """The sweep then does not report that no operation is stuck."""
    fail_shards(stage, 3, 5)
    assert stage.sweep() == {}
    assert stage.wired.recovery.unlisted == ["shard 3", "shard 5"]
    assert (stage.failures, stage.stuck) == (["shard 3", "shard 5"], [])
    stage._hooks.clear()
    assert stage.sweep() == {}
    assert (stage.wired.recovery.unlisted, stage.stuck) == ([], [0])


def test_stuck_operations_are_reported_despite_a_failed_shard(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start")
    stage.edit_pending(container, attempts=3)
    stage.advance(61)
    fail_shards(stage, 7)
    stage.sweep()
    assert (stage.wired.recovery.unlisted, stage.stuck) == (["shard 7"], [1])


def test_a_failing_container_does_not_count_as_a_failed_shard(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    stage.damage(container)
    stage.advance(61)
    assert stage.sweep() == {"unreadable": 1}
    assert (stage.wired.recovery.unlisted, stage.stuck) == ([], [0])


def test_a_drift_sweep_reports_a_failed_list(stage: Stage) -> None:
    stage.fail("Scan", NO_ANSWER)
    stage.fail("ListTasks", DENIED)
    assert stage.drift_sweep() == {"failed": 2}
    assert stage.wired.drift.unlisted == ["the index of live containers", f"the tasks of {CLUSTER}"]
    assert stage.failures == ["the index of live containers", CLUSTER]
    assert stage.drift_sweep() == {}
    assert stage.wired.drift.unlisted == []


def test_a_failing_cluster_does_not_count_as_a_failed_list(stage: Stage) -> None:
    elsewhere = stage.add("running", cluster="absent")
    known = KnownTask(arn="arn:aws:ecs:us-east-1:123456789012:task/absent/1", shown=True)
    stage.edit(elsewhere, tasks={"1": known})
    assert stage.drift_sweep() == {"failed": 1}
    assert (stage.wired.drift.unlisted, stage.failures) == ([], [elsewhere])
