"""What is measured, laid out as Lambda would have it: the output of `sam build`, and the peers with their packages.

Everything is made below `.local/bench`. What was installed for the same requirements before is used again; the
functions and the layer are always built anew.
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
"""Folders below `benchmarks/peers`, and how the tables name them. All serve GET status-logs."""


class MissingError(Exception):
    """Something that a part needs is not on this machine; the message says what."""


@dataclass(frozen=True)
class Target:
    """A function that can be run: its folders as `sys.path` would have them, and its environment."""

    name: str
    path: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    resource: bool = False
    """Whether it uses boto3's Table, which does more with a call than a client does."""


@dataclass(frozen=True)
class Targets:
    """All of them. `functions` by the names of their folders, `peers` by theirs."""

    python: Path
    functions: Mapping[str, Target]
    without_bytecode: Mapping[str, Target]
    """The functions on the layer that `sam build` makes by itself."""
    peers: Mapping[str, Target]
    stock: Target
    """boto3 as pip installs it, compiled."""
    bare: Target
    """A function that only writes JSON."""
    stack: template.Stack

    @property
    def layer(self) -> Path:
        return self.functions["status_logs"].path[1]

    def table(self, logical_id: str) -> str:
        return self.stack.physical_name(logical_id)


def prepare() -> Targets:
    """Build and install everything. MissingError without SAM CLI; RuntimeError when a step fails."""
    if not (_SAM / "sam").is_file():
        raise MissingError("SAM CLI is missing: `make bench` installs it")
    WORK.mkdir(parents=True, exist_ok=True)
    python = _interpreter()
    stack = template.load()
    # pip waits for the network most of the time.
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
    # Neither our packages nor anything of AWS's own, and the functions' Python in front: SAM builds with it.
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
    """Python 3.13 without a single package, as the functions find it."""
    folder = WORK / "python"
    if not (folder / "bin" / "python").exists():
        _run(_SAM / "python", "-m", "venv", "--clear", "--without-pip", folder)
    return folder / "bin" / "python"


def _build() -> tuple[Path, Path]:
    """Our functions and layer, and the layer as SAM builds it by itself; one by one, since they share a folder."""
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
    """The template, but for how the layer is built: as SAM does it by default."""
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
    """A folder with a peer's packages, compiled: better off than in `sam build`'s output, which has no bytecode."""
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
