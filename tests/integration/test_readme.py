"""Tests that the local stack returns the responses that the README's worked example prints."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from api_client import Api

README = Path(__file__).parents[2] / "README.md"

# Fields whose values differ between runs. Only their format is compared.
VOLATILE = {"id", "transition_time", "created_at", "duration_ms", "request_id", "operation_id", "task_id"}


def examples() -> list[tuple[str, Any]]:
    """Return the README's commands that call the API, each with the JSON that is printed below it."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    parts = [block.split("\n", 1) for block in blocks if block.startswith("$ curl")]
    return [(command.removeprefix("$ "), json.loads(printed)) for command, printed in parts]


def call(api: Api, command: str) -> Any:
    """Make the API call of a curl command in the README."""
    words = shlex.split(command)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    (target,) = [word for word in words if word.startswith("$BASE/")]
    return api.call(method, f"/containers/{target.removeprefix('$BASE/')}").json()


def shape(value: Any, key: str = "") -> Any:
    """Return the value with volatile fields replaced by their format."""
    if isinstance(value, dict):
        return {name: shape(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    if key not in VOLATILE:
        return value
    return re.sub(r"[0-9a-f]+", "x", value) if isinstance(value, str) else type(value).__name__


def test_the_worked_example(api: Api) -> None:
    commands = examples()
    assert len(commands) == 5
    for command, printed in commands:
        answer = call(api, command)
        if "status-logs" not in command:
            assert answer == printed, command
        else:
            assert shape(answer) == shape(printed), command


@pytest.mark.parametrize("target", ["up", "token", "test", "check", "lint"])
def test_the_documented_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (README.parent / "Makefile").read_text(), re.MULTILINE)
