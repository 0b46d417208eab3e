"""The measured functions in the layout of Lambda: the output of `sam build`, and the peers with their packages.

All files are in `.local/bench`. Packages are reused if their requirements have not changed. The functions and the layer
are always rebuilt.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from local import template

ROOT = template.ROOT
HERE = ROOT / "benchmarks"
WORK = ROOT / ".local" / "bench"
LAYER = "CommonLayer"

_SAM = ROOT / ".venv" / "sam" / "bin"

PEERS = {
    "fastapi": "FastAPI with Mangum",
    "chalice": "Chalice",
    "flask": "Flask with apig-wsgi",
    "powertools": "Powertools' resolver",
}
"""Folders in `benchmarks/peers` and their names in the tables. All serve GET status-logs."""


class MissingError(Exception):
    """A program that a part needs is not installed. The message names it."""


@dataclass(frozen=True)
class Target:
    """A function that can be run.

    Attributes:
        name: The name in the tables.
        path: The folders of `sys.path`.
        environment: Its environment variables.
        resource: Whether it uses boto3's Table, which does more work per call than a client.
    """

    name: str
    path: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    resource: bool = False


@dataclass(frozen=True)
class Targets:
    """All measured functions.

    Attributes:
        python: The interpreter of the functions, without packages.
        functions: The functions by the names of their folders.
        without_bytecode: The functions with the layer that `sam build` creates by default.
        peers: The peers by the names of their folders.
        stock: boto3 as installed by pip, compiled.
        bare: A function that only serializes JSON.
        stack: The stack of the template.
    """

    python: Path
    functions: Mapping[str, Target]
    without_bytecode: Mapping[str, Target]
    peers: Mapping[str, Target]
    stock: Target
    bare: Target
    stack: template.Stack

    @property
    def layer(self) -> Path:
        """The Python folder of the layer."""
        return self.functions["status_logs"].path[1]

    def table(self, logical_id: str) -> str:
        """Return the name of a table of the template."""
        return self.stack.physical_name(logical_id)


def prepare() -> Targets:
    """Build the functions and install the peers.

    Raises:
        MissingError: SAM CLI is missing.
        RuntimeError: A step failed.
    """
    if not (_SAM / "sam").is_file():
        raise MissingError("SAM CLI is not installed: run `make bench`, which installs it")
    WORK.mkdir(parents=True, exist_ok=True)
    python = _interpreter()
    stack = template.load()
    # In parallel, because pip mostly waits for the network.
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(_build)
        peers = {name: _peer(name) for name in PEERS}
        stock = _installed("boto3")
        built, plain = building.result()
    tables = {
        "CONTAINERS_TABLE": stack.physical_name("ContainersTable"),
        "STATUS_LOGS_TABLE": stack.physical_name("StatusLogsTable"),
        "ACCESS_TABLE": stack.physical_name("AccessTable"),
        "POWERTOOLS_SERVICE_NAME": "longshore",
    }
    functions, without_bytecode = {}, {}
    for function in stack.functions.values():
        name = function.code_path.name
        folder = built / function.logical_id
        functions[name] = Target(name, (folder, built / LAYER / "python"), function.environment)
        without_bytecode[name] = Target(name, (folder, plain / LAYER / "python"), function.environment)
    return Targets(
        python=python,
        functions=functions,
        without_bytecode=without_bytecode,
        peers={name: Target(PEERS[name], (folder,), tables, resource=True) for name, folder in peers.items()},
        stock=Target("boto3", (stock,)),
        bare=Target("json.dumps", (HERE / "bare",), {"BENCHMARK_PAGE": str(WORK / "page.json")}),
        stack=stack,
    )


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    # Without Python and AWS settings of this process. SAM builds with the first Python in PATH.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment = clean | {
        "PATH": f"{_SAM}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": template.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _interpreter() -> Path:
    """Create a Python 3.13 environment without packages, as in Lambda."""
    folder = WORK / "python"
    if not (folder / "bin" / "python").exists():
        _run(_SAM / "python", "-m", "venv", "--clear", "--without-pip", folder)
    return folder / "bin" / "python"


def _build() -> tuple[Path, Path]:
    """Build the functions and the layer, and the layer as SAM builds it by default. Sequential: they share a folder."""
    return (
        _sam_build(WORK / "build", ROOT / "template.yaml"),
        _sam_build(WORK / "build-plain", _template_of_plain_layer(), LAYER),
    )


def _sam_build(folder: Path, source: Path, *resources: str) -> Path:
    _run(
        _SAM / "sam",
        "build",
        *resources,
        "--no-cached",
        "--parallel",
        "--template-file",
        source,
        "--base-dir",
        ROOT,
        "--build-dir",
        folder,
    )
    return folder


def _template_of_plain_layer() -> Path:
    """Write a copy of the template in which SAM builds the layer by default means."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    head, mark, rest = text.partition(f"  {LAYER}:\n")
    rest, found = re.subn(r"BuildMethod: [A-Za-z0-9.]+", "BuildMethod: python3.13", rest, count=1)
    if not mark or not found:
        raise RuntimeError(f"template.yaml has no {LAYER} with a BuildMethod")
    path = WORK / "template-plain.yaml"
    path.write_text(head + mark + rest, encoding="utf-8")
    return path


def _peer(name: str) -> Path:
    folder = _installed(name)
    shutil.copyfile(HERE / "peers" / name / "app.py", folder / "app.py")
    _compile(folder / "app.py")
    return folder


def _installed(name: str) -> Path:
    """Install a peer's packages with bytecode, which `sam build` would not create, and return the folder."""
    requirements = HERE / "peers" / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = WORK / "installed" / f"{name}-{digest}"
    if folder.exists():
        return folder
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _run(
        _SAM / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--no-compile",
        "--target",
        draft,
        "--requirement",
        requirements,
    )
    _compile(draft)
    draft.rename(folder)
    return folder


def _compile(path: Path) -> None:
    _run(_SAM / "python", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", path)
