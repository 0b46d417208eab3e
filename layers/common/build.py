"""Builds the layer: the library, and of the packages that it needs what the functions really use.

    python3.13 build.py --architecture x86_64 FOLDER          FOLDER/python becomes the layer's /opt/python

A default build would serve as well, only slower. What this one does about it:

install   the packages of requirements.txt, all of them pinned, as wheels for the functions' platform
cut       botocore's models to the operations in use, its endpoints to the services in use
prune     what no function imports, and the symbols of extension modules
stand in  for modules that others import, and of which no function uses anything, with those of standins/
untype    what only type checkers read of dictionaries
compile   .pyc files whose validity is not checked: the layer is read-only, and all its files have one date

The same sources give the same bytes. The build fails when it would leave out something that is used: an operation that
the library calls is not in `OPERATIONS`, or one of these is not in botocore's models; when what it would leave out
is not there any more, so that `UNUSED` stays true from one version of a package to the next; or when a package imports
a name that a stand-in does not have.
"""

import argparse
import ast
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PYTHON = (3, 13)  # the functions' runtime

PLATFORMS = {"x86_64": "x86_64", "arm64": "aarch64"}
"""What Lambda calls an architecture, and what wheels call it."""

_GLIBC = ("2014", "_2_17", "_2_28", "_2_34")  # Amazon Linux 2023 has 2.34

OPERATIONS: Mapping[str, frozenset[str]] = {
    "dynamodb": frozenset({"GetItem", "PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem"}),
    "ecs": frozenset({"DescribeContainerInstances", "DescribeTasks", "ListTasks", "RunTask", "StopTask"}),
    "lambda": frozenset({"Invoke"}),
    "secretsmanager": frozenset({"GetSecretValue"}),
    "ssm": frozenset({"GetCommandInvocation", "SendCommand"}),
}
"""The AWS operations that the library calls, by botocore's names."""

UNUSED = (
    "bin",
    "**/*.pyi",
    # Compiles what cffi describes; cryptography's is compiled.
    "cffi",
    "pycparser",
    # The other half of Powertools.
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_classes",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/metadata",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    # The pydantic of before, and what type checkers need of this one.
    "pydantic/v1",
    "pydantic/mypy.py",
    # Time zones come from the system.
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
)
"""What no function imports, as patterns below the layer's folder. Each has to match something."""

# Of what describes a package: Amazon Inspector knows it by its METADATA, and licences go with the code.
_KEPT_OF_DIST_INFO = re.compile(r"METADATA|(licenses/|LICEN[CS]E|NOTICE|COPYING|AUTHORS).*")

TYPED = ("pydantic_core/core_schema.py",)
"""Modules that describe so many dictionaries to type checkers that it shows in a function's start."""

_EPOCH = 315532800  # 1980-01-01, the first day that a zip file knows


class BuildError(Exception):
    """The layer cannot be built; the message says why and what to do."""


def build(target: Path, architecture: str) -> None:
    """Make the layer in `target`, which is emptied first. Raises BuildError."""
    if sys.version_info[:2] != PYTHON:
        raise BuildError(f"Python {PYTHON[0]}.{PYTHON[1]} has to build the layer: it compiles for the functions")
    root = target / "python"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    install(root, architecture)
    shutil.copytree(HERE / "longshore", root / "longshore", ignore=shutil.ignore_patterns("__pycache__"))
    check_operations([*(root / "longshore").rglob("*.py")], root / "botocore" / "data")
    cut(root / "botocore" / "data")
    prune(root)
    stand_in(root, HERE / "standins")
    untype(root)
    drop_symbols(root)
    compile_all(target)
    normalise(root)


