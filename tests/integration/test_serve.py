"""Tests of the process of `make up`: it prints its URL, ends cleanly on signals, and does not disturb another one."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from local.template import ROOT
from local.tokens import KEY_VARIABLE

CONTAINER = "507f1f77bcf86cd799439011"


def environment(folder: Path, **variables: str) -> dict[str, str]:
    paths = {"LONGSHORE_STACKS": str(folder), "PYTHONPATH": f"{ROOT / 'layers/common'}{os.pathsep}{ROOT}"}
    return {**os.environ, **paths, **variables}


def local(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(folder, **variables), capture_output=True, text=True, check=False
    )


@contextmanager
def serving(folder: Path, log: Path | None = None, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `serve` on a free port. Yields the process and the base URL of the API."""
    command = [sys.executable, "-m", "local", "serve"]
    with contextlib.ExitStack() as cleanup:
        output = cleanup.enter_context(log.open("wb")) if log is not None else None
        process = cleanup.enter_context(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(folder, PORT="0", **variables),
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        )
        cleanup.callback(process.kill)
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]


@pytest.mark.parametrize("times", [1, 200])
def test_it_serves_until_a_signal_ends_it(tmp_path: Path, times: int) -> None:
    """Ctrl-C reaches the whole process group, and some processes forward it, so the signal may arrive repeatedly."""
    with serving(tmp_path) as (process, url):
        assert httpx.get(f"{url}/containers/{CONTAINER}").status_code == 401
        for _ in range(times):
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
        assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


def test_two_stacks_do_not_disturb_each_other(tmp_path: Path) -> None:
    def status(url: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{url}/containers/{CONTAINER}", headers=headers, trust_env=False).status_code

    with serving(tmp_path) as (_, first), serving(tmp_path) as (second_process, second):
        ports = [str(httpx.URL(url).port) for url in (first, second)]
        assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(ports)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

        undecided = local(tmp_path, "token")
        assert (undecided.returncode, undecided.stdout) == (2, "")
        assert undecided.stderr.startswith("local: Several local stacks are running (ports ")
        tokens = [local(tmp_path, "token", PORT=port).stdout.strip() for port in ports]
        statuses = [[status(url, token) for token in tokens] for url in (first, second)]
        assert statuses == [[200, 401], [401, 200]]

        # The credentials of the first stack are not valid for the second.
        foreign, own = (settings(tmp_path, port) for port in ports)
        foreign_keys = {name: foreign[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        assert tables(own) == tables(foreign) != []
        with pytest.raises(Exception, match="UnrecognizedClientException"):
            tables(own | foreign_keys)

        second_process.send_signal(signal.SIGTERM)
        assert second_process.wait(60) == 0
        # Only the first stack is left, so it needs no selection.
        assert status(first, local(tmp_path, "token").stdout.strip()) == 200


def settings(folder: Path, port: str) -> dict[str, str]:
    """Return the variables that `env` prints, as a shell sets them."""
    printed = local(folder, "env", PORT=port)
    assert printed.returncode == 0, printed.stderr
    *exports, _ = printed.stdout.splitlines()
    return dict(shlex.split(line)[1].split("=", 1) for line in exports)


def tables(variables: dict[str, str]) -> list[str]:
    client: Any = boto3.client(
        "dynamodb",
        endpoint_url=variables["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        return [str(name) for name in client.list_tables()["TableNames"]]
    finally:
        client.close()


def test_its_log_escapes_text_from_outside(tmp_path: Path) -> None:
    key, log = "k" * 32, tmp_path / "log"
    stacks = tmp_path / "stacks"
    with serving(stacks, log, **{KEY_VARIABLE: key}) as (process, url):
        parts = httpx.URL(url)
        with socket.create_connection((parts.host, parts.port or 80), timeout=30) as connection:
            line = "\x1b[2JGET /\x1b]0;title\x07/\u202etxt\x9b31m HTTP/1.1".encode()
            connection.sendall(line + f"\r\nHost: {parts.host}\r\n\r\n".encode())
            assert b" 404 " in connection.recv(65536)
        assert local(stacks, "token").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    (line,) = [line for line in log.read_bytes().splitlines() if b"title" in line]
    # http.server decodes each byte as a Latin-1 character.
    assert line.startswith(rb"\x1b[2JGET /\x1b]0;title\x07/" + rb"\xe2\x80\xae" + rb"txt\xc2\x9b31m 404 ")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "abc"}, 'PORT must be a number from 0 to 65535, not "abc"'),
        ({"PORT": "65536"}, 'PORT must be a number from 0 to 65535, not "65536"'),
        ({"PORT": "-1"}, 'PORT must be a number from 0 to 65535, not "-1"'),
        ({KEY_VARIABLE: "short"}, f"{KEY_VARIABLE} must have at least 32 bytes"),
        ({"PARAMETERS": "WaitSeconds"}, "PARAMETERS must have the form Name=value Name=value"),
        ({"WEBHOOK": "localhost:9000"}, 'WEBHOOK must be a URL, not "localhost:9000"'),
        ({"SIGN_IN": "1", "PATH": ""}, "the provider needs Node.js, and node is missing"),
    ],
    ids=["no number", "too large", "negative", "short key", "no value", "no URL", "no provider"],
)
def test_an_invalid_setting(tmp_path: Path, variables: dict[str, str], message: str) -> None:
    failed = local(tmp_path, "serve", **variables)
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", f"local: {message}\n")


@pytest.mark.usefixtures("identity")
def test_signing_in(tmp_path: Path) -> None:
    """SIGN_IN=1 starts a provider, which ends with the stack. Other tokens are not printed."""
    with serving(tmp_path, SIGN_IN="1", PARAMETERS='SignInScopes="openid offline_access email"') as (process, url):
        sign_in = httpx.get(url).json()["data"]["sign_in"]
        assert sign_in["scopes"] == "openid offline_access email"
        configuration = f"{sign_in['issuer']}/.well-known/openid-configuration"
        assert httpx.get(configuration).json()["issuer"] == sign_in["issuer"]
        refused = local(tmp_path, "token")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"accepts tokens of {sign_in['issuer']} only: sign in with longshore login" in refused.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(configuration)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        failed = local(tmp_path, "serve", PORT=str(port))
    message = f"local: cannot listen on port {port} of 127.0.0.1: it is in use by another program\n"
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", message)


def test_no_running_stack(tmp_path: Path) -> None:
    for command in ("token", "env"):
        failed = local(tmp_path, command)
        message = "local: No local stack is running: start it with `make up`.\n"
        assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", message)


def test_a_signal_to_another_thread_ends_it() -> None:
    """The system may deliver a signal to any thread, and does not wake the main thread."""
    program = (
        "import signal, threading\n"
        "from local.__main__ import stop_signal\n"
        "end = stop_signal()\n"
        "take = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Timer(0.2, take).start()\n"
        "end.recv(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0
