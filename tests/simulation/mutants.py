"""Remove the guards of the engine one at a time, and check that the simulation detects each removal.

Usage: `python -m simulation.mutants [--runs N] [--jobs J] [NAME...]`. Each mutant has to be detected within the given
number of runs. Some mutants reintroduce a fault that the engine once had.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from simulation.conditions import without
from simulation.ledger_mutants import LEDGER
from simulation.lifetime_mutants import LIFETIMES
from simulation.service_mutants import SERVICES

ROOT = Path(__file__).resolve().parents[2]
MOST_RUNS = 2000


# --- write conditions -------------------------------------------------------------------------------------------------


def operation() -> Any:
    """Commit without the condition on the pending operation and its step (and row)."""
    return without("#operation.id = :was_operation", "#log_count = :was_count")


def generation() -> Any:
    """Write without the condition on the generation."""
    return without("#generation = :was_generation")


def row_count() -> Any:
    """Write without the condition on the number of rows."""
    return without("#log_count = :was_count")


def nothing_pending() -> Any:
    """Claim without the condition that no operation is pending."""
    return without("attribute_not_exists(#operation)")


@contextmanager
def transaction() -> Iterator[None]:
    """Write the history row after the container instead of in the same transaction."""
    from longshore.aws.transactions import Transactions

    original = Transactions.write

    def write(self: Transactions, items: Any, **options: Any) -> Any:
        rows = [item for item in items if "from_rank" in item.get("Put", {}).get("Item", {})]
        refused = original(self, [item for item in items if item not in rows], **options)
        if refused is None and rows:
            original(self, rows)
        return refused

    with mock.patch.object(Transactions, "write", write):
        yield


# --- other guards ----------------------------------------------------------------------------------------------------


@contextmanager
def client_token() -> Iterator[None]:
    """Use a new client token for each RunTask."""
    from longshore.aws.ecs import Ecs
    from longshore.domain import ids

    original = Ecs.run

    def run(self: Ecs, runtime: Any, server: Any, started_by: str, client_token: str) -> Any:
        return original(self, runtime, server, started_by, ids.new_id())

    with mock.patch.object(Ecs, "run", run):
        yield


@contextmanager
def recovery() -> Iterator[None]:
    """Let the recovery sweep continue no operation."""
    from longshore.engine.sweeps import Recovery

    with mock.patch.object(Recovery, "_take", return_value="left"):
        yield


@contextmanager
def command_number() -> Iterator[None]:
    """Give every command to a host the same number."""
    from longshore.engine import driver, operations, settle

    with (
        mock.patch.object(driver, "next_command_number", return_value=1),
        mock.patch.object(settle, "next_command_number", return_value=1),
        mock.patch.object(operations, "next_command_number", return_value=1),
    ):
        yield


# --- faults that the engine has had -----------------------------------------------------------------------------------


@contextmanager
def stop_task_proves_absence() -> Iterator[None]:
    """Treat a task that StopTask does not find as gone."""
    from longshore.engine.attempt import Attempt

    stop = Attempt.stop

    def stopped(self: Attempt, token: str, reason: str) -> Any:
        task = stop(self, token, reason)
        if task is None and token in self.tasks:
            self._remove(token, None)
        return task

    with (
        mock.patch.object(Attempt, "stop", stopped),
        mock.patch.object(Attempt, "_stop_or_look", lambda self, token, reason, _: self.stop(token, reason)),
    ):
        yield


@contextmanager
def retries_count_as_attempts() -> Iterator[None]:
    """Count a caller's retries as attempts, and take over without waiting for a command."""
    from longshore.engine import settle
    from longshore.engine.driver import Driver

    original = Driver.take_over

    def take_over(self: Driver, container: Any, until: Any, *, for_caller: bool = False) -> Any:
        if for_caller and container.operation is not None:
            counted = container.operation.model_copy(update={"attempts": container.operation.attempts + 1})
            container = container.model_copy(update={"operation": counted})
        return original(self, container, until, for_caller=for_caller)

    with (
        mock.patch.object(Driver, "take_over", take_over),
        mock.patch.object(settle, "LEAST_TIME", timedelta()),
        mock.patch.object(settle, "awaits_host", return_value=False),
    ):
        yield


@contextmanager
def refusal_hides_effects() -> Iterator[None]:
    """Report no effect after a refusal although an earlier call of the attempt had an effect."""
    from longshore.engine.observations import NoEffect, Uncertain
    from longshore.engine.steps import Steps

    original = Steps.run

    def run(self: Steps, *arguments: Any, **options: Any) -> Any:
        from longshore.engine.attempt import Attempt

        refused: list[str] = []
        retry = Attempt.retry

        def retrying(attempt: Attempt, call: Any, *, effect: bool = True, **more: Any) -> Any:
            from longshore.aws.ecs import EcsError

            try:
                return retry(attempt, call, effect=effect, **more)
            except EcsError as error:
                if error.no_effect:
                    refused.append(error.reason)
                raise

        with mock.patch.object(Attempt, "retry", retrying):
            result = original(self, *arguments, **options)
        findings = result.findings._replace(acted=False)
        observation = result.observation
        if isinstance(observation, Uncertain) and refused:
            observation = NoEffect(observation.reason)
        return result._replace(observation=observation, findings=findings)

    with mock.patch.object(Steps, "run", run):
        yield


