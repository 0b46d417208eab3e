"""The size of containers' items, which determines the write units of each write."""

import pytest
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest

from benchmarks.costs import item_size
from engine.stage import PROJECT, Stage

ACTOR = "9f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f"
REQUEST = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("running", "stop"), ("running", "pause")])
def test_a_write_of_a_usual_container_takes_one_unit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, status: str, operation: str
) -> None:
    stage._put("access", {"user_id": ACTOR, "scope": f"project#{PROJECT}", "role": "operator"})
    container = stage.add("stopped", *([] if status == "stopped" else [status]))
    stage.edit(container, name="payments-service-blue")
    sizes = []
    handle = stage.dynamodb.handle

    def handled(called: str, request: dict[str, object]) -> dict[str, object]:
        answer = handle(called, request)
        sizes.append(item_size(stage.dynamodb.tables["containers"].items[(container,)]))
        return answer

    monkeypatch.setattr(stage.dynamodb, "handle", handled)
    with stage.open():
        stage.wired.operations.perform(OperationRequest(container, Operation(operation), ACTOR, REQUEST))
    assert max(sizes) <= 1024
    assert max(sizes) > min(sizes)
