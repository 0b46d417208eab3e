"""The fixture that gives each test of the engine a new stage."""

import pytest

from engine.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
