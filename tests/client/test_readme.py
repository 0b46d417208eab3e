"""The examples of the command line and the client in the README print the documented output."""

from pathlib import Path

import pytest
from api_client import Api
from client.documents import commands, run_programs, shape
from client.terminal import Terminal, environment

from local import tokens
from local.stack import LocalStack

README = Path(__file__).parents[2] / "README.md"


def watch(terminal: Terminal, lines: list[str], api: Api) -> None:
    """Wait for all lines except the last, stop the container, wait for the last line, and press Ctrl-C."""
    terminal.read_until(lambda text: shape(text) == lines[:-1])
    assert api.post("507f1f77bcf86cd799439011", "stop").status_code == 200
    terminal.read_until(lambda text: shape(text) == lines)
    terminal.interrupt()


def test_the_screens_and_then_the_program(
    stack: LocalStack, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The examples run in order against a new local stack."""
    settings = {"LONGSHORE_URL": stack.url, "LONGSHORE_TOKEN": tokens.token("operator")}
    documented = commands(README)
    assert len(documented) == 5
    for command, printed in documented:
        _, *arguments = command.split()
        with Terminal(arguments, environment(tmp_path, **settings)) as terminal:
            if "--follow" in arguments:
                watch(terminal, shape(printed), api)
            terminal.end()
            assert shape(terminal.text) == shape(printed), command
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert run_programs(README) == 1
