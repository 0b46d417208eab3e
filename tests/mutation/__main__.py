"""Test a random sample of N mutants of the engine, determined by a seed.

Usage: `python -m mutation --mutants N --seed S [--jobs J]`. The exit status is 1 if the tests detect less than 90 % of
the mutants that are not equivalent. It is 2 without a valid result: the unmutated code fails, the list of equivalent
mutants is invalid, or a module or test does not exist.
"""

import argparse
import fcntl
import hashlib
import queue
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mutation.catalogue import EquivalentsError, Mutant, describe_file, read_equivalents, read_modules, sample
from mutation.results import EQUIVALENT, FOUND, SURVIVED, Results
from mutation.settings import COMMANDS, EQUIVALENTS, LEAST_FOUND, MODULES, ROOT, WORK, Command
from mutation.trial import Copy, Processes, Trial, Verdict


class InvalidRunError(Exception):
    """The run has no valid result."""


class Run:
    """Tests the mutants of a sample that have no result yet, several at a time."""

    def __init__(self, mutants: list[Mutant], results: Results, copies: list[Copy], commands: list[Command]) -> None:
        self._mutants = mutants
        self._results = results
        self._processes = Processes()
        self._trial = Trial(commands, self._processes)
        self._copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in copies:
            self._copies.put(copy)
        self._jobs = len(copies)

    def baseline(self) -> None:
        """Run the commands on the unmutated code, in all copies in parallel.

        Raises:
            InvalidRunError: A command failed.
        """
        with self._threads() as executor:
            futures = [executor.submit(self._try, None) for _ in range(self._jobs)]
            for verdict in [future.result() for future in futures]:
                if verdict.command is not None:
                    how = "timed out" if verdict.timed_out else "failed"
                    raise InvalidRunError(f"{verdict.output}\n{verdict.command} {how} on the unmutated code")
        print(f"The unmutated code passes in {verdict.seconds:.0f} s", flush=True)

    def mutants(self) -> None:
        """Test the mutants, and print a line for each."""
        waiting = iter([number for number in range(len(self._mutants)) if number not in self._results])
        running: dict[Future[Verdict], int] = {}
        with self._threads() as executor:
            while True:
                for number in waiting:
                    running[executor.submit(self._try, self._mutants[number])] = number
                    if len(running) == self._jobs:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._note(running.pop(future), future.result())

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Provide a thread per copy. An error or an interrupt ends the processes that they run."""
        with ThreadPoolExecutor(self._jobs) as executor:
            try:
                yield executor
            except BaseException:
                self._processes.stop()
                raise

    def _try(self, mutant: Mutant | None) -> Verdict:
        copy = self._copies.get()
        try:
            if mutant is None:
                return self._trial.run(copy)
            return self._trial.run(copy, mutant)
        finally:
            self._copies.put(copy)

    def _note(self, number: int, verdict: Verdict) -> None:
        mutant = self._mutants[number]
        self._results.add(number, mutant, FOUND if verdict.command else SURVIVED, verdict)
        progress = f"[{len(self._results):3}/{len(self._mutants)}]"
        if verdict.command is None:
            print(f"{progress} SURVIVED {verdict.seconds:.1f} s  {mutant.name}\n{mutant.diff}", flush=True)
        else:
            how = "timeout of " if verdict.timed_out else ""
            print(f"{progress} found by {how}{verdict.command} in {verdict.seconds:.1f} s  {mutant.name}", flush=True)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("--mutants", type=int, default=200, help="size of the sample (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="number of mutants tested in parallel")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _alone(ROOT / WORK):
            return _run(arguments.mutants, arguments.seed, arguments.jobs)
    except InvalidRunError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The same command resumes the run.", file=sys.stderr)
        return 130


def _run(count: int, seed: int, jobs: int) -> int:
    sites, missing = read_modules(ROOT, MODULES)
    if count > len(sites):
        raise InvalidRunError(f"There are only {len(sites)} places to mutate")
    mutants = sample(sites, count, seed)
    files = _tracked_files()
    try:
        equivalents = read_equivalents((ROOT / EQUIVALENTS).read_text(), sites)
    except EquivalentsError as error:
        raise InvalidRunError(f"{EQUIVALENTS}: {error}") from error
    commands = [command for command in COMMANDS if (ROOT / command.requires).exists()]
    print(f"{count} of {len(sites)} places ({sum(map(len, sites))} mutants), seed {seed}")
    print(f"{len(equivalents)} mutants listed as equivalent. {describe_file(ROOT, EQUIVALENTS)}", flush=True)

    results = Results(ROOT / WORK / "results.json", {"mutants": count, "seed": seed, "tested": _digest(files)})
    if results.set_aside:
        print(f"The results of another run (other mutants, seed or code) are kept in {results.set_aside.name}")
    if len(results):
        print(f"Resuming: {len(results)} of {count} already have results")
    for number, mutant in enumerate(mutants):
        if mutant.identity in equivalents and number not in results:
            results.add(number, mutant, EQUIVALENT, None, equivalents[mutant.identity])
    if len(results) < count:
        copies = [Copy(ROOT, ROOT / WORK / f"worker-{number}", files) for number in range(1, jobs + 1)]
        before = len(results)
        run = Run(mutants, results, copies, commands)
        run.baseline()
        baseline = _cpu_seconds()
        run.mutants()
        print(f"CPU time: {(_cpu_seconds() - baseline) / (count - before):.1f} s per mutant")
    return _report(mutants, results, missing, [each.name for each in COMMANDS if each not in commands])


def _report(mutants: list[Mutant], results: Results, missing: list[str], not_run: list[str]) -> int:
    print("\nMutants that survived:")
    for number in results.survivors:
        print(f"\n{mutants[number].name}\n{mutants[number].diff}")
    found_by = (f"{name} {number}" for name, number in results.found_by.most_common())
    print("\nFound by: " + "; ".join(found_by))
    for field in ("module", "kind"):
        print(f"\nBy {field}: " + "; ".join(f"{value} {of}" for value, of in results.by(field).items()))
    per_mutant = results.seconds / max(1, len(results))
    print(f"\nTotal time of all commands: {results.seconds:.0f} s, {per_mutant:.0f} s per mutant")
    for module in missing:
        print(f"ERROR: the module {module} does not exist, so it was not mutated")
    for name in not_run:
        print(f"ERROR: {name} not found, so no mutant was tested with it")
    line, share = results.summary()
    print(line, flush=True)
    return 2 if missing or not_run else int(share < LEAST_FOUND)


def _cpu_seconds() -> float:
    """Return the CPU time of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _digest(files: list[str]) -> str:
    """Return a hash of the tracked files as they are in the working tree."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{name}\0{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[Any]:
    """Prevent a second run in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidRunError("Another run is in progress") from error
        yield lock


if __name__ == "__main__":
    sys.exit(main())
