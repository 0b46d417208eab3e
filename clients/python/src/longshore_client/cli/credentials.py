"""The credentials that `longshore login` stores, in a file that only the user can read.

The file is `credentials.json` next to the configuration file. It contains one set of credentials per profile, and the
APIs that the user has signed in to before.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from longshore_client._http import base_of
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

    def is_bound_to(self, url: str) -> bool:
        """Whether the audience is the URL of an API, so that no other API accepts the tokens.

        Args:
            url: The URL of the API that the user has named, as `api_url` returns it.
        """
        return self.audience.rstrip("/") in (url, base_of(url))


@dataclass(frozen=True, slots=True)
class KnownApi:
    """An API that the user has signed in to, and which tokens it received."""

    url: str
    issuer: str
    client_id: str
    audience: str

    @classmethod
    def of(cls, url: str, sign_in: SignIn) -> Self:
        return cls(url, sign_in.issuer, sign_in.client_id, sign_in.audience)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a profile.

    Attributes:
        url: The URL of the API that the token is for. The token is not sent to any other URL.
        sign_in: How the user has signed in.
        token: The bearer token.
        expires_at: The time at which the token expires, in seconds since 1970.
        refresh_token: The token that renews the session, or None.
        id_user: The `sub` of the first ID token, or None.
    """

    url: str
    sign_in: SignIn
    token: str = field(repr=False)
    expires_at: float
    refresh_token: str | None = field(repr=False)
    id_user: str | None = None


@dataclass(frozen=True, slots=True)
class _Content:
    """The JSON of the file: credentials by profile, and the known APIs."""

    profiles: dict[str, Any]
    known: list[Any]


class CredentialsFile:
    """The file with the credentials of all profiles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, profile: str) -> Credentials | None:
        """Return the credentials of a profile, or None.

        Raises:
            ConfigurationError: The file is invalid, or other users can read it.
        """
        found = self._content().profiles.get(profile)
        if found is None:
            return None
        try:
            return _credentials(found)
        except (KeyError, TypeError) as error:
            raise self._invalid() from error

    def known(self) -> list[KnownApi]:
        """Return the APIs that the user has signed in to before. Raise ConfigurationError if the file is invalid."""
        content = self._content()
        try:
            sessions = [_credentials(each) for each in content.profiles.values()]
            known = [KnownApi(**{each.name: api[each.name] for each in fields(KnownApi)}) for api in content.known]
        except (KeyError, TypeError) as error:
            raise self._invalid() from error
        return list(dict.fromkeys([*known, *(KnownApi.of(each.url, each.sign_in) for each in sessions)]))

    def write(self, profile: str, credentials: Credentials) -> None:
        """Store the credentials of a profile. Raise ConfigurationError if the file cannot be written."""
        content = self._content()
        api = asdict(KnownApi.of(credentials.url, credentials.sign_in))
        known = content.known if api in content.known else [*content.known, api]
        self._replace(_Content(content.profiles | {profile: asdict(credentials)}, known))

    def remove(self, profile: str) -> None:
        """Remove the credentials of a profile. Raise ConfigurationError if the file cannot be written."""
        content = self._content()
        profiles = {name: each for name, each in content.profiles.items() if name != profile}
        self._replace(_Content(profiles, content.known))

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

    def _content(self) -> _Content:
        try:
            with self.path.open(encoding="utf-8") as file:
                check_private(self.path, file.fileno())
                found = json.load(file)
                content = _Content(dict(found["profiles"]), list(found.get("known", [])))
        except FileNotFoundError:
            return _Content({}, [])
        except OSError as error:
            raise ConfigurationError(f"{self.path}: {error.strerror}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._invalid() from error
        return content

    def _replace(self, content: _Content) -> None:
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            # The file has its mode before it has content.
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump({"profiles": content.profiles, "known": content.known}, file, indent=2)
            # Atomic, so that other processes never see an incomplete file.
            beside.replace(self.path)
        except OSError as error:
            raise ConfigurationError(f"{self.path}: {error.strerror}") from error

    def _invalid(self) -> ConfigurationError:
        return ConfigurationError(f"{self.path} is invalid: delete it, and sign in again with longshore login")


def _credentials(found: dict[str, Any]) -> Credentials:
    """Build credentials from JSON. Raise KeyError or TypeError if it is malformed."""
    sign_in = SignIn(**{each.name: found["sign_in"][each.name] for each in fields(SignIn)})
    expires_at = float(found["expires_at"])
    # Versions before this attribute stored no `id_user`.
    return Credentials(found["url"], sign_in, found["token"], expires_at, found["refresh_token"], found.get("id_user"))
