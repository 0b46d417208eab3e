"""Where the URL and the token come from: flags, then the environment, then a file.

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
    """The URL or the token is not known, or the file is wrong. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which API to call, and as whom."""

    url: str
    token: str = field(repr=False)


def config_file(environment: Mapping[str, str]) -> Path:
    """Where the file is, whether or not there is one."""
    home = environment.get("XDG_CONFIG_HOME")
    # The specification of base directories has relative paths ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".config"
    return base / "longshore" / "config.toml"


def settings(url: str | None, token: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings, from flags, environment and file in this order; what is empty counts as not given.

    ConfigurationError.
    """
    path = config_file(environment)
    url = url or environment.get("LONGSHORE_URL")
    token = token or environment.get("LONGSHORE_TOKEN")
    # With both known, a broken file is nobody's concern.
    kept = {} if url and token else _read(path)
    url, token = url or kept.get("url"), token or kept.get("token")
    for name, value in (("url", url), ("token", token)):
        if not value:
            raise ConfigurationError(
                f'no {name}: give --{name}, set LONGSHORE_{name.upper()}, or write {name} = "..." into {path}'
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
            raise ConfigurationError(f"{path}: {name} is not a setting; there are url and token")
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {name} must be a string")
    if "token" in found and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} holds a token that others can read: chmod 600 {path}")
    return found
