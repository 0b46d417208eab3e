"""`python -m simulation --runs N --seed S [--trace] [--jobs J]`: simulate N runs, of the seeds S, S+1, ..."""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 80  # lines of the trace of a violation
_CHUNK = 25  # runs


def main() -> int:
    """Returns 1 when a violation was found."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print the whole trace of every run")
    parser.add_argument("--all", action="store_true", help="go on after a violation")
    parser.add_argument("--find", metavar="TEXT", help="print the seeds of the runs whose statistics have such a line")
    arguments = parser.parse_args()
    began = time.perf_counter()
    stats: Counter[str] = Counter()
    violations = 0
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(arguments.jobs) as executor:
        for reports, summed in executor.map(
            _chunk, chunks, [arguments.trace] * len(chunks), [arguments.find] * len(chunks)
        ):
            stats += summed
            for seed, violation, trace in reports:
                if arguments.trace or violation:
                    shown = trace if arguments.trace else trace[-_SHOWN:]
                    print(f"--- seed {seed}", *shown, sep="\n")
                if violation:
                    violations += 1
                    print(f"VIOLATION with seed {seed}: {violation}")
                    print(f"Replay: python -m simulation --runs 1 --seed {seed} --trace", flush=True)
            if violations and not arguments.all:
                executor.shutdown(cancel_futures=True)
                break
    seconds = time.perf_counter() - began
    for name, number in sorted(stats.items()):
        print(f"{number:10}  {name}")
    print(f"{stats['runs']} runs in {seconds:.0f} s ({stats['runs'] / seconds:.1f} a second), {violations} violations")
    return 1 if violations else 0


def _chunk(
    seeds: range, traced: bool, find: str | None
) -> tuple[list[tuple[int, str | None, list[str]]], Counter[str]]:
    from simulation.run import run

    reports = [run(str(seed), traced=traced) for seed in seeds]
    summed: Counter[str] = Counter()
    for report in reports:
        summed += report.stats
        for line in report.stats:
            if find and find in line:
                print(f"seed {report.seed}: {line}", flush=True)
    return [
        (seed, r.violation, r.trace) for seed, r in zip(seeds, reports, strict=True) if traced or r.violation
    ], summed


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common"), str(ROOT / "tests")]
    sys.exit(main())
