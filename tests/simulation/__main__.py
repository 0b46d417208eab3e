"""Simulate runs with consecutive seeds, and check the invariants of each.

Usage: `python -m simulation --runs N --seed S [--trace] [--jobs J]`
"""

import argparse
import random
import re
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 80  # lines of the trace of a violation
_CHUNK = 25  # runs per job of a process
_OPERATIONS = ("start", "stop", "force-stop", "restart", "pause", "resume")


class Options(NamedTuple):
    """The options that each worker process needs."""

    traced: bool
    find: str | None
    twice: bool
    only: list[str] | None
    liveness: bool | None
    faultless: bool
    first_version: str
    deployed_during: str

    def settings(self, seed: int) -> dict[str, Any]:
        """Return the arguments of `run` for a seed."""
        from simulation.hostility import Hostility

        hostility = None
        if self.first_version:
            rng = random.Random(f"{seed}/hostility")
            hostility = Hostility.of_deployment(rng, self.first_version, self.deployed_during)
        return {
            "only": self.only,
            "liveness": self.liveness,
            "faultless": self.faultless,
            "hostility": hostility,
        }


class Found(NamedTuple):
    """A run to print: it was traced, or it violated an invariant."""

    seed: int
    violation: str | None
    trace: list[str]
    behaviours: list[str]


def main() -> int:
    """Return 1 if an invariant was violated or a behaviour occurred too rarely."""
    arguments = _arguments()
    options = Options(
        arguments.trace,
        arguments.find,
        arguments.twice,
        [name for name in arguments.only.split(",") if name != "none"] if arguments.only else None,
        True if arguments.liveness else None,
        arguments.no_faults,
        arguments.first_version or "",
        arguments.deployed_during or "",
    )
    began = time.perf_counter()
    stats: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    first: dict[str, int] = {}
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(arguments.jobs) as executor:
        for reports, lines, summed in executor.map(_chunk, chunks, [options] * len(chunks)):
            stats += summed
            for line in lines:
                print(line, flush=True)
            for found in reports:
                _show(found, arguments)
                if found.violation:
                    kind = _kind(found.violation)
                    kinds[kind] += 1
                    first.setdefault(kind, found.seed - arguments.seed + 1)
            if kinds and not arguments.all:
                executor.shutdown(cancel_futures=True)
                break
    seconds = time.perf_counter() - began
    for name, number in sorted(stats.items()):
        if not (arguments.table and name.startswith("hostile: ")):
            print(f"{number:10}  {name}")
    missed = _print_table(stats, arguments.at_least) if arguments.table else 0
    if arguments.all:
        for kind, number in kinds.most_common():
            print(f"{number:6} x, first in run {first[kind]:5}: {kind}")
    violations = kinds.total()
    print(f"{stats['runs']} runs in {seconds:.0f} s ({stats['runs'] / seconds:.1f} a second), {violations} violations")
    return 1 if violations or missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="number of runs (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes (default: 1)")
    parser.add_argument("--trace", action="store_true", help="print the trace of every run")
    parser.add_argument("--all", action="store_true", help="continue after a violation, and summarize all violations")
    parser.add_argument("--quiet", action="store_true", help="do not print the traces of violations")
    parser.add_argument(
        "--find", metavar="TEXT", help="print the seeds of the runs with a statistic that contains TEXT"
    )
    parser.add_argument("--twice", action="store_true", help="run every seed twice and compare the traces")
    parser.add_argument(
        "--only", metavar="NAMES", help="hostile behaviours of every run, separated by commas, or `none`"
    )
    parser.add_argument("--no-faults", action="store_true", help="disable all faults of calls")
    parser.add_argument(
        "--liveness", action="store_true", help="heal only ECS and one worker after the phase with faults"
    )
    parser.add_argument(
        "--first-version",
        choices=("before", "after"),
        help="every run has a deployment: version 0.2 runs before it (an upgrade) or after it (a rollback)",
    )
    parser.add_argument(
        "--deployed-during",
        choices=_OPERATIONS,
        help="with --first-version: deploy while this operation is pending",
    )
    parser.add_argument("--table", action="store_true", help="print how often each hostile behaviour affected the code")
    parser.add_argument(
        "--at-least", type=int, default=0, help="with --table: fail if a behaviour occurred fewer times"
    )
    arguments = parser.parse_args()
    if arguments.deployed_during and not arguments.first_version:
        parser.error("--deployed-during requires --first-version")
    if arguments.first_version and (arguments.only or arguments.liveness):
        parser.error("--first-version excludes --only and --liveness")
    return arguments


def _show(found: Found, arguments: argparse.Namespace) -> None:
    if arguments.trace or not arguments.quiet:
        shown = found.trace if arguments.trace else found.trace[-_SHOWN:]
        print(f"--- seed {found.seed}", *shown, sep="\n")
    if found.violation:
        text = found.violation.splitlines()[0] if arguments.quiet else found.violation
        print(f"VIOLATION with seed {found.seed} ({', '.join(found.behaviours) or 'no hostile behaviours'}): {text}")
        replay = "".join(
            [
                f" --only {arguments.only}" if arguments.only else "",
                " --no-faults" if arguments.no_faults else "",
                " --liveness" if arguments.liveness else "",
                f" --first-version {arguments.first_version}" if arguments.first_version else "",
                f" --deployed-during {arguments.deployed_during}" if arguments.deployed_during else "",
            ]
        )
        print(f"Replay: python -m simulation --runs 1 --seed {found.seed}{replay} --trace", flush=True)


def _kind(violation: str) -> str:
    """Return a violation without ids, numbers and times, so that equal violations are counted together."""
    line = violation.splitlines()[0]
    return re.sub(r"\b[0-9a-f]{6,32}\b", "…", re.sub(r"\b\d+\b", "N", re.sub(r"request-\w+", "a request", line)))[:170]


def _print_table(stats: Counter[str], at_least: int) -> int:
    """Print how often each hostile behaviour occurred. Returns the number of those below `at_least`."""
    from simulation.hostility import Reached

    missed = 0
    print(f"{'count':>10}  hostile behaviour")
    for behaviour in Reached:
        number = stats[f"hostile: {behaviour}"]
        missed += number < at_least
        print(f"{number:10}  {behaviour}{'  TOO RARELY' if number < at_least else ''}")
    return missed


def _chunk(seeds: range, options: Options) -> tuple[list[Found], list[str], Counter[str]]:
    from simulation.run import run

    shown: list[Found] = []
    lines: list[str] = []
    summed: Counter[str] = Counter()
    for seed in seeds:
        more = options.settings(seed)
        report = run(str(seed), traced=options.traced, digested=options.twice, **more)
        if options.twice and run(str(seed), digested=True, **more).digest != report.digest:
            report.violation = report.violation or "a second run with this seed has a different trace"
        summed += report.stats
        if options.find:
            lines += [f"seed {seed}: {name}" for name in report.stats if options.find in name]
        if options.traced or report.violation:
            shown.append(Found(seed, report.violation, report.trace, report.behaviours))
    return shown, lines, summed


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common"), str(ROOT / "tests")]
    from simulation.pipes import exit_with

    exit_with(main)
