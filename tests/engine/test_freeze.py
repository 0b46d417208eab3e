"""Tests of the steps `pause` and `unpause`, and of the results of host commands."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from longshore.aws.hosts import SentFor
from longshore.domain.facts import Observed
from longshore.domain.lifecycle import Step
from longshore.engine.observations import Ended, NoEffect, Reached, Uncertain, Unobserved

from engine.aws import DENIED, FAILED, HOST, NO_ANSWER, THROTTLED, Answer, Call
from engine.stage import Stage
from local.emulator.errors import AwsError

BOTH = pytest.mark.parametrize(("status", "operation"), [("running", "pause"), ("paused", "resume")])


@BOTH
def test_a_command_succeeds(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    (task,) = stage.live(container)
    seen, findings = stage.attempt(container)
    assert seen == Reached(stage.clock.now(), Observed(task_id=task.id), None)
    assert (findings.acted, findings.on_its_way) == (True, False)


@BOTH
def test_a_command_that_already_succeeded_is_not_sent_again(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    seen, _ = stage.attempt(container, host_is_done=True)
    assert isinstance(seen, Reached)
    assert (stage.count("SendCommand"), stage.count("DescribeTasks")) == (0, 1)


def retried(error: AwsError) -> AwsError:
    """Return the error of a request that botocore sent more than once."""
    metadata = {"HTTPStatusCode": 400, "RetryAttempts": 1}
    return AwsError(error.code, error.message, ResponseMetadata=metadata)


def slow(stage: Stage) -> None:
    stage.ssm._delay = timedelta(hours=1)


def details(stage: Stage, text: str) -> None:
    stage.change("GetCommandInvocation", lambda _, answer: answer | {"StatusDetails": text})


def of_task(**changes: Any) -> Any:
    return lambda _, answer: answer | {"tasks": [task | changes for task in answer["tasks"]]}


def no_runtime_ids(stage: Stage) -> None:
    def without(_: Call, answer: Answer) -> Answer:
        (task,) = answer["tasks"]
        return answer | {"tasks": [task | {"containers": [{"name": "app"}, {"name": "side"}]}]}

    stage.change("DescribeTasks", without)


def one_runtime_id(stage: Stage) -> None:
    def without(_: Call, answer: Answer) -> Answer:
        (task,) = answer["tasks"]
        return answer | {"tasks": [task | {"containers": [task["containers"][0], {"name": "side"}]}]}

    stage.change("DescribeTasks", without)


def no_instance(stage: Stage) -> None:
    stage.change("DescribeTasks", of_task(containerInstanceArn=None))


NOT_REACHABLE = "The instance is not reachable through Systems Manager"
UNDELIVERED = "The command could not be delivered to the instance"
INCOMPLETE = "The command did not complete on the instance"
SSM_ERROR = "Systems Manager returned an error"


@pytest.mark.parametrize(
    ("arrange", "expected", "acted"),
    [
        (lambda s: s.ssm.disconnect(HOST), NoEffect(NOT_REACHABLE), False),
        (lambda s: s.fail("SendCommand", DENIED), NoEffect("Systems Manager refused the command"), False),
        (lambda s: s.fail("SendCommand", FAILED), Uncertain(SSM_ERROR), True),
        (lambda s: s.fail("SendCommand", retried(DENIED)), Uncertain(SSM_ERROR), True),
        (lambda s: s.fail("SendCommand", NO_ANSWER), Uncertain("Systems Manager did not answer"), True),
        (lambda s: s.ssm.fail_next(1), NoEffect("The command failed on the instance"), False),
        (lambda s: s.ssm.fail_next(1, response_code=2), Uncertain(INCOMPLETE), True),
        (lambda s: s.ssm.fail_next(1, "TimedOut"), Uncertain(INCOMPLETE), True),
        (lambda s: s.ssm.fail_next(1, "DeliveryTimedOut"), NoEffect(UNDELIVERED), False),
        (lambda s: s.ssm.fail_next(1, "Undeliverable"), NoEffect(UNDELIVERED), False),
        (slow, Unobserved("The instance has not run the command yet"), True),
        (lambda s: details(s, "Pending"), Unobserved("The instance has not run the command yet"), True),
        (lambda s: details(s, "Delayed"), Unobserved("The instance has not run the command yet"), True),
        (lambda s: details(s, "Cancelling"), Unobserved("The instance has not run the command yet"), True),
        (lambda s: details(s, "Cancelled"), Uncertain(INCOMPLETE), True),
        (lambda s: details(s, "InvalidPlatform"), NoEffect(UNDELIVERED), False),
        (lambda s: details(s, "AccessDenied"), NoEffect(UNDELIVERED), False),
        (lambda s: details(s, "Terminated"), NoEffect(UNDELIVERED), False),
        (
            lambda s: s.fail("GetCommandInvocation", FAILED, times=-1),
            Unobserved("Systems Manager does not say what became of the command"),
            True,
        ),
        (
            lambda s: s.fail("GetCommandInvocation", NO_ANSWER, times=-1),
            Unobserved("Systems Manager does not say what became of the command"),
            True,
        ),
        (lambda s: s.ecs.terminate_instance(HOST), "gone", False),
        (no_runtime_ids, NoEffect("Not all containers of the task have started"), False),
        (one_runtime_id, NoEffect("Not all containers of the task have started"), False),
        (no_instance, NoEffect("The task runs on no host that can be reached"), False),
        (
            lambda s: s.change("DescribeContainerInstances", lambda *_: {"containerInstances": []}),
            NoEffect("The task's instance has left the cluster"),
            False,
        ),
        (lambda s: s.fail("DescribeContainerInstances", FAILED, times=3), Uncertain("ECS returned an error"), False),
        (
            lambda s: s.fail("DescribeContainerInstances", DENIED),
            NoEffect("Longshore is not permitted to do this on the cluster"),
            False,
        ),
    ],
)
def test_the_result_of_a_command(stage: Stage, arrange: Any, expected: Any, acted: bool) -> None:
    container = stage.add("running", sidecars=1)
    stage.claim(container, "pause")
    arrange(stage)
    seen, findings = stage.attempt(container, wait=3)
    if expected == "gone":
        assert isinstance(seen, Ended)
    else:
        assert seen == expected
    assert (findings.acted, findings.on_its_way) == (acted, False)


def test_polling_a_command_ends_with_the_operations_wait(stage: Stage) -> None:
    container = stage.add("running")
    slow(stage)
    start = stage.clock.now()
    assert stage.ask(container, "pause").kind == "accepted"
    waited = stage.clock.now() - start
    assert timedelta(seconds=20) <= waited < timedelta(seconds=21)
    assert 60 <= stage.count("GetCommandInvocation") <= 68  # every 0.3 seconds


def test_a_command_that_systems_manager_does_not_find_yet(stage: Stage) -> None:
    container = stage.add("running")
    stage.fail("GetCommandInvocation", AwsError("InvocationDoesNotExist", ""), times=2)
    assert stage.ask(container, "pause").kind == "completed"


# --- missing tasks --------------------------------------------------------------------------------------------------


@BOTH
def test_the_task_has_exited_by_itself(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    (task,) = stage.live(container)
    stage.ecs.exit(task.arn, 0)
    stage.claim(container, operation)
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended)
    assert seen.task is not None
    assert (seen.at, seen.task.exit_code) == (task.stopped_at, 0)
    assert stage.count("SendCommand") == 0


def test_the_host_refuses_because_the_task_has_just_ended(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    (task,) = stage.live(container)
    stage.after("SendCommand", lambda _: stage.ecs.exit(task.arn, 4))
    seen, _ = stage.attempt(container)
    assert isinstance(seen, Ended)
    assert seen.task is not None
    assert seen.task.exit_code == 4


@BOTH
def test_a_container_without_a_task(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.edit(container, tasks={})
    stage.claim(container, operation)
    assert stage.attempt(container).observation == Ended(stage.clock.now(), None)


@BOTH
def test_ecs_does_not_return_the_task(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.claim(container, operation)
    stage.hide_tasks()
    seen, findings = stage.attempt(container)
    assert seen == Unobserved("ECS does not show the task")
    assert findings.tasks is not None
    assert [known.absent_since is None for known in findings.tasks.values()] == [False]
    assert stage.count("SendCommand") == 0


@BOTH
def test_the_task_is_gone(stage: Stage, status: str, operation: str) -> None:
    container = stage.add(status)
    stage.hide_tasks()
    assert stage.ask(container, operation).kind == "accepted"
    stage.advance(31)
    stage.sweep()
    after = stage.container(container)
    # A command may have paused or unpaused it, so its state is unknown if it comes back.
    assert after.last_task is not None
    assert (after.status, after.operation, after.last_task.unclear) == ("failed", None, True)
    stage.heal()
    stage.advance(200)
    stage.drift_sweep()
    assert stage.status(container) == "failed"


# --- the event of a command ------------------------------------------------------------------------------------------


def sent(stage: Stage) -> tuple[str, dict[str, Any]]:
    """Return a container whose pause command was sent, and the event of the command."""
    container = stage.add("running")
    stage.ssm._delay = timedelta(seconds=24)
    stage.ask(container, "pause")
    stage.ssm._delay = timedelta(seconds=0.1)
    stage.advance(5)
    (event,) = stage.events
    stage.calls.clear()
    return container, event


def test_the_event_of_a_command_completes_the_operation(stage: Stage) -> None:
    container, event = sent(stage)
    pending = stage.pending(container)
    assert stage.deliver(event) == "settled"
    assert (stage.status(container), stage.container(container).operation) == ("paused", None)
    assert stage.pending_ids == [pending.id]
    assert stage.rows(container)[-1]["metadata"]["operation_id"] == pending.id
    assert stage.count("SendCommand") == 0
    assert stage.deliver(event) == "stale"


def test_the_event_of_a_command_whose_task_ecs_does_not_return(stage: Stage) -> None:
    """Nothing is recorded, so that the driver is not disturbed."""
    container, event = sent(stage)
    before = stage.container(container)
    stage.hide_tasks()
    assert stage.deliver(event) == "settled"
    assert stage.container(container) == before


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({"command_number": 2}, "stale"),
        ({"command_number": 0}, "stale"),
        ({"id": "c" * 24}, "stale"),
        ({"step": Step.STOP}, "stale"),
        ({}, "settled"),
    ],
)
def test_the_event_of_an_unexpected_command_is_ignored(stage: Stage, changes: dict[str, Any], effect: str) -> None:
    container, event = sent(stage)
    stage.edit_pending(container, **changes)
    assert stage.deliver(event) == effect
    assert stage.status(container) == ("paused" if effect == "settled" else "running")
    assert len(stage.pending_ids) == (effect == "settled")


def test_the_event_of_a_command_without_an_operation(stage: Stage) -> None:
    container, event = sent(stage)
    stage.edit(container, operation=None)
    assert stage.deliver(event) == "stale"
    stage.dynamodb.tables["containers"].items.clear()
    assert stage.deliver(event) == "stale"


@pytest.mark.parametrize(
    ("answer", "effect"),
    [
        ({"Comment": ""}, "foreign"),
        ({"Comment": "Longshore operation x"}, "foreign"),
        ({"StatusDetails": "Failed"}, "foreign"),
        ({"StatusDetails": "InProgress"}, "foreign"),
        ({}, "settled"),
    ],
)
def test_the_event_is_verified_with_get_command_invocation(stage: Stage, answer: dict[str, str], effect: str) -> None:
    _, event = sent(stage)
    stage.change("GetCommandInvocation", lambda _, true: true | answer)
    assert stage.deliver(event) == effect


def test_systems_manager_does_not_find_the_command(stage: Stage) -> None:
    _, event = sent(stage)
    stage.fail("GetCommandInvocation", AwsError("InvocationDoesNotExist", ""))
    assert stage.deliver(event) == "foreign"


@pytest.mark.parametrize("error", [FAILED, NO_ANSWER, DENIED])
def test_an_event_is_retried_if_systems_manager_fails(stage: Stage, error: Exception) -> None:
    container, event = sent(stage)
    stage.fail("GetCommandInvocation", error)
    with pytest.raises(Exception, match="external service"):
        stage.deliver(event)
    assert stage.deliver(event) == "settled"
    assert stage.status(container) == "paused"


def test_the_comment_of_a_command_identifies_its_operation(stage: Stage) -> None:
    container, event = sent(stage)
    detail = event["detail"]
    pending = stage.pending(container)
    command = (detail["command-id"], detail["instance-id"])
    with stage.open():
        found = stage.wired.steps._hosts.done_for(*command)
    assert found == SentFor(container, pending.id, pending.command.number)


def test_the_unpause_of_a_stop_continues_with_the_stop(stage: Stage) -> None:
    container = stage.add("paused")
    stage.ssm._delay = timedelta(seconds=24)
    stage.ask(container, "stop")
    stage.advance(5)
    stage.calls.clear()
    assert stage.deliver(stage.events.pop(0)) == "settled"
    assert (stage.count("StopTask"), stage.count("SendCommand")) == (1, 0)
    stage.advance(1)
    stage.deliver_all()
    assert stage.status(container) == "stopped"


@pytest.mark.parametrize(
    ("error", "times", "calls", "kind"),
    [(FAILED, 2, 3, "completed"), (NO_ANSWER, 2, 3, "completed"), (THROTTLED, 1, 1, "accepted")],
)
def test_the_lookup_of_the_host_is_repeated(stage: Stage, error: Exception, times: int, calls: int, kind: str) -> None:
    """A call that ECS throttles is left to the sweep."""
    container = stage.add("running")
    stage.fail("DescribeContainerInstances", error, times=times)
    assert stage.ask(container, "pause").kind == kind
    assert stage.count("DescribeContainerInstances") == calls


def test_the_pause_before_each_lookup_of_the_host_doubles(stage: Stage) -> None:
    container = stage.add("running")
    stage.fail("DescribeContainerInstances", FAILED, times=2)
    looked: list[datetime] = []
    for _ in range(3):
        stage.before("DescribeContainerInstances", lambda _: looked.append(stage.clock.now()))
    stage.ask(container, "pause")
    pauses = [(after - before).total_seconds() for before, after in pairwise(looked)]
    assert pauses == [pytest.approx(0.2, abs=0.01), pytest.approx(0.4, abs=0.01)]
