"""Fixtures of the tests that run the script of the SSM document."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_script import ScriptHost

pytest.register_assert_rewrite("integration.recording_stack")


@pytest.fixture(params=["sh", "bash"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ScriptHost]:
    """A machine that runs the script, with each of the shells that hosts have as `sh`."""
    if shutil.which("dash" if request.param == "sh" else "bash") is None:
        pytest.skip(f"no {request.param}")
    script_host = ScriptHost(tmp_path, request.param)
    yield script_host
    script_host.close()
