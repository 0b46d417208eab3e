"""Fixtures that run `python -m admin` in this process against the module's local stack."""

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
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """The local stack with the seed's users and only two containers, because tests read the whole tables repeatedly."""
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, seed=False, streams=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        seeder.add(container_id(11), ["stopped", "running", "stopped"], name="orders")
        seeder.add(container_id(12), ["stopped", "running"], name="payments")
        yield local


@pytest.fixture
def run(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command against the local stack, as in `run("grant", …)`."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(["--local", *arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    with announced(stack):
        yield call


@pytest.fixture(scope="module")
def no_scheduled_sweeps(stack: LocalStack) -> None:
    """Disable the schedules of the sweeps, which would repair the faults that tests create."""
    for rule in ("Operations", "Drift"):
        stack.client("events").disable_rule(Name=f"longshore-RecoverFunction{rule}")
    assert not [name for name in stack.eventbridge.next_firings() if name.startswith("Recover")]


@pytest.fixture
def no_waiting(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits of `doctor`. Instead of waiting half a minute, stored times are set back."""

    def set_times_back(_: Doctor) -> None:
        dynamodb = stack.client("dynamodb")
        for item in dynamodb.scan(TableName=stack.table_name("ContainersTable"))["Items"]:
            set_looks_back(stack, item["id"]["S"])

    monkeypatch.setattr(doctor, "_PAUSE", 0.05)
    monkeypatch.setattr(Doctor, "wait_between_looks", set_times_back)


@pytest.fixture
def contents(stack: LocalStack) -> Callable[[], dict[str, Any]]:
    """Returns the content of the tables, to check that nothing has changed."""

    def read() -> dict[str, Any]:
        dynamodb = stack.client("dynamodb")
        found = {}
        for name in ("ContainersTable", "StatusLogsTable", "AccessTable"):
            pages = dynamodb.get_paginator("scan").paginate(TableName=stack.table_name(name))
            found[name] = sorted((item for page in pages for item in page["Items"]), key=str)
        return found

    return read
