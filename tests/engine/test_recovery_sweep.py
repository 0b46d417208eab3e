"""Tests of the recovery sweep, which continues each overdue operation regardless of failures of the others."""

from datetime import timedelta

import pytest

from engine.aws import DENIED, FAILED, NO_ANSWER, THROTTLED, Call
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
    assert stage.sweep() == {"accepted": 9}
    assert [len(call["RequestItems"]["containers"]["Keys"]) for call in stage.parameters("BatchGetItem")] == [9]
    assert stage.count("DescribeTasks") == 0  # the starts have no tasks yet
    stage.advance(1)
    stage.deliver_all()
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


@pytest.mark.parametrize(("milliseconds", "effect"), [(-1, {}), (0, {"accepted": 1}), (1, {"accepted": 1})])
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
    assert stage.sweep() == {"accepted": 3}
    # The tasks are looked up together by the next sweep, because no events were delivered.
    stage.advance(61)
    stage.calls.clear()
    assert stage.sweep() == {"completed": 1, "accepted": 1, "failed": 1}
    assert [len(call["tasks"]) for call in stage.parameters("DescribeTasks")] == [3]
    assert stage.failures == [failing]
    assert [stage.status(each) for each in (good, slow, failing)] == ["running", "stopped", "failed"]


@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("running", "stop"), ("running", "pause")])
def test_a_sweep_does_not_wait_for_effects(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    stage.advance(61)
    start = stage.clock.now()
    assert stage.sweep() == {"accepted": 1}
    assert stage.clock.now() - start < timedelta(seconds=0.1)
    stage.advance(1)
    stage.deliver_all()
    assert stage.container(container).operation is None


def test_the_result_of_a_command_is_read_by_the_next_sweep(stage: Stage) -> None:
    """Events of Systems Manager may not arrive."""
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.advance(61)
    assert stage.sweep() == {"accepted": 1}
    assert stage.pending(container).command.sent is not None
    stage.advance(61)
    assert stage.sweep() == {"completed": 1}
    assert (stage.count("SendCommand"), stage.count("GetCommandInvocation")) == (1, 1)
    assert stage.status(container) == "paused"


@pytest.mark.parametrize("error", [FAILED, NO_ANSWER, THROTTLED, AwsError("InvocationDoesNotExist", "")])
def test_a_command_whose_result_cannot_be_read_is_sent_again(stage: Stage, error: Exception) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.advance(61)
    stage.sweep()
    stage.advance(61)
    stage.fail("GetCommandInvocation", error)
    assert stage.sweep() == {"accepted": 1}
    assert (stage.failures, stage.count("SendCommand")) == ([], 2)
    stage.advance(61)
    assert stage.sweep() == {"completed": 1}
    assert stage.status(container) == "paused"


@pytest.mark.parametrize("number", [1, 24, 25, 26, 60])
def test_operations_are_taken_over_shortly_before_they_are_continued(stage: Stage, number: int) -> None:
    """Otherwise their new deadlines could pass while ECS throttles the sweep."""
    model = stage.container(claimed(stage, 1)[0])
    stage.dynamodb.tables["containers"].items.clear()
    for each in range(number):
        stage.put(model.model_copy(update={"id": f"{each:024x}"}))
    stage.advance(61)
    stage.calls.clear()
    assert stage.sweep() == {"accepted": number}
    taken, most = 0, 0
    for call in stage.calls:
        taken += call.operation == "UpdateItem" and ":was_deadline" in call.parameters["ExpressionAttributeValues"]
        taken -= call.operation == "RunTask"
        most = max(most, taken)
    assert most == min(number, 25)


def test_the_operations_that_are_overdue_for_the_longest_time_come_first(stage: Stage) -> None:
    containers = claimed(stage, 1, 2, 3, 9)
    for number, container in enumerate(containers):
        stage.edit_pending(container, deadline=stage.clock.now() - timedelta(seconds=number))
    stage.sweep()
    assert [call["startedBy"] for call in stage.parameters("RunTask")] == containers[::-1]


def test_a_throttled_operation_is_due_immediately_and_is_no_failure(stage: Stage) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)
    stage.fail("RunTask", THROTTLED)
    assert stage.sweep() == {"accepted": 2}
    assert stage.failures == []
    due = [stage.pending(container).deadline <= stage.clock.now() for container in containers]
    assert due == [True, False]
    # Neither counts: one was throttled, the other has found its task on its way.
    assert [stage.pending(container).attempts for container in containers] == [0, 0]


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
    assert stage.sweep() == {"unreadable": 1, "accepted": 2}
    assert stage.failures == [containers[0]]
    assert stage.stuck == [0]


def test_an_unreadable_operation(stage: Stage) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)
    item = stage.dynamodb.tables["containers"].items[(containers[0],)]
    item["operation"]["M"]["step"] = {"S": "no such step"}
    assert stage.sweep() == {"unreadable": 1, "accepted": 1}


@pytest.mark.parametrize("error", [FAILED, NO_ANSWER], ids=["failed", "no answer"])
def test_a_failing_read(stage: Stage, error: Exception) -> None:
    containers = claimed(stage, 1, 2)
    stage.advance(61)
    stage.fail("BatchGetItem", error)
    assert stage.sweep() == {"failed": 2}
    assert stage.failures == containers
    assert stage.sweep() == {"accepted": 2}


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
    assert stage.sweep() == {"accepted": len(expected)}
    assert stage.failures == [f"shard {shard}"]


def test_an_operation_whose_cluster_is_missing(stage: Stage) -> None:
    elsewhere = stage.add("stopped", number=1, cluster="absent")
    stage.claim(elsewhere, "start")
    (container,) = claimed(stage, 2)
    stage.advance(61)
    assert stage.sweep() == {"failed": 1, "accepted": 1}
    assert stage.pending(elsewhere).attempts == 1
    assert stage.live(container)


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


@pytest.mark.parametrize(("enough", "counts"), [(0, {}), (1, {"left": 1}), (3, {"left": 2}), (4, {"accepted": 2})])
def test_the_sweep_ends_at_its_timeout(stage: Stage, enough: int, counts: dict[str, int]) -> None:
    """The sweep takes no operation over without enough time, and the operations stay due."""
    containers = claimed(stage, 1, 9)
    stage.advance(61)
    # The time is checked before each of the two containers and the end of the list, and before they are taken over.
    answers = [True] * enough + [False] * 20
    stage.time_left = lambda: answers.pop(0)
    assert stage.sweep() == counts
    taken = [stage.pending(container).deadline > stage.clock.now() for container in containers]
    assert taken == ["accepted" in counts] * 2
    assert stage.stuck == [0]


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
    stage.fail("BatchGetItem", AwsError("ValidationException", "an attribute name is reserved"))
    with pytest.raises(Exception, match="ValidationException"):
        stage.sweep()
