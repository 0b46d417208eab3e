"""The diagram of the packages in docs/architecture.md equals the imports in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "layers" / "common" / "longshore"
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = {"aws", "domain", "edge", "engine", "wiring"}

Edge = tuple[str, str]


def drawn(page: str) -> set[Edge]:
    """Return the arrows of the page's only Mermaid diagram."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    edges = set()
    for line in diagram.splitlines():
        arrow = re.fullmatch(r"\s*(\w+) --> (\w+)", line)
        if arrow:
            edges.add((arrow[1], arrow[2]))
        else:
            assert not re.search(r"--|==|-\.", line), f"not an arrow of the form `a --> b`: {line}"
    return edges


def imported(library: Path) -> set[Edge]:
    """Return which package of the library imports which other package, anywhere in a module."""
    edges = set()
    for path in library.glob("*/**/*.py"):
        importer, *_ = path.relative_to(library).parts
        for name in names(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[0] == library.name and len(parts) > 1 and parts[1] != importer:
                edges.add((importer, parts[1]))
    return edges


def names(module: ast.Module) -> list[str]:
    """Return the names of all modules and members that a module imports."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports of the library are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_packages() -> None:
    assert {path.parent.name for path in LIBRARY.glob("*/__init__.py")} == PACKAGES
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]
    assert names(ast.parse((LIBRARY / "__init__.py").read_text())) == []


def test_diagram_equals_imports() -> None:
    assert drawn(PAGE.read_text()) == imported(LIBRARY)


def test_diagram_shows_every_package() -> None:
    assert {package for edge in drawn(PAGE.read_text()) for package in edge} == PACKAGES


@pytest.mark.parametrize(
    "line",
    [
        "import longshore.aws.store",
        "from longshore.aws import store",
        "from longshore import aws",
        "from longshore.aws.store import Store",
        "def f():\n    from longshore.aws.store import Store",
        "if TYPE_CHECKING:\n    import longshore.aws.store",
    ],
)
def test_every_form_of_import_counts(tmp_path: Path, line: str) -> None:
    module = tmp_path / "longshore" / "engine" / "driver.py"
    module.parent.mkdir(parents=True)
    module.write_text(f"import os\nfrom longshore.engine.steps import Steps\n{line}\n")
    assert imported(tmp_path / "longshore") == {("engine", "aws")}


def test_an_unknown_arrow_is_refused() -> None:
    assert drawn("```mermaid\ngraph TD\n    a[x]\n    a --> b\n```") == {("a", "b")}
    for arrow in ("a -.-> b", "a ==> b", "a --> b --> c", "a -->|why| b"):
        with pytest.raises(AssertionError):
            drawn(f"```mermaid\ngraph TD\n    {arrow}\n```")
