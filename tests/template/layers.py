"""Comparison of a layer with the packages that it was built from."""

from __future__ import annotations

import _imp
import base64
import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

from builder.packages import UNUSED

PREPARED = ("botocore/data/",)
"""The files of packages that the builder writes: botocore's reduced data."""


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def package_files(root: Path) -> set[str]:
    """Return the files of a layer's `python` folder that are not the library's."""
    return {name for name in files_of(root) if not name.startswith("longshore/")}


def differences(root: Path, published: Mapping[str, Path]) -> list[str]:
    """Compare a layer with its packages as published.

    A module is compared by the hash of its source, which its .pyc file contains (PEP 552), any other file by its
    content. A RECORD has other content; `untrue_records` checks it.

    Args:
        root: The layer's `python` folder.
        published: The path of each file of the packages, by its name below `root`.

    Returns:
        The files that differ, that only the layer has, or that the layer lacks although UNUSED does not name them.
    """
    found, expected = [], set()
    for name, path in published.items():
        if name.startswith(PREPARED) or any(_matches(name, pattern) for pattern in UNUSED):
            continue
        shipped = root / (f"{name}c" if name.endswith(".py") else name)
        expected.add(shipped.relative_to(root).as_posix())
        if not shipped.is_file() or not (name.endswith("/RECORD") or _same(shipped, path)):
            found.append(name)
    added = {name for name in package_files(root) - expected if not name.startswith(PREPARED)}
    return sorted([*found, *added])


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern of `Path.glob` matches the file or one of its folders."""
    path = Path("/", name)
    if pattern.startswith("**/"):
        return path.match(pattern.removeprefix("**/"))
    return any(folder.match(f"/{pattern}") for folder in (path, *path.parents))


def _same(shipped: Path, published: Path) -> bool:
    content = published.read_bytes()
    if published.suffix != ".py":
        return shipped.read_bytes() == content
    compiled = shipped.read_bytes()
    magic_number, flags, source_hash = compiled[:4], compiled[4:8], compiled[8:16]
    unchecked_hash = 0b01
    # The hash depends on the magic number of the Python that compiled the layer. importlib.util.source_hash uses that
    # of the Python that runs the tests, which may be another version.
    expected = _imp.source_hash(int.from_bytes(magic_number, "little"), content)
    return (int.from_bytes(flags, "little"), source_hash) == (unchecked_hash, expected)


def untrue_records(root: Path) -> list[str]:
    """Return the package files whose RECORD line is missing, repeated or wrong, and the lines without a file."""
    lines: list[tuple[str, str, str]] = []
    for record in root.glob("*.dist-info/RECORD"):
        with record.open(newline="") as file:
            lines += [(name, digest, size) for name, digest, size in csv.reader(file)]
    true = {_line(root, name) for name in package_files(root)}
    repeated = {line for line in lines if lines.count(line) > 1}
    return sorted({name for name, _, _ in repeated | ({*lines} ^ true)})


def _line(root: Path, name: str) -> tuple[str, str, str]:
    if name.endswith(".dist-info/RECORD"):
        return name, "", ""
    content = (root / name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return name, f"sha256={digest}", str(len(content))
