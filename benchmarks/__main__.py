"""`make bench`: runs the benchmarks, writes `results.json`, draws the charts and updates docs/performance.md.

python -m benchmarks                      all parts with a million rows: more than half an hour on two cores
python -m benchmarks --only cold,warm     only these parts; the others keep their figures
python -m benchmarks --quick              a short run of all parts that checks that they work and keeps no figures
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import cold, costs, database, depth, lists, report, results, sizes, targets, throughput, warm
from benchmarks.targets import WORK, Targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks of Longshore.")
    parser.add_argument("--quick", action="store_true", help="run a short check of all parts and keep no figures")
    parser.add_argument("--only", metavar="PARTS", help=f"comma-separated parts: {','.join(results.PARTS)}")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else list(results.PARTS)
    if unknown := set(parts) - set(results.PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    try:
        _run(parts, quick=options.quick)
    except targets.MissingError as missing:
        print(missing, file=sys.stderr)
        return 2
    return 0


def _run(parts: list[str], *, quick: bool) -> None:
    file = WORK / "quick.json" if quick else results.FILE
    built = _timed("building the functions and installing the peers", targets.prepare)
    measured: dict[str, dict[str, Any]] = {}
    alone: dict[str, Callable[[], dict[str, Any]]] = {
        "cold": lambda: cold.measure(built, rounds=1 if quick else 15, quick=quick),
        "sizes": lambda: sizes.measure(built),
        "throughput": lambda: throughput.measure(quick=quick),
        "warm": lambda: warm.measure(built, rounds=2 if quick else 31, calls=10 if quick else 200),
    }
    for part, measure in alone.items():
        if part in parts:
            measured[part] = results.part(_timed(part, measure), built)
    if {"depth", "lists", "costs"} & set(parts):
        measured |= _with_database(parts, built, quick=quick)
    found = (results.load(file) if len(parts) < len(results.PARTS) else {}) | measured
    results.save(found, file)
    if set(found) >= set(results.PARTS):
        _publish(found, quick=quick)


def _with_database(parts: list[str], built: Targets, *, quick: bool) -> dict[str, dict[str, Any]]:
    measured = {}
    with database.started() as aws:
        if "costs" in parts:
            measured["costs"] = results.part(_timed("costs", lambda: costs.measure(built, aws, quick=quick)), built)
        if "lists" in parts:
            containers, rounds = (300, 2) if quick else (10_000, 15)
            measured["lists"] = results.part(
                _timed("lists", lambda: lists.measure(built, aws, containers=containers, rounds=rounds)), built
            )
        if "depth" in parts:
            rows, rounds = (2_000, 2) if quick else (1_000_000, 61)
            measured["depth"] = results.part(
                _timed("depth", lambda: depth.measure(built, aws, rows=rows, rounds=rounds)), built
            )
    return measured


def _publish(found: dict[str, Any], *, quick: bool) -> None:
    # Imported here, because matplotlib takes a second to import.
    from benchmarks import charts

    if quick:
        # A quick run also checks that the charts and the page can be written.
        charts.draw(found, WORK / "charts")
        report.render(report.PAGE.read_text(encoding="utf-8"), found)
        print("The benchmarks work. The figures of a quick run are not meaningful.")
    else:
        charts.draw(found)
        report.write()
        print(report.aims(found))
        print(f"Updated {results.FILE.name}, docs/performance.md and docs/charts.")


def _timed(name: str, measure: Callable[[], Any]) -> Any:
    print(f"{name} …", file=sys.stderr, flush=True)
    began = time.monotonic()
    figures = measure()
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
