"""Tests that nothing that may be alive is forgotten: tasks, frozen processes, and the other containers of a sweep.

The tests observe ECS, the answers and the rows only, not how the item stores what is known about tasks.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import LongshoreError, OperationFailedError
from longshore.domain.lifecycle import Status
from longshore.domain.models import Outcome

from engine.aws import DENIED, FAILED, HOST, NO_ANSWER, NOT_FOUND, THROTTLED, Call
from engine.stage import Stage, event
from local.emulator.ecs import SimulatedTask

NOW = timedelta()
HOURS = timedelta(hours=9)
LONGEST = 90  # sweeps, a minute apart: longer than the hour after which a task in transition is given up


def watched(stage: Stage, container: str) -> list[int]:
    """Return a list that receives, after each RunTask that takes effect, the number of the container's live tasks."""
    numbers: list[int] = []
    handle = stage.ecs.handle

    def counting(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = handle(operation, parameters)
        if operation == "RunTask":
            numbers.append(len(stage.live(container)))
        return answer

    stage.ecs.handle = counting  # type: ignore[assignment,method-assign]
    return numbers


def lose_host(stage: Stage, container: str) -> SimulatedTask:
    """Lose the host of the container's only task: the task can be asked to stop, but does not stop for hours."""
    stage.ssm.disconnect(HOST)
    (task,) = stage.live(container)
    for process in task.containers:
        process.ignores_sigterm, process.stop_timeout = True, HOURS
    return task


def answered(stage: Stage, container: str, operation: str) -> Outcome | LongshoreError:
    """Perform an operation without waiting for its effect. Returns the answer, or the error."""
    try:
        return stage.ask(container, operation, wait=NOW)
    except LongshoreError as error:
        return error


def kind(answer: Outcome | LongshoreError) -> str:
    return answer.kind.value if isinstance(answer, Outcome) else type(answer).__name__


def sweep_until_settled(stage: Stage, container: str) -> None:
    for _ in range(LONGEST):
        if stage.container(container).operation is None:
            return
        stage.pass_deadline()


def settle(stage: Stage) -> None:
    """Deliver all events, and run the sweeps until long after every deadline."""
    for _ in range(15):
        stage.deliver_all()
        stage.drift_sweep()
        stage.pass_deadline()


def reached(stage: Stage, container: str) -> list[str]:
    return [row["to_status"] for row in stage.rows(container)]


# --- the task of a superseded start -----------------------------------------------------------------------------------


def given_up(stage: Stage) -> tuple[str, SimulatedTask]:
    """Return a container whose force-stop has given up, and its task, which a superseded start has run."""
    container = stage.add("stopped")
    assert stage.ask(container, "start", wait=NOW).kind == "accepted"
    stage.advance(1)
    task = lose_host(stage, container)
    assert kind(answered(stage, container, "force-stop")) == "accepted"
    sweep_until_settled(stage, container)
    assert task.live
    return container, task


def test_a_second_force_stop_does_not_forget_the_task_of_the_superseded_start(stage: Stage) -> None:
    container, task = given_up(stage)
    answer = answered(stage, container, "force-stop")
    assert kind(answer) != "completed"
    assert "stopped" not in reached(stage, container)[1:]
    stage.ecs.exit(task.arn, 137)
    settle(stage)
    assert stage.live(container) == []
    if kind(answer) == "accepted":
        assert stage.status(container) == "stopped"


def test_a_restart_does_not_forget_the_task_of_the_superseded_start(stage: Stage) -> None:
    container, task = given_up(stage)
    tasks = watched(stage, container)
    answer = answered(stage, container, "restart")
    stage.advance(1)
    assert stage.live(container) == [task]
    assert kind(answer) != "completed"
    stage.ecs.exit(task.arn, 137)
    settle(stage)
    assert max(tasks, default=0) <= 1
    if kind(answer) == "accepted":
        assert (stage.status(container), len(stage.live(container))) == ("running", 1)


# --- the previous task of a failed container --------------------------------------------------------------------------


def failed_with_pending_restart(stage: Stage) -> str:
    """Return a failed container whose task is alive, and whose restart has crashed before its first call to ECS."""
    container = stage.add("stopped", "running", "failed")
    stage.give_task(container)
    stage.claim(container, "restart")
    return container


def test_a_force_stop_runs_no_task_beside_the_previous_task(stage: Stage) -> None:
    container = failed_with_pending_restart(stage)
    tasks = watched(stage, container)
    answered(stage, container, "force-stop")
    settle(stage)
    assert max(tasks, default=0) <= 1
    assert (stage.status(container), stage.live(container)) == ("stopped", [])


def test_at_most_one_task_lives_after_each_call_of_the_force_stop(stage: Stage) -> None:
    """The function may end after any call."""
    container = failed_with_pending_restart(stage)
    most = [1]

    def see(_: Call) -> None:
        most.append(len(stage.live(container)))

    for call in ("RunTask", "SendCommand", "StopTask"):
        stage.after(call, see)
    answered(stage, container, "force-stop")
    assert max(most) == 1


# --- nothing optional keeps a force-stop from StopTask ----------------------------------------------------------------


@pytest.mark.parametrize("error", [FAILED, DENIED, THROTTLED, NO_ANSWER], ids=["5xx", "denied", "throttled", "silent"])
def test_a_force_stop_stops_the_task_without_the_hosts_id(stage: Stage, error: Exception) -> None:
    container = stage.add("running")
    stage.fail("DescribeContainerInstances", error, times=-1)
    outcome = stage.ask(container, "force-stop")
    assert outcome.kind == "completed"
    assert (stage.count("StopTask"), stage.live(container)) == (1, [])
    assert reached(stage, container) == ["running", "stopped"]


def test_a_force_stop_of_a_superseded_start_stops_the_task_without_the_hosts_id(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.ask(container, "start", wait=NOW)
    stage.advance(1)
    stage.fail("DescribeContainerInstances", DENIED, times=-1)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert stage.live(container) == []


# --- a task that was gone and is shown again --------------------------------------------------------------------------


def stopped_with_hidden_task(stage: Stage) -> tuple[str, SimulatedTask]:
    """Return a stopped container, and its task, which counted as gone and which ECS shows again."""
    container = stage.add("running")
    stage.hide_tasks()
    stage.change("ListTasks", lambda *_: {"taskArns": []})
    stage.fail("StopTask", NOT_FOUND, times=-1)
    answered(stage, container, "force-stop")
    sweep_until_settled(stage, container)
    assert stage.status(container) == "stopped"
    stage.heal()
    (task,) = stage.live(container)
    return container, task


def by_event(stage: Stage, task: SimulatedTask) -> None:
    stage.deliver(event(task, version=task.version + 1))


def by_drift(stage: Stage, _: SimulatedTask) -> None:
    stage.advance(181)
    stage.drift_sweep()


@pytest.mark.parametrize("shows", [by_event, by_drift])
def test_a_task_that_is_shown_again_is_ended(stage: Stage, shows: Callable[[Stage, SimulatedTask], None]) -> None:
    container, task = stopped_with_hidden_task(stage)
    shows(stage, task)
    settle(stage)
    assert stage.live(container) == []
    assert stage.status(container) == "stopped"


@pytest.mark.parametrize("shows", [by_event, by_drift])
def test_a_start_after_a_task_is_shown_again_runs_none_beside_it(
    stage: Stage, shows: Callable[[Stage, SimulatedTask], None]
) -> None:
    container, task = stopped_with_hidden_task(stage)
    shows(stage, task)
    tasks = watched(stage, container)
    answered(stage, container, "start")
    settle(stage)
    assert tasks == [1]
    assert (stage.status(container), len(stage.live(container))) == ("running", 1)


# --- frozen processes -------------------------------------------------------------------------------------------------


def test_a_stop_that_is_given_up_does_not_freeze_a_task_that_was_asked_to_stop(stage: Stage) -> None:
    container = stage.add("paused")
    (task,) = stage.live(container)
    for process in task.containers:
        process.ignores_sigterm, process.stop_timeout = True, HOURS
    answered(stage, container, "stop")
    sweep_until_settled(stage, container)
    stage.advance(60)
    assert task.desired_status == "STOPPED"
    assert ["pause"] not in [command["action"] for command in stage.commands()]
    assert not any(process.paused for process in task.containers)


# --- three drivers ----------------------------------------------------------------------------------------------------


def overtaken(stage: Stage, container: str, answers: list[str]) -> None:
    """Supersede the pending start while the cluster is full, and start again when it has room.

    ECS does not remember for the client token that it could not place the task.
    """
    stage.ecs.set_capacity(HOST, memory=0)
    answers.append(kind(answered(stage, container, "force-stop")))
    stage.ecs.set_capacity(HOST)
    stage.ecs._tokens.clear()
    answers.append(kind(answered(stage, container, "start")))


def test_a_repeated_run_task_looks_whether_its_operation_was_superseded(stage: Stage) -> None:
    """The first RunTask fails without effect, and the driver repeats it after others have stopped and started it."""
    container = stage.add("stopped")
    tasks, answers = watched(stage, container), list[str]()

    def hook(_: Call) -> None:
        overtaken(stage, container, answers)
        stage.fail("RunTask", FAILED)

    stage.before("RunTask", hook)
    with pytest.raises(LongshoreError):
        stage.ask(container, "start")
    assert len(answers) == 2
    assert max(tasks, default=0) <= 1
    settle(stage)
    assert max(tasks, default=0) <= 1


def test_a_refused_placement_proves_nothing_while_another_driver_may_call_run_task(stage: Stage) -> None:
    """The first RunTask is under way while others stop the container and start it again."""
    container = stage.add("stopped")
    tasks, answers = watched(stage, container), list[str]()
    stage.before("RunTask", lambda _: overtaken(stage, container, answers))
    answered(stage, container, "start")
    assert len(answers) == 2
    assert max(tasks, default=0) <= 1
    assert answers[0] != "completed"
    settle(stage)
    assert max(tasks, default=0) <= 1


# --- an exception about one container ---------------------------------------------------------------------------------


def overdue_pause(stage: Stage, number: int) -> str:
    """Return a container whose pause has sent a command without a known result, and whose deadline has passed."""
    container = stage.add("running", number=number)
    stage.ssm._delay = HOURS
    assert stage.ask(container, "pause", wait=timedelta(seconds=1)).kind == "accepted"
    stage.ssm._delay = timedelta(seconds=0.1)
    return container


def damaged(stage: Stage, container: str) -> None:
    """Damage the item: the command is not stored as this code stores it."""
    item = stage.dynamodb.tables["containers"].items[(container,)]
    item["operation"]["M"]["sent_command"] = {"S": "malformed"}


def odd_answer(stage: Stage, _: str) -> None:
    """Systems Manager answers the first question about the command without a status."""
    stage.change("GetCommandInvocation", lambda *_: {}, times=1)


@pytest.mark.parametrize("spoil", [damaged, odd_answer])
def test_an_exception_about_one_container_does_not_end_the_sweep(
    stage: Stage, spoil: Callable[[Stage, str], None]
) -> None:
    first = overdue_pause(stage, 1)
    second = stage.add("stopped", number=2)
    stage.claim(second, "start")
    spoil(stage, first)
    stage.advance(61)
    stage.sweep()
    stage.advance(1)
    settle(stage)
    assert stage.status(second) == "running"


# --- the reason of an operation without a row -------------------------------------------------------------------------


def test_the_reason_of_a_failure_without_a_row_is_not_that_of_an_earlier_row(stage: Stage) -> None:
    """The restart's row `stopped` has room in the history; its row `failed` does not."""
    container = stage.add("running")

    def start_fails() -> None:
        def now_full(_: Call) -> None:
            stage.history_is_full = True
            stage.ecs.set_capacity(HOST, memory=0)

        stage.before("RunTask", now_full)
        stage.edit_pending(container, deadline=stage.clock.now())
        with pytest.raises(OperationFailedError):
            stage.take_over(container)

    stage.before("TransactWriteItems", lambda _: start_fails())
    with pytest.raises(OperationFailedError) as raised:
        stage.ask(container, "restart")
    row = stage.rows(container)[-1]
    assert (row["to_status"], stage.status(container)) == ("stopped", "failed")
    assert raised.value.reason != row["metadata"]["reason"]
    assert raised.value.reason in ("The operation failed", "No instance of the cluster has enough memory left")


@pytest.mark.parametrize("operation", ["force-stop", None])
def test_tasks_that_ecs_lists_and_does_not_describe_are_stopped(stage: Stage, operation: str | None) -> None:
    """All tasks of the container have to end, so their descriptions are not needed."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    stage.advance(51 * 60)  # ECS may forget the client token, so the task is searched for.
    stage.fail("DescribeTasks", DENIED, times=1000)
    if operation is not None:
        stage.refused(container, operation)
    else:
        stage.edit(container, operation=None, status=Status.FAILED, tasks_due_at=stage.clock.now())
    for _ in range(3):
        stage.advance(61)
        stage.sweep()
    assert task.arn in {call["task"] for call in stage.parameters("StopTask")}
    assert task.desired_status == "STOPPED"


def test_a_start_does_not_stop_a_task_that_ecs_lists_and_does_not_describe(stage: Stage) -> None:
    container = stage.add("stopped", labels={"simulate.start": "never"})
    stage.crash(container, "start", "RunTask")
    (task,) = stage.live(container)
    stage.advance(51 * 60)
    stage.fail("DescribeTasks", DENIED, times=1000)
    for _ in range(3):
        stage.advance(61)
        stage.sweep()
    assert stage.parameters("StopTask") == []
    assert task.desired_status == "RUNNING"
