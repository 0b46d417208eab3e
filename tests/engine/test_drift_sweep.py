"""Tests of the drift sweep, which compares containers with their clusters and tasks with their containers."""

import json
from collections import Counter
from datetime import timedelta

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import BETWEEN_LOOKS, LastTask, ledger_of
from longshore.engine.continuation import Position

from engine.aws import CLUSTER, DENIED, FAILED, NO_ANSWER, THROTTLED, Call
from engine.stage import Stage
from local.emulator.errors import AwsError

GRACE = timedelta(minutes=2)
LOOKS = timedelta(seconds=30)
MILLISECOND = timedelta(milliseconds=1)


def test_a_container_that_matches_its_task_is_unchanged(stage: Stage) -> None:
    container = stage.add("running")
    before = stage.container(container)
    assert stage.drift_sweep() == {"true": 1, "stale": 1}
    assert stage.container(container) == before
    assert stage.parameters("DescribeTasks") == [{"cluster": CLUSTER, "tasks": [before.task_arn]}] * 2
    assert stage.parameters("ListTasks") == [{"cluster": CLUSTER}]


@pytest.mark.parametrize("status", ["running", "paused"])
@pytest.mark.parametrize(("code", "expected"), [(0, "stopped"), (2, "failed")])
def test_an_exit_without_an_event_is_recorded(stage: Stage, status: str, code: int, expected: str) -> None:
    container = stage.add(status)
    (task,) = stage.live(container)
    stage.advance(5)
    stage.ecs.exit(task.arn, code)
    assert stage.drift_sweep() == {"repaired": 1}
    (row,) = stage.rows(container)[1:]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (status, expected, "recovery")
    assert task.stopped_at is not None
    assert row["transition_time"] == to_text(task.stopped_at)
    assert row["metadata"]["exit_code"] == code
    assert stage.container(container).last_task == LastTask(id=task.id, version=task.version)


def test_a_task_that_is_gone_fails_the_container(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    before = stage.container(container)
    stage.ecs.forget(task.arn)
    assert stage.drift_sweep() == {"absent": 1}
    known = stage.known(container)
    absent_since = known.absent_since
    assert absent_since is not None
    due_at = stage.container(container).tasks_due_at
    assert due_at is not None
    assert absent_since + BETWEEN_LOOKS <= due_at <= absent_since + BETWEEN_LOOKS + MILLISECOND
    changes = {"tasks": {task.id: known}, "tasks_due_at": due_at, "pending_deadline": due_at}
    assert stage.container(container) == before.model_copy(update=changes | {"generation": before.generation + 1})
    stage.advance(10)
    assert stage.drift_sweep() == {"absent": 1}
    assert stage.known(container) == known
    stage.tick = 0
    stage.clock.time = absent_since + LOOKS - MILLISECOND
    assert stage.drift_sweep() == {"absent": 1}
    stage.clock.time = absent_since + LOOKS
    assert stage.drift_sweep() == {"repaired": 1}
    (row,) = stage.rows(container)[1:]
    assert (row["to_status"], row["triggered_by"]) == ("failed", "recovery")
    assert row["transition_time"] == to_text(stage.clock.now())
    assert row["metadata"] == {"reason": "The task is no longer known to ECS"}
    after = stage.container(container)
    assert (after.tasks, after.tasks_due_at) == ({}, None)
    assert after.last_task == LastTask(id=task.id, version=known.version, gone=True)


def test_a_task_that_ecs_returns_again(stage: Stage) -> None:
    container = stage.add("running")
    before = stage.container(container)
    stage.hide_tasks(times=2)
    stage.drift_sweep()
    assert stage.known(container).absent_since is not None
    stage.advance(60)
    assert stage.drift_sweep() == {"shown again": 1, "stale": 1}
    assert stage.container(container) == before.model_copy(update={"generation": before.generation + 2})
    # Two new lookups have to miss it.
    stage.advance(60)
    stage.hide_tasks(times=2)
    assert stage.drift_sweep() == {"absent": 1}


def test_a_task_that_stops_after_it_was_absent(stage: Stage) -> None:
    container = stage.add("running")
    stage.hide_tasks(times=2)
    stage.drift_sweep()
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    assert stage.drift_sweep() == {"repaired": 1}
    assert (stage.status(container), stage.container(container).tasks) == ("stopped", {})


def test_a_sighting_by_an_operation_clears_the_absence_of_the_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.hide_tasks(times=2)
    stage.drift_sweep()
    stage.ask(container, "pause")
    assert (stage.known(container).absent_since, stage.container(container).tasks_due_at) == (None, None)


def test_a_task_that_ecs_returns_after_it_counted_as_gone(stage: Stage) -> None:
    container = stage.add("paused")
    stage.hide_tasks()
    stage.drift_sweep()
    stage.advance(60)
    assert stage.drift_sweep() == {"repaired": 1}
    stage.heal()
    stage.advance(60)
    assert stage.drift_sweep() == {"recorded": 1}
    row = stage.rows(container)[-1]
    assert (row["to_status"], row["triggered_by"]) == ("paused", "recovery")
    assert row["metadata"]["reason"] == "ECS shows the task running"
    assert stage.known(container).absent_since is None


# --- containers that are skipped ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "effect"),
    [(GRACE - MILLISECOND, {}), (GRACE, {}), (GRACE + MILLISECOND, {"repaired": 1})],
    ids=["younger", "as old", "older"],
)
def test_a_recent_change_is_left_to_events(stage: Stage, age: timedelta, effect: dict[str, int]) -> None:
    container = stage.add("running")
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.tick = 0
    stage.edit(container, status_since=stage.clock.now() - age)
    assert stage.drift_sweep() == effect