def install(root: Path, architecture: str) -> None:
    """Install the wheels of requirements.txt. Nothing may come along that is not pinned there."""
    platforms = [f"--platform=manylinux{glibc}_{PLATFORMS[architecture]}" for glibc in _GLIBC]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON[0]}.{PYTHON[1]}", *platforms]
    quiet = [
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-compile",
        "--no-warn-conflicts",
    ]
    requirements = HERE / "requirements.txt"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *quiet,
        *options,
        f"--target={root}",
        f"--requirement={requirements}",
    ]
    if subprocess.run(command).returncode:
        raise BuildError("pip could not install the layer's packages (see above)")
    lines = [line.split("#")[0].strip() for line in requirements.read_text().splitlines()]
    pinned = {_normal(re.split(r"[\[=]", line)[0]) for line in lines if line}
    installed = {_normal(info.name.split("-")[0]) for info in root.glob("*.dist-info")}
    if pinned != installed:
        raise BuildError(f"requirements.txt must pin what is installed, and no more: {sorted(pinned ^ installed)}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- botocore's models ------------------------------------------------------------------------------------------------


def check_operations(sources: list[Path], data: Path) -> None:
    """Whether OPERATIONS are those that the sources call, and botocore knows them all.

    A call is told by its name: any attribute that is called like an operation of one of these services counts.
    """
    called = _called(sources)
    for service, wanted in OPERATIONS.items():
        known = _read(_newest(data, service) / "service-2")["operations"].keys()
        if missing := sorted(wanted - known):
            raise BuildError(
                f"botocore has no {service} operation {', '.join(missing)}: look at OPERATIONS in build.py"
            )
        used = {operation for operation in known if snake_case(operation) in called}
        if missing := sorted(used - wanted):
            raise BuildError(f"the library calls {service} {', '.join(missing)}: add it to OPERATIONS in build.py")
        if idle := sorted(wanted - used):
            raise BuildError(f"the library calls no {service} {', '.join(idle)}: take it from OPERATIONS in build.py")


def _called(sources: list[Path]) -> set[str]:
    nodes = (node for source in sources for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def snake_case(operation: str) -> str:
    """A client's method for an operation whose name has no abbreviation in it, as none of ours has."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def cut(data: Path) -> None:
    """Reduce botocore's data to the services in OPERATIONS, and their models to these operations."""
    models = {Path(name): _read(data / name) for name in ("partitions", "sdk-default-configuration", "_retry")}
    prefixes = set()
    for service, operations in OPERATIONS.items():
        newest = _newest(data, service)
        folder = Path(service, newest.name)
        model = _read(newest / "service-2")
        prefixes.add(model["metadata"]["endpointPrefix"])
        models[folder / "service-2"] = cut_model(model, operations)
        models[folder / "endpoint-rule-set-1"] = _read(newest / "endpoint-rule-set-1")
        for extras in newest.glob("service-2.*-extras.json"):
            models[folder / extras.stem] = _read(newest / extras.stem)
    models[Path("endpoints")] = cut_endpoints(_read(data / "endpoints"), prefixes)
    shutil.rmtree(data)
    for name, model in models.items():
        path = data / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_undocumented(model), separators=(",", ":")), encoding="utf-8")


def cut_model(model: Any, operations: frozenset[str]) -> Any:
    """A service's model with these operations and the shapes that they reach, and no other."""
    kept = {name: operation for name, operation in model["operations"].items() if name in operations}
    shapes: dict[str, Any] = {}
    reached = list(_shape_names(kept))
    while reached:
        name = reached.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            reached += _shape_names(shapes[name])
    ordered = {name: shape for name, shape in model["shapes"].items() if name in shapes}
    return {**model, "operations": kept, "shapes": ordered}


def cut_endpoints(endpoints: Any, services: set[str]) -> Any:
    """The table of endpoints with these services alone. All partitions and their regions stay."""
    partitions = [
        {**partition, "services": {name: at for name, at in partition["services"].items() if name in services}}
        for partition in endpoints["partitions"]
    ]
    return {**endpoints, "partitions": partitions}


def _shape_names(node: Any) -> Iterator[str]:
    """The names in `{"shape": NAME}`, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "shape" and isinstance(value, str):
                yield value
            else:
                yield from _shape_names(value)
    elif isinstance(node, list):
        for item in node:
            yield from _shape_names(item)


def _undocumented(node: Any) -> Any:
    """The same without its texts for people. A member that is called `documentation` is no text."""
    if isinstance(node, dict):
        items = node.items()
        return {k: _undocumented(v) for k, v in items if not (k == "documentation" and isinstance(v, str))}
    return [_undocumented(item) for item in node] if isinstance(node, list) else node


def _newest(data: Path, service: str) -> Path:
    """The folder of a service's latest API version, as botocore chooses it."""
    versions = sorted(path.parent for path in data.glob(f"{service}/*/service-2.json*"))
    if not versions:
        raise BuildError(f"botocore has no service {service}: look at OPERATIONS in build.py")
    return versions[-1]


def _read(path: Path) -> Any:
    """A file of botocore's data by its path without extension, compressed or not."""
    plain = path.with_name(f"{path.name}.json")
    if plain.is_file():
        return json.loads(plain.read_bytes())
    return json.loads(gzip.decompress(path.with_name(f"{path.name}.json.gz").read_bytes()))


# --- the rest ---------------------------------------------------------------------------------------------------------


def prune(root: Path) -> None:
    """Remove what UNUSED names, and what describes the packages but for their METADATA and licences."""
    for pattern in UNUSED:
        found = [*root.glob(pattern)]
        if not found:
            raise BuildError(f"there is no {pattern} any more: look at UNUSED in build.py")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for info in root.glob("*.dist-info"):
        for path in [path for path in info.rglob("*") if path.is_file()]:
            if not _KEPT_OF_DIST_INFO.fullmatch(path.relative_to(info).as_posix()):
                path.unlink()


