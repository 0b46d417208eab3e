"""Clients of the local stack."""

from collections.abc import Iterator

import pytest
from longshore_client import Longshore, Retries

from local import tokens
from local.stack import LocalStack

# Tests need not wait between tries.
EAGER = Retries(first_delay=0.01, max_delay=0.05)


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Longshore]:
    """A client of the module's stack, as user `operator`."""
    with Longshore(stack.url, tokens.token("operator"), retries=EAGER) as made:
        yield made
