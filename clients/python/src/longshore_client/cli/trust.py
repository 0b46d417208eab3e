"""The check of an API before a sign-in.

The API itself says at which provider its users sign in, and for which audience. An API that returns the public settings
of another API would receive a session that is valid there. Therefore the audience must be the URL that the user has
named (RFC 8707, and RFC 9728, section 3.3), or the user confirms the API at the first sign-in.
"""

from collections.abc import Iterable

from longshore_client._http import base_of
from longshore_client.cli.credentials import KnownApi, SignIn
from longshore_client.cli.exits import Exit, Problem
from longshore_client.cli.render import Output


def check_api(output: Output, known: Iterable[KnownApi], url: str, sign_in: SignIn, *, trusted: bool) -> None:
    """Check that the session for an API cannot be used at an API that the user has not named.

    Args:
        output: Asks for the confirmation.
        known: The APIs that the user has signed in to before.
        url: The URL of the API that the user has named, as `api_url` returns it.
        sign_in: How its users sign in, as the API says.
        trusted: Whether the user has confirmed the API in advance.

    Raises:
        Problem: The API names another API, the user declined, or there is no terminal to ask on.
    """
    base = base_of(url)
    is_bound = sign_in.is_bound_to(url)
    if not is_bound and sign_in.audience_parameter == "resource":
        raise Problem(
            "OTHER_RESOURCE",
            f"{base} requests a session for {sign_in.audience}, which is not its URL: it may imitate another API",
            Exit.AUTHENTICATION,
            advice=[
                "Check the URL, and specify the one that your administrators have published.",
                f"The administrators of the API can set TokenAudience to {base}.",
            ],
        )
    known = list(known)
    if KnownApi.of(url, sign_in) in known:
        return
    client = (sign_in.issuer, sign_in.client_id)
    others = sorted(
        {base_of(each.url) for each in known if each.url != url and (each.issuer, each.client_id) == client}
    )
    if others:
        output.note(
            f"warning: you have signed in to {', '.join(others)} with the same provider and client. "
            f"Check that {base} is not an imitation."
        )
    if is_bound or trusted:
        return
    facts = f"provider {sign_in.issuer}, audience {sign_in.audience}"
    if not output.can_ask:
        raise Problem(
            "CONFIRMATION_REQUIRED",
            f"the first sign-in to {base} must be confirmed ({facts}): run the command on a terminal, "
            "or specify --trust if you know this API",
            data={"url": url, "issuer": sign_in.issuer, "audience": sign_in.audience},
        )
    output.note(
        f"{base} receives a session of {facts}. All APIs with this provider and audience accept it: if {base} is not "
        "the API that you expect, it can use the session at the real one."
    )
    output.ask(f"Do you trust {base}?")
