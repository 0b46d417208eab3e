"""`python -m simulation.mutants [--runs N] [--jobs J] [NAME...]`: what keeps the invariants, taken out one by one.

A simulation that does not notice it is worth nothing: each mutant has to be found within so many runs.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
MOST_RUNS = 2000


@contextmanager
def _without(*clauses: str) -> Iterator[None]:
    """Leave clauses out of the conditions of all writes to a container."""
    from longshore.store import Store

    original = Store._update

    def update(self: Store, after: Any, condition: str, values: dict[str, Any]) -> Any:
        kept = [clause for clause in condition.split(" AND ") if clause not in clauses]
        used = " ".join(kept).split()
        if not kept:
            kept = ["attribute_exists(#status)"]
        return original(self, after, " AND ".join(kept), {k: v for k, v in values.items() if k in used})

    with mock.patch.object(Store, "_update", update):
        yield


def _operation() -> Any:
    """A commit does not ask which operation is pending, nor at which step (and row) it is."""
    return _without("#operation.id = :was_operation", "#log_count = :was_count")


def _generation() -> Any:
    """Nothing asks for the generation."""
    return _without("#generation = :was_generation")


def _row_count() -> Any:
    """Nothing asks for the number of rows."""
    return _without("#log_count = :was_count")


def _nothing_pending() -> Any:
    """A claim does not ask whether something is pending."""
    return _without("attribute_not_exists(#operation)")


@contextmanager
def _client_token() -> Iterator[None]:
    """Each RunTask has a token of its own."""
    from longshore import operations
    from longshore.ecs import Ecs

    original = Ecs.run

    def run(self: Ecs, runtime: Any, server: Any, started_by: str, client_token: str) -> Any:
        return original(self, runtime, server, started_by, operations.new_id())

    with mock.patch.object(Ecs, "run", run):
        yield


class _Newest(int):
    """A version that is higher than any other, on either side of a comparison."""

    def __le__(self, other: int) -> bool:
        return False

    def __lt__(self, other: int) -> bool:
        return False

    def __gt__(self, other: int) -> bool:
        return True

    def __ge__(self, other: int) -> bool:
        return True


@contextmanager
def _event_version() -> Iterator[None]:
    """An event is believed whatever its version."""
    from longshore.observed import TaskEvents

    original = TaskEvents.look_at

    def look_at(self: TaskEvents, task: Any, cluster: str) -> Any:
        return original(self, task._replace(version=_Newest(task.version)), cluster)

    with mock.patch.object(TaskEvents, "look_at", look_at):
        yield


@contextmanager
def _event_task() -> Iterator[None]:
    """An event is believed whichever of the container's tasks it is about."""
    from longshore.observed import TaskEvents

    original = TaskEvents.look_at

    def look_at(self: TaskEvents, task: Any, cluster: str) -> Any:
        container = self._store.container(task.started_by)
        if container is not None and container.task_arn is not None:
            task = task._replace(arn=container.task_arn)
        return original(self, task, cluster)

    with mock.patch.object(TaskEvents, "look_at", look_at):
        yield


@contextmanager
def _transaction() -> Iterator[None]:
    """The row of history is written after the container, and not with it."""
    from longshore.store import Store

    original = Store._write

    def write(self: Store, items: Any) -> Any:
        rows = [item for item in items if item.get("Put", {}).get("TableName") == self._status_logs]
        refused = original(self, [item for item in items if item not in rows])
        if refused is None and rows:
            original(self, rows)
        return refused

    with mock.patch.object(Store, "_write", write):
        yield


@contextmanager
def _recovery() -> Iterator[None]:
    """The sweep drives nothing on."""
    from longshore.sweeps import Recovery

    with mock.patch.object(Recovery, "_recover", return_value="left"):
        yield


@contextmanager
def _step() -> Iterator[None]:
    """Whoever takes an operation over drives it on from its beginning instead of from its step."""
    from longshore.lifecycle import Operation, Step
    from longshore.operations import Operations

    original = Operations.resume

    def resume(self: Operations, container: Any, until: Any, **more: Any) -> Any:
        pending = container.operation
        if pending is not None and pending.operation is Operation.RESTART:
            pending = pending.model_copy(update={"step": Step.STOP})
            container = container.model_copy(update={"operation": pending})
            with _without("#log_count = :was_count"):
                return original(self, container, until, **more)
        return original(self, container, until, **more)

    with mock.patch.object(Operations, "resume", resume):
        yield


MUTANTS: dict[str, Callable[[], Any]] = {
    "operation": _operation,
    "generation": _generation,
    "row-count": _row_count,
    "nothing-pending": _nothing_pending,
    "client-token": _client_token,
    "event-version": _event_version,
    "event-task": _event_task,
    "transaction": _transaction,
    "recovery": _recovery,
    "step": _step,
}


def hunt(name: str, runs: int, seed: int) -> tuple[int, str] | None:
    """How many runs it took to find the mutant, and what was found; None when it survived."""
    from simulation.run import run

    for number in range(runs):
        report = run(str(seed + number), mutation=MUTANTS[name])
        # What goes wrong without the mutant too was not found because of it.
        if report.violation and not run(str(seed + number)).violation:
            return number + 1, report.violation
    return None


def main() -> int:
    """Returns 1 when a mutant survived."""
    parser = argparse.ArgumentParser(prog="simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MUTANTS)}; all by default")
    parser.add_argument("--runs", type=int, default=MOST_RUNS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    names = arguments.names or list(MUTANTS)
    survived = 0
    with ProcessPoolExecutor(arguments.jobs) as executor:
        found = executor.map(hunt, names, [arguments.runs] * len(names), [arguments.seed] * len(names))
        for name, result in zip(names, found, strict=True):
            if result is None:
                survived += 1
                print(f"{name:16} SURVIVED {arguments.runs} runs", flush=True)
            else:
                print(f"{name:16} found after {result[0]} runs: {result[1].splitlines()[0][:150]}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common"), str(ROOT / "tests")]
    sys.exit(main())
