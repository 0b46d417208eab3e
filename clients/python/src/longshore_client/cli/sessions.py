"""The session that `longshore login` has stored: its token, which is refreshed before it expires."""

import time
from dataclasses import replace

from longshore_client.cli.config_files import ConfigurationError
from longshore_client.cli.credentials import Credentials, CredentialsFile
from longshore_client.cli.exits import Exit, Problem
from longshore_client.cli.provider import OtherUserError, Provider, SessionEndedError, Tokens

_MARGIN = 30  # seconds before a token expires, in which it is refreshed


class StoredSession:
    """Returns the token of a profile. The client calls it before each request, from any thread.

    Args:
        file: The file with the credentials.
        profile: The name of the profile.
        credentials: Its credentials.
    """

    def __init__(self, file: CredentialsFile, profile: str, credentials: Credentials) -> None:
        self._file = file
        self._profile = profile
        self._credentials = credentials

    def __call__(self) -> str:
        """Return the token, after a refresh if it has expired.

        Raises:
            Problem: The session has ended, or the provider does not respond.
        """
        if _is_fresh(self._credentials):
            return self._credentials.token
        try:
            with self._file.locked():
                # Another process may have refreshed or ended the session.
                found = self._file.read(self._profile)
                if found is None or found.url != self._credentials.url:
                    raise self._ended()
                self._credentials = found if _is_fresh(found) else self._refreshed(found)
        except ConfigurationError as error:
            raise Problem("CONFIGURATION", str(error)) from error
        return self._credentials.token

    def _refreshed(self, old: Credentials) -> Credentials:
        if old.refresh_token is None:
            raise self._ended()
        provider = Provider(old.sign_in, old.url)
        try:
            tokens = provider.refresh(old.refresh_token, old.token, old.id_user)
        except SessionEndedError as error:
            raise self._ended() from error
        except OtherUserError as error:
            # The refresh token must not be used again.
            self._file.write(self._profile, replace(old, expires_at=0, refresh_token=None))
            raise self._ended(f", because {error}") from error
        new = with_tokens(old, tokens)
        self._file.write(self._profile, new)
        return new

    def _ended(self, reason: str = "") -> Problem:
        message = f"the session has ended{reason}"
        return Problem("SESSION_ENDED", message, Exit.AUTHENTICATION, advice=[self._advice()])

    def _advice(self) -> str:
        return f"Sign in again: longshore login --profile {self._profile}"


def with_tokens(credentials: Credentials, tokens: Tokens) -> Credentials:
    """Return credentials with new tokens. The refresh token is kept if the provider did not issue a new one."""
    return replace(
        credentials,
        token=tokens.bearer,
        expires_at=tokens.expires_at,
        refresh_token=tokens.refresh or credentials.refresh_token,
    )


def _is_fresh(credentials: Credentials) -> bool:
    return time.time() < credentials.expires_at - _MARGIN
