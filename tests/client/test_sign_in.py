"""`longshore login` and `logout` at a real OpenID Connect provider. An HTTP client replaces the user's browser."""

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from client.signing_in import LOGIN, credentials, credentials_path, printed_url
from client.terminal import COMMAND, Terminal, environment, run
from longshore_client.cli.credentials import SignIn
from longshore_client.cli.exits import Exit, Problem
from longshore_client.cli.provider import Provider as ProviderClient
from provider_pages import ProviderPages

from local.identity import Provider
from local.seed import container_id
from local.stack import LocalStack

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def env(sign_in_stack: LocalStack, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LONGSHORE_URL=sign_in_stack.url)


@pytest.fixture
def user() -> Iterator[ProviderPages]:
    pages = ProviderPages()
    yield pages
    pages.close()


@pytest.fixture
def login(env: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command in a pipe."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [COMMAND, *(arguments or LOGIN)]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def signed_in(login: Callable[..., "subprocess.Popen[str]"], user: ProviderPages) -> None:
    """The user `operator` is signed in with the default profile."""
    process = login()
    user.sign_in(printed_url(process))
    assert process.wait(timeout=60) == 0


def test_a_sign_in_on_a_terminal(env: dict[str, str], user: ProviderPages, sign_in_stack: LocalStack) -> None:
    with Terminal(LOGIN, env) as terminal:
        terminal.read_until(lambda text: "code_challenge_method=S256\n" in text)
        # The URL is not wrapped.
        url = next(line for line in terminal.text.splitlines() if line.startswith("http"))
        assert user.sign_in(url).text.count("Return to the terminal") == 1
        assert terminal.end() == 0
    assert f"Signed in to {sign_in_stack.url}/api/v1 as operator (profile default)" in terminal.text
    path = credentials_path(env)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for given in (env, {name: value for name, value in env.items() if name != "LONGSHORE_URL"}):
        done = run(["status", container_id(12)], given)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_sign_in_with_a_device_code(
    login: Callable[..., "subprocess.Popen[str]"], env: dict[str, str], user: ProviderPages
) -> None:
    process = login("login", "--device")
    user.sign_in(printed_url(process), "viewer")
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert stdout.split("\t")[2] == "viewer"
    assert run(["status", container_id(12)], env).returncode == 0
    assert credentials(env)["refresh_token"]


def test_a_refused_device_code(login: Callable[..., "subprocess.Popen[str]"], user: ProviderPages) -> None:
    process = login("login", "--device")
    user.refuse(printed_url(process))
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (5, "error: the sign-in was refused (access_denied)\n")


@pytest.mark.usefixtures("signed_in")
def test_an_expired_session_is_refreshed_once(env: dict[str, str]) -> None:
    """The provider accepts a refresh token once, so commands that run at the same time must share the new one."""
    old = credentials(env, expires_at=0)
    commands = [
        subprocess.Popen([COMMAND, "status", container_id(12)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [command.communicate(timeout=60) for command in commands]
    assert [stderr for _, stderr in outputs] == [b"", b""]
    assert [command.returncode for command in commands] == [0, 0]
    new = credentials(env)
    assert new["expires_at"] > 0
    assert new["token"] != old["token"]
    assert new["refresh_token"] != old["refresh_token"]


@pytest.mark.usefixtures("signed_in")
def test_a_session_that_has_ended(env: dict[str, str]) -> None:
    for refresh_token in ("unknown", None):
        credentials(env, expires_at=0, refresh_token=refresh_token)
        done = run(["status", container_id(12)], env)
        assert (done.returncode, done.stdout) == (5, "")
        assert "the session has ended" in done.stderr
        assert "longshore login --profile default" in done.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("changed", ["token", "ID token"])
def test_a_refresh_that_returns_another_user(
    env: dict[str, str], login: Callable[..., "subprocess.Popen[str]"], changed: str
) -> None:
    """OpenID Connect Core, section 12.2."""
    if changed == "token":
        # The provider renews the session of the viewer.
        pages = ProviderPages()
        process = login(*LOGIN, "--profile", "other")
        pages.sign_in(printed_url(process), "viewer")
        assert process.wait(timeout=60) == 0
        pages.close()
        credentials(env, expires_at=0, refresh_token=credentials(env, "other")["refresh_token"])
        error = "the session has ended, because the provider renewed it as viewer instead of operator"
    else:
        credentials(env, expires_at=0, id_user="ada")
        error = "the session has ended, because the provider renewed it as operator instead of ada"
    before = credentials(env)["token"]
    done = run(["status", container_id(12)], env)
    assert (done.returncode, done.stdout) == (5, "")
    assert error in done.stderr
    assert "longshore login --profile default" in done.stderr
    # The session does not continue with the next command.
    kept = credentials(env)
    assert (kept["refresh_token"], kept["token"]) == (None, before)
    done = run(["status", container_id(12)], env)
    assert (done.returncode, done.stdout) == (5, "")


@pytest.mark.usefixtures("signed_in")
def test_a_session_of_a_version_without_the_user_of_the_id_token(env: dict[str, str]) -> None:
    path = credentials_path(env)
    content = json.loads(path.read_text())
    del content["profiles"]["default"]["id_user"], content["known"]
    content["profiles"]["default"]["expires_at"] = 0
    path.write_text(json.dumps(content))
    assert run(["status", container_id(12)], env).returncode == 0
    assert credentials(env)["expires_at"] > 0


@pytest.mark.usefixtures("signed_in")
def test_a_provider_that_does_not_respond(env: dict[str, str]) -> None:
    before = credentials(env)
    credentials(env, expires_at=0, sign_in=before["sign_in"] | {"issuer": NOWHERE})
    done = run(["status", container_id(12)], env)
    assert done.returncode == 6
    assert f"the provider {NOWHERE} is not available" in done.stderr
    # The session is kept.
    credentials(env, sign_in=before["sign_in"])
    assert run(["status", container_id(12)], env).returncode == 0


@pytest.mark.usefixtures("signed_in")
def test_signing_out_forgets(env: dict[str, str], identity: Provider) -> None:
    old = credentials(env)
    done = run(["logout"], env)
    assert done.returncode == 0
    assert "Signed out of" in done.stderr
    path = credentials_path(env)
    assert json.loads(path.read_text())["profiles"] == {}
    assert not any(old[name] in path.read_text() for name in ("token", "refresh_token"))
    assert "no token" in run(["status", container_id(12)], env).stderr
    body = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"], "client_id": "longshore"}
    assert httpx.post(f"{identity.issuer}/token", data=body).json()["error"] == "invalid_grant"
    assert "not signed in" in run(["logout"], env).stderr


@pytest.mark.usefixtures("signed_in")
def test_signing_out_without_the_provider(env: dict[str, str]) -> None:
    credentials(env, sign_in=credentials(env)["sign_in"] | {"issuer": NOWHERE})
    done = run(["logout"], env)
    assert done.returncode == 6
    assert "remains valid at the provider until it expires" in done.stderr
    assert "no token" in run(["status", container_id(12)], env).stderr


@pytest.mark.usefixtures("signed_in")
def test_the_token_is_sent_to_its_api_only(env: dict[str, str]) -> None:
    done = run(["status", container_id(12), "--url", NOWHERE], env)
    assert done.returncode == 2
    assert "no token" in done.stderr


def test_profiles(login: Callable[..., "subprocess.Popen[str]"], env: dict[str, str], user: ProviderPages) -> None:
    process = login(*LOGIN, "--profile", "work")
    user.sign_in(printed_url(process), "viewer")
    assert process.wait(timeout=60) == 0
    show = ["status", container_id(12)]
    assert run([*show, "--profile", "work"], env).returncode == 0
    assert run(show, {**env, "LONGSHORE_PROFILE": "work"}).returncode == 0
    assert "no token" in run(show, env).stderr
    unknown = run([*show, "--profile", "home"], env)
    assert unknown.returncode == 2
    assert "run longshore login --profile home" in unknown.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("change", "error"),
    [("readable", "chmod 600"), ("{", "is invalid"), ('{"profiles": {"default": {}}}', "is invalid")],
)
def test_an_invalid_credentials_file(env: dict[str, str], change: str, error: str) -> None:
    path = credentials_path(env)
    if change == "readable":
        path.chmod(0o640)
    else:
        path.write_text(change)
    done = run(["status", container_id(12)], env)
    assert done.returncode == 2
    assert error in done.stderr


# --- Answers that must not be accepted --------------------------------------------------------------------------------


def callback(url: str, **changes: str) -> httpx.Response:
    """Send an answer to the command, which differs from an answer of the provider by the changes."""
    sent = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    answer = {"code": "any", "state": sent["state"], "iss": url.partition("/auth?")[0]} | changes
    return httpx.get(f"{sent['redirect_uri']}?{urlencode(answer)}")


def test_a_wrong_state_does_not_end_the_sign_in(
    login: Callable[..., "subprocess.Popen[str]"], user: ProviderPages
) -> None:
    process = login()
    url = printed_url(process)
    assert callback(url, state="guessed").status_code == 400
    assert callback(url, state="").status_code == 400
    assert callback(url, state="guessed", error="access_denied").status_code == 400
    user.sign_in(url)
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("changes", "code", "error"),
    [
        ({"iss": "http://127.0.0.1:1"}, 1, "the answer is not from this issuer"),
        ({"code": "guessed"}, 5, "the provider refused the request (invalid_grant)"),
        ({"error": "server_error", "error_description": "\x1b[31mred"}, 5, r"(server_error): \x1b[31mred"),
    ],
    ids=["issuer", "code", "error"],
)
def test_a_false_answer(
    login: Callable[..., "subprocess.Popen[str]"], env: dict[str, str], changes: dict[str, str], code: int, error: str
) -> None:
    process = login()
    assert callback(printed_url(process), **changes).status_code == 200
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert error in stderr
    assert not credentials_path(env).exists()


def test_a_refused_consent(
    login: Callable[..., "subprocess.Popen[str]"], env: dict[str, str], user: ProviderPages
) -> None:
    process = login()
    assert "The sign-in was refused (access_denied)" in user.refuse(printed_url(process)).text
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (5, "error: the sign-in was refused (access_denied)\n")
    assert not credentials_path(env).exists()


@pytest.mark.parametrize(
    ("issuer", "code", "error"),
    [
        ("http://localhost:{port}", Exit.UNEXPECTED, "its configuration names another issuer"),
        ("http://idp.example", Exit.UNEXPECTED, "issuer is not an HTTPS URL"),
        ("http://127.0.0.1:{port}/none", Exit.UNAVAILABLE, "it responded with HTTP 404"),
        (NOWHERE, Exit.UNAVAILABLE, "there is no connection"),
    ],
)
def test_a_wrong_issuer(identity: Provider, issuer: str, code: Exit, error: str) -> None:
    url = issuer.format(port=urlsplit(identity.issuer).port)
    sign_in = SignIn(url, "longshore", "openid", "api", None)
    with pytest.raises(Problem, match=error) as found:
        ProviderClient(sign_in, NOWHERE).authorization("http://127.0.0.1/callback")
    assert found.value.exit == code


def test_a_port_in_use(login: Callable[..., "subprocess.Popen[str]"], env: dict[str, str]) -> None:
    port = parse_qs(urlsplit(printed_url(login())).query)["redirect_uri"][0].rpartition(":")[2].partition("/")[0]
    done = run(["login", "--no-browser", "--port", port], env)
    assert done.returncode == 2
    assert f"cannot listen on port {port}" in done.stderr
