"""Compilation of the layer's modules."""

import os
import re
import subprocess
import sys
from pathlib import Path

from builder.errors import BuildError


def compile_all(target: Path) -> None:
    """Compile all modules of `target/python`, with the paths that they have in Lambda.

    The .pyc files contain the hash of their source, which Python does not check when it imports them. A package's
    .pyc files replace its sources, which makes imports faster and the layer smaller. The library keeps its sources,
    so that tracebacks show them.

    Raises:
        BuildError: A module cannot be compiled.
    """
    root, library = target / "python", target / "python" / "longshore"
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(target), "-p", "/opt"]
    # The content of a .pyc file depends on the hash seed, so a process with a fixed seed compiles.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    for arguments in (["-b", "-x", re.escape(f"{library}{os.sep}"), str(root)], [str(library)]):
        if subprocess.run([sys.executable, "-m", "compileall", *options, *arguments], env=environment).returncode:
            raise BuildError("a module cannot be compiled (see above)")
    for source in root.rglob("*.py"):
        if not source.is_relative_to(library):
            source.unlink()
