"""The version of Longshore is that of pyproject.toml, wherever it is stated."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MINOR = VERSION.rpartition(".")[0]
SECTIONS = ["What an operator must do", "Added", "Changed", "Fixed", "Security", "Removed"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_form_of_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_client() -> None:
    assert tomllib.loads(text("clients/python/pyproject.toml"))["project"]["version"] == VERSION


def test_the_openapi_document() -> None:
    assert yaml.safe_load(text("openapi.yaml"))["info"]["version"] == VERSION


def test_the_output_of_the_stack() -> None:
    assert f"\n  Version:\n    Description: Version of Longshore\n    Value: {VERSION}\n" in text("template.yaml")


def test_the_changelog() -> None:
    """Until it is released, the version is the heading `Unreleased`."""
    versions = re.findall(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)
    assert versions == sorted(versions, key=lambda version: version[1], reverse=True)
    newest, _, content = text("CHANGELOG.md").split("\n## ")[1].partition("\n")
    sections = re.findall(r"^### (.+)$", content, re.MULTILINE)
    if newest == "Unreleased":
        assert VERSION not in dict(versions)
        assert [name for name in SECTIONS if name in sections] == sections
    else:
        assert versions[0][0] == VERSION
        assert sections == SECTIONS


def test_the_upgrade_page() -> None:
    assert re.search(rf"^## Upgrade from \S+ to {re.escape(MINOR)}$", text("docs/upgrade.md"), re.MULTILINE)


@pytest.mark.parametrize(("version", "supported"), [(MINOR, "yes"), ("0.2", "no")])
def test_the_supported_versions(version: str, supported: str) -> None:
    rows = dict(re.findall(r"^\| (\d\S+) \| (yes|no)", text("SECURITY.md"), re.MULTILINE))
    assert rows[version] == supported
