"""Tests of the recovery sweep, which continues each overdue operation regardless of failures of the others."""

from datetime import timedelta

import pytest

from engine.aws import DENIED, FAILED, NO_ANSWER, Call
from engine.stage import Stage
from local.emulator.errors import AwsError


def claimed(stage: Stage, *numbers: int) -> list[str]:
    """Return containers with a start that no driver continues."""
    containers = [stage.add("stopped", number=number) for number in numbers]
    for container in containers:
        stage.claim(container, "start")
    return containers


def test_operations_are_continued_in_each_shard(stage: Stage) -> None:
    containers = claimed(stage, *range(1, 10))
    stage.advance(61)
    pending = {stage.pending(container).id for container in containers}
    assert stage.sweep() == {"completed": 9}
    assert {stage.status(container) for container in containers} == {"running"}
    assert set(stage.pending_ids) == pending
    assert stage.stuck == [0]
    queries = [call for call in stage.parameters("Query") if call.get("IndexName") == "pending-by-deadline"]
    assert [query["ExpressionAttributeValues"][":shard"] for query in queries] == [{"S": str(n)} for n in range(8)]
    assert {query["Limit"] for query in queries} == {100}


def test_nothing_is_overdue(stage: Stage) -> None:
    (container,) = claimed(stage, 1)
    assert stage.sweep() == {}
    assert stage.stuck == [0]
    assert (stage.pending_ids, stage.pending(container).attempts) == ([], 0)


@pytest.mark.parametrize(("milliseconds", "effect"), [(-1, {}), (0, {"completed": 1}), (1, {"completed": 1})])
def test_an_operation_is_due_at_its_deadline(stage: Stage, milliseconds: int, effect: dict[str, int]) -> None:
    (container,) = claimed(stage, 1)
    stage.tick = 0
    stage.clock.time = stage.pending(container).deadline + timedelta(milliseconds=milliseconds)
    assert stage.sweep() == effect


def test_the_effect_of_each_operation_is_counted(stage: Stage) -> None:
    slow = stage.add("stopped", number=2, labels={"simulate.start": "never"})
    failing = stage.add("stopped", number=3, labels={"simulate.start": "fail"})
    (good,) = claimed(stage, 1)
    for container in (slow, failing):
        stage.claim(container, "start")
    stage.advance(61)
    assert stage.sweep() == {"completed": 1, "accepted": 1, "failed": 1}
    assert stage.failures == [failing]
    assert [stage.status(each) for each in (good, slow, failing)] == ["running", "stopped", "failed"]


def test_a_sweep_waits_briefly_for_each_operation(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.claim(container, "start")
    stage.advance(61)
    start = stage.clock.now()
    stage.sweep()
    assert timedelta(seconds=5) <= stage.clock.now() - start < timedelta(seconds=7)


def test_a_conflict_is_counted_as_conflict(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.advance(61)
    assert stage.sweep() == {"conflict": 1}


@pytest.mark.parametrize("attempts", [2, 3, 4])
def test_stuck_operations_are_counted(stage: Stage, attempts: int) -> None:
    containers = claimed(stage, 1, 2, 3)
    for container in containers[:2]:
        stage.edit_pending(container, attempts=attempts)
    stage.fail("RunTask", DENIED, times=-1)
    stage.advance(61)
    stage.sweep()
    assert stage.stuck == [0 if attempts < 3 else 2]
    # Each sweep counts from zero.
    for container in containers:
        stage.edit_pending(container, attempts=0)
    stage.advance(61)
    stage.sweep()
    assert stage.stuck[1:] == [0]


def test_an_unreadable_item(stage: Stage) -> None:
    containers = claimed(stage, 1, 2, 9)
    stage.advance(61)
    stage.damage(containers[0])
    assert stage.sweep() == {"unreadable": 1, "completed": 2}
    assert stage.failures == [containers[0]]
    assert stage.stuck == [0]


def test_an_unreadable_operation(stage: Stage) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)
    item = stage.dynamodb.tables["containers"].items[(containers[0],)]
    item["operation"]["M"]["step"] = {"S": "no such step"}
    assert stage.sweep() == {"unreadable": 1, "completed": 1}


@pytest.mark.parametrize("error", [FAILED, NO_ANSWER], ids=["failed", "no answer"])
def test_a_failing_read(stage: Stage, error: Exception) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)
    stage.fail("GetItem", error)
    assert stage.sweep() == {"failed": 1, "completed": 1}
    assert stage.failures == containers[:1]


@pytest.mark.parametrize("shard", [0, 1, 7])
def test_a_failing_shard(stage: Stage, shard: int) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)

    def fail(call: Call) -> None:
        if call.parameters["ExpressionAttributeValues"][":shard"]["S"] == str(shard):
            raise NO_ANSWER
        stage.before("Query", fail)

    stage.before("Query", fail)
    expected = [container for container in containers if int(container[-4:], 16) % 8 != shard]
    assert stage.sweep() == {"completed": len(expected)}
    assert stage.failures == [f"shard {shard}"]


