"""Check the protocol's model with Spin, and check that Spin finds the mistakes planted in it."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from protocol import plan, spin


def main() -> int:
    """Return 1 if the model violates a property, or if a planted mistake is not found."""
    parser = argparse.ArgumentParser(prog="protocol", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="search only the part that CI searches")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes; each needs up to 2 GB of memory")
    parser.add_argument("--fault", metavar="MACRO", help="only plant this mistake, and print the counterexample")
    parser.add_argument("--simulate", type=int, metavar="SEED", help="only print the events of a random run")
    arguments = parser.parse_args()

    if absent := spin.missing():
        print(f"Not installed: {', '.join(absent)}", file=sys.stderr)
        return 1
    if arguments.simulate is not None:
        print(*spin.simulate(plan.QUICK[0], arguments.simulate), sep="\n")
        return 0
    if arguments.fault:
        found = spin.verify(plan.FAULTS[arguments.fault].planting(arguments.fault))
        print(*found.trace, f"Violated: {found.error}", sep="\n")
        return 0 if found.error else 1
    failed = False
    configurations = plan.QUICK if arguments.quick else plan.COMPLETE
    mistakes = [each.planting(name) for name, each in plan.FAULTS.items()]
    print(f"{'states':>12} {'seconds':>8}  configuration")
    with ThreadPoolExecutor(arguments.jobs) as executor:
        for found in executor.map(spin.verify, configurations):
            _show(found)
            failed = failed or found.error is not None
        for found in executor.map(spin.verify, mistakes):
            _show(found, planted=True)
            failed = failed or found.error is None
    return 1 if failed else 0


def _show(found: spin.Finding, *, planted: bool = False) -> None:
    """Print what was found. The counterexample of a planted mistake is not printed."""
    result = f"violated: {found.error}" if found.error else "NOT FOUND" if planted else "no errors"
    print(f"{found.states:>12,} {found.seconds:>8.1f}  {found.configuration.name}: {result}", flush=True)
    if found.error and not planted:
        print(*found.trace, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
