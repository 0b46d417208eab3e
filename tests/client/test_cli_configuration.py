"""The configuration of `longshore`: options, environment and file."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from client.terminal import environment, run

from local import tokens
from local.seed import container_id
from local.stack import LocalStack


@pytest.fixture
def env(stack: LocalStack, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator"))


@pytest.fixture
def bare(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("LONGSHORE_")}


class Recorder:
    """An API that another person runs. It records the tokens that it receives and lists no project."""

    def __init__(self, server: HTTPServer, authorizations: list[str]) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.authorizations = authorizations


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    authorizations: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorizations.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": {"projects": []}}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Recorder(server, authorizations)
        server.shutdown()
        thread.join()


def write(directory: Path, text: str, mode: int = 0o600) -> None:
    path = directory / "longshore" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)


def test_a_configuration_file(bare: dict[str, str], env: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".config", f'url = "{env["LONGSHORE_URL"]}"\ntoken = "{env["LONGSHORE_TOKEN"]}"\n')
    assert run(["status", container_id(12)], bare).returncode == 0


def test_a_configuration_file_in_xdg_config_home(bare: dict[str, str], env: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "xdg", f'url = "{env["LONGSHORE_URL"]}"\ntoken = "{env["LONGSHORE_TOKEN"]}"\n')
    assert run(["status", container_id(12)], {**bare, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}).returncode == 0


def test_options_precede_environment_and_file(bare: dict[str, str], env: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".config", f'url = "{env["LONGSHORE_URL"]}"\ntoken = "from.the.file"\n')
    from_environment = {**bare, "LONGSHORE_TOKEN": tokens.token("viewer")}
    stop = ["stop", container_id(12)]
    assert "INVALID_TOKEN" in run(stop, bare).stderr
    assert "INSUFFICIENT_PERMISSIONS" in run(stop, from_environment).stderr
    assert "ACCOUNT_BANNED" in run([*stop, "--token", tokens.token("banned")], from_environment).stderr


@pytest.mark.parametrize("spelling", ["{}/", "{}/api/v1", "{}/api/v1/"])
def test_the_token_of_the_file_is_for_its_own_url(
    bare: dict[str, str], env: dict[str, str], tmp_path: Path, spelling: str
) -> None:
    write(tmp_path / ".config", f'url = "{env["LONGSHORE_URL"]}"\ntoken = "{env["LONGSHORE_TOKEN"]}"\n')
    assert run(["status", container_id(12), "--url", spelling.format(env["LONGSHORE_URL"])], bare).returncode == 0


@pytest.mark.parametrize("option", [True, False], ids=["--url", "LONGSHORE_URL"])
@pytest.mark.parametrize(
    ("own", "error"),
    [
        ('url = "https://api.example/prod"\n', "is for https://api.example/prod and is not sent to"),
        ('url = "{url}/stage"\n', "is not sent to"),
        ("", "contains a token without its URL"),
    ],
    ids=["host", "path", "none"],
)
def test_the_token_of_the_file_is_not_sent_to_another_url(
    bare: dict[str, str], tmp_path: Path, recorder: Recorder, option: bool, own: str, error: str
) -> None:
    write(tmp_path / ".config", own.format(url=recorder.url) + 'token = "secret"\n')
    to = ["--url", recorder.url] if option else []
    done = run(["projects", *to], bare if option else {**bare, "LONGSHORE_URL": recorder.url})
    assert recorder.authorizations == []
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    # The environment's token is the user's choice for this URL.
    run(["projects", *to], {**bare, "LONGSHORE_URL": recorder.url, "LONGSHORE_TOKEN": "chosen"})
    assert recorder.authorizations == ["Bearer chosen"]


FAULTS: list[tuple[str, int, str]] = [
    ("", 0o600, "no token: specify --token, set LONGSHORE_TOKEN, or add token"),
    ("token = ", 0o600, "Invalid value"),
    ('tokn = "x"', 0o600, "unknown setting tokn; the settings are url and token"),
    ("token = 7", 0o600, "token must be a string"),
    ('token = "x"', 0o640, "contains a token and is readable by other users: chmod 600"),
    ('url = "http://127.0.0.1:1"\ntoken = "two words"', 0o600, "the token must consist of visible ASCII characters"),
]


@pytest.mark.parametrize(("text", "mode", "error"), FAULTS, ids=[fault[2][:30] for fault in FAULTS])
def test_an_invalid_configuration_file(bare: dict[str, str], tmp_path: Path, text: str, mode: int, error: str) -> None:
    write(tmp_path / ".config", text, mode)
    done = run(["status", container_id(12)], {**bare, "LONGSHORE_URL": "http://127.0.0.1:1"})
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://host"])
def test_an_invalid_url(bare: dict[str, str], url: str) -> None:
    done = run(["status", container_id(12)], {**bare, "LONGSHORE_URL": url, "LONGSHORE_TOKEN": "x"})
    assert done.returncode == 2
    assert "url" in done.stderr.lower()


def test_no_token_is_sent_unencrypted(env: dict[str, str]) -> None:
    elsewhere = {**env, "LONGSHORE_URL": "http://longshore.invalid"}
    refused = run(["status", container_id(12)], elsewhere)
    assert refused.returncode == 2
    assert "http://longshore.invalid would receive the token unencrypted: use https" in refused.stderr
    assert "--allow-http" in refused.stderr
    allowed = run(["status", container_id(12), "--allow-http"], elsewhere)
    assert allowed.returncode == 6


def test_a_stack_without_a_sign_in(env: dict[str, str]) -> None:
    done = run(["login"], env)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{env['LONGSHORE_URL']}/api/v1 offers no sign-in: set LONGSHORE_TOKEN" in done.stderr


def test_without_the_extra() -> None:
    """Without typer and rich, the command prints how to install them."""
    hide = "import sys; sys.modules['typer'] = None; from longshore_client.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'longshore-client[cli]'" in done.stderr