@contextmanager
def accepted_ends_without_row() -> Iterator[None]:
    """Undo an operation that cannot be placed although a caller was answered 202."""
    from longshore.engine import settle

    def nothing_happened(pending: Any, findings: Any) -> bool:
        return not findings.acted and not pending.has_row and pending.superseded is None

    with mock.patch.object(settle, "_nothing_happened", nothing_happened):
        yield


@contextmanager
def schedules_override_requests() -> Iterator[None]:
    """Let a scheduled run ignore what was requested since its scheduled time."""
    from longshore.engine import schedules
    from longshore.engine.operations import Operations

    def is_exempt(container: Any, wanted: Any, _: Any) -> bool:
        return wanted.project_id not in (None, container.project_id)

    with (
        mock.patch.object(Operations, "_requested_since", staticmethod(lambda *_: False)),
        mock.patch.object(schedules, "_is_exempt", is_exempt),
        mock.patch.object(schedules, "LATEST", timedelta(days=2)),
    ):
        yield


@contextmanager
def commands_without_expiry() -> Iterator[None]:
    """Send commands to hosts without their own number and expiry."""
    from longshore.domain.pending import PendingOperation

    year = timedelta(days=365)
    with ExitStack() as stack:
        stack.enter_context(command_number())
        expiry = property(lambda self: self.started_at + year)
        stack.enter_context(mock.patch.object(PendingOperation, "command_expiry", expiry))
        yield


@contextmanager
def retry_conflicts_with_own_key() -> Iterator[None]:
    """Answer a retry with a conflict with the pending operation of its own key."""
    from longshore.engine.operations import Operations

    with mock.patch.object(Operations, "_is_of_same_key", staticmethod(lambda *_: False)):
        yield


@contextmanager
def tokens_never_expire() -> Iterator[None]:
    """Reuse client tokens regardless of their age."""
    from longshore.engine import steps

    with mock.patch.object(steps, "TOKEN_REUSED", timedelta(days=365)):
        yield


MUTANTS: dict[str, Callable[[], Any]] = {
    "stop-task-proves-absence": stop_task_proves_absence,
    "retries-count-as-attempts": retries_count_as_attempts,
    "refusal-hides-effects": refusal_hides_effects,
    "accepted-ends-without-row": accepted_ends_without_row,
    "schedules-override-requests": schedules_override_requests,
    "commands-without-expiry": commands_without_expiry,
    "retry-conflicts-with-own-key": retry_conflicts_with_own_key,
    "tokens-never-expire": tokens_never_expire,
    **LEDGER,
    **LIFETIMES,
    **SERVICES,
    "operation": operation,
    "generation": generation,
    "row-count": row_count,
    "nothing-pending": nothing_pending,
    "transaction": transaction,
    "client-token": client_token,
    "recovery": recovery,
    "command-number": command_number,
}


def hunt(name: str, runs: int, seed: int) -> tuple[int, str] | None:
    """Search for a run that detects the mutant.

    Returns:
        The number of runs and the violation, or None if no run detected the mutant.
    """
    from simulation.run import run

    only = ["services"] if name in SERVICES else None
    for number in range(runs):
        report = run(str(seed + number), mutation=MUTANTS[name], only=only)
        # A violation that also occurs without the mutant does not count.
        if report.violation and not run(str(seed + number), only=only).violation:
            return number + 1, report.violation
    return None


def main() -> int:
    """Return 1 if a mutant was not detected."""
    parser = argparse.ArgumentParser(prog="simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MUTANTS)}; default: all")
    parser.add_argument("--runs", type=int, default=MOST_RUNS, help="most runs for a mutant")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    arguments = parser.parse_args()
    names = arguments.names or list(MUTANTS)
    survived = 0
    with ProcessPoolExecutor(arguments.jobs) as executor:
        found = executor.map(hunt, names, [arguments.runs] * len(names), [arguments.seed] * len(names))
        for name, result in zip(names, found, strict=True):
            if result is None:
                survived += 1
                print(f"{name:28} NOT DETECTED in {arguments.runs} runs", flush=True)
            else:
                print(f"{name:28} detected after {result[0]} runs: {result[1].splitlines()[0][:150]}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common"), str(ROOT / "tests")]
    from simulation.pipes import exit_with

    exit_with(main)
