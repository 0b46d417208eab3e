"""The tables of docs/states.md equal the rules in the code, and the documentation names only what exists."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from longshore.domain.lifecycle import (
    GOAL,
    LIVE,
    Operation,
    Platform,
    Proceed,
    Refused,
    Status,
    Step,
    decide,
    in_progress,
    next_step,
)
from longshore.engine.settle import DEADLINE, LAST_ATTEMPT
from longshore.engine.sweeps import _STUCK

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "states.md"
TOP = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS_OF_PATHS = [ROOT, ROOT / "layers" / "common" / "longshore"]
FILE = re.compile(r"[\w.-]+\.(json|md|py|sh|svg|toml|txt|yaml)")


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table whose header begins with the heading, without the header and its rule."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_statuses() -> None:
    rows = {name: kind for name, kind, _ in table("status | kind")}
    assert list(rows) == list(Status)
    assert {name for name, kind in rows.items() if "live" in kind} == LIVE
    assert [name for name, kind in rows.items() if kind == "terminal"] == [Status.EXPIRED]


def steps(operation: Operation, first: Step) -> list[Step]:
    following = next_step(operation, first)
    return [first, *(steps(operation, following) if following else [])]


@pytest.mark.parametrize("row", table("status | start"), ids=lambda row: row[0])
def test_allowed_operations(row: list[str]) -> None:
    status, *cells = row
    for operation, cell in zip(Operation, cells, strict=True):
        verdict = decide(Status(status), operation, None, Platform.HOST)
        if isinstance(verdict, Refused):
            assert cell == verdict.message
        else:
            assert cell == ", ".join(GOAL[step] for step in steps(operation, verdict.step))


def test_pending_operations() -> None:
    rows = table("pending")
    assert [row[0] for row in rows] == list(Operation)
    for name, message, listed in rows:
        operation = Operation(name)
        assert message == in_progress(operation)
        verdicts = [decide(status, operation, None, Platform.HOST) for status in Status]
        sequences: set[tuple[Step, ...]] = {
            tuple(steps(operation, verdict.step)) for verdict in verdicts if isinstance(verdict, Proceed)
        }
        longest = max(sequences, key=lambda sequence: len(sequence))
        assert listed == ", ".join(longest)


def test_steps() -> None:
    assert [row[0] for row in table("step | action")] == list(Step)


def test_when_an_operation_is_stuck() -> None:
    wait, deadline, stuck, given_up = (int(re.findall(r"\d+", row[0])[0]) for row in table("after"))
    template = (ROOT / "template.yaml").read_text()
    assert f"WaitSeconds:\n    Type: Number\n    Default: {wait}\n" in template
    assert deadline == DEADLINE.total_seconds()
    assert (stuck, given_up) == (_STUCK, LAST_ATTEMPT)


# --- paths and links -------------------------------------------------------------------------------------------------


def file_names() -> set[str]:
    """Return the names of the repository's files, without those in hidden folders."""
    names: set[str] = set()
    for _, folders, files in os.walk(ROOT):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        names.update(files)
    return names


def paths(page: str) -> Iterator[str]:
    """Yield the words in a page's inline code that have the form of a relative path or a file name."""
    without_blocks = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`\n]+)`", without_blocks):
        for word in code.split():
            is_path = re.fullmatch(r"[\w-][\w.-]*(/[\w.<>-]+)+/?", word) and not word.startswith("application/")
            if is_path or FILE.fullmatch(word):
                yield word


def exists(path: str, names: set[str]) -> bool:
    """Return whether a path exists from the root or the library's folder, or a file name anywhere in the repository."""
    if "/" not in path and path in names:
        return True
    pattern = re.sub(r"<\w+>", "*", path.rstrip("/"))
    return any(any(folder.glob(pattern)) for folder in FOLDERS_OF_PATHS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    names = file_names()
    assert [path for path in paths(page.read_text()) if not exists(path, names)] == []


def test_paths_are_recognized() -> None:
    page = """
`a/b.py`, `make x ONLY=1`, `tests/none`, `/api/v1`, `python -m x y/z.py`, `application/json`, `e.yaml`
```
`c/d.py`
```
"""
    assert list(paths(page)) == ["a/b.py", "tests/none", "y/z.py", "e.yaml"]
    names = file_names()
    known = ["tests/unit", "functions/<name>/app.py", "engine/driver.py", "stage.py", "docs/states.md"]
    assert [path for path in known if not exists(path, names)] == []
    assert [path for path in ("tests/none", "functions/<name>/none.py", "none.py") if exists(path, names)] == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


# --- decisions and glossary ------------------------------------------------------------------------------------------


def test_form_of_decisions() -> None:
    _, *decisions = (ROOT / "docs" / "decisions.md").read_text().split("\n## ")
    dates = []
    for decision in decisions:
        title, _, text = decision.partition("\n\n")
        date = re.fullmatch(r"(\d{4}-\d\d-\d\d): .+", title)
        assert date, title
        dates.append(date[1])
        assert re.findall(r"^- \*\*(\w+)\*\*: ", text, re.MULTILINE) == [
            "Status",
            "Context",
            "Decision",
            "Consequences",
        ], title
        assert len(text.strip().splitlines()) <= 10, title
    assert dates == sorted(dates)


def test_size_of_the_glossary() -> None:
    glossary = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Glossary\n")[2]
    terms = re.findall(r"^\| ([a-z -]+) \|", glossary, re.MULTILINE)[1:]
    assert terms == sorted(terms)
    assert 0 < len(terms) <= 20
