"""doctor: containers compared with their tasks in ECS, and repairs by the drift sweep."""

from __future__ import annotations

from typing import Any

import pytest
from corruption import OLD, faults_of
from invariants import check
from longshore.domain.ledger import BETWEEN_LOOKS
from settling import eventually, set_looks_back

from admin import doctor
from admin.doctor import Doctor
from local.emulator import Emulator
from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps", "no_waiting")


def test_a_running_container_without_a_task(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    ran = run("doctor", fresh_id)
    assert (ran.code, ran.err) == (1, "1 checked, 1 with faults.\n")
    assert ran.out == f"{fresh_id} TASK_MISSING the container is running, but ECS does not show its task\n"
    repaired = run("doctor", fresh_id, "--repair")
    assert repaired.code == 0
    assert (
        repaired.out == f"{fresh_id} TASK_MISSING the container is running, but ECS does not show its task (repaired)\n"
    )
    assert repaired.err == (
        "Running the drift sweep.\n"
        "ECS does not show a task or service: running the drift sweep again in half a minute.\n"
        "1 checked, 1 with faults, 1 repaired.\n"
    )
    assert check(stack, fresh_id)["status"] == "failed"
    assert faults_of(run, fresh_id) == []


def test_a_task_that_one_sweep_did_not_find_needs_one_more_sweep(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)

    def is_missed() -> bool:
        # A sweep on a busy machine may fail to reach ECS. The next one tries again.
        stack.invoke("RecoverFunction", {"sweep": "drift"})
        return set_looks_back(stack, fresh_id)

    eventually(is_missed)
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    assert repaired.err == "Running the drift sweep.\n1 checked, 1 with faults, 1 repaired.\n"
    assert check(stack, fresh_id)["status"] == "failed"


@pytest.mark.parametrize("arguments", [("--all",), ()])
def test_a_task_that_ecs_does_not_show_for_a_moment_is_not_a_fault(
    run: Any,
    stack: LocalStack,
    seeder: Seeder,
    fresh_id: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    waits: list[None] = []

    def shown_after_the_wait(_: Doctor) -> None:
        waits.append(None)
        stack.emulator.ecs.show(task.arn)

    monkeypatch.setattr(Doctor, "wait_between_looks", shown_after_the_wait)
    stack.emulator.ecs.hide(task.arn)
    assert faults_of(run, *(arguments or (fresh_id,))) == []
    assert len(waits) == 1


def test_doctor_waits_as_long_as_operations_and_sweeps_do() -> None:
    assert BETWEEN_LOOKS.total_seconds() < doctor._BETWEEN_LOOKS < 2 * BETWEEN_LOOKS.total_seconds()


def test_a_task_that_has_just_stopped_is_not_a_fault(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(task.arn, 1)
        assert faults_of(run, fresh_id) == []
    assert task.stopped_at is not None
    task.stopped_at = task.stopped_at.replace(year=2025)
    message = f"the container is running, but its task {task.id} has stopped"
    assert faults_of(run, fresh_id) == [("TASK_MISSING", message)]
    assert run("doctor", fresh_id, "--repair").code == 0


def test_a_second_task(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    stray = stack.emulator.ecs.adopt_running("default", "web", started_by=fresh_id)
    for arguments in ((fresh_id,), ("--all",)):
        assert faults_of(run, *arguments) == [
            ("TASK_UNEXPECTED", f"the container is running, and the unexpected task {stray.id} is running for it")
        ]
    # The drift sweep stops the task, as it does every 15 minutes.
    assert run("doctor", fresh_id, "--repair").code in (0, 1)
    eventually(lambda: not stray.live)
    assert faults_of(run, fresh_id) == []
    assert check(stack, fresh_id)["status"] == "running"


def test_a_running_task_of_a_stopped_container(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    stray = stack.emulator.ecs.adopt_running("default", "web", started_by=fresh_id)
    fault = ("TASK_UNEXPECTED", f"the container is stopped, and the unexpected task {stray.id} is running for it")
    assert faults_of(run, fresh_id) == [fault]
    # The drift sweep stops it.
    assert run("doctor", fresh_id, "--repair").code in (0, 1)
    eventually(lambda: not stray.live)


def test_a_failed_sweep_is_reported(
    run: Any, stack: LocalStack, seeder: Seeder, emulator: Emulator, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    emulator.faults.add(
        "dynamodb", "Scan", "AccessDeniedException", status=400, times=None, match=lambda scan: "IndexName" in scan
    )
    failed = run("doctor", fresh_id, "--repair")
    assert failed.code == 3
    assert "The recovery function failed: see its log." in failed.err
    emulator.faults.clear()
    assert run("doctor", fresh_id, "--repair").code == 0
