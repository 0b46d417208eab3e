"""The folder of the command's files, and the check that only the user can read a file."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path


class ConfigurationError(Exception):
    """The configuration is incomplete or invalid. The message says how to correct it."""


def folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the command's files, which may not exist."""
    home = environment.get("XDG_CONFIG_HOME")
    # The XDG Base Directory Specification requires that relative paths are ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".config"
    return base / "longshore"


def check_private(path: Path, descriptor: int) -> None:
    """Check that only the user can read an open file that contains a token. Raise ConfigurationError otherwise."""
    mode = os.fstat(descriptor).st_mode
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} contains a token and is readable by other users: chmod 600 {path}")