def stand_in(root: Path, standins: Path) -> None:
    """Put modules of `standins` in the place of those that they stand for, and take away what only these used.

    A package that has a stand-in for its `__init__` keeps the modules that others import from it, and no other.
    """
    new = sorted(path.relative_to(standins) for path in standins.rglob("*.py"))
    for path in new:
        if not (root / path).is_file():
            raise BuildError(f"there is no {path} any more for {standins.name}/{path} to stand in for")
    names = {module_name(path): _defined(standins / path) for path in new}
    needed: set[str] = set()
    for source in root.rglob("*.py"):
        path = source.relative_to(root)
        for module, name in _imported(source, module_name(path), is_package=path.name == "__init__.py"):
            inside = any(f"{module_name(path)}.".startswith(f"{package}.") for package in names)
            if inside or module not in names or name in names[module]:
                continue
            if not _is_module(root, f"{module}.{name}"):
                raise BuildError(f"{path} imports {name} of {module}, which its stand-in does not have")
            needed.add(f"{module}.{name}")
    for package in [path.parent for path in new if path.name == "__init__.py"]:
        for path in (root / package).rglob("*.py"):
            if path.relative_to(root) not in new and module_name(path.relative_to(root)) not in needed:
                path.unlink()
        for folder in sorted((path for path in (root / package).rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    shutil.copytree(standins, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def untype(root: Path) -> None:
    """Make a plain dictionary of every TypedDict in TYPED: it is one when the program runs."""
    for name in TYPED:
        tree, typed = ast.parse((root / name).read_text(encoding="utf-8")), {"TypedDict"}
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and typed & {ast.unparse(base) for base in node.bases}:
                typed.add(node.name)
                node.bases, node.keywords, node.body = [ast.Name("dict")], [], [ast.Pass()]
        if len(typed) == 1:
            raise BuildError(f"{name} has no TypedDict any more: look at TYPED in build.py")
        (root / name).write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")


def module_name(path: Path) -> str:
    """`botocore.docs` for `botocore/docs/__init__.py`."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _defined(source: Path) -> set[str]:
    """The names that a module has once it is imported."""
    names: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _imported(source: Path, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """What a module imports by `from`, anywhere in it: the module that it comes from, and the name."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield origin, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, name = alias.name.rpartition(".")
                yield package, name


def compile_all(target: Path) -> None:
    """Compile all modules, with the paths that they have in Lambda, and no check against their sources.

    The packages' own sources go: their .pyc files take the place of them, and take less time to find.
    """
    root, library = target / "python", target / "python" / "longshore"
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(target), "-p", "/opt"]
    # In a fresh process: what a .pyc holds depends on the seed of hashes.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    for what in (["-b", "-x", re.escape(f"{library}{os.sep}"), str(root)], [str(library)]):
        if subprocess.run([sys.executable, "-m", "compileall", *options, *what], env=environment).returncode:
            raise BuildError("a module cannot be compiled (see above)")
    for source in root.rglob("*.py"):
        if not source.is_relative_to(library):
            source.unlink()


def drop_symbols(root: Path) -> None:
    """Cut off what a debugger reads of extension modules. It lies behind all that is ever loaded.

    As `strip` does, which is not on every machine, and seldom for another architecture.
    """
    for path in root.rglob("*.so"):
        image = path.read_bytes()
        if image[:6] != b"\x7fELF\x02\x01":
            raise BuildError(f"{path.name} is no 64-bit ELF file")
        # https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
        (at,) = struct.unpack_from("<Q", image, 0x20)
        size, count = struct.unpack_from("<HH", image, 0x36)
        segments = [struct.unpack_from("<IIQQQQ", image, at + number * size) for number in range(count)]
        end = max([at + count * size, *(offset + length for _, _, offset, _, _, length in segments)])
        no_sections = struct.pack("<Q", 0)  # of the table's offset; its three sizes follow 10 bytes later
        header = image[:0x28] + no_sections + image[0x30:0x3A] + bytes(6)
        path.write_bytes(header + image[0x40:end])


def normalise(root: Path) -> None:
    """Give every file the same date and plain permissions, so that the same content makes the same archive."""
    for path in [root, *root.rglob("*")]:
        executable = path.is_dir() or os.access(path, os.X_OK)
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (_EPOCH, _EPOCH))


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the layer into a folder.")
    parser.add_argument("--architecture", choices=PLATFORMS, default="x86_64")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        build(given.folder.resolve(), given.architecture)
    except BuildError as error:
        sys.exit(f"build.py: {error}")


if __name__ == "__main__":
    main()
