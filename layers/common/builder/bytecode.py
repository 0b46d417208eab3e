"""Modules, compiled for where they will be."""

import os
import re
import subprocess
import sys
from pathlib import Path

from builder.errors import BuildError


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
