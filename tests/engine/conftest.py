"""A stage of its own for each test of the engine."""

import pytest

from engine.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
