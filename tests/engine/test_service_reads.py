"""Operations on services when DescribeServices shows the state before a change for some seconds."""

from typing import Any

import pytest
from longshore.aws.services import SHOWN_AFTER
from longshore.domain.models import OutcomeKind

from engine.services import COUNT, ServiceStage
from engine.stage import PROJECT


@pytest.fixture
def stage() -> ServiceStage:
    stage = ServiceStage()
    stage._put("access", {"user_id": "ann", "scope": f"project#{PROJECT}", "role": "owner"})
    return stage


def shows(stage: ServiceStage, *, times: int, **older: Any) -> None:
    """Let DescribeServices show older values."""

    def hook(_: Any, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"services": [described | older for described in answer["services"]]}

    stage.change("DescribeServices", hook, times=times)


@pytest.mark.parametrize(
    ("status", "before", "operation", "older"),
    [
        ("running", "stop", "start", {"desiredCount": COUNT, "runningCount": COUNT}),
        ("stopped", "start", "stop", {"desiredCount": 0, "runningCount": 0}),
    ],
)
def test_an_operation_just_after_another_is_not_completed_by_the_state_before_it(
    stage: ServiceStage, status: str, before: str, operation: str, older: dict[str, int]
) -> None:
    container_id = stage.add_service(status)
    stage.with_events()
    began = stage.clock.now()
    stage.ask(container_id, before)
    until = began + SHOWN_AFTER

    def hook(_: Any, answer: dict[str, Any]) -> dict[str, Any]:
        shown = older if stage.clock.now() < until else {}
        return answer | {"services": [described | shown for described in answer["services"]]}

    assert stage.clock.now() < until
    stage.change("DescribeServices", hook)
    assert stage.ask(container_id, operation).kind is OutcomeKind.COMPLETED
    count = COUNT if operation == "start" else 0
    assert stage.counts() == (count, count)
    assert stage.container(container_id).desired_count == COUNT


def test_the_next_operation_waits_until_the_calls_are_shown(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, desired_count=5)
    began = stage.clock.now()
    looked: list[Any] = []
    stage.before("DescribeServices", lambda _: looked.append(stage.clock.now() - began))
    stage.ask(container_id, "stop")
    assert looked[0] >= SHOWN_AFTER
    assert stage.container(container_id).desired_count == 5


@pytest.mark.parametrize(("status", "operation"), [("running", "stop"), ("stopped", "start")])
def test_without_events_an_operation_looks_before_its_calls_and_when_its_time_is_over(
    stage: ServiceStage, status: str, operation: str
) -> None:
    container_id = stage.add_service(status)
    assert stage.ask(container_id, operation).kind is OutcomeKind.COMPLETED
    reads = [call.operation for call in stage.calls if call.operation in ("DescribeServices", "UpdateService")]
    assert reads == ["DescribeServices", "UpdateService", "DescribeServices"]


def test_the_drift_sweep_ignores_a_state_that_may_be_older_than_a_changed_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, desired_count=5)
    shows(stage, times=1, desiredCount=COUNT)
    assert stage.drift_sweep() == {"true": 1}
    assert len(stage.rows(container_id)) == 1
