"""Configuration of the command: the URL and the token.

They come from options, the environment, the session that `longshore login` has stored, or the configuration file, in
this order. The file is `$XDG_CONFIG_HOME/longshore/config.toml`, by default `~/.config/longshore/config.toml`:

    url = "https://host/stage"
    token = "..."

A token of a session or of the file is used only for the URL that is stored with it.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from longshore_client import _http
from longshore_client.cli.config_files import ConfigurationError, check_private, folder
from longshore_client.cli.credentials import DEFAULT_PROFILE, Credentials, CredentialsFile

__all__ = ["ConfigurationError", "Settings", "api_of", "profile_of", "settings", "stored"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The URL of the API, and the token or a function that returns it."""

    url: str
    token: str | Callable[[], str] = field(repr=False)


def profile_of(profile: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of the profile from the option or the environment."""
    return profile or environment.get("LONGSHORE_PROFILE") or DEFAULT_PROFILE


def stored(environment: Mapping[str, str] = os.environ) -> CredentialsFile:
    """Return the file with the credentials."""
    return CredentialsFile(folder(environment) / "credentials.json")


def api_of(url: str | None, profile: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the API to sign in to: the given one, or that of the profile or the configuration file.

    Raises:
        ConfigurationError: The URL is missing, or a file is invalid.
    """
    found = url or environment.get("LONGSHORE_URL")
    if not found:
        credentials = stored(environment).read(profile)
        found = credentials.url if credentials else _read(folder(environment) / "config.toml").get("url")
    if not found:
        raise ConfigurationError("no url: specify --url or set LONGSHORE_URL")
    return found


def settings(
    url: str | None,
    token: str | None,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings from options, environment, stored session and file, in this order. Empty values are ignored.

    Raises:
        ConfigurationError: The URL or the token is missing, the user is not signed in to the given profile, or a file
            is invalid.
    """
    path = folder(environment) / "config.toml"
    url = url or environment.get("LONGSHORE_URL")
    token = token or environment.get("LONGSHORE_TOKEN")
    # If both are set, no file is read, so that an invalid file is no error.
    if not (url and token):
        session = _session(url, profile, environment)
        if session and not token:
            return _signed_in(session, profile_of(profile, environment), environment)
        kept = _read(path)
        url = url or (session.url if session else kept.get("url"))
        token = token or _kept_token(kept, url, path)
    for name, value in (("url", url), ("token", token)):
        if not value:
            raise ConfigurationError(
                f'no {name}: specify --{name}, set LONGSHORE_{name.upper()}, or add {name} = "..." to {path}; '
                "or sign in with longshore login"
            )
    assert url is not None
    assert token is not None
    return Settings(url, token.strip())


def _session(url: str | None, profile: str | None, environment: Mapping[str, str]) -> Credentials | None:
    """Return the stored session for an API, or None if the user is not signed in to it with the default profile."""
    name = profile_of(profile, environment)
    found = stored(environment).read(name)
    if found and url and _http.api_url(url, allow_http=True) != found.url:
        found = None
    if found is None and name != DEFAULT_PROFILE:
        to = f" to {url}" if url else ""
        raise ConfigurationError(f"not signed in{to} with the profile {name}: run longshore login --profile {name}")
    return found


def _signed_in(session: Credentials, profile: str, environment: Mapping[str, str]) -> Settings:
    # The libraries of the sign-in are loaded only when a session is used.
    from longshore_client.cli.sessions import StoredSession

    return Settings(session.url, StoredSession(stored(environment), profile, session))


def _kept_token(kept: Mapping[str, str], url: str | None, path: Path) -> str | None:
    """Return the token of the configuration file, or None. Raise ConfigurationError if it is for another URL."""
    token, own = kept.get("token"), kept.get("url")
    if not token or url is None:
        return token
    if not own:
        raise ConfigurationError(
            f"{path} contains a token without its URL, so it is not sent to {url}: "
            'add url = "...", the URL of the API that the token is for'
        )
    if _http.api_url(own, allow_http=True) != _http.api_url(url, allow_http=True):
        raise ConfigurationError(
            f"the token in {path} is for {own} and is not sent to {url}: set LONGSHORE_TOKEN to a token for this URL, "
            "or sign in with longshore login"
        )
    return token


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
            if "token" in found:
                check_private(path, file.fileno())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    for name, value in found.items():
        if name not in ("url", "token"):
            raise ConfigurationError(f"{path}: unknown setting {name}; the settings are url and token")
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {name} must be a string")
    return found
