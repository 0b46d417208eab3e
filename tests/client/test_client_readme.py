"""The examples and the table of exit codes in the client's README match the client."""

import re
import subprocess
from pathlib import Path

import pytest
from client.documents import commands, run_programs
from client.terminal import COMMAND, environment
from longshore_client.cli.exits import Exit, exit_code
from longshore_client.errors import BY_CODE, ApiError

from local import tokens
from local.stack import LocalStack

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
HISTORY_ROWS = 1000


@pytest.fixture
def env(stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of the examples: the URL of the stack and a token."""
    settings = {"LONGSHORE_URL": stack.url, "LONGSHORE_TOKEN": tokens.token("operator")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = environment(tmp_path, **settings)
    return {**made, "PATH": f"{Path(COMMAND).parent}:{made['PATH']}"}


def test_the_exit_codes() -> None:
    """The table lists all exit codes, and every error code of the API has an exit code."""
    table = README.read_text().split("The exit code identifies the kind of error:")[1]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(Exit)
    expected = {
        Exit.USAGE: {"INVALID_ID_FORMAT", "VALIDATION_ERROR", "ROUTE_NOT_FOUND"},
        Exit.CONFLICT: {"OPERATION_STATE_CONFLICT", "OPERATION_NOT_PERMITTED_ON_EXPIRED", "CONTAINER_PROTECTED"},
        Exit.FORBIDDEN: {
            "ACCOUNT_BANNED",
            "CONTAINER_NOT_FOUND",
            "PROJECT_NOT_FOUND",
            "SCHEDULE_NOT_FOUND",
            "INSUFFICIENT_PERMISSIONS",
        },
        Exit.AUTHENTICATION: {"MISSING_TOKEN", "INVALID_TOKEN", "TOKEN_EXPIRED"},
        Exit.UNAVAILABLE: {"EXTERNAL_SERVICE_ERROR", "INTERNAL_SERVER_ERROR", "RATE_LIMITED"},
    }
    assert {code: exit_code(kind(code, 400, "")) for code, kind in BY_CODE.items()} == {
        code: exit_ for exit_, codes in expected.items() for code in codes
    }
    assert exit_code(ApiError("UNKNOWN", 418, "")) is Exit.UNEXPECTED
    assert exit_code(ApiError("UNKNOWN", 503, "")) is Exit.UNAVAILABLE


@pytest.mark.usefixtures("env")
def test_the_programs() -> None:
    assert run_programs(README) == 8


def test_the_commands(env: dict[str, str]) -> None:
    documented = commands(README)
    assert len(documented) == 11
    for command, printed in documented:
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.rstrip("\n") == printed, command
