"""Tests of the sequence numbers of host commands: unique, increasing, and two per driver."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from longshore.aws.hosts import Action, CommandResult
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import COMMANDS, next_command_number
from longshore.domain.task import Task
from longshore.engine.decisions import DriverRole

from engine.aws import FAILED, Call
from engine.stage import HIGH, Stage

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


def numbers(stage: Stage) -> list[int]:
    """Return the numbers of the commands sent, in order."""
    return [int(command["number"][0]) for command in stage.commands()]


@pytest.mark.parametrize(
    ("highest", "now", "expected"),
    [
        (0, NOON, SECONDS),
        (SECONDS - 2, NOON, SECONDS),
        (SECONDS - 1, NOON, SECONDS),
        (SECONDS, NOON, SECONDS + 1),
        (SECONDS + 9, NOON, SECONDS + 10),
        (0, NOON + timedelta(milliseconds=999), SECONDS),
    ],
)
def test_the_next_number_is_higher_than_the_last_and_the_time(
    stage: Stage, highest: int, now: datetime, expected: int
) -> None:
    container = stage.add("running")
    stage.edit(container, command_number=highest)
    assert next_command_number(stage.container(container), now) == expected


def test_each_driver_has_its_own_numbers(stage: Stage) -> None:
    container = stage.add("running")
    stage.edit(container, command_number=HIGH)
    pending = stage.claim(container, "pause")
    assert (pending.command.number, stage.container(container).command_number) == (HIGH + 1, HIGH + COMMANDS)
    stage.clock.time = pending.deadline
    stage.fail("SendCommand", FAILED)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container)
    assert numbers(stage) == [HIGH + COMMANDS + 1]
    assert stage.container(container).command_number == HIGH + 2 * COMMANDS
    pending = stage.claim(container, "force-stop")
    assert pending.command.number == HIGH + 2 * COMMANDS + 1
    assert stage.container(container).command_number == HIGH + 3 * COMMANDS


def test_a_command_is_sent_with_the_given_number(stage: Stage) -> None:
    container = stage.add("running")
    pending = stage.claim(container, "pause")
    (simulated,) = stage.live(container)
    task, hosts = Task.of(simulated.to_api()), stage.wired.steps._hosts
    with stage.open():
        sent = hosts.send(Action.KILL, stage.container(container), task, 77)
        assert not isinstance(sent, CommandResult)
        hosts.act(Action.PAUSE, stage.container(container), task, 78, stage.clock.now())
    assert numbers(stage) == [77, 78]
    comments = [parameters["Comment"] for parameters in stage.parameters("SendCommand")]
    assert comments == [
        f"Longshore operation {pending.id}, container {container}, command {number}" for number in (77, 78)
    ]
    stage.advance(1)
    with stage.open():
        host, command_id = sent
        done = hosts.done_for(command_id, host)
    assert done == (container, pending.id, 77)


# --- two tasks to kill ---------------------------------------------------------------------------------------------


def with_two_tasks(stage: Stage) -> tuple[str, list[str]]:
    """Return a failed container with its own task and a pending restart that has run another task."""
    container = stage.add("failed")
    leftover = stage.give_task(container)
    pending = stage.claim(container, "restart")
    other = stage.ecs.adopt_running("default", "web-1", container)
    stage.edit_known(container, pending.token, arn=other.arn, shown=True)
    return container, [leftover.arn, other.arn]


def test_a_force_stop_kills_each_of_two_tasks(stage: Stage) -> None:
    """Both tasks are killed. The script ignores the second of two commands with the same number."""
    container, arns = with_two_tasks(stage)
    stage.advance(1)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert [command["action"] for command in stage.commands()] == [["kill"], ["kill"]]
    runtimes = [[process.runtime_id for process in stage.ecs.task(arn).containers] for arn in arns]
    assert [command["runtimeIds"] for command in stage.commands()] == runtimes
    first, second = numbers(stage)
    assert (second, stage.container(container).command_number) == (first + 1, first + 1)
    # The numbers of the next driver are higher than both.
    assert stage.ask(container, "start").kind == "completed"
    stage.ask(container, "pause")
    assert numbers(stage)[2] > second


@pytest.mark.parametrize("position", [0, 1])
def test_a_stopped_task_uses_no_number(stage: Stage, position: int) -> None:
    container, arns = with_two_tasks(stage)
    stage.ecs.exit(arns[position], 0)
    pending = stage.claim(container, "force-stop")
    stage.attempt(container)
    assert numbers(stage) == [pending.command.number]
    (living,) = [arn for arn in arns if arn != arns[position]]
    assert stage.commands()[0]["runtimeIds"] == [each.runtime_id for each in stage.ecs.task(living).containers]


# --- events, and drivers that give up --------------------------------------------------------------------------------


def test_the_number_of_a_command_is_never_reused(stage: Stage) -> None:
    """An event that read the operation before its driver gives up does not write the older number back.

    Otherwise the next driver would send its pause with the number of the unpause, and the script would ignore it.
    """
    container = stage.add("running")
    stage.edit(container, command_number=HIGH)
    stage.claim(container, "pause")
    stage.edit_pending(container, attempts=10, step_since=stage.clock.now() - timedelta(hours=1))
    stage.ssm._delay = timedelta(seconds=2)
    stage.attempt(container, wait=0)  # the driver's command, whose success the event reports
    stage.advance(3)
    (event,) = stage.events

    def give_up(_: Call) -> None:
        stage.ssm._delay = timedelta(hours=1)
        stage.fail("SendCommand", FAILED, times=2, lost=True)
        with suppress(ExternalServiceError):
            stage.wired.driver.drive(stage.container(container), DriverRole.SWEEP, stage.clock.now())
        stage.hide_tasks(times=1)

    stage.after("GetItem", give_up)
    assert stage.deliver(event) == "settled"
    # The driver's own command, and the command and the opposite command of the last attempt.
    sent = numbers(stage)
    assert sent == [HIGH + 1, HIGH + 1, HIGH + 1 + COMMANDS]
    pending = stage.pending(container)
    assert (pending.command.number, pending.command.given_up is not None) == (sent[-1], True)
    assert stage.container(container).command_number == sent[-1] + COMMANDS - 1
    stage.heal()
    stage.clock.time = pending.deadline
    with suppress(ExternalServiceError):
        stage.take_over(container)
    assert numbers(stage)[-1] > max(sent)


@pytest.mark.parametrize(("newer", "effect"), [(-1, "stale"), (0, "settled"), (1, "stale")])
def test_the_success_of_another_drivers_command_is_ignored(stage: Stage, newer: int, effect: str) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.attempt(container)
    stage.advance(1)
    (event,) = stage.events
    stage.edit_pending(container, command_number=stage.pending(container).command.number + newer)
    assert stage.deliver(event) == effect
    assert stage.status(container) == ("paused" if effect == "settled" else "running")


def test_the_success_of_the_opposite_command_ends_the_operation(stage: Stage) -> None:
    """The reply to SendCommand is lost. The event of the command reports success, so no further command is sent."""
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.clock.time = stage.pending(container).deadline
    stage.edit_pending(container, giving_up="It failed", giving_up_since=stage.clock.now())
    stage.fail("SendCommand", FAILED, lost=True)
    with pytest.raises(ExternalServiceError):
        stage.take_over(container)
    assert [command["action"] for command in stage.commands()] == [["unpause"]]
    stage.advance(1)
    (event,) = stage.events
    assert stage.deliver(event) == "settled"
    assert stage.count("SendCommand") == 1
    assert (stage.status(container), stage.container(container).operation) == ("failed", None)
    assert stage.rows(container)[-1]["metadata"]["reason"] == "It failed"


def test_the_success_of_the_previous_command_does_not_count_as_the_opposite(stage: Stage) -> None:
    container = stage.add("running")
    stage.claim(container, "pause")
    stage.attempt(container)
    stage.advance(1)
    (event,) = stage.events
    number = stage.pending(container).command.number + COMMANDS
    stage.edit_pending(container, giving_up="It failed", giving_up_since=stage.clock.now(), command_number=number)
    assert stage.deliver(event) == "stale"
    assert (stage.status(container), stage.count("SendCommand")) == ("running", 1)
