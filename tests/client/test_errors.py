"""The error codes and resolutions in the API, in openapi.yaml and in the client are the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from longshore.domain.errors import ErrorCode
from longshore_client._catalogue import RESOLUTIONS
from longshore_client.errors import BY_CODE, ApiError

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"


@pytest.fixture(scope="module")
def catalogue() -> dict[str, Any]:
    found = yaml.safe_load(OPENAPI.read_text())["x-error-codes"]
    assert isinstance(found, dict)
    return found


def test_the_codes_are_the_same(catalogue: dict[str, Any]) -> None:
    assert list(BY_CODE) == list(catalogue) == list(ErrorCode)


def test_each_code_has_its_own_class() -> None:
    for code, kind in BY_CODE.items():
        words = "".join(word.capitalize() for word in code.removesuffix("_ERROR").split("_"))
        assert kind.__name__.removeprefix("Operation") == f"{words}Error".removeprefix("Operation")
        assert issubclass(kind, ApiError)
        assert kind.__doc__
    assert len(set(BY_CODE.values())) == len(BY_CODE)


def test_the_resolutions_are_the_same(catalogue: dict[str, Any]) -> None:
    assert {code: entry["resolution"] for code, entry in catalogue.items()} == RESOLUTIONS
    for code, kind in BY_CODE.items():
        assert kind(code, 400, "").resolution == RESOLUTIONS[code]
