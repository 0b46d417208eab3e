"""The text of the history in the command line."""

from __future__ import annotations

from typing import Any

import pytest
from longshore_client.cli.history_view import exit_text


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"exit_code": 0, "command": "stop"}, "exit code 0"),
        ({"exit_code": 1}, "exit code 1"),
        (
            {"exit_code": 137, "command": "stop"},
            "exit code 137 (killed, because it did not exit within its stop timeout)",
        ),
        (
            {"exit_code": 137, "command": "restart"},
            "exit code 137 (killed, because it did not exit within its stop timeout)",
        ),
        ({"exit_code": 137, "command": "force-stop"}, "exit code 137 (SIGKILL)"),
        ({"exit_code": 137, "reason": "OutOfMemoryError"}, "exit code 137 (SIGKILL)"),
        ({"exit_code": 143, "command": "stop"}, "exit code 143 (SIGTERM)"),
        ({"exit_code": [137]}, "exit code [137]"),
    ],
)
def test_exit_codes_of_signals_have_a_meaning(metadata: dict[str, Any], text: str) -> None:
    assert exit_text(metadata) == text
