"""Tests of the output of `sam build`, which `sam deploy` deploys."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from builder import packages
from e2e import sam
from template.layers import differences, files_of, package_files, untrue_records

from local import pages, template
from pages.build import build

ARCHITECTURES = ["x86_64", "arm64"]


def layer_of(built: Path, architecture: str) -> Path:
    """Return the `python` folder of an architecture's layer."""
    (layer,) = template.load(built / "template.yaml", {"Architecture": architecture}).layers
    return layer / "python"


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_of(folder)}


def test_it_builds(built: Path) -> None:
    """Check that each function has its handler, and that the layer has the library and its packages."""
    stack = template.load(built / "template.yaml")
    for function in stack.functions.values():
        assert function.code_path.is_relative_to(built), function.logical_id
        if function.logical_id != "PagesFunction":
            assert files_of(function.code_path) == {"app.py"}, function.logical_id
    (layer,) = stack.layers
    present = {entry.name for entry in (layer / "python").iterdir()}
    assert {"longshore", "botocore", "jwt", "pydantic", "aws_lambda_powertools"} <= present
    assert files_of(layer) == {name for name in files_of(layer) if name.startswith("python/")}
    assert not present & {"boto3", "builder", "Makefile", "requirements.in", "requirements.txt"}


def test_layer_and_functions_are_small(built: Path) -> None:
    for architecture in ARCHITECTURES:
        stack = template.load(built / "template.yaml", {"Architecture": architecture})
        (layer,) = stack.layers
        assert size_of(layer) <= 27_000_000
        for function in stack.functions.values():
            assert size_of(function.code_path) <= (2_400_000 if function.logical_id == "PagesFunction" else 20_000)


def test_the_pages_may_not_call_this_machine(built: Path, tmp_path: Path) -> None:
    """Check that the pages are those of the local stack, whose console may also call a provider on this machine."""
    folder = template.load(built / "template.yaml").functions["PagesFunction"].code_path
    build(tmp_path, pages.swagger_ui())
    assert digests(folder) == digests(tmp_path)
    local = digests(pages.built())
    differing = {name for name in local if local[name] != digests(folder).get(name)}
    assert differing == {"site/console/index.html", "site/manifest.json"}
    assert local.keys() == digests(folder).keys()
    assert "localhost" not in (folder / "site" / "console" / "index.html").read_text(encoding="utf-8")


def test_each_architecture_has_its_layer(built: Path) -> None:
    found = {}
    for architecture in ARCHITECTURES:
        modules = [path.read_bytes() for path in layer_of(built, architecture).rglob("*.so")]
        assert len(modules) == 3
        # https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html: e_machine
        found[architecture] = {int.from_bytes(module[0x12:0x14], "little") for module in modules}
    assert found == {"x86_64": {62}, "arm64": {183}}


def test_architectures_are_pruned_alike(built: Path) -> None:
    """Check that both layers have the same files, because the builder can import only one of them on a machine."""
    names = {
        architecture: {
            name.replace(f"-{packages.PLATFORMS[architecture]}-", "-")
            for name in files_of(layer_of(built, architecture))
        }
        for architecture in ARCHITECTURES
    }
    assert names["x86_64"] == names["arm64"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packages_ship_as_published(built: Path, tmp_path: Path, architecture: str) -> None:
    """Compare the layer with the wheels: all modules, and all other files except botocore's data."""
    layer = layer_of(built, architecture)
    packages.install(tmp_path, architecture)
    assert len(package_files(layer)) > 400
    assert differences(layer, {name: tmp_path / name for name in files_of(tmp_path)}) == []
    assert untrue_records(layer) == []


def test_building_again_gives_the_same_layer(built: Path, tmp_path: Path) -> None:
    (layer,) = template.load(built / "template.yaml").layers
    python = sam.SAM.with_name("python3.13")
    command = [str(python), "-E", "-s", "-B", "-m", "builder", str(tmp_path)]
    ran = subprocess.run(command, cwd=template.ROOT / "layers" / "common", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert digests(tmp_path) == digests(layer)


def test_the_functions_need_nothing_but_the_layer(built: Path) -> None:
    """Import every handler with the environment of the template, also the modules that it imports only when called."""
    stack = template.load(built / "template.yaml")
    (layer,) = stack.layers
    modules = (layer / "python" / "longshore").glob("*/[a-z]*.py")
    library = sorted(f"{path.parent.name}.{path.stem}" for path in modules)
    handlers = sorted(str(function.code_path / "app.py") for function in stack.functions.values())
    program = f"""
import importlib, runpy, sys
sys.path.append({str(layer / "python")!r})
for name in {library!r}:
    importlib.import_module("longshore." + name)
for path in {handlers!r}:
    runpy.run_path(path)
import botocore.session
for service in botocore.session.get_session().get_available_services():
    botocore.session.get_session().create_client(service)
"""
    credentials = {"AWS_DEFAULT_REGION": template.REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    variables = {name: value for function in stack.functions.values() for name, value in function.environment.items()}
    # -S: no packages outside the layer. -B: no new .pyc files in the layer.
    command = [str(sam.SAM.with_name("python3.13")), "-S", "-B", "-W", "error", "-c", program]
    ran = subprocess.run(command, env={**variables, **credentials}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
