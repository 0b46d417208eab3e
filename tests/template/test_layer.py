"""Tests of `layers/common/builder`, on the packages of the tests' own environment. `tests/e2e` checks a real build."""

import importlib.metadata
import importlib.util
import marshal
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from builder import packages
from builder.__main__ import assemble
from builder.botocore_data import OPERATIONS
from builder.bytecode import compile_all
from builder.errors import BuildError
from builder.imports import ENVIRONMENT, can_import, check_imports
from builder.records import write_records
from template.layers import differences, files_of, untrue_records

from local import template

COMMON = template.ROOT / "layers" / "common"
FUNCTIONS = template.ROOT / "functions"
LOCKS = (
    "layers/common/requirements.txt",
    "functions/pages/requirements.txt",
    "local/requirements.txt",
    "requirements.txt",
    "tests/e2e/requirements.txt",
    "tests/template/requirements-checkov.txt",
)

NEEDED_DATA = re.compile(rf"botocore/data/([^/]+|({'|'.join(OPERATIONS)}|s3)/.*)")
"""Enough of botocore's data: copying all of it takes seconds."""


@pytest.fixture(scope="module")
def published() -> Mapping[str, Path]:
    """The installed files of the layer's packages, by the names that pip would give them in the layer."""
    files = {}
    for name in pins(COMMON / "requirements.txt"):
        for file in importlib.metadata.distribution(name).files or ():
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                files[f"bin/{file.name}" if ".." in file.parts else file.as_posix()] = path
    return {name: path for name, path in files.items() if "/data/" not in name or NEEDED_DATA.fullmatch(name)}


