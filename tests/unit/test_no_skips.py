"""Tests that a skipped test fails in CI, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import no_skips
import pytest

FILES = {
    "conftest": """
from no_skips import pytest_make_collect_report, pytest_runtest_makereport
""",
    "test_module": """
import pytest
pytest.skip("the whole module", allow_module_level=True)
""",
    "test_others": """
import pytest

@pytest.fixture
def missing():
    pytest.skip("by a fixture")

def test_that_asks_for_it(missing):
    pass

def test_that_skips():
    pytest.skip("in the test")

@pytest.mark.skipif(True, reason="by a mark")
def test_with_a_mark():
    pass

@pytest.mark.xfail(strict=True)
def test_that_is_known_to_fail():
    assert False
""",
}
SKIPS = ("the whole module", "by a fixture", "in the test", "by a mark")


@pytest.mark.parametrize("ci", ["", "true"])
def test_a_skipped_test_fails_only_in_ci(tmp_path: Path, ci: str) -> None:
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", tmp_path, "--continue-on-collection-errors", "-ra", tmp_path],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(Path(no_skips.__file__).parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    counts = "1 failed, 1 xfailed, 3 errors" if ci else "4 skipped, 1 xfailed"
    assert counts in ran.stdout, ran.stdout
    reported = "In CI no test may be skipped" if ci else "SKIPPED"
    for reason in SKIPS:
        assert any(reported in line and reason in line for line in ran.stdout.splitlines()), ran.stdout
