"""The credentials that `longshore login` stores, in a file that only the user can read.

The file is `credentials.json` next to the configuration file. It contains one set of credentials per profile.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from longshore_client.cli.config_files import ConfigurationError, check_private

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class SignIn:
    """How users of an API sign in, as the API returns it.

    Attributes:
        issuer: The issuer of the OpenID Connect provider.
        client_id: The id of the public client.
        scopes: The scopes to request, separated by spaces.
        audience: The audience of the tokens that the API accepts.
        audience_parameter: The request parameter that contains the audience, or None.
    """

    issuer: str
    client_id: str
    scopes: str
    audience: str
    audience_parameter: str | None

    @property
    def uses_id_token(self) -> bool:
        """Whether the API accepts ID tokens, whose audience is the client, instead of access tokens."""
        return self.audience == self.client_id


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a profile.

    Attributes:
        url: The URL of the API that the token is for. The token is not sent to any other URL.
        sign_in: How the user has signed in.
        token: The bearer token.
        expires_at: The time at which the token expires, in seconds since 1970.
        refresh_token: The token that renews the session, or None.
    """

    url: str
    sign_in: SignIn
    token: str = field(repr=False)
    expires_at: float
    refresh_token: str | None = field(repr=False)


class CredentialsFile:
    """The file with the credentials of all profiles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, profile: str) -> Credentials | None:
        """Return the credentials of a profile, or None.

        Raises:
            ConfigurationError: The file is invalid, or other users can read it.
        """
        found = self._content().get(profile)
        if found is None:
            return None
        try:
            return _credentials(found)
        except (KeyError, TypeError) as error:
            raise self._invalid() from error

    def write(self, profile: str, credentials: Credentials) -> None:
        """Store the credentials of a profile. Raise ConfigurationError if the file cannot be written."""
        self._replace(self._content() | {profile: asdict(credentials)})

    def remove(self, profile: str) -> None:
        """Remove the credentials of a profile. Raise ConfigurationError if the file cannot be written."""
        self._replace({name: each for name, each in self._content().items() if name != profile})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let other processes wait until the context ends. Many providers accept a refresh token only once.

        On Windows, other processes do not wait.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform == "win32":
            yield
            return
        import fcntl

        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _content(self) -> dict[str, Any]:
        try:
            with self.path.open(encoding="utf-8") as file:
                check_private(self.path, file.fileno())
                profiles = json.load(file)["profiles"]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self.path}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise self._invalid() from error
        if not isinstance(profiles, dict):
            raise self._invalid()
        return profiles

    def _replace(self, profiles: dict[str, Any]) -> None:
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            # The file has its mode before it has content.
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump({"profiles": profiles}, file, indent=2)
            # Atomic, so that other processes never see an incomplete file.
            beside.replace(self.path)
        except OSError as error:
            raise ConfigurationError(f"{self.path}: {error.strerror}") from error

    def _invalid(self) -> ConfigurationError:
        return ConfigurationError(f"{self.path} is invalid: delete it, and sign in again with longshore login")


def _credentials(found: dict[str, Any]) -> Credentials:
    """Build credentials from JSON. Raise KeyError or TypeError if it is malformed."""
    sign_in = SignIn(**{each.name: found["sign_in"][each.name] for each in fields(SignIn)})
    return Credentials(found["url"], sign_in, found["token"], float(found["expires_at"]), found["refresh_token"])