@pytest.fixture(scope="module")
def layer(published: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `python` folder of a layer of these packages."""
    target = tmp_path_factory.mktemp("layer")
    for name, path in published.items():
        copy = target / "python" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    assemble(target)
    return target / "python"


@pytest.fixture
def copy(layer: Path, tmp_path: Path) -> Path:
    """A copy of the layer, whose files may be removed but not written."""
    return Path(shutil.copytree(layer, tmp_path / "python", copy_function=os.link))


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# --- the whole layer --------------------------------------------------------------------------------------------------


def test_modules_are_as_published(layer: Path, published: Mapping[str, Path]) -> None:
    assert differences(layer, published) == []


def test_a_changed_module_is_a_difference(layer: Path, published: Mapping[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "six.py"
    changed.write_bytes(published["six.py"].read_bytes() + b"\n")
    with_a_change = {**published, "six.py": changed, "jmespath/gone.py": changed}
    assert differences(layer, with_a_change) == ["jmespath/gone.py", "six.py"]


def test_records_list_the_files_that_ship(layer: Path) -> None:
    assert untrue_records(layer) == []


def test_packages_are_known_to_scanners(layer: Path) -> None:
    distributions = {
        found.metadata["Name"].lower(): found for found in importlib.metadata.distributions(path=[str(layer)])
    }
    versions = {name.replace("_", "-"): found.version for name, found in distributions.items()}
    assert versions == {
        name: version for name, version in pins(COMMON / "requirements.txt").items() if name != "pycparser"
    }
    assert all(Path(str(file.locate())).is_file() for found in distributions.values() for file in found.files or ())


def test_the_library_and_every_handler_can_be_imported(layer: Path) -> None:
    before = files_of(layer)
    check_imports(layer, FUNCTIONS)
    assert files_of(layer) == before


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "jmespath/lexer.pyc",
            r"longshore\.\S+ cannot be imported from the layer: ImportError: .*'lexer'",
        ),
        ("jwt", r"longshore\.edge\.jwks cannot be imported from the layer: \w+: No module named 'jwt'"),
        ("botocore/data/ssm", r"the client of ssm cannot be created|cannot be imported from the layer: UnknownService"),
    ],
    ids=["module", "package", "data"],
)
def test_pruning_a_needed_module_stops_the_build(
    copy: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, message: str
) -> None:
    monkeypatch.setattr(packages, "UNUSED", (pattern,))
    packages.prune(copy)
    with pytest.raises(BuildError, match=message):
        check_imports(copy, FUNCTIONS)


def test_a_handler_that_needs_a_pruned_module_stops_the_build(layer: Path, tmp_path: Path) -> None:
    functions = tree(tmp_path, {"new/app.py": "import aws_lambda_powertools.event_handler\n"})
    with pytest.raises(BuildError, match=r"new/app\.py cannot be imported .*No module named .*event_handler"):
        check_imports(layer, functions)


def test_a_folder_without_handlers_stops_the_build(layer: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"contains no \*/app\.py"):
        check_imports(layer, tmp_path)


def test_handlers_are_imported_with_the_variables_of_the_template() -> None:
    names = {name for function in template.load().functions.values() for name in function.environment}
    assert names <= ENVIRONMENT.keys()


@pytest.mark.parametrize(
    ("machine", "libc", "expected"),
    [
        ("x86_64", ("glibc", "2.34"), {"x86_64"}),
        ("aarch64", ("glibc", "2.41"), {"arm64"}),
        ("x86_64", ("glibc", "2.31"), set()),
        ("x86_64", ("", ""), set()),
    ],
)
def test_imports_are_checked_where_extension_modules_load(
    monkeypatch: pytest.MonkeyPatch, machine: str, libc: tuple[str, str], expected: set[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    assert {architecture for architecture in packages.PLATFORMS if can_import(architecture)} == expected


# --- the steps --------------------------------------------------------------------------------------------------------


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "UNUSED", ("left", "gone"))
    with pytest.raises(BuildError, match="nothing matches gone"):
        packages.prune(tree(tmp_path, {"left/x.py": ""}))


def test_a_file_of_no_package_is_an_error(tmp_path: Path) -> None:
    info = "it-1.0.dist-info/RECORD"
    root = tree(tmp_path, {info: f"it.py,,\n../../bin/it,,\n{info},,\n", "it.pyc": "", "longshore/a.py": ""})
    write_records(root)
    assert untrue_records(root) == []
    with pytest.raises(BuildError, match=r"no package's RECORD lists .*other\.pyc"):
        write_records(tree(root, {"other.pyc": ""}))


def test_modules_are_compiled_with_their_paths_in_lambda(tmp_path: Path) -> None:
    source = "def f():\n    return 1\n"
    root = tree(tmp_path, {f"python/{name}": source for name in ("longshore/a.py", "it/__init__.py", "single.py")})
    compile_all(root)
    tag = sys.implementation.cache_tag
    library = f"python/longshore/__pycache__/a.{tag}.pyc"
    assert files_of(root) == {"python/longshore/a.py", library, "python/it/__init__.pyc", "python/single.pyc"}
    for path, name in ((library, "longshore/a.py"), ("python/it/__init__.pyc", "it/__init__.py")):
        compiled = (root / path).read_bytes()
        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        # PEP 552: a hash of the source, which is not checked.
        assert int.from_bytes(compiled[4:8], "little") == 0b01
        assert marshal.loads(compiled[16:]).co_filename == f"/opt/python/{name}"


# --- the locks --------------------------------------------------------------------------------------------------------


def pins(path: Path) -> dict[str, str]:
    """Return the pinned versions by the packages' names. A name with several versions has the last one."""
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==([^ ;\n]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_has_hashes(lock: str) -> None:
    text = (template.ROOT / lock).read_text()
    requirements = [
        entry for entry in text.replace("\\\n", "").splitlines() if entry.strip() and not entry.lstrip().startswith("#")
    ]
    assert requirements
    complete = r"[a-z0-9.-]+(\[[a-z,]+\])?==[\w.]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *"
    assert [entry for entry in requirements if not re.fullmatch(complete, entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_up_to_date(lock: str) -> None:
    path = template.ROOT / lock
    assert pins(path.with_suffix(".in")).items() <= pins(path).items()


def test_locks_agree() -> None:
    layer, pages, local, tests = (pins(template.ROOT / lock) for lock in LOCKS[:4])
    assert (layer | pages).items() <= local.items() <= tests.items()
    assert pins(template.ROOT / "benchmarks" / "requirements.in").items() <= tests.items()
