"""doctor: healthy containers have no faults, and invalid arguments are refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
from api_client import Api
from corruption import OLD, change, change_row, faults_of
from invariants import check

from admin.doctor import Doctor
from admin.target import local
from local.emulator import Emulator
from local.seed import Seeder, seed
from local.stack import LocalStack

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps", "no_waiting")


def test_the_seeded_stack_has_no_faults(run: Any, stack: LocalStack) -> None:
    seed(stack, 10)
    ran = run("doctor", "--all")
    assert (ran.code, ran.out, ran.err) == (0, "", "7 checked, 0 with faults.\n")


def test_no_false_faults_while_operations_run(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    ids = [f"{number:x}{fresh_id[1:]}" for number in range(1, 5)]
    for identity in ids:
        seeder.add(identity, OLD)
    done = threading.Event()
    answered: list[str] = []

    def operate(identity: str) -> None:
        operations = cycle(("pause", "force-stop", "start", "restart", "pause", "resume", "stop", "restart"))
        while not done.is_set():
            if api.post(identity, next(operations)).status_code == 200:
                answered.append(identity)

    # The check does not wait for operations or events to finish.
    looked = Doctor.of(local())
    with ThreadPoolExecutor(len(ids)) as executor:
        callers = [executor.submit(operate, identity) for identity in ids]
        try:
            rounds = 0
            while rounds < 3 or len(answered) < 20:
                rounds += 1
                ran = run("doctor", *ids)
                assert ran.out == ""
                assert ran.code in (0, 3)
                present = looked.present(ids)
                for identity in ids:
                    look = looked.examine(identity, present)
                    assert look is None or look.faults == []
        finally:
            done.set()
    for caller in callers:
        caller.result()
    assert all(check(stack, identity) for identity in ids)


@pytest.mark.parametrize("schema", [2, 4])
def test_items_of_other_versions_have_no_faults(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, schema: int
) -> None:
    """Version 0.2 wrote no ledger, and later versions may write more attributes."""
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, schema=schema, **({"tasks": None} if schema == 2 else {"later": "x"}))
    change_row(stack, fresh_id, 3, schema=schema)
    assert faults_of(run, fresh_id) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "specify either ids or --all"),
        (["--all", "0" * 24], 2, "specify either ids or --all"),
        (["X"], 1, "The id must be 24 characters of 0-9a-f, not 'X'."),
    ],
)
def test_invalid_arguments_are_refused(run: Any, arguments: list[str], code: int, message: str) -> None:
    refused = run("doctor", *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err


def test_a_failure_of_ecs_is_not_a_fault(run: Any, seeder: Seeder, emulator: Emulator, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    emulator.faults.add("ecs", "ListTasks", "AccessDeniedException", status=400, times=None)
    failed = run("doctor", fresh_id)
    assert (failed.code, failed.out) == (3, "")
    assert failed.err == "error: Longshore is not permitted to do this on the cluster.\n"
