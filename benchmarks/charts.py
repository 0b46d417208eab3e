"""Charts of `results.json` as SVG. The same figures give the same bytes, and each chart contains their `digest`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import costs_report
from benchmarks.results import digest

FOLDER = Path(__file__).parent.parent / "docs" / "charts"

_OURS, _THEIRS, _LINE = "#2563eb", "#9ca3af", "#374151"
_STACK = ("#9ca3af", "#2563eb", "#f59e0b", "#10b981")

Results = dict[str, Any]


def draw(found: Results, folder: Path = FOLDER) -> None:
    """Draw all charts into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    charts = {"cold": _cold(found), "warm": _warm(found), "depth": _depth(found), "price": _price(found)}
    # Text is not converted to paths, and ids are derived from a fixed salt.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "longshore", "font.family": "sans-serif"}):
        for name, figure in charts.items():
            figure.savefig(
                folder / f"{name}.svg",
                bbox_inches="tight",
                metadata={"Date": None, "Creator": None, "Description": digest(found)},
            )


def _bars(title: str, label: str, values: Mapping[str, float], mark: float) -> Figure:
    figure = Figure(figsize=(8, 0.36 * len(values) + 1.2))
    axes = figure.subplots()
    names = list(values)[::-1]
    colours = [_OURS if name.islower() else _THEIRS for name in names]
    bars = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(mark, color=_LINE, linewidth=1, linestyle="--")
    axes.set_xlabel(label)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _cold(found: Results) -> Figure:
    targets = found["cold"]["figures"]["targets"]
    values = {name: one["ratio"]["median"] for name, one in targets.items()}
    values["status_logs, default layer"] = found["cold"]["figures"]["plain_layer"]["ratio"]["median"]
    return _bars("Cold start: CPU until the handler is ready", "relative to boto3 with a DynamoDB client", values, 1.0)


def _warm(found: Results) -> Figure:
    targets = found["warm"]["figures"]["targets"]
    values = {name: one["ratio"]["median"] for name, one in targets.items()}
    return _bars("Warm call: CPU of a page of ten rows, without AWS", "relative to json.dumps", values, 3.0)


def _depth(found: Results) -> Figure:
    figures = found["depth"]["figures"]
    figure = Figure(figsize=(8, 4.5))
    axes = figure.subplots()
    pages = figures["pages"]
    worst = [1.0] + [
        max(order["pages"][number]["ratio"]["median"] for order in figures["orders"]) for number in range(1, len(pages))
    ]
    axes.plot(pages, worst, marker="o", color=_OURS, label="Longshore, slowest of eight orders")
    walk = figures["walk"]
    first = walk["pages"][0]["seconds"]
    walked = [(page["page"], page["seconds"] / first) for page in walk["pages"]]
    axes.plot(*zip(*walked, strict=True), marker="s", color="#f59e0b", label="LastEvaluatedKey")
    far = walk["extrapolated"]
    axes.plot(
        [walked[-1][0], far["page"]],
        [walked[-1][1], far["seconds"] / first],
        color="#f59e0b",
        linestyle=":",
        label="LastEvaluatedKey, extrapolated",
    )
    if offset := figures["offset"]:
        grown = [(int(page), growth) for page, growth in offset["growth"].items()]
        axes.plot(*zip(*grown, strict=True), marker="^", color="#10b981", label="PostgreSQL with OFFSET")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("page of ten rows")
    axes.set_ylabel("time, relative to page 1")
    axes.set_title(f"Deep pages: {figures['rows']:,} rows in one container", loc="left")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _price(found: Results) -> Figure:
    figures = found["costs"]["figures"]
    cases = figures["cases"]
    names = list(cases)[::-1]
    costs = [costs_report.price(cases[name], figures["architecture"]) for name in names]
    figure = Figure(figsize=(8, 0.36 * len(names) + 1.4))
    axes = figure.subplots()
    left = [0.0] * len(names)
    for part, colour in zip(("gateway", "functions", "database", "logs"), _STACK, strict=True):
        values = [getattr(cost, part) for cost in costs]
        label = {"gateway": "API Gateway", "functions": "Lambda", "database": "DynamoDB", "logs": "logs"}[part]
        bars = axes.barh(names, values, left=left, color=colour, label=label)
        left = [total + value for total, value in zip(left, values, strict=True)]
    axes.bar_label(bars, labels=[f"${cost.total:,.2f}" for cost in costs], padding=3)
    axes.set_xlabel("US dollars")
    axes.set_title("Price of a million calls", loc="left")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
