"""Unzipped sizes of the deployment packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.targets import Targets


def measure(targets: Targets) -> dict[str, Any]:
    """Return the bytes of the layer, of the layer that SAM builds by default, of each function and of the peers."""
    return {
        "layer": _size(targets.layer.parent),
        "plain_layer": _size(targets.without_bytecode["status_logs"].path[1].parent),
        "functions": {name: _size(target.path[0]) for name, target in targets.functions.items()},
        "peers": {target.name: _size(target.path[0]) for target in targets.peers.values()},
    }


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink())
