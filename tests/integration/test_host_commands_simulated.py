"""Tests of the simulated Run Command: commands delivered late, twice or never, and Docker calls that hang."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from host_script import CONTAINER, OTHER, host_document

from local.emulator import CommandSimulation, StaticCatalog, TaskSimulation
from local.emulator.ssm import CommandPlan

HOST, OTHER_HOST = "i-0a1b2c3d4e5f60718", "i-0a1b2c3d4e5f60719"
START = datetime(2030, 1, 1, tzinfo=UTC)
PROMPT = CommandPlan(deliver_after=0.1, take=0.1)
TIMEOUT = 20  # the document's timeoutSeconds


class World:
    """A task of two containers on a host, and commands to it; the second container is not essential."""

    def __init__(self) -> None:
        self.now = START
        catalog = StaticCatalog()
        catalog.add_cluster("main")
        app = {"name": "app", "image": "app:1", "memory": 10}
        catalog.add_task_definition("web", [app, {**app, "name": "side", "essential": False}])
        self.tasks = TaskSimulation(catalog, lambda: self.now, rng=random.Random(1))
        for host in (HOST, OTHER_HOST):
            self.tasks.add_instance("main", host)
        self.plan = PROMPT
        content = host_document()
        self.commands = CommandSimulation(
            self.tasks, lambda *_: content, lambda: self.now, rng=random.Random(1), plan=lambda: self.plan
        )
        self.task = self.tasks.adopt_running("main", "web", ec2_instance_id=HOST)

    @property
    def paused(self) -> list[bool]:
        return [container.paused for container in self.task.containers]

    def send(
        self,
        action: str,
        number: int,
        plan: CommandPlan = PROMPT,
        *,
        expires: int = 60,
        container: str = CONTAINER,
        host: str = HOST,
        delivery_timeout: int = 30,
    ) -> str:
        """Send a command that expires this many seconds after START. Returns its id."""
        self.plan = plan
        parameters = {
            "action": [action],
            "runtimeIds": [str(each.runtime_id) for each in self.task.containers],
            "container": [container],
            "number": [str(number)],
            "expires": [str(int(START.timestamp()) + expires)],
        }
        request = {"DocumentName": "d", "InstanceIds": [host], "Parameters": parameters}
        answer = self.commands.handle("SendCommand", {**request, "TimeoutSeconds": delivery_timeout})
        return str(answer["Command"]["CommandId"])

    def at(self, seconds: float) -> "World":
        """Advance the time to this many seconds after START."""
        self.now = START + timedelta(seconds=seconds)
        self.commands.advance(self.now)
        self.tasks.advance(self.now)
        return self

    def result(self, command_id: str, host: str = HOST) -> tuple[str, int]:
        """Return StatusDetails and ResponseCode of a command."""
        answer = self.commands.handle("GetCommandInvocation", {"CommandId": command_id, "InstanceId": host})
        return answer["StatusDetails"], answer["ResponseCode"]

    def statuses(self, command_id: str) -> list[str]:
        """Return the statuses of a command that events have reported."""
        details: list[dict[str, Any]] = [event["detail"] for event in self.commands.drain_events()]
        return [detail["status"] for detail in details if detail["command-id"] == command_id]


@pytest.fixture
def world() -> World:
    return World()


# ── Delivery ──


def test_a_plan_decides_when_a_command_starts_and_ends(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(deliver_after=5, take=3))
    assert world.at(4.9).result(command) == ("Pending", -1)
    assert world.at(7.9).result(command) == ("InProgress", -1)
    assert world.paused == [False, False]
    assert world.at(8).result(command) == ("Success", 0)
    assert world.paused == [True, True]
    assert world.statuses(command) == ["InProgress", "Success"]


def test_a_plan_is_drawn_for_each_command(world: World) -> None:
    slow = world.send("pause", 1, CommandPlan(deliver_after=5, take=1))
    quick = world.send("pause", 2)
    world.at(1)
    assert (world.result(slow), world.result(quick)) == (("Pending", -1), ("Success", 0))


def test_a_command_that_is_never_delivered(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(0.1, 0.1, runs=0), delivery_timeout=30)
    assert world.at(29.9).result(command) == ("Pending", -1)
    assert world.commands.next_due() == START + timedelta(seconds=30)
    assert world.at(30).result(command) == ("DeliveryTimedOut", -1)
    assert world.at(1000).paused == [False, False]
    assert world.statuses(command) == ["TimedOut"]
    assert world.commands.next_due() is None


def test_a_command_that_is_delivered_twice_acts_once(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(1, 1, runs=2, second_after=5))
    world.at(3).tasks.host_command(HOST, "unpause", [str(each.runtime_id) for each in world.task.containers])
    assert world.at(30).result(command) == ("Success", 0)
    assert world.paused == [False, False]
    assert world.statuses(command) == ["InProgress", "Success"]


def test_the_second_delivery_waits_for_the_first(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(1, 10, runs=2, second_after=0))
    assert world.at(10.9).paused == [False, False]
    assert world.at(11).result(command) == ("Success", 0)
    assert world.commands.next_due() is None


# ── Numbers ──


def test_a_lower_number_after_a_higher_number_has_no_effect(world: World) -> None:
    late = world.send("pause", 1, CommandPlan(deliver_after=10, take=1))
    early = world.send("unpause", 2)
    world.at(20)
    assert (world.result(late), world.result(early)) == (("Failed", 1), ("Success", 0))
    assert world.paused == [False, False]


def test_numbers_are_separate_for_each_container_and_host(world: World) -> None:
    world.send("kill", 9, host=OTHER_HOST)
    world.send("unpause", 9, container=OTHER)
    world.at(1)
    command = world.send("pause", 1)
    assert world.at(2).result(command) == ("Success", 0)


def test_commands_are_serialized(world: World) -> None:
    first = world.send("pause", 1, CommandPlan(deliver_after=1, take=10))
    second = world.send("unpause", 2, CommandPlan(deliver_after=2, take=3))
    assert world.at(11).paused == [True, True]
    assert (world.result(first), world.result(second)) == (("Success", 0), ("InProgress", -1))
    assert world.at(13.9).paused == [True, True]
    assert world.at(14).paused == [False, False]
    assert world.result(second) == ("Success", 0)


@pytest.mark.parametrize(("number", "result"), [(1, ("Failed", 1)), (2, ("Failed", 2)), (3, ("Failed", 1))])
def test_a_lock_that_cannot_be_taken_in_time(world: World, number: int, result: tuple[str, int]) -> None:
    """Number 2 is a second delivery of the same command, whose first run may still have an effect."""
    first = world.send("pause", 2, CommandPlan(deliver_after=1, take=15))
    command = world.send("unpause", number, CommandPlan(deliver_after=2, take=1), expires=10)
    assert world.at(9.9).result(command) == ("InProgress", -1)
    assert world.at(10).result(command) == result
    assert world.at(16).result(first) == ("Success", 0)
    assert world.paused == [True, True]


def test_commands_that_expire_while_waiting_for_the_lock(world: World) -> None:
    """When the first command ends, the others take the lock one after the other."""
    first = world.send("pause", 1, CommandPlan(deliver_after=1, take=15), expires=60)
    others = [world.send("unpause", number, CommandPlan(2, 1), expires=15) for number in (2, 3)]
    last = world.send("unpause", 4, CommandPlan(deliver_after=2, take=1))
    world.at(30)
    assert [world.result(each) for each in (first, *others, last)] == [
        ("Success", 0),
        ("Failed", 1),
        ("Failed", 1),
        ("Success", 0),
    ]
    assert world.paused == [False, False]


# ── Expiry ──


def test_an_expired_command_does_not_start(world: World) -> None:
    command = world.send("pause", 5, CommandPlan(deliver_after=61, take=0.1))
    lower = world.send("pause", 4, CommandPlan(deliver_after=62, take=0.1), expires=100)
    world.at(70)
    assert (world.result(command), world.result(lower)) == (("Failed", 1), ("Failed", 1))
    assert world.paused == [False, False]


def test_a_command_is_valid_until_the_end_of_its_expiry_second(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(deliver_after=60.5, take=0.4))
    assert world.at(70).result(command) == ("Success", 0)
    assert world.paused == [True, True]


@pytest.mark.parametrize(("action", "before"), [("pause", False), ("unpause", True)])
def test_a_command_that_finishes_late_reverts_what_it_changed(world: World, action: str, before: bool) -> None:
    app, side = world.task.containers
    app.paused, side.paused = before, not before
    command = world.send(action, 1, CommandPlan(deliver_after=55, take=6))
    assert world.at(61).paused == [not before, not before]
    assert world.result(command) == ("InProgress", -1)
    assert world.at(61.1).paused == [before, not before]
    assert world.result(command) == ("Failed", 1)


def test_a_late_command_that_changed_nothing(world: World) -> None:
    for container in world.task.containers:
        container.paused = True
    command = world.send("pause", 1, CommandPlan(deliver_after=55, take=6))
    assert world.at(61).result(command) == ("Failed", 1)
    assert world.paused == [True, True]


def test_a_late_kill_is_not_reverted(world: World) -> None:
    command = world.send("kill", 1, CommandPlan(deliver_after=55, take=6))
    assert world.at(61).result(command) == ("Success", 0)
    assert not world.task.live


def test_a_late_command_is_reverted_before_the_next_command(world: World) -> None:
    world.send("pause", 1, CommandPlan(deliver_after=1, take=15), expires=10)
    second = world.send("pause", 2, CommandPlan(deliver_after=2, take=1))
    assert world.at(16.1).paused == [False, False]
    assert world.at(17.1).paused == [True, True]
    assert world.result(second) == ("Success", 0)


# ── Docker calls that hang ──


def test_a_script_that_takes_exactly_the_timeout(world: World) -> None:
    command = world.send("pause", 1, CommandPlan(deliver_after=1, take=TIMEOUT))
    assert world.at(1 + TIMEOUT).result(command) == ("Success", 0)


@pytest.mark.parametrize("late", [False, True])
def test_the_effect_happens_after_the_reported_timeout(world: World, late: bool) -> None:
    command = world.send("pause", 1, CommandPlan(deliver_after=1, take=40), expires=30 if late else 60)
    assert world.at(20.9).result(command) == ("InProgress", -1)
    assert world.at(21).result(command) == ("ExecutionTimedOut", -1)
    assert world.at(40.9).paused == [False, False]
    assert world.at(41).paused == [True, True]
    assert world.at(42).paused == ([False, False] if late else [True, True])
    assert world.result(command) == ("ExecutionTimedOut", -1)
    assert world.statuses(command) == ["InProgress", "TimedOut"]


# ── Containers that have exited ──


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_a_container_that_has_exited_is_skipped(world: World, action: str) -> None:
    app, side = world.task.containers
    app.paused = action == "unpause"
    world.tasks.host_command(HOST, "kill", [str(side.runtime_id)])
    command = world.send(action, 1)
    assert world.at(1).result(command) == ("Success", 0)
    assert world.paused == [action == "pause", False]


@pytest.mark.parametrize(("action", "result"), [("pause", 1), ("unpause", 1), ("kill", 0)])
def test_a_stopped_task(world: World, action: str, result: int) -> None:
    world.tasks.host_command(HOST, "kill", [str(each.runtime_id) for each in world.task.containers])
    command = world.send(action, 1)
    assert world.at(1).result(command) == ("Failed" if result else "Success", result)


def test_a_forced_failure_stores_no_number(world: World) -> None:
    world.commands.fail_next()
    command = world.send("pause", 5)
    assert world.at(1).result(command) == ("Failed", 1)
    command = world.send("pause", 4)
    assert world.at(2).result(command) == ("Success", 0)
