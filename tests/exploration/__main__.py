"""Explore every interleaving of two actors, within a number of preemptions and faults, on the real code."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Return 1 if a violation was found or the comparison failed."""
    parser = argparse.ArgumentParser(prog="exploration", description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="time limit of the whole exploration")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument(
        "--quick", action="store_true", help="explore the part that CI runs: fixed scenarios without a time limit"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="SCENARIO", help="explore only these scenarios, such as start+stop:stopped"
    )
    parser.add_argument("--bound", metavar="P:F", help="explore only with these numbers of preemptions and faults")
    parser.add_argument(
        "--mutation", metavar="MODULE:FUNCTION", help="change the code under test; the change has to be detected"
    )
    parser.add_argument(
        "--all", action="store_true", help="continue after a violation, to find all violations of a scenario"
    )
    parser.add_argument(
        "--replay", metavar="RUN", help="repeat a run and print its trace; RUN is pair:state:P:F:choices"
    )
    parser.add_argument(
        "--compare", action="store_true", help="compare the outcomes with an exploration without pruning"
    )
    parser.add_argument("--list", action="store_true", help="list the explored pairs, and the others with reasons")
    arguments = parser.parse_args()

    from exploration import explore, plan, report
    from exploration.search import Cost

    if arguments.list:
        report.show_scenarios()
        return 0
    if arguments.replay:
        ending = explore.replay(arguments.replay, arguments.mutation)
        print(*ending.trace, sep="\n")
        print(f"VIOLATION: {ending.violation}" if ending.violation else f"No violation: {ending.outcome}")
        return 1 if ending.violation else 0
    if arguments.compare:
        return plan.compare(arguments.jobs)
    bound = Cost(*map(int, arguments.bound.split(":"))) if arguments.bound else None
    phases = plan.quick() if arguments.quick else plan.phases(arguments.only, bound)
    until = None if arguments.quick else time.time() + 60 * arguments.minutes
    template = explore.Job("", Cost(), until, arguments.mutation, arguments.all)
    with ProcessPoolExecutor(arguments.jobs) as executor:
        results: list[explore.Result] = []
        for phase in phases:
            jobs = phase.jobs(results, template)
            meter = report.Meter(phase.name, len(jobs), until and until - time.time())
            for future in as_completed([executor.submit(explore.explore, job) for job in jobs]):
                result = future.result()
                results.append(result)
                report.show_violations(result, arguments.mutation)
                meter.add(result)
            meter.close()
    report.show_table(results)
    violations = sum(len(result.found) for result in results)
    unfinished = sum(not (result.exhausted or result.found) for result in results)
    print(f"{violations} violations, {unfinished} explorations incomplete")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common"), str(ROOT / "tests")]
    from simulation.pipes import exit_with

    exit_with(main)
