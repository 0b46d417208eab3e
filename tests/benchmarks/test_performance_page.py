"""docs/performance.md, its charts and docs/cost.md match `benchmarks/results.json`."""

import copy
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import costs_report, monthly, prices, report, results
from local import template

CHARTS = Path(__file__).parents[2] / "docs" / "charts"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return results.load()


def test_every_part_was_measured(found: dict[str, Any]) -> None:
    assert tuple(found) == results.PARTS


@pytest.mark.parametrize("path", report.PAGES, ids=lambda path: path.name)
def test_the_tables(found: dict[str, Any], path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert report.render(page, found) == page, "run `python -m benchmarks.report`"


def test_the_costs_in_the_readme(found: dict[str, Any]) -> None:
    figures = found["costs"]["figures"]
    month = sum(line.cost for line in monthly.base(template.load(), figures["architecture"]))
    starts = costs_report.price(figures["cases"]["start"], figures["architecture"]).total
    readme = (report.PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"costs about {month:.0f} US dollars a month, and a million starts cost about {starts:.0f}:" in readme


def test_the_costs_are_within_their_bounds(found: dict[str, Any]) -> None:
    """Half of 49 dollars for a million starts of three seconds, and three dollars for an idle month."""
    figures = found["costs"]["figures"]
    assert prices.EFFECT["start"] == 3
    assert costs_report.price(figures["cases"]["start"], figures["architecture"]).total <= 49 / 2
    assert sum(line.cost for line in monthly.base(template.load(), figures["architecture"])) <= 3


def test_a_changed_figure_is_detected(found: dict[str, Any]) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    changed = copy.deepcopy(found)
    changed["warm"]["figures"]["targets"]["status_logs"]["ratio"]["median"] += 1
    assert report.render(page, changed) != page


def test_every_table_is_on_a_page() -> None:
    pages = [re.findall(r"<!-- figures: ([a-z-]+) -->", path.read_text(encoding="utf-8")) for path in report.PAGES]
    assert {name for page in pages for name in page} == report.TABLES.keys()
    assert all(len(page) == len(set(page)) for page in pages)


def test_the_charts(found: dict[str, Any]) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"\(charts/([a-z]+\.svg)\)", page))
    assert shown == {path.name for path in CHARTS.iterdir()}
    for name in shown:
        described = ET.parse(CHARTS / name).find(".//{http://purl.org/dc/elements/1.1/}description")
        assert described is not None
        assert described.text == results.digest(found), f"{name} is outdated: run `make bench`"


def test_the_number_of_measurements(found: dict[str, Any]) -> None:
    """At least fifteen pairs and a million rows, as docs/performance.md states."""
    spreads = [target["ratio"] for target in found["cold"]["figures"]["targets"].values()]
    spreads += [target["ratio"] for target in found["warm"]["figures"]["targets"].values()]
    depth = found["depth"]["figures"]
    spreads += [page["ratio"] for order in depth["orders"] for page in order["pages"] if page["ratio"]]
    assert min(spread["samples"] for spread in spreads) >= 15
    assert depth["rows"] == 1_000_000
    assert depth["pages"] == [1, 1_000, 50_000, 99_990]
    assert len(depth["orders"]) == 8
