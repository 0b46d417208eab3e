"""Configuration of the command: the URL and the token come from options, the environment or a file, in this order.

The file is `$XDG_CONFIG_HOME/longshore/config.toml`, by default `~/.config/longshore/config.toml`:

    url = "https://host/stage"
    token = "..."
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class ConfigurationError(Exception):
    """The URL or the token is missing, or the file is invalid. The message says how to correct it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The URL of the API and the token."""

    url: str
    token: str = field(repr=False)


def config_file(environment: Mapping[str, str]) -> Path:
    """Return the path of the configuration file, which may not exist."""
    home = environment.get("XDG_CONFIG_HOME")
    # The XDG Base Directory Specification requires that relative paths are ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".config"
    return base / "longshore" / "config.toml"


def settings(url: str | None, token: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from options, environment and file, in this order. Empty values are ignored.

    Raises:
        ConfigurationError: The URL or the token is missing, or the file is invalid.
    """
    path = config_file(environment)
    url = url or environment.get("LONGSHORE_URL")
    token = token or environment.get("LONGSHORE_TOKEN")
    # If both are set, the file is not read, so that an invalid file is no error.
    kept = {} if url and token else _read(path)
    url, token = url or kept.get("url"), token or kept.get("token")
    for name, value in (("url", url), ("token", token)):
        if not value:
            raise ConfigurationError(
                f'no {name}: specify --{name}, set LONGSHORE_{name.upper()}, or add {name} = "..." to {path}'
            )
    assert url is not None
    assert token is not None
    return Settings(url, token.strip())


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    for name, value in found.items():
        if name not in ("url", "token"):
            raise ConfigurationError(f"{path}: unknown setting {name}; the settings are url and token")
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {name} must be a string")
    if "token" in found and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} contains a token and is readable by other users: chmod 600 {path}")
    return found
