"""Runs `python -m admin` in this process, against the module's local stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import PARAMETERS, QUICK
from settling import set_looks_back

from admin import doctor
from admin.cli import main
from admin.doctor import Doctor
from local.seed import Seeder, container_id
from local.stack import LocalStack
from local.stack_file import announced


@dataclass(frozen=True)
class Ran:
    """How a command has ended, and what it has printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """The local stack with the seed's users, and few containers: what all the tables hold is read again and again."""
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, seed=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        seeder.add(container_id(11), ["stopped", "running", "stopped"], name="orders")
        seeder.add(container_id(12), ["stopped", "running"], name="payments")
        yield local


@pytest.fixture
def run(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`run("grant", …)`: the command, as somebody beside `make up` would give it."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(["--local", *arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    with announced(stack):
        yield call


@pytest.fixture
def no_waiting(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` looks again at once, and half a minute is over before the second look for a task."""

    def half_a_minute_passes(_: Doctor) -> None:
        dynamodb = stack.client("dynamodb")
        for item in dynamodb.scan(TableName=stack.table_name("ContainersTable"))["Items"]:
            set_looks_back(stack, item["id"]["S"])

    monkeypatch.setattr(doctor, "_PAUSE", 0.05)
    monkeypatch.setattr(Doctor, "wait_between_looks", half_a_minute_passes)


@pytest.fixture
def contents(stack: LocalStack) -> Callable[[], dict[str, Any]]:
    """All that the tables hold, to prove that nothing was changed."""

    def read() -> dict[str, Any]:
        dynamodb = stack.client("dynamodb")
        held = {}
        for name in ("ContainersTable", "StatusLogsTable", "AccessTable"):
            pages = dynamodb.get_paginator("scan").paginate(TableName=stack.table_name(name))
            held[name] = sorted((item for page in pages for item in page["Items"]), key=str)
        return held

    return read
