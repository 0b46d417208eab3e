"""What `sam build` leaves, and `sam deploy` would deploy."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from e2e import sam

from local import template

ARCHITECTURES = ["x86_64", "arm64"]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_of(folder)}


def test_it_builds(built: Path) -> None:
    """Each function has its handler, and the layer the library and what it needs."""
    stack = template.load(built / "template.yaml")
    for function in stack.functions.values():
        assert function.code_path.is_relative_to(built), function.logical_id
        assert files_of(function.code_path) == {"app.py"}, function.logical_id
    (layer,) = stack.layers
    present = {entry.name for entry in (layer / "python").iterdir()}
    assert {"longshore", "botocore", "jwt", "pydantic", "aws_lambda_powertools"} <= present
    assert files_of(layer) == {name for name in files_of(layer) if name.startswith("python/")}
    assert not present & {"boto3", "builder", "Makefile", "requirements.txt"}


def test_what_is_deployed_is_small(built: Path) -> None:
    for architecture in ARCHITECTURES:
        stack = template.load(built / "template.yaml", {"Architecture": architecture})
        (layer,) = stack.layers
        assert size_of(layer) <= 25_000_000
        for function in stack.functions.values():
            assert size_of(function.code_path) <= 20_000


def test_each_architecture_has_its_layer(built: Path) -> None:
    found = {}
    for architecture in ARCHITECTURES:
        (layer,) = template.load(built / "template.yaml", {"Architecture": architecture}).layers
        modules = [path.read_bytes() for path in layer.rglob("*.so")]
        assert len(modules) == 3
        # https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html: e_machine
        found[architecture] = {int.from_bytes(module[0x12:0x14], "little") for module in modules}
    assert found == {"x86_64": {62}, "arm64": {183}}


def test_building_again_gives_the_same_layer(built: Path, tmp_path: Path) -> None:
    (layer,) = template.load(built / "template.yaml").layers
    python = sam.SAM.with_name("python3.13")
    command = [str(python), "-E", "-s", "-B", "-m", "builder", str(tmp_path)]
    ran = subprocess.run(command, cwd=template.ROOT / "layers" / "common", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert digests(tmp_path) == digests(layer)


def test_the_functions_need_nothing_but_the_layer(built: Path) -> None:
    """What the build has left out, nothing imports: neither a handler nor what it imports only when it is called."""
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
    told = {name: value for function in stack.functions.values() for name, value in function.environment.items()}
    # -S: none of the packages of the Python that runs this. -B: the layer stays as it is.
    command = [str(sam.SAM.with_name("python3.13")), "-S", "-B", "-W", "error", "-c", program]
    ran = subprocess.run(command, env={**told, **credentials}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
