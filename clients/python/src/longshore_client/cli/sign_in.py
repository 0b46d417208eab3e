"""The subcommands `login` and `logout`."""

import webbrowser
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import typer

from longshore_client import _http
from longshore_client._calls import Call, Success, read
from longshore_client.cli.app import Session, command
from longshore_client.cli.config import ConfigurationError, api_of, profile_of, stored
from longshore_client.cli.credentials import Credentials, SignIn
from longshore_client.cli.exits import Problem
from longshore_client.cli.text import moment_text
from longshore_client.cli.trust import check_api

_PORT = 8910
_WAIT = 300  # seconds for a sign-in in the browser


@command("login")
def login(
    session: Session,
    device: Annotated[
        bool, typer.Option("--device", help="Sign in with a code on another device, if this machine has no browser.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser, or only print the URL.")
    ] = True,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="Port of http://127.0.0.1:PORT/callback, which the provider redirects to. 0 selects a free port.",
        ),
    ] = _PORT,
    trust: Annotated[
        bool, typer.Option("--trust", help="Do not ask for a confirmation at the first sign-in to an API.")
    ] = False,
) -> None:
    """Sign in at the API's OpenID Connect provider, and store the session for later commands."""
    from longshore_client.cli.provider import Provider

    name = profile_of(session.profile)
    try:
        url = _http.api_url(api_of(session.url, name), allow_http=session.allow_http)
        sign_in = _settings(url)
        file = stored()
        check_api(session.output, file.known(), url, sign_in, trusted=trust)
        provider = Provider(sign_in, url)
        tokens = _by_device(session, provider) if device else _by_browser(session, provider, port, browser)
        with file.locked():
            file.write(
                name, Credentials(url, sign_in, tokens.bearer, tokens.expires_at, tokens.refresh, tokens.id_user)
            )
    except (ConfigurationError, ValueError) as error:
        raise Problem("CONFIGURATION", str(error)) from error
    expires = moment_text(datetime.fromtimestamp(tokens.expires_at, UTC))
    result = {
        "profile": name,
        "url": url,
        "user": tokens.user,
        "expires_at": expires,
        "renewable": bool(tokens.refresh),
    }
    if session.output.as_json:
        session.output.json(result)
    elif session.output.is_terminal:
        session.output.note(f"Signed in to {url} as {tokens.user} (profile {name})")
    else:
        session.output.fields([name, url, tokens.user, expires])


@command("logout")
def logout(session: Session) -> None:
    """End the session: revoke its refresh token, and delete it from this machine."""
    from longshore_client.cli.provider import Provider

    name = profile_of(session.profile)
    file = stored()
    try:
        with file.locked():
            found = file.read(name)
            # Before the revocation, which may fail.
            file.remove(name)
    except ConfigurationError as error:
        raise Problem("CONFIGURATION", str(error)) from error
    if found is None:
        session.output.note(f"not signed in with the profile {name}")
        return
    if found.refresh_token is not None:
        try:
            revoked = Provider(found.sign_in, found.url).revoke(found.refresh_token)
        except Problem as problem:
            advice = ["The session is deleted from this machine, but remains valid at the provider until it expires."]
            raise Problem(problem.code, problem.message, problem.exit, advice=advice) from problem
        if not revoked:
            session.output.note("the provider cannot revoke the session, which remains valid there until it expires")
    if session.output.as_json:
        session.output.json({"profile": name, "url": found.url})
    else:
        session.output.note(f"Signed out of {found.url} (profile {name})")


def _settings(url: str) -> SignIn:
    """Get the settings of the sign-in from the API.

    Raises:
        Problem: Users of this API do not sign in.
        LongshoreError: The API returned an error or did not respond.
    """
    call = Call("GET", "")
    try:
        received = httpx.get(url, timeout=_http.timeouts(_http.TIMEOUT), follow_redirects=False)
    except httpx.HTTPError as error:
        raise _http.lost(call, url, error) from error
    outcome = read(_http.response(received))
    if not isinstance(outcome, Success):
        raise outcome
    if not outcome.data.get("sign_in"):
        raise Problem(
            "SIGN_IN_NOT_OFFERED",
            f"{url} offers no sign-in: set LONGSHORE_TOKEN to a token of its administrators",
        )
    return outcome.parsed(_sign_in)


def _sign_in(data: Any) -> SignIn:
    """Build the settings from JSON. Raise KeyError or TypeError if it is malformed."""
    found = data["sign_in"]
    issuer, client_id, scopes, audience = values = [
        found[name] for name in ("issuer", "client_id", "scopes", "audience")
    ]
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a setting of the sign-in is not a string")
    return SignIn(issuer, client_id, scopes, audience, found.get("audience_parameter"))


def _by_browser(session: Session, provider: Any, port: int, browser: bool) -> Any:
    from longshore_client.cli.loopback import loopback

    with loopback(port) as receiver:
        request = provider.authorization(receiver.redirect_uri)
        receiver.expect(request.state)
        session.output.link("Sign in with a browser on this machine:", request.url)
        if browser and not webbrowser.open(request.url):
            session.output.note("no browser was found: open the URL yourself, or use longshore login --device")
        return provider.exchange(request, receiver.wait(_WAIT))


def _by_device(session: Session, provider: Any) -> Any:
    request = provider.device()
    session.output.link(f"Enter or confirm the code {request.user_code} on any device:", request.url)
    return provider.wait(request)
