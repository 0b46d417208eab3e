"""A waiting operation reads its item inconsistently, so it may see the item as it was before the operation."""

import pytest

from engine.stage import Stage


@pytest.mark.parametrize("lag", [1, 2, 3, 1000])
@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("running", "stop"), ("running", "restart")])
def test_an_older_item_is_no_change(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lag: int, status: str, operation: str
) -> None:
    container = stage.add("stopped", *([] if status == "stopped" else [status]))
    monkeypatch.setattr(stage.dynamodb, "_lag", lambda: lag)
    stage.with_events()
    assert stage.ask(container, operation).kind == "completed"
    assert stage.count("RunTask") == (operation != "stop")
    assert stage.count("StopTask") == (operation != "start")
