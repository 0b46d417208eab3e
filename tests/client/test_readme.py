"""What the README shows of the command line and the client is what one gets."""

from pathlib import Path

import pytest
from api_client import Api
from client.documents import commands, run_programs, shape
from client.terminal import Terminal, environment

from local import tokens
from local.stack import LocalStack

README = Path(__file__).parents[2] / "README.md"


def watch(terminal: Terminal, lines: list[str], api: Api) -> None:
    """See all lines but the last come, stop the container, see the last one come, and end it by Ctrl-C."""
    terminal.read_until(lambda text: shape(text) == lines[:-1])
    assert api.post("507f1f77bcf86cd799439011", "stop").status_code == 200
    terminal.read_until(lambda text: shape(text) == lines)
    terminal.interrupt()


def test_the_screens_and_then_the_program(
    stack: LocalStack, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, as a reader would who has just started the local stack."""
    settings = {"LONGSHORE_URL": stack.url, "LONGSHORE_TOKEN": tokens.token("operator")}
    told = commands(README)
    assert len(told) == 5
    for command, printed in told:
        _, *arguments = command.split()
        with Terminal(arguments, environment(tmp_path, **settings)) as terminal:
            if "--follow" in arguments:
                watch(terminal, shape(printed), api)
            terminal.end()
            assert shape(terminal.text) == shape(printed), command
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert run_programs(README) == 1
