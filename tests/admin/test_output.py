"""Output of the commands: colours and progress bars on a terminal, plain columns in a pipe."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.seed import PROJECT, Seeder
from local.stack import LocalStack


def test_a_terminal_gets_colours_and_bars(run: Any, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    Seeder(stack).task_definition("seen")
    stack.emulator.ecs.adopt_running("default", "seen")
    arguments = ("adopt", "--project", PROJECT, "--family", "seen")
    plain = run(*arguments)
    assert "\x1b" not in plain.out + plain.err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    drawn = run(*arguments)
    assert "\x1b[" in drawn.out
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.out)
    assert [line.split() for line in text.splitlines()] == [line.split() for line in plain.out.splitlines()]
    done = run(*arguments, "--yes")
    assert done.out == "1 adopted, 0 skipped, 0 failed\n"
    assert "Adopting" in done.err
    assert "Checking" in run("doctor", "--all").err


def test_an_empty_table_prints_nothing(run: Any, stack: LocalStack) -> None:
    assert run("adopt", "--project", PROJECT, "--family", "nothing").out == ""