def test_a_pending_operation_is_left_to_its_driver(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    assert stage.drift_sweep() == {}
    assert len(stage.rows(container)) == 1


def test_a_container_that_is_no_longer_live(stage: Stage) -> None:
    container = stage.add("running")
    stage.after("Scan", lambda _: stage.ask(container, "stop"))
    assert stage.drift_sweep() == {}


def test_a_container_that_is_deleted(stage: Stage) -> None:
    container = stage.add("running")
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.after("Scan", lambda _: stage.dynamodb.tables["containers"].items.clear())
    assert stage.drift_sweep() == {}


def test_a_container_without_a_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.ecs.forget(stage.live(container)[0].arn)
    stage.edit(container, tasks={})
    other = stage.add("running", number=2)
    assert stage.drift_sweep() == {"repaired": 1, "true": 1, "stale": 1}
    assert stage.parameters("DescribeTasks")[0]["tasks"] == [stage.container(other).task_arn]
    assert stage.status(container) == "failed"


@pytest.mark.parametrize("absent", [True, False])
def test_a_container_that_changes_during_the_sweep(stage: Stage, absent: bool) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    if absent:
        stage.hide_tasks(times=1)
    else:
        stage.ecs.exit(task.arn, 0)
    stage.after("DescribeTasks", lambda _: stage.edit(container, generation=7))
    assert stage.drift_sweep() == {"changed": 1} | ({"stale": 1} if absent else {})
    assert (stage.status(container), stage.known(container).absent_since) == ("running", None)


# --- failures ------------------------------------------------------------------------------------------------------


def three(stage: Stage) -> list[str]:
    """Return three containers whose tasks have ended."""
    containers = [stage.add("running", number=number) for number in (1, 2, 3)]
    for container in containers:
        stage.ecs.exit(stage.live(container)[0].arn, 0)
    return containers


def test_an_unreadable_item(stage: Stage) -> None:
    containers = three(stage)
    stage.damage(containers[1])
    assert stage.drift_sweep() == {"unreadable": 1, "repaired": 2}
    assert stage.failures == [containers[1]]


def test_an_unreadable_item_of_a_running_task(stage: Stage) -> None:
    container = stage.add("running")
    (task,) = stage.live(container)
    stage.damage(container)
    assert stage.drift_sweep() == {"unreadable": 2}
    assert stage.failures == [container, task.id]


def test_a_failing_read(stage: Stage) -> None:
    containers = three(stage)
    stage.fail("BatchGetItem", NO_ANSWER)
    assert stage.drift_sweep() == {"failed": 3}
    assert stage.failures == containers
    assert stage.drift_sweep() == {"repaired": 3}


def test_a_failing_write(stage: Stage) -> None:
    containers = three(stage)
    stage.fail("TransactWriteItems", NO_ANSWER)
    assert stage.drift_sweep() == {"failed": 1, "repaired": 2}
    assert stage.failures == containers[:1]


def test_a_failing_index(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ecs.adopt_running(CLUSTER, "web-1", container)
    stage.fail("Scan", FAILED)
    assert stage.drift_sweep() == {"failed": 1, "stray-stopped": 1}
    assert stage.failures == ["the index of live containers"]


@pytest.mark.parametrize("cluster", ["absent", "zzz"])
def test_another_cluster_that_fails(stage: Stage, cluster: str) -> None:
    elsewhere = stage.add("running", number=1, cluster=cluster)
    stage.edit(elsewhere, tasks=ledger_of(f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/1"))
    container = stage.add("running", number=2)
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    assert stage.drift_sweep() == {"failed": 1, "repaired": 1}
    assert stage.failures == [elsewhere]
    assert (stage.status(elsewhere), stage.status(container)) == ("running", "stopped")


def test_containers_of_two_clusters(stage: Stage) -> None:
    stage.catalog.add_cluster("other")
    stage.ecs.add_instance("other", "i-0000000000000000a")
    elsewhere = stage.add("running", number=1, cluster="other")
    task = stage.ecs.adopt_running("other", "web-1", elsewhere)
    stage.edit(elsewhere, tasks=ledger_of(task.arn, task.version))
    stage.add("running", number=2)
    assert stage.drift_sweep() == {"true": 2, "stale": 1}
    assert [call["cluster"] for call in stage.parameters("DescribeTasks")] == [CLUSTER, "other", CLUSTER]


def test_a_list_that_fails(stage: Stage) -> None:
    three(stage)
    stage.fail("ListTasks", DENIED)
    assert stage.drift_sweep() == {"repaired": 3, "failed": 1}
    assert stage.failures == [CLUSTER]


def test_a_task_that_cannot_be_described(stage: Stage) -> None:
    first, second = stage.add("stopped", number=1), stage.add("stopped", number=2)
    for number, container in ((1, first), (2, second)):
        stage.ecs.adopt_running(CLUSTER, f"web-{number}", container)
    stage.fail("StopTask", FAILED)
    assert stage.drift_sweep() == {"failed": 1, "stray-stopped": 1}


def test_a_second_task_of_a_running_container_is_stopped(stage: Stage) -> None:
    container = stage.add("running")
    (own,) = stage.live(container)
    stray = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    assert stage.drift_sweep() == {"true": 1, "stale": 1, "stray-stopped": 1}
    assert [call["task"] for call in stage.parameters("StopTask")] == [stray.arn]
    assert stage.container(container).task_arn == own.arn


def test_only_running_stray_tasks_are_stopped(stage: Stage) -> None:
    container = stage.add("stopped")
    task = stage.ecs.adopt_running(CLUSTER, "web-1", container)
    task.last_status = "PENDING"
    assert stage.drift_sweep() == {}
    assert stage.count("StopTask") == 0


def test_tasks_without_a_container_are_ignored(stage: Stage) -> None:
    stage.add("stopped")
    stage.ecs.adopt_running(CLUSTER, "web-1", "ecs-svc/1")
    assert stage.drift_sweep() == {"foreign": 1}


# --- large numbers -------------------------------------------------------------------------------------------------


def test_up_to_100_tasks_are_described_per_call(stage: Stage) -> None:
    model = stage.container(stage.add("running"))
    for number in range(250):
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/default/{number:032x}"
        stage.put(model.model_copy(update={"id": f"{number:024x}", "tasks": ledger_of(arn)}))
    counts = stage.drift_sweep()
    assert counts == {"absent": 250, "true": 1, "stale": 1}
    assert [len(call["tasks"]) for call in stage.parameters("DescribeTasks")] == [100, 100, 51, 1]


def test_containers_are_not_read_one_by_one(stage: Stage) -> None:
    """Neither those of the index of live containers, nor those of running tasks."""
    stage.add("running")
    stage.drift_sweep()
    assert (len(stage.parameters("BatchGetItem")), stage.parameters("GetItem")) == (2, [])


def many(stage: Stage, count: int) -> None:
    """Add running containers without tasks."""
    model = stage.container(stage.add("running"))
    stage.ecs.forget(stage.live(model.id)[0].arn)
    for number in range(count - 1):
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/default/{number:032x}"
        stage.put(model.model_copy(update={"id": f"{number:024x}", "tasks": ledger_of(arn)}))


@pytest.mark.parametrize("enough", [0, 1, 2, 3])
def test_a_sweep_is_continued_at_its_position(stage: Stage, enough: int) -> None:
    """The part of the containers has three pages, that of the tasks has two. Each invocation processes one at least."""
    many(stage, 250)
    for _ in range(150):
        stage.ecs.adopt_running(CLUSTER, "web-1", "ecs-svc/1")
    counts = Counter[str]()
    position, invocations = Position(), 0
    while True:
        answers = [True] * enough
        stage.time_left = lambda answers=answers: bool(answers and answers.pop())  # type: ignore[misc]
        with stage.open():
            counts.update(stage.wired.drift.sweep(CLUSTER, position))
        invocations += 1
        if stage.wired.drift.rest is None:
            break
        event = json.loads(json.dumps(stage.wired.drift.rest._asdict()))
        position = Position.of(event)
    assert counts == {"absent": 250, "foreign": 150}
    assert [len(call["tasks"]) for call in stage.parameters("DescribeTasks")] == [100, 100, 50, 100, 50]
    assert stage.count("Scan") == 3
    # The first invocation checks the time before each page but its first one.
    assert invocations == {0: 6, 1: 3, 2: 2, 3: 2}[enough]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="elsewhere"):
        Position.of({"sweep": "drift", "part": "elsewhere"})


def test_one_invalid_task_does_not_affect_the_others(stage: Stage) -> None:
    """ECS rejects the whole request. It is divided until the invalid task is found."""
    containers = [stage.add("running", number=number) for number in range(1, 9)]
    for container in containers:
        stage.ecs.exit(stage.live(container)[0].arn, 0)
    invalid = stage.container(containers[4]).task_arn

    def reject(call: Call) -> None:
        stage.before("DescribeTasks", reject)
        if invalid in call.parameters["tasks"]:
            raise AwsError("InvalidParameterException", "Invalid identifier")

    stage.before("DescribeTasks", reject)
    assert stage.drift_sweep() == {"repaired": 7, "failed": 1}
    assert stage.failures == [containers[4]]
    assert stage.count("DescribeTasks") == 7


@pytest.mark.parametrize("error", [THROTTLED, FAILED, NO_ANSWER], ids=["throttled", "failed", "no answer"])
@pytest.mark.parametrize("operation", ["DescribeTasks", "ListTasks"])
def test_a_read_is_repeated(stage: Stage, operation: str, error: Exception) -> None:
    container = stage.add("running")
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.fail(operation, error, times=5)
    assert stage.drift_sweep() == {"repaired": 1}
    assert stage.failures == []


def test_pages_of_the_index(stage: Stage) -> None:
    containers = three(stage)

    def page(call: Call, answer: dict[str, object]) -> dict[str, object]:
        items = answer["Items"]
        assert isinstance(items, list)
        if "ExclusiveStartKey" in call.parameters or len(items) < 2:
            return answer
        keys = {name: items[0][name] for name in ("id", "live_project_id", "status")}
        return {"Items": items[:1], "LastEvaluatedKey": keys}

    stage.change("Scan", page)
    assert stage.drift_sweep() == {"repaired": 3}
    assert stage.count("Scan") == 2
    assert {stage.status(container) for container in containers} == {"stopped"}
