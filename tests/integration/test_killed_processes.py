"""Tests that the operations of killed processes settle, on DynamoDB Local.

A process performs operations on a few containers from several threads, and is killed at a random time. Then the next
process continues with the same containers. The test kills 20 processes, or 100 with LONGSHORE_SCALE=full.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import killed_child
import pytest
from conftest import QUICK, database_url
from invariants import all_rows, check
from killed_child import CONTAINERS
from settling import PATIENCE, eventually, make_overdue, pending, recover_all

from local.emulator import Credentials
from local.seed import Seeder
from local.stack import LocalStack

KILLS = 100 if os.environ.get("LONGSHORE_SCALE") == "full" else 20
SEED = 20250115


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    database = database_url("dynamodb-local")
    parameters = {"WaitSeconds": "2"}
    with LocalStack(
        port=0,
        dynamodb=database,
        credentials=Credentials.random(),
        parameters=parameters,
        emulator_options=QUICK,
        streams=False,
    ) as local:
        yield local


class Child:
    """Starts processes that perform operations until they are killed."""

    def __init__(self, library: Path) -> None:
        # The stack has set the environment of this process, so the child inherits tables and endpoints.
        self._process = subprocess.Popen(
            [sys.executable, killed_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(library)},
        )

    def start(self, seed: int) -> int:
        """Start a process. Returns its pid when it performs operations."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        return int(self._line())

    def kill(self, pid: int) -> None:
        """Kill the process, and wait until it has ended."""
        os.kill(pid, signal.SIGKILL)
        assert self._line() == "gone"

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def test_operations_of_killed_processes_settle(stack: LocalStack) -> None:
    assert stack.template is not None
    for identity in CONTAINERS:
        Seeder(stack).add(identity, ["stopped"])
    chance = random.Random(SEED)
    left: Counter[str] = Counter()
    child = Child(stack.template.layers[0])
    try:
        for number in range(KILLS):
            # Sometimes no events are delivered, and only the sweeps settle operations.
            with stack.eventbridge.losing_events() if chance.random() < 0.3 else nullcontext():
                pid = child.start(SEED + number)
                time.sleep(chance.uniform(0.02, 0.8))
                child.kill(pid)
            for item in pending(stack):
                left[_pending(stack, item["id"]["S"])] += 1
                # The next process sweeps some of them, and conflicts with the others.
                if chance.random() < 0.5:
                    make_overdue(stack, item["id"]["S"])
    finally:
        child.close()

    sweeps = recover_all(stack, patience=300)
    # A request of a killed process may take effect after its operation was superseded, without an event.
    stack.invoke("RecoverFunction", {"sweep": "drift"})
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    sweeps += recover_all(stack, patience=300)
    eventually(lambda: [task.id for task in stack.emulator.ecs.live() if task.desired_status == "STOPPED"], _nothing)

    rows = [row for identity in CONTAINERS for row in all_rows(stack, identity)]
    left.pop("", None)
    print(
        f"{KILLS} kills left {left.total()} operations pending {dict(left)}; {sweeps} sweeps; {len(rows)} rows "
        f"{dict(Counter(row['to_status'] for row in rows))}; {len(stack.dead_letters)} dead letters"
    )
    assert left.total() > 0
    for identity in CONTAINERS:
        check(stack, identity)


def _nothing(found: list[str]) -> bool:
    return not found


def _pending(stack: LocalStack, identity: str) -> str:
    """Return the pending operation and its step, or an empty string."""
    item = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )["Item"]
    operation = item.get("operation", {}).get("M")
    return f"{operation['operation']['S']}/{operation['step']['S']}" if operation else ""
