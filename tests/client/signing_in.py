"""Signing in with the command, in a pipe: the URL that it prints, and the credentials that it stores."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client.terminal import COMMAND
from provider_pages import ProviderPages

LOGIN = ["login", "--port", "0", "--no-browser"]


def printed_url(process: "subprocess.Popen[str]") -> str:
    """Return the URL that the command prints, in a line of its own."""
    assert process.stderr is not None
    return next(line.strip() for line in process.stderr if line.startswith("http"))


def sign_in(env: Mapping[str, str], user: str, *arguments: str) -> tuple[int, str]:
    """Sign in as a user. Return the exit code, and the output to stderr without the URL and the line before it."""
    command = [COMMAND, *LOGIN, *arguments]
    pages = ProviderPages()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            notes: list[str] = []
            while not (line := process.stderr.readline()).startswith("Sign in with a browser"):
                assert line, "".join(notes)
                notes.append(line)
            pages.sign_in(process.stderr.readline().strip(), user)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
            pages.close()
    return process.returncode, "".join(notes) + rest


def credentials_path(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) / ".config/longshore/credentials.json"


def credentials(env: Mapping[str, str], name: str = "default", **changes: Any) -> dict[str, Any]:
    """Return the stored credentials of a profile, after the given changes."""
    path = credentials_path(env)
    content = json.loads(path.read_text())
    profile: dict[str, Any] = content["profiles"][name]
    if changes:
        profile |= changes
        path.write_text(json.dumps(content))
    return profile
