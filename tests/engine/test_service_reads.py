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


def test_a_start_that_sees_the_state_before_a_stop_calls_ecs(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    shows(stage, times=1, desiredCount=COUNT, runningCount=COUNT)
    assert stage.ask(container_id, "start").kind is OutcomeKind.COMPLETED
    assert stage.counts() == (COUNT, COUNT)
    assert stage.effects() == [{"desiredCount": COUNT}]


def test_a_stop_that_sees_the_state_before_a_start_calls_ecs(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    shows(stage, times=1, desiredCount=0, runningCount=0)
    assert stage.ask(container_id, "stop").kind is OutcomeKind.COMPLETED
    assert stage.counts() == (0, 0)
    assert stage.container(container_id).desired_count == COUNT


@pytest.mark.parametrize(
    ("status", "operation", "older"),
    [
        ("stopped", "start", {"desiredCount": COUNT, "runningCount": COUNT}),
        ("running", "stop", {"desiredCount": 0, "runningCount": 0}),
    ],
)
def test_an_event_that_arrives_early_completes_nothing(
    stage: ServiceStage, status: str, operation: str, older: dict[str, int]
) -> None:
    container_id = stage.add_service(status)
    stage.services.delay = 60
    event = {"source": "aws.ecs", "detail": {"eventName": "SERVICE_STEADY_STATE"}, "resources": [stage.service().arn]}

    def arrive() -> None:
        stage.clock.waited = lambda: None
        shows(stage, times=1, **older)
        stage.deliver(event)
        stage.heal()

    stage.clock.waited = arrive
    assert stage.ask(container_id, operation).kind is OutcomeKind.ACCEPTED
    assert stage.status(container_id) == status


def test_the_next_operation_waits_until_the_calls_are_shown(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, desired_count=5)
    began = stage.clock.now()
    looked: list[Any] = []
    stage.before("DescribeServices", lambda _: looked.append(stage.clock.now() - began))
    stage.ask(container_id, "stop")
    assert looked[0] >= SHOWN_AFTER
    assert stage.container(container_id).desired_count == 5


def test_the_drift_sweep_ignores_a_state_that_may_be_older_than_a_changed_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, desired_count=5)
    shows(stage, times=1, desiredCount=COUNT)
    assert stage.drift_sweep() == {"true": 1}
    assert len(stage.rows(container_id)) == 1
