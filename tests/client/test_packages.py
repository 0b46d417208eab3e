"""The client's source distribution builds and installs, from an archive and from a checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"


def run(*arguments: str, cwd: Path = ROOT) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built by the build backend as `python -m build` calls it."""
    folder = tmp_path_factory.mktemp("sdist")
    run("-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder), cwd=CLIENT)
    (built,) = folder.glob("longshore_client-*.tar.gz")
    return built


def test_the_archive_contains_files_only(archive: Path) -> None:
    """pip refuses links to files outside of the archive."""
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert [member.name for member in members if not member.isfile()] == []
    assert {"LICENSE", "README.md", "pyproject.toml"} <= {member.name.rpartition("/")[2] for member in members}


@pytest.mark.parametrize("source", ["archive", "checkout"])
def test_it_installs(archive: Path, tmp_path: Path, source: str) -> None:
    """Without its requirements, which are installed here, and without the network."""
    wanted = str(archive) if source == "archive" else "./clients/python[cli]"
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    run("-m", "pip", "install", *options, "--target", str(tmp_path), wanted)
    (licence,) = tmp_path.glob("longshore_client-*.dist-info/licenses/LICENSE")
    assert licence.read_text() == (ROOT / "LICENSE").read_text()
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import longshore_client as client"
    run("-c", f"{script}; assert client.__file__.startswith({str(tmp_path)!r})")
    assert (tmp_path / "bin" / "longshore").exists()
