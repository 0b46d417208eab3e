"""docs/performance.md and its charts tell what `benchmarks/results.json` holds."""

import copy
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, results

CHARTS = Path(__file__).parents[2] / "docs" / "charts"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return results.load()


def test_every_part_was_measured(found: dict[str, Any]) -> None:
    assert tuple(found) == results.PARTS


def test_the_tables(found: dict[str, Any]) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.render(page, found) == page, "bring it up to date: python -m benchmarks.report"


def test_a_figure_that_changed_is_noticed(found: dict[str, Any]) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    changed = copy.deepcopy(found)
    changed["warm"]["figures"]["targets"]["status_logs"]["ratio"]["median"] += 1
    assert report.render(page, changed) != page


def test_every_table_has_its_place() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- figures: ([a-z-]+) -->", page)) == sorted(report.TABLES)


def test_the_charts(found: dict[str, Any]) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"\(charts/([a-z]+\.svg)\)", page))
    assert shown == {path.name for path in CHARTS.iterdir()}
    for name in shown:
        described = ET.parse(CHARTS / name).find(".//{http://purl.org/dc/elements/1.1/}description")
        assert described is not None
        assert described.text == results.digest(found), f"draw {name} anew: make bench"


def test_enough_was_measured(found: dict[str, Any]) -> None:
    """As docs/performance.md has it: medians of fifteen pairs or more, and a million rows."""
    spreads = [one["ratio"] for one in found["cold"]["figures"]["targets"].values()]
    spreads += [one["ratio"] for one in found["warm"]["figures"]["targets"].values()]
    depth = found["depth"]["figures"]
    spreads += [page["ratio"] for order in depth["orders"] for page in order["pages"] if page["ratio"]]
    assert min(spread["samples"] for spread in spreads) >= 15
    assert depth["rows"] == 1_000_000
    assert depth["pages"] == [1, 1_000, 50_000, 99_990]
    assert len(depth["orders"]) == 8
