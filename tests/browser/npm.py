"""Packages of the npm registry for tests, downloaded on demand."""

import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".local" / "npm"


class NpmUnavailableError(Exception):
    """The package cannot be downloaded. The message states the reason."""


def package(name: str, version: str) -> Path:
    """Return the folder of a package without dependencies, downloading it if necessary. Raises NpmUnavailableError."""
    prefix = CACHE / f"{name}-{version}"
    folder = prefix / "node_modules" / name
    if (folder / "package.json").is_file():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise NpmUnavailableError(f"npm is missing: it downloads {name}")
    options = ["--prefix", str(prefix), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run([npm, "install", *options, f"{name}@{version}"], capture_output=True, text=True)
    if done.returncode != 0 or not (folder / "package.json").is_file():
        raise NpmUnavailableError(f"npm could not download {name}: {(done.stderr or done.stdout).strip()[-500:]}")
    return folder
