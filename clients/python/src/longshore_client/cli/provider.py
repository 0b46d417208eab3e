"""The OpenID Connect provider that users sign in at. Authlib implements the protocol.

The client is public: it has no secret, and protects the code with PKCE. The answers of the provider are used only if
they come from the expected issuer, over TLS unless the provider runs on this machine.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from longshore_client._http import is_loopback
from longshore_client.cli.credentials import SignIn
from longshore_client.cli.exits import Exit, Problem

_TIMEOUT = 15  # seconds for a request
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_SLOW_DOWN = 5  # RFC 8628, section 3.5: seconds that `slow_down` adds to the interval
_CLOCK_DIFFERENCE = 60  # seconds


class SessionEndedError(Exception):
    """The provider does not accept the refresh token any more."""


class OtherUserError(Exception):
    """The provider has renewed the session with the tokens of another user. The message names both."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a session.

    Attributes:
        bearer: The token for the API.
        user: The `sub` of the token.
        expires_at: The time at which it expires, in seconds since 1970 by this machine's clock.
        refresh: The refresh token, or None.
        id_user: The `sub` of the ID token, or None. It may differ from `user`: providers may use pairwise identifiers.
    """

    bearer: str = field(repr=False)
    user: str
    expires_at: float
    refresh: str | None = field(repr=False)
    id_user: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that a browser makes at the provider.

    Attributes:
        url: The URL to open.
        redirect_uri: The URI that the provider redirects to.
        state: The state that the redirect must contain.
        nonce: The nonce that the ID token must contain.
        verifier: The secret of PKCE, which proves that the code is used by the program that requested it.
    """

    url: str
    redirect_uri: str
    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A request that the user confirms on another device.

    Attributes:
        url: The URL to open.
        user_code: The code to enter there.
        device_code: The code with which this program asks for the result.
        interval: Seconds between two of these requests.
        expires_at: The time at which the codes expire, in seconds since 1970.
    """

    url: str
    user_code: str
    device_code: str = field(repr=False)
    interval: float
    expires_at: float


class Provider:
    """An OpenID Connect provider. All methods raise Problem if it does not respond, or not as the protocol demands.

    Args:
        sign_in: How users of the API sign in.
        url: The URL of the API, which receives the tokens.

    Raises:
        Problem: The issuer's URL is neither HTTPS nor of this machine.
    """

    def __init__(self, sign_in: SignIn, url: str) -> None:
        self._sign_in = sign_in
        self._is_bound = sign_in.is_bound_to(url)
        self._endpoint("issuer", sign_in.issuer)
        self._http = OAuth2Session(
            sign_in.client_id, scope=sign_in.scopes, code_challenge_method="S256", default_timeout=_TIMEOUT
        )
        # A redirect could lead to an unencrypted URL.
        self._http.max_redirects = 0

    def authorization(self, redirect_uri: str) -> AuthorizationRequest:
        """Create a request for the browser."""
        nonce, verifier = token_urlsafe(32), token_urlsafe(48)
        # OpenID Connect Core, section 11: a provider ignores offline_access without this prompt.
        prompt = {"prompt": "consent"} if "offline_access" in self._sign_in.scopes.split() else {}
        url, state = self._http.create_authorization_url(
            self._endpoint("authorization_endpoint"),
            state=token_urlsafe(32),
            code_verifier=verifier,
            redirect_uri=redirect_uri,
            nonce=nonce,
            **prompt,
            **self._audience,
        )
        return AuthorizationRequest(url, redirect_uri, state, nonce, verifier)

    def exchange(self, request: AuthorizationRequest, answer: Mapping[str, str]) -> Tokens:
        """Exchange the code in the provider's redirect for tokens.

        Args:
            request: The request.
            answer: The parameters of the redirect, whose state has been checked.
        """
        # RFC 9207: the answer could come from another provider.
        sends_issuer = self._metadata.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", None if sends_issuer else self._sign_in.issuer) != self._sign_in.issuer:
            raise self._faulty("the answer is not from this issuer")
        if "error" in answer:
            raise _refused(answer["error"], answer.get("error_description"))
        with self._errors():
            found = self._http.fetch_token(
                self._endpoint("token_endpoint"),
                grant_type="authorization_code",
                code=answer.get("code", ""),
                code_verifier=request.verifier,
                redirect_uri=request.redirect_uri,
                **self._audience,
            )
        return self._tokens(found, request.nonce)

    def device(self) -> DeviceRequest:
        """Request codes for a sign-in on another device."""
        if "device_authorization_endpoint" not in self._metadata:
            raise Problem(
                "DEVICE_CODE_NOT_OFFERED", f"the provider {self._sign_in.issuer} offers no sign-in with a device code"
            )
        body = {"client_id": self._sign_in.client_id, "scope": self._sign_in.scopes, **self._audience}
        with self._errors():
            response = self._http.post(self._endpoint("device_authorization_endpoint"), data=body, withhold_token=True)
            found = response.json()
        if "error" in found:
            raise _refused(str(found["error"]), found.get("error_description"))
        try:
            return DeviceRequest(
                url=str(found.get("verification_uri_complete") or found["verification_uri"]),
                user_code=str(found["user_code"]),
                device_code=str(found["device_code"]),
                interval=float(found.get("interval", 5)),
                expires_at=time.time() + float(found["expires_in"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._faulty("the device codes are incomplete") from error

    def wait(self, request: DeviceRequest) -> Tokens:
        """Wait until the user has confirmed the request."""
        interval = request.interval
        while time.time() < request.expires_at:
            time.sleep(interval)
            try:
                with self._errors(pending=("authorization_pending", "slow_down")):
                    found = self._http.fetch_token(
                        self._endpoint("token_endpoint"),
                        grant_type=_DEVICE_GRANT,
                        device_code=request.device_code,
                        **self._audience,
                    )
            except _PendingError as pending:
                interval += _SLOW_DOWN if str(pending) == "slow_down" else 0
                continue
            return self._tokens(found)
        raise Problem("SIGN_IN_TIMEOUT", "the sign-in was not confirmed in time", Exit.AUTHENTICATION)

    def refresh(self, refresh_token: str, token: str, id_user: str | None) -> Tokens:
        """Return new tokens for a session.

        Args:
            refresh_token: The refresh token.
            token: The previous token for the API.
            id_user: The `sub` of the first ID token, or None.

        Raises:
            SessionEndedError: The provider does not accept the refresh token.
            OtherUserError: The new tokens are those of another user.
        """
        try:
            with self._errors(pending=("invalid_grant",)):
                found = self._http.refresh_token(
                    self._endpoint("token_endpoint"), refresh_token=refresh_token, **self._audience
                )
        except _PendingError as error:
            raise SessionEndedError from error
        new = self._tokens(found)
        # OpenID Connect Core, section 12.2. Each `sub` is compared with that of the same kind of token.
        pairs = [(str(_claims(token)["sub"]), new.user)]
        if id_user is not None and new.id_user is not None:
            pairs.append((id_user, new.id_user))
        for before, after in pairs:
            if before != after:
                raise OtherUserError(f"the provider renewed it as {after} instead of {before}")
        return new

    def revoke(self, refresh_token: str) -> bool:
        """Revoke a refresh token. Return False if the provider does not offer this."""
        if "revocation_endpoint" not in self._metadata:
            return False
        with self._errors():
            url = self._endpoint("revocation_endpoint")
            self._http.revoke_token(url, refresh_token, "refresh_token").raise_for_status()
        return True

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        with self._errors():
            url = f"{self._sign_in.issuer.rstrip('/')}/.well-known/openid-configuration"
            response = self._http.get(url, withhold_token=True)
            response.raise_for_status()
            found = response.json()
        if not isinstance(found, dict) or found.get("issuer") != self._sign_in.issuer:
            raise self._faulty("its configuration names another issuer")
        return found

    @property
    def _audience(self) -> dict[str, str]:
        parameter = self._sign_in.audience_parameter
        return {} if parameter is None else {parameter: self._sign_in.audience}

    def _endpoint(self, name: str, url: str | None = None) -> str:
        """Return the URL of an endpoint. Raise Problem if it would receive tokens unencrypted."""
        found = str(url or self._metadata.get(name, ""))
        parts = urlsplit(found)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise self._faulty(f"{name} is not an HTTPS URL: {found or 'none'}")
        return found

    def _id_user(self, found: Mapping[str, Any], nonce: str | None) -> str | None:
        """Check the ID token of an answer, and return its `sub`, or None without an ID token.

        A sign-in with a browser must return an ID token with the nonce.
        """
        if "id_token" not in found:
            if nonce is None and not self._sign_in.uses_id_token:
                return None
            raise self._faulty("the answer contains no ID token")
        with self._errors():
            keys = self._http.get(self._endpoint("jwks_uri"), withhold_token=True).json()
        rules: dict[str, Any] = {
            "iss": {"essential": True, "value": self._sign_in.issuer},
            "aud": {"essential": True, "value": self._sign_in.client_id},
            "exp": {"essential": True},
            "sub": {"essential": True},
        }
        if nonce is not None:
            rules["nonce"] = {"essential": True, "value": nonce}
        try:
            token = jwt.decode(str(found["id_token"]), KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
            jwt.JWTClaimsRegistry(leeway=_CLOCK_DIFFERENCE, **rules).validate(token.claims)
            return str(token.claims["sub"])
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise self._faulty(f"the ID token is invalid: {error}") from error

    def _tokens(self, found: Mapping[str, Any], nonce: str | None = None) -> Tokens:
        id_user = self._id_user(found, nonce)
        name = "id_token" if self._sign_in.uses_id_token else "access_token"
        bearer = str(found.get(name, ""))
        try:
            claims = _claims(bearer)
            # Relative to this machine's clock, which may differ from the provider's.
            lifetime = float(claims["exp"]) - float(claims.get("iat", time.time()))
            user = str(claims["sub"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise Problem(
                "PROVIDER_INVALID",
                f"the provider {self._sign_in.issuer} issued no {name} that this API can verify",
                Exit.UNEXPECTED,
                advice=["The administrators of the API can set SignInAudienceParameter, or use ID tokens."],
            ) from error
        self._check_audience(claims.get("aud"))
        refresh = found.get("refresh_token")
        return Tokens(bearer, user, time.time() + lifetime, None if refresh is None else str(refresh), id_user)

    def _check_audience(self, found: Any) -> None:
        """Check that the token is for this API, and for no other one if its audience is the API's URL."""
        audiences = {found} if isinstance(found, str) else {str(each) for each in found or ()}
        if self._sign_in.audience not in audiences:
            raise self._faulty(f"the token is not for {self._sign_in.audience}, but for {_listed(audiences)}")
        # Some providers add their own endpoint.
        others = audiences - {self._sign_in.audience, f"{self._sign_in.issuer.rstrip('/')}/userinfo"}
        if self._is_bound and others:
            raise self._faulty(f"the token is not only for {self._sign_in.audience}, but also for {_listed(others)}")

    @contextmanager
    def _errors(self, pending: tuple[str, ...] = ()) -> Iterator[None]:
        """Convert errors of the libraries to problems, and the given OAuth errors to _PendingError."""
        try:
            yield
        except AuthlibBaseError as error:
            if error.error in pending:
                raise _PendingError(error.error) from error
            raise _refused(str(error.error), error.description) from error
        except requests.ConnectionError as error:
            raise self._unavailable("there is no connection") from error
        except requests.Timeout as error:
            raise self._unavailable(f"it did not respond within {_TIMEOUT} seconds") from error
        except requests.HTTPError as error:
            raise self._unavailable(f"it responded with HTTP {error.response.status_code}") from error
        except (requests.RequestException, ValueError) as error:
            raise self._faulty("the answer is not JSON, or a redirect") from error

    def _unavailable(self, reason: str) -> Problem:
        message = f"the provider {self._sign_in.issuer} is not available: {reason}"
        return Problem("PROVIDER_UNAVAILABLE", message, Exit.UNAVAILABLE)

    def _faulty(self, reason: str) -> Problem:
        message = f"the provider {self._sign_in.issuer} cannot be trusted: {reason}"
        return Problem("PROVIDER_INVALID", message, Exit.UNEXPECTED)


class _PendingError(Exception):
    """An OAuth error that the caller handles. The message is its code."""


def _claims(token: str) -> Mapping[str, Any]:
    """Read a JWT without a verification, which is the API's. Raise IndexError, TypeError or ValueError for others."""
    payload = token.split(".")[1]
    found = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if not isinstance(found, dict):
        raise TypeError("the claims are not an object")
    return found


def _listed(audiences: set[str]) -> str:
    return ", ".join(sorted(audiences)) or "no audience"


def _refused(code: str, description: str | None) -> Problem:
    if code == "access_denied":
        return Problem("SIGN_IN_REFUSED", "the sign-in was refused (access_denied)", Exit.AUTHENTICATION)
    details = f": {description}" if description else ""
    return Problem("SIGN_IN_FAILED", f"the provider refused the request ({code}){details}", Exit.AUTHENTICATION)
