"""What the client's README shows is what one gets."""

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


@pytest.fixture
def env(stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What programs and commands are told of the stack."""
    told = {"LONGSHORE_URL": stack.url, "LONGSHORE_TOKEN": tokens.token("operator")}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    made = environment(tmp_path, **told)
    return {**made, "PATH": f"{Path(COMMAND).parent}:{made['PATH']}"}


def test_the_exit_codes() -> None:
    """The table has them all, and every code of the API has one."""
    table = README.read_text().split("The exit code says which kind:")[1]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(Exit)
    expected = {
        Exit.USAGE: {"INVALID_ID_FORMAT", "VALIDATION_ERROR", "ROUTE_NOT_FOUND"},
        Exit.CONFLICT: {"OPERATION_STATE_CONFLICT", "OPERATION_NOT_PERMITTED_ON_EXPIRED"},
        Exit.FORBIDDEN: {"ACCOUNT_BANNED", "CONTAINER_NOT_FOUND", "INSUFFICIENT_PERMISSIONS"},
        Exit.AUTHENTICATION: {"MISSING_TOKEN", "INVALID_TOKEN", "TOKEN_EXPIRED"},
        Exit.UNAVAILABLE: {"EXTERNAL_SERVICE_ERROR", "INTERNAL_SERVER_ERROR", "RATE_LIMITED"},
    }
    assert {code: exit_code(kind(code, 400, "")) for code, kind in BY_CODE.items()} == {
        code: exit_ for exit_, codes in expected.items() for code in codes
    }
    assert exit_code(ApiError("OF_TOMORROW", 418, "")) is Exit.UNEXPECTED
    assert exit_code(ApiError("OF_TOMORROW", 503, "")) is Exit.UNAVAILABLE


@pytest.mark.usefixtures("env")
def test_the_programs() -> None:
    assert run_programs(README) == 5


def test_the_commands(env: dict[str, str]) -> None:
    told = commands(README)
    assert len(told) == 3
    for command, printed in told:
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.rstrip("\n") == printed, command
