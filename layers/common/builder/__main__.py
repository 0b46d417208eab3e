"""Builds the layer: the library, and of the packages that it needs what the functions really use.

    python3.13 -m builder --architecture x86_64 FOLDER        FOLDER/python becomes the layer's /opt/python

A default build would serve as well, only slower. What this one does about it:

install     the packages of requirements.txt, all of them pinned, as wheels for the functions' platform
cut         botocore's models to the operations in use, its endpoints to the services in use
prune       what no function imports, and the symbols of extension modules
stand in    for modules that others import, and of which no function uses anything, with those of standins/
untype      what only type checkers read of dictionaries
precompile  regular expressions
compile     .pyc files whose validity is not checked: the layer is read-only, and all its files have one date

The same sources give the same bytes. The build fails when it would leave out something that is used: an operation that
the library calls is not in `OPERATIONS`, or one of these is not in botocore's models; when what it would leave out
is not there any more, so that `UNUSED` stays true from one version of a package to the next; or when a package imports
a name that a stand-in does not have.
"""

import argparse
import shutil
import sys
from pathlib import Path

from builder.botocore_data import check_operations, cut
from builder.bytecode import compile_all
from builder.errors import BuildError
from builder.packages import PLATFORMS, PYTHON, drop_symbols, install, normalise, prune
from builder.rewrites import precompile, stand_in, untype

HERE = Path(__file__).resolve().parent.parent


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
    precompile(root)
    drop_symbols(root)
    compile_all(target)
    normalise(root)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the layer into a folder.")
    parser.add_argument("--architecture", choices=PLATFORMS, default="x86_64")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        build(given.folder.resolve(), given.architecture)
    except BuildError as error:
        sys.exit(f"builder: {error}")


if __name__ == "__main__":
    main()
