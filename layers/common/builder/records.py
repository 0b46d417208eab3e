"""The RECORD files of the layer's packages, from which scanners read the files that belong to a package.

https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file
"""

import base64
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from builder.errors import BuildError


def write_records(root: Path) -> None:
    """Rewrite each package's RECORD to list exactly its files in the layer.

    Raises:
        BuildError: A file outside the library belongs to no package.
    """
    unrecorded = {path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / "longshore")}
    for record in sorted(root.glob("*.dist-info/RECORD")):
        with record.open(newline="", encoding="utf-8") as file:
            names = [row[0] for row in csv.reader(file)]
        shipped = sorted({path for name in names for path in _shipped(root, name)} & unrecorded)
        unrecorded -= {*shipped}
        with record.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_row(root, path, record) for path in shipped)
    if unrecorded:
        raise BuildError(f"no package's RECORD lists {', '.join(sorted(map(str, unrecorded)))}")


def _shipped(root: Path, name: str) -> Iterator[Path]:
    """Yield the paths that a recorded file may have in the layer."""
    yield root / name
    if name.endswith(".py"):
        yield root / f"{name}c"  # compiled
    yield root / name.removesuffix(".gz")  # cut


def _row(root: Path, path: Path, record: Path) -> tuple[str, str, str]:
    name = path.relative_to(root).as_posix()
    if path == record:
        return name, "", ""
    content = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(content))
