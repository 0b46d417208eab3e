"""Fixtures: a client for the local stack."""

from collections.abc import Iterator

import pytest
from longshore_client import Longshore, Retries

from local import tokens
from local.stack import LocalStack

# Short delays between attempts.
EAGER = Retries(first_delay=0.01, max_delay=0.05)


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Longshore]:
    """A client for the module's stack with a token of the user `operator`."""
    with Longshore(stack.url, tokens.token("operator"), retries=EAGER) as made:
        yield made
