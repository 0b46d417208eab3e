"""Fixtures that several unit tests use."""

import io
import logging
from collections.abc import Iterator

import pytest
from longshore.edge import jwks as edge_jwks
from longshore.edge.logs import logger

pytest.register_assert_rewrite("unit.http_calls", "unit.signed_tokens")

from unit.http_calls import ORIGIN, Log  # noqa: E402
from unit.signed_tokens import KEYS, Jwks  # noqa: E402


@pytest.fixture(scope="module")
def served() -> Iterator[Jwks]:
    jwks = Jwks()
    yield jwks
    jwks.close()


@pytest.fixture
def jwks(served: Jwks, monkeypatch: pytest.MonkeyPatch) -> Jwks:
    # On a busy machine, a response may take longer than the limit of a deployed authorizer.
    monkeypatch.setattr(edge_jwks, "_FETCH_SECONDS", 60)
    served.fetched, served.status = 0, 200
    served.publish(RS256=KEYS["RS256"], ES256=KEYS["ES256"], EdDSA=KEYS["EdDSA"])
    return served


@pytest.fixture
def function_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that an HTTP function has."""
    monkeypatch.setenv("ALLOWED_ORIGIN", ORIGIN)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Longshore")
    monkeypatch.setenv("METRICS_ENABLED", "true")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "longshore")
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)


@pytest.fixture
def log() -> Iterator[Log]:
    """Capture the log lines of the library."""
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    before = handler.setStream(stream)
    yield Log(stream)
    handler.setStream(before)
