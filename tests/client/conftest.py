"""Fixtures: a client for the local stack, and clients with prepared responses."""

from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest
from client.script import SECRET, Command, Reply, Script
from longshore_client import Longshore, Retries
from longshore_client.cli import main

from local import tokens
from local.stack import LocalStack

# Short delays between attempts.
EAGER = Retries(first_delay=0.01, max_delay=0.05)


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Longshore]:
    """A client for the module's stack with a token of the user `operator`."""
    with Longshore(stack.url, tokens.token("operator"), retries=EAGER) as made:
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Records the client's delays instead of waiting."""
    taken: list[float] = []
    monkeypatch.setattr("time.sleep", taken.append)
    return taken


@pytest.fixture
def scripted(pauses: list[float]) -> Iterator[Callable[..., tuple[Longshore, Script]]]:
    """Creates a client whose requests receive the given replies."""
    made: list[httpx.Client] = []

    def make(*replies: Reply, retries: Retries | None = None) -> tuple[Longshore, Script]:
        script = Script(list(replies))
        http = httpx.Client(transport=httpx.MockTransport(script))
        made.append(http)
        return Longshore("https://api.example/prod", SECRET, retries=retries, http_client=http), script

    yield make
    for http in made:
        http.close()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Command:
    """Runs a subcommand whose requests receive the given replies."""
    monkeypatch.setenv("LONGSHORE_URL", "https://api.example/prod")
    monkeypatch.setenv("LONGSHORE_TOKEN", "token")
    create, create_async = httpx.Client, httpx.AsyncClient

    def call(arguments: list[str], *replies: Reply) -> tuple[int, Script]:
        script = Script(list(replies))
        transport = httpx.MockTransport(script)
        monkeypatch.setattr(httpx, "Client", partial(create, transport=transport))
        monkeypatch.setattr(httpx, "AsyncClient", partial(create_async, transport=transport))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), script

    return call
