"""Fixtures that several integration tests use."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from emulated import World
from fleet import fleet, put
from host_script import ScriptHost
from longshore.domain.models import Container
from small_api import Clock, Functions, Make, make_gateway

from local.emulator import Emulator
from local.gateway import Gateway
from local.seed import Seeder
from local.stack import LocalStack

pytest.register_assert_rewrite("integration.listed", "integration.recording_stack", "integration.rejections")

from integration.listed import FLEET, OTHER, SIZE  # noqa: E402
from integration.rejections import EXPIRED, RUNNING, STOPPED, State  # noqa: E402

_projects = count(1)


@pytest.fixture(params=["sh", "bash"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ScriptHost]:
    """A host that runs the script of the SSM document, with each shell that hosts use as `sh`."""
    if shutil.which("dash" if request.param == "sh" else "bash") is None:
        pytest.skip(f"no {request.param}")
    script_host = ScriptHost(tmp_path, request.param)
    yield script_host
    script_host.close()


@pytest.fixture(scope="module")
def seen() -> list[tuple[Any, Any]]:
    """The items and calls after the previous test, which are those before the next."""
    return []


@pytest.fixture
def unchanged(stack: LocalStack, seen: list[tuple[Any, Any]]) -> Iterator[None]:
    """Check that the test changes no table and calls neither ECS nor SSM with an effect."""
    state = State(stack, STOPPED, RUNNING, EXPIRED)
    items, effects = seen[-1] if seen and seen[-1][1] == state.effects() else (state.items(), state.effects())
    # Check that there are items to compare.
    assert len(items["ContainersTable"]) >= 7
    assert all(items[name] for name in (STOPPED, RUNNING, EXPIRED, "AccessTable"))
    yield
    seen[:] = [(state.items(), state.effects())]
    assert seen == [(items, effects)]


@pytest.fixture
def world() -> Iterator[World]:
    """An emulator with a cluster, an instance and task definitions."""
    events: list[dict[str, Any]] = []
    with Emulator(run_delay=0.1, stop_delay=0.1, command_delay=0.06, on_event=events.append) as emulator:
        world = World(emulator, events)
        yield world
        world.close()


@pytest.fixture
def functions() -> Functions:
    """The functions of the small API."""
    return Functions()


@pytest.fixture
def clock() -> Clock:
    """The clock of the small API's gateway."""
    return Clock()


@pytest.fixture
def make(tmp_path: Path, functions: Functions, clock: Clock) -> Make:
    """Creates a gateway of the small API."""
    return lambda *given, **parameters: make_gateway(tmp_path, functions, clock, *given, **parameters)


@pytest.fixture
def gateway(make: Make) -> Gateway:
    """A gateway of the small API."""
    return make()


@pytest.fixture(scope="module")
def containers(stack: LocalStack) -> list[Container]:
    """The containers of a project, which has the members of the demo. The user `manager` is in two projects."""
    seeder = Seeder(stack)
    seeder.members(FLEET)
    for project in (FLEET, OTHER):
        seeder.grant("manager", project, "owner")
    found = fleet(FLEET, SIZE)
    put(stack, found)
    return found


@pytest.fixture(scope="module")
def others(stack: LocalStack) -> list[Container]:
    """The containers of another project."""
    found = fleet(OTHER, 12)
    put(stack, found)
    return found


@pytest.fixture
def project(stack: LocalStack) -> str:
    """A project without containers that no other test uses, with the members of the demo."""
    fresh = f"ee{next(_projects):022x}"
    Seeder(stack).members(fresh)
    return fresh
