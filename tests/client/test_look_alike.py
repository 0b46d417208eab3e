"""`longshore login` at an API that imitates another one: a session for it must not be valid at the other one."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest
from client.signing_in import LOGIN, credentials, credentials_path, sign_in
from client.terminal import Terminal, environment, run
from longshore_client.cli.credentials import SignIn
from longshore_client.cli.exits import Exit, Problem
from longshore_client.cli.provider import Provider as ProviderClient
from provider_pages import ProviderPages

from local.identity import CLIENT_ID, Provider
from local.seed import container_id
from local.stack import LocalStack

ISSUER = "https://idp.example"
API = "https://api.example/prod/api/v1"
# The API accepts ID tokens, whose audience is the client and not the API.
ID_TOKENS = {"audience": CLIENT_ID, "audience_parameter": None}


class OtherApi:
    """An API that another person runs. It returns any settings of the sign-in.

    Attributes:
        url: Its base URL.
        settings: The settings that it returns.
    """

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        self.url = url
        self.settings = settings


@pytest.fixture
def apis(sign_in_stack: LocalStack) -> Iterator[Callable[..., OtherApi]]:
    """Starts APIs that return the settings of the stack, with changes."""
    with ExitStack() as started:

        def start(**changes: Any) -> OtherApi:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(json.dumps({"data": {"sign_in": api.settings}}).encode())

                def log_message(self, *_: object) -> None:
                    pass

            server = started.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = Thread(target=server.serve_forever, args=(0.05,))
            started.callback(thread.join)
            started.callback(server.shutdown)
            thread.start()
            copied = httpx.get(f"{sign_in_stack.url}/api/v1").json()["data"]["sign_in"]
            api = OtherApi(f"http://127.0.0.1:{server.server_port}", copied | changes)
            return api

        yield start


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def status_at(stack: LocalStack, token: str) -> int:
    """Return the status with which a stack responds to a token."""
    url = f"{stack.url}/api/v1/containers/{container_id(12)}"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.parametrize("more", [[], ["--device"], ["--trust"]])
def test_the_settings_of_another_api_are_refused(
    env: dict[str, str], sign_in_stack: LocalStack, apis: Callable[..., OtherApi], more: list[str]
) -> None:
    look_alike = apis()
    assert look_alike.settings["audience"] == sign_in_stack.url
    done = run([*LOGIN, "--url", look_alike.url, *more], env)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"{look_alike.url} requests a session for {sign_in_stack.url}, which is not its URL" in done.stderr
    assert not credentials_path(env).exists()


def test_a_session_is_valid_at_its_own_api_only(
    env: dict[str, str], sign_in_stack: LocalStack, apis: Callable[..., OtherApi]
) -> None:
    assert sign_in(env, "operator", "--url", sign_in_stack.url) == (0, "")
    assert status_at(sign_in_stack, credentials(env)["token"]) == 200
    other = apis()
    other.settings["audience"] = other.url
    code, stderr = sign_in(env, "operator", "--url", other.url, "--profile", "other")
    # No question, because the session is for this API.
    assert (code, stderr) == (
        0,
        (
            f"warning: you have signed in to {sign_in_stack.url} with the same provider and client. "
            f"Check that {other.url} is not an imitation.\n"
        ),
    )
    assert status_at(sign_in_stack, credentials(env, "other")["token"]) == 401


def test_the_first_sign_in_to_an_api_is_confirmed(
    env: dict[str, str], identity: Provider, apis: Callable[..., OtherApi]
) -> None:
    """The tokens of these APIs are valid at all APIs with the client."""
    api, look_alike = apis(**ID_TOKENS), apis(**ID_TOKENS)
    done = run([*LOGIN, "--url", api.url], env)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the first sign-in to {api.url} must be confirmed" in done.stderr
    assert f"provider {identity.issuer}, audience {CLIENT_ID}" in done.stderr
    assert not credentials_path(env).exists()

    assert sign_in(env, "operator", "--url", api.url, "--trust") == (0, "")
    # Afterwards it is known, also after a sign-out.
    assert run(["logout"], env).returncode == 0
    assert sign_in(env, "operator", "--url", api.url) == (0, "")

    with Terminal([*LOGIN, "--url", look_alike.url], env) as terminal:
        terminal.read_until(lambda text: "[y/N]" in text)
        terminal.type("n\n")
        assert terminal.end() == Exit.INTERRUPTED
    text = " ".join(terminal.text.split())
    assert f"warning: you have signed in to {api.url} with the same provider and client" in text
    assert f"{look_alike.url} receives a session of provider {identity.issuer}, audience {CLIENT_ID}" in text
    assert "/auth?" not in text
    assert credentials(env)["url"] == f"{api.url}/api/v1"
    # A known API whose settings change is not known.
    api.settings["client_id"] = api.settings["audience"] = "another"
    assert "must be confirmed" in run([*LOGIN, "--url", api.url], env).stderr


def test_an_api_is_confirmed_on_a_terminal(env: dict[str, str], apis: Callable[..., OtherApi]) -> None:
    api = apis(**ID_TOKENS)
    pages = ProviderPages()
    with Terminal([*LOGIN, "--url", api.url], env) as terminal:
        terminal.read_until(lambda text: "[y/N]" in text)
        terminal.type("y\n")
        terminal.read_until(lambda text: "code_challenge_method=S256\n" in text)
        pages.sign_in(next(line for line in terminal.text.splitlines() if "/auth?" in line))
        assert terminal.end() == 0
    pages.close()
    assert credentials(env)["url"] == f"{api.url}/api/v1"


@pytest.mark.parametrize("audience", ["https://api.example/prod", "https://api.example/prod/", API])
def test_an_audience_that_is_the_url_of_the_api(audience: str) -> None:
    assert SignIn(ISSUER, "id", "openid", audience, "resource").is_bound_to(API)


@pytest.mark.parametrize(
    "audience",
    [
        "https://api.example",
        "https://api.example/prod/x",
        "https://api.example/test",
        "https://api.example:8443/prod",
        "http://api.example/prod",
        "https://api.example.evil.example/prod",
        "longshore",
        "",
    ],
)
def test_an_audience_that_is_not_the_url_of_the_api(audience: str) -> None:
    assert not SignIn(ISSUER, "id", "openid", audience, "resource").is_bound_to(API)


# --- What a provider issues -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audiences", "error"),
    [
        ("https://api.example/prod", None),
        (["https://api.example/prod"], None),
        (["https://api.example/prod", f"{ISSUER}/userinfo"], None),
        ("https://real.example", "the token is not for https://api.example/prod, but for https://real.example"),
        (["https://api.example/prod", "https://real.example"], "but also for https://real.example"),
        ([], "but for no audience"),
        (None, "but for no audience"),
    ],
)
def test_the_audience_of_the_token(audiences: Any, error: str | None) -> None:
    """A provider that ignores the parameter `resource` issues tokens for an API of its choice."""
    bound = SignIn(ISSUER, "id", "openid", "https://api.example/prod", "resource")
    claims = {"sub": "ada", "iat": 1, "exp": 3601} | ({} if audiences is None else {"aud": audiences})
    found = {"access_token": jwt.encode(claims, "k" * 32)}
    issue = partial(ProviderClient(bound, API)._tokens, found)
    if error is None:
        assert issue().user == "ada"
        return
    with pytest.raises(Problem, match=error):
        issue()


def test_other_audiences_of_a_confirmed_api() -> None:
    """A token of an API whose audience is not its URL may have other audiences."""
    confirmed = SignIn(ISSUER, "id", "openid", "longshore", None)
    found = {"access_token": jwt.encode({"sub": "ada", "exp": 1, "aud": ["longshore", "account"]}, "k" * 32)}
    assert ProviderClient(confirmed, API)._tokens(found).user == "ada"
