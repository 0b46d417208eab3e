"""Builds the layer: the library, and the parts of its packages that the functions use.

    python3.13 -m builder --architecture x86_64 --functions FUNCTIONS FOLDER

FOLDER/python becomes /opt/python in Lambda. The steps:

install   the packages of requirements.txt with their hashes, as wheels for the functions' platform
cut       botocore's service models to the operations in use, its endpoints to the services in use
prune     modules that no function imports
compile   .pyc files that Python does not check against a source: the layer is read-only
record    the files that ship, in each package's RECORD
import    every module of the library and every handler from the layer

Modules ship as published: none is modified. The same sources produce the same bytes.

The build fails if the library calls an operation that is not in `OPERATIONS`, if an entry of `OPERATIONS` or `UNUSED`
matches nothing, or if a module or a handler cannot be imported.
"""

import argparse
import shutil
import sys
from pathlib import Path

from builder.botocore_data import check_operations, cut
from builder.bytecode import compile_all
from builder.errors import BuildError
from builder.imports import can_import, check_imports
from builder.packages import PLATFORMS, PYTHON, install, normalise, prune
from builder.records import write_records

HERE = Path(__file__).resolve().parent.parent


def build(target: Path, architecture: str, functions: Path | None = None) -> None:
    """Build the layer.

    Args:
        target: The folder to build into. Its `python` folder is replaced.
        architecture: A key of `PLATFORMS`.
        functions: The folder with the functions' folders, or None to import the library's modules only.

    Raises:
        BuildError: A step failed.
    """
    if sys.version_info[:2] != PYTHON:
        raise BuildError(f"Python {PYTHON[0]}.{PYTHON[1]} has to build the layer: it compiles for the functions")
    root = target / "python"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    install(root, architecture)
    assemble(target)
    if can_import(architecture):
        check_imports(root, functions)
    else:
        print(f"builder: imports not checked, because this machine cannot load extension modules for {architecture}")


def assemble(target: Path) -> None:
    """Add the library to the packages in `target/python`, and reduce and compile them.

    Raises:
        BuildError: A step failed.
    """
    root = target / "python"
    shutil.copytree(HERE / "longshore", root / "longshore", ignore=shutil.ignore_patterns("__pycache__"))
    check_operations([*(root / "longshore").rglob("*.py")], root / "botocore" / "data")
    cut(root / "botocore" / "data")
    prune(root)
    compile_all(target)
    write_records(root)
    normalise(root)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the layer into a folder.")
    parser.add_argument("--architecture", choices=PLATFORMS, default="x86_64")
    parser.add_argument("--functions", type=Path, help="the folder with the functions, whose handlers are imported")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        build(arguments.folder.resolve(), arguments.architecture, arguments.functions)
    except BuildError as error:
        sys.exit(f"builder: {error}")


if __name__ == "__main__":
    main()
