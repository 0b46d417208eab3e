"""Fixtures that all tests share: the local stack, a client of its API, and containers.

A module that uses `stack` gets its own stack, on moto. With `pytestmark = databases("moto", "dynamodb-local")` its
tests run on both, and with `databases("real")` on DynamoDB Local alone. It needs Java and npm. Without them, tests of
`dynamodb-local` are skipped, and tests of `real` run on moto, except in CI. `HISTORY_ROWS` of a module is the number of
rows of the demo project's longest history. Status changes are not published, so that tests see only their own calls.

The local stack is imported by the fixtures that use it: the unit tests do not need it.
"""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import botocore.loaders
import botocore.session
import pytest
from api_client import Api
from distribution import Distribution
from no_skips import pytest_make_collect_report as pytest_make_collect_report
from no_skips import pytest_runtest_makereport as pytest_runtest_makereport

if TYPE_CHECKING:
    from local.dynamodb_local import DynamoDbLocal
    from local.identity import Provider
    from local.seed import Seeder
    from local.stack import LocalStack

# Tests cannot see real credentials.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Tests cannot see a running local stack either.
    "LONGSHORE_STACKS": os.path.join(tempfile.gettempdir(), f"longshore-test-{os.getpid()}"),  # noqa: PTH118
}

# Each session of botocore parses the descriptions of AWS services again. Tests create many sessions, so this took half
# of their processor time.
setattr(botocore.session, "create_loader", functools.cache(botocore.loaders.create_loader))  # noqa: B010  (no type)

PARAMETERS = {"WaitSeconds": "8", "ThrottleRate": "100000", "ThrottleBurst": "100000", "MetricsEnabled": "true"}
QUICK = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}

_ids = count(1)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["LONGSHORE_STACKS"], ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stack" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        metafunc.parametrize("stack", marker.args if marker else ["moto"], indirect=True, scope="module")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Distribution:
    return Distribution(config, log)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> "Iterator[LocalStack]":
    """The local stack on a free port, with demo containers. Waits are short, and the gateway does not throttle."""
    from local.emulator import Credentials
    from local.stack import LocalStack

    with LocalStack(
        port=0,
        dynamodb=database_url(request.param),
        credentials=Credentials.random(),
        parameters=PARAMETERS,
        emulator_options=QUICK,
        streams=False,
        history_rows=getattr(request.module, "HISTORY_ROWS", 100),
    ) as local:
        yield local


def database_url(database: str) -> str:
    """Return the value of LocalStack's `dynamodb`. Skips the test if the database is unavailable."""
    from local.dynamodb_local import DynamoDbLocalUnavailableError

    if database == "moto":
        return database
    try:
        return dynamodb_local().url
    except DynamoDbLocalUnavailableError as missing:
        if database == "real" and "CI" not in os.environ:
            return "moto"
        pytest.skip(str(missing))


@functools.cache
def dynamodb_local() -> "DynamoDbLocal":
    """DynamoDB Local, one process for all modules of this worker. The access key of a stack selects its tables."""
    from local.dynamodb_local import DynamoDbLocal, fetch
    from local.stack import CACHE

    started = DynamoDbLocal(fetch(CACHE), short_lived=True).start()
    # Not in `pytest_unconfigure`: tests that import this module get another copy of it than pytest, with its own cache.
    atexit.register(started.stop)
    return started


@pytest.fixture(scope="module")
def identity() -> "Iterator[Provider]":
    """An OpenID Connect provider in a process of its own. Tests are skipped without Node.js or npm."""
    from local.identity import ProviderUnavailableError, provider

    with ExitStack() as running:
        try:
            found = running.enter_context(provider())
        except ProviderUnavailableError as missing:
            pytest.skip(str(missing))
        yield found


@pytest.fixture(scope="module")
def sign_in_stack(identity: "Provider") -> "Iterator[LocalStack]":
    """The local stack, whose users sign in at the provider."""
    from local.stack import LocalStack

    with LocalStack(
        port=0,
        parameters=lambda url: PARAMETERS | identity.parameters(url),
        emulator_options=QUICK,
        streams=False,
    ) as local:
        identity.allow(local.url)
        yield local


@pytest.fixture
def emulator(stack: "LocalStack") -> Iterator[Any]:
    """The emulated AWS, without faults before and after the test."""
    stack.emulator.faults.clear()
    yield stack.emulator
    stack.emulator.faults.clear()


@pytest.fixture
def seeder(stack: "LocalStack") -> "Seeder":
    """Adds containers, users and task definitions."""
    from local.seed import Seeder

    return Seeder(stack)


@pytest.fixture
def fresh_id() -> str:
    """A container id that no other test uses."""
    return f"{next(_ids):024x}"


@pytest.fixture(scope="module")
def api(stack: "LocalStack") -> Iterator[Api]:
    client = Api(stack.url)
    yield client
    client.close()
