"""Tests that the checks of live tasks have no excuses but the documented ones."""

from datetime import timedelta
from typing import Any

import pytest

from simulation.alive import Call
from simulation.hostility import Hostility
from simulation.records import Violation
from simulation.scheduler import Actor
from simulation.setup import CLUSTER, HOSTS
from simulation.world import World

_CONTAINER = "507f1f77bcf86cd799439011"


class Scene:
    """A container in the records of the checks, and the RunTask calls of its drivers."""

    def __init__(self) -> None:
        self.world = World("1", hostility=Hostility.none())
        self.ledger, self.alive = self.world.ledger, self.world.ledger.alive
        self.world.catalog.add_task_definition("web", [{"name": "app", "memory": 128, "essential": True}])
        self.world.ecs.add_instance(CLUSTER, HOSTS[0])
        self.pending("one")

    def pending(self, operation_id: str | None) -> None:
        """Make an operation the pending one."""
        item: dict[str, Any] = {"id": _CONTAINER, "status": "stopped"}
        self.ledger.containers[_CONTAINER] = item | ({"operation": {"id": operation_id}} if operation_id else {})

    def looks(self, name: str) -> Actor:
        actor = Actor(name, timedelta(), None)
        self.alive.looked(actor, _CONTAINER)
        return actor

    def sends(self, actor: Actor, token: str = "token") -> Call:
        return self.alive.sends(actor, {"startedBy": _CONTAINER, "clientToken": token})

    def creates(self, call: Call) -> str:
        """Let ECS process a call that creates a task. Returns the task's ARN."""
        task = self.world.ecs.adopt_running(CLUSTER, "web", _CONTAINER)
        self.alive.over(call)
        self.ledger.ran([{"taskArn": task.arn}], call.token, call)
        return task.arn


def test_a_second_live_task_is_a_violation_although_the_first_was_asked_to_stop() -> None:
    scene = Scene()
    first = scene.world.ecs.task(scene.creates(scene.sends(scene.looks("driver"))))
    scene.world.ecs.handle("StopTask", {"cluster": CLUSTER, "task": first.arn})
    assert first.desired_status == "STOPPED"
    with pytest.raises(Violation, match="RunTask created a second live task"):
        scene.creates(scene.sends(scene.looks("driver"), "other token"))


def test_a_call_that_was_sent_before_its_driver_lost_the_operation_is_excused_and_counted() -> None:
    scene = Scene()
    call = scene.sends(scene.looks("driver"))
    scene.pending("two")
    scene.creates(scene.sends(scene.looks("other"), "other token"))
    late = scene.creates(call)
    assert scene.alive.late == {late}
    assert scene.world.stats["late task: its RunTask was already sent"] == 1
    assert scene.world.stats["late task beside a live task"] == 1


def test_a_call_that_was_decided_before_is_excused_once() -> None:
    scene = Scene()
    driver = scene.looks("driver")
    scene.pending("two")
    scene.creates(scene.sends(driver))
    assert scene.world.stats["late task: its RunTask was already decided"] == 1
    with pytest.raises(Violation, match="a repeated RunTask created the task"):
        scene.creates(scene.sends(driver))


def test_a_look_at_the_item_shows_that_the_operation_is_lost() -> None:
    scene = Scene()
    driver = scene.looks("driver")
    scene.creates(scene.sends(driver))
    scene.pending("two")
    scene.alive.looked(driver, _CONTAINER)
    with pytest.raises(Violation, match="RunTask created a second live task"):
        scene.creates(scene.sends(driver, "other token"))


def test_stopped_is_a_violation_while_a_call_is_under_way() -> None:
    scene = Scene()
    call = scene.sends(scene.looks("driver"))
    with pytest.raises(Violation, match="stopped is written while a RunTask call is under way"):
        scene.alive.check_stopped(_CONTAINER)
    scene.alive.over(call)
    scene.alive.check_stopped(_CONTAINER)


@pytest.mark.parametrize("disturbed", [False, True])
def test_an_absent_task_is_excused_until_a_function_that_was_shown_it_has_ended_without_faults(disturbed: bool) -> None:
    scene = Scene()
    arn = scene.creates(scene.sends(scene.looks("driver")))
    scene.alive.hides(arn)
    scene.alive.check_stopped(_CONTAINER)
    sweep = Actor("sweep", timedelta(), None)
    sweep.disturbed = disturbed
    scene.alive.shows_again(sweep, arn)
    scene.alive.ended(sweep)
    if disturbed:
        scene.alive.check_stopped(_CONTAINER)
    else:
        with pytest.raises(Violation, match="stopped is written, and the task"):
            scene.alive.check_stopped(_CONTAINER)


@pytest.mark.parametrize(("tasks", "valid"), [(0, False), (1, True), (2, False)])
def test_running_needs_exactly_one_live_task(tasks: int, valid: bool) -> None:
    scene = Scene()
    for _ in range(tasks):
        scene.world.ecs.adopt_running(CLUSTER, "web", _CONTAINER)
    if valid:
        scene.alive.check_running(_CONTAINER)
    else:
        with pytest.raises(Violation, match="running is written"):
            scene.alive.check_running(_CONTAINER)


@pytest.mark.parametrize("stuck", [False, True])
def test_a_task_on_a_lost_host_or_a_stuck_task_does_not_stop_until_it_recovers(stuck: bool) -> None:
    scene = Scene()
    ecs, scheduler = scene.world.ecs, scene.world.scheduler
    task = ecs.adopt_running(CLUSTER, "web", _CONTAINER)
    if stuck:
        ecs.stuck_rate = 1.0
    else:
        ecs.lose(HOSTS[0])
    ecs.handle("StopTask", {"cluster": CLUSTER, "task": task.arn})
    scheduler.now += timedelta(hours=20)
    ecs.advance(scheduler.now)
    assert (task.desired_status, task.last_status) == ("STOPPED", "STOPPING")
    ecs.recover()
    scheduler.now += timedelta(seconds=1)
    ecs.advance(scheduler.now)
    assert task.last_status == "STOPPED"
