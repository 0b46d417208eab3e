"""What the client's README shows is what one gets."""

import subprocess
from pathlib import Path

import pytest
from client.documents import commands, run_programs
from client.terminal import COMMAND, environment

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


@pytest.mark.usefixtures("env")
def test_the_programs() -> None:
    assert run_programs(README) == 5


def test_the_commands(env: dict[str, str]) -> None:
    told = commands(README)
    assert len(told) == 3
    for command, printed in told:
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.rstrip("\n") == printed, command