def test_an_operation_whose_cluster_is_missing(stage: Stage) -> None:
    elsewhere = stage.add("stopped", number=1, cluster="absent")
    stage.claim(elsewhere, "start")
    (container,) = claimed(stage, 2)
    stage.advance(61)
    assert stage.sweep() == {"failed": 1, "completed": 1}
    assert stage.pending(elsewhere).attempts == 1
    assert stage.status(container) == "running"


def test_the_index_names_a_container_whose_operation_has_ended(stage: Stage) -> None:
    (container,) = claimed(stage, 1)
    stage.advance(61)
    stage.after("Query", lambda _: stage.take_over(container), skip=1)
    assert stage.sweep() == {"settled": 1}


def test_the_index_names_a_container_that_is_deleted(stage: Stage) -> None:
    claimed(stage, 1)
    stage.advance(61)
    stage.after("Query", lambda _: stage.dynamodb.tables["containers"].items.clear(), skip=1)
    assert stage.sweep() == {"settled": 1}


def test_another_worker_continues_the_operation_first(stage: Stage) -> None:
    (container,) = claimed(stage, 1)
    stage.advance(61)
    stage.before("UpdateItem", lambda _: stage.edit(container, generation=9))
    assert stage.sweep() == {"continued elsewhere": 1}
    assert stage.count("RunTask") == 0


def test_more_operations_than_fit_on_a_page(stage: Stage) -> None:
    """All operations are in one shard. A page has 100; the next page is read after the operations of the last are
    continued.
    """
    model = stage.container(claimed(stage, 1)[0])
    stage.dynamodb.tables["containers"].items.clear()
    for number in range(230):
        stage.put(model.model_copy(update={"id": f"{number:020x}{number * 8 + 1:04x}"}))
    stage.fail("RunTask", DENIED, times=-1)
    stage.advance(61)
    assert stage.sweep() == {"failed": 230}
    assert len(stage.failures) == 230
    queries = [call for call in stage.parameters("Query") if "ExclusiveStartKey" in call]
    assert len(queries) == 2


@pytest.mark.parametrize("enough", [0, 1, 3, 4])
def test_the_sweep_ends_at_its_timeout(stage: Stage, enough: int) -> None:
    """The sweep starts no operation without enough time, and the operations stay due."""
    containers = claimed(stage, 1, 9)
    stage.advance(61)
    asked: list[int] = []

    def time_left() -> bool:
        asked.append(1)
        return len(asked) <= enough + 1  # shard 0 checks first

    stage.time_left = time_left
    counts = stage.sweep()
    # Two are listed before either is continued, and each is checked again.
    done = max(0, enough - 3)
    assert counts.get("completed", 0) == done
    assert sum(counts.values()) <= 2
    assert sum(stage.container(container).operation is None for container in containers) == done
    assert stage.stuck == [0]


def test_operations_after_the_timeout_are_counted_as_left(stage: Stage) -> None:
    claimed(stage, 1, 9)
    stage.advance(61)
    answers = [True] * 5 + [False] * 20  # shard 0; shard 1: two ids and its end; the first operation
    stage.time_left = lambda: answers.pop(0)
    assert stage.sweep() == {"completed": 1, "left": 1}


def test_an_operation_is_continued_until_it_is_given_up(stage: Stage) -> None:
    """ECS refuses for twelve minutes."""
    container = stage.add("stopped")
    stage.fail("RunTask", FAILED, times=-1)
    stage.refused(container, "start")
    sweeps = 0
    start = stage.clock.now()
    while stage.container(container).operation is not None:
        stage.advance(60)
        stage.sweep()
        sweeps += 1
    assert sweeps == 10
    assert stage.clock.now() - start > timedelta(minutes=10)
    assert stage.rows(container)[-1]["metadata"]["reason"] == "Gave up after 10 attempts: ECS returned an error"
    assert stage.stuck == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


def test_the_sweep_looks_up_the_task_before_it_calls_stop_task(stage: Stage) -> None:
    container = stage.add("running")
    stage.crash(container, "stop", "StopTask")
    stage.advance(61)
    stops = stage.count("StopTask")
    assert stage.sweep() == {"completed": 1}
    assert stage.count("StopTask") == stops


def test_a_validation_error_is_not_hidden(stage: Stage) -> None:
    claimed(stage, 1)
    stage.advance(61)
    stage.fail("GetItem", AwsError("ValidationException", "an attribute name is reserved"))
    with pytest.raises(Exception, match="ValidationException"):
        stage.sweep()
