"""A restart of a service is one service deployment, and ends as this deployment ends."""

import pytest
from longshore.domain.models import OutcomeKind

from engine.aws import DENIED, NO_ANSWER, Call
from engine.services import COUNT, ServiceStage

REASON = "ECS deployment circuit breaker: tasks failed to start."


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def pending_restart(stage: ServiceStage, *, lost: bool) -> str:
    """Request a restart of a service whose scheduler is slow. Returns the container's id."""
    container_id = stage.add_service("running")
    stage.services.set_delay(40)
    if lost:
        stage.fail("UpdateService", NO_ANSWER, lost=True)
        stage.refused(container_id, "restart")
        return container_id
    assert stage.ask(container_id, "restart").kind is OutcomeKind.ACCEPTED
    return container_id


@pytest.mark.parametrize("lost", [False, True])
def test_a_deployment_that_ecs_rolls_back_is_not_repeated(stage: ServiceStage, lost: bool) -> None:
    container_id = pending_restart(stage, lost=lost)
    stage.services.fail(stage.service(), REASON, rollback=True)
    stage.while_time_passes(30)
    assert stage.container(container_id).operation is not None

    stage.services.set_delay(1)
    stage.settle(container_id)

    assert stage.count("UpdateService") == 1
    assert stage.services.deployed == 2
    row = stage.rows(container_id)[-1]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", REASON)
    stage.while_time_passes(300)
    stage.drift_sweep()
    assert stage.status(container_id) == "running"
    assert stage.counts() == (COUNT, COUNT)


@pytest.mark.parametrize("lost", [False, True])
def test_a_deployment_that_another_one_replaces_ends_the_restart(stage: ServiceStage, lost: bool) -> None:
    container_id = pending_restart(stage, lost=lost)
    stage.while_time_passes(5)
    stage.services.redeploy(stage.service())
    stage.settle(container_id)
    row = stage.rows(container_id)[-1]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", "A deployment replaces it.")
    assert stage.count("UpdateService") == 1


def test_a_deployment_of_somebody_else_before_the_call_is_not_that_of_the_restart(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.redeploy(stage.service())
    stage.while_time_passes(3)
    stage.fail("UpdateService", NO_ANSWER, lost=True)
    stage.services.set_delay(40)
    stage.refused(container_id, "restart")
    theirs, ours = stage.service().history[1], stage.service().history[0]
    stage.settle(container_id)
    assert (theirs.status, ours.status) == ("SUCCESSFUL", "SUCCESSFUL")
    assert stage.status(container_id) == "running"
    assert stage.services.deployed == 3


def test_a_restart_does_not_call_again_while_it_may_not_list_deployments(stage: ServiceStage) -> None:
    container_id = pending_restart(stage, lost=True)
    for _ in range(3):
        stage.fail("ListServiceDeployments", DENIED)
        stage.while_time_passes(61)
        stage.sweep()
    stage.settle(container_id)
    assert stage.status(container_id) == "running"
    assert stage.services.deployed == 2


def test_a_restart_of_version_0_2_ends_as_its_deployment(stage: ServiceStage) -> None:
    """Version 0.2 stores the primary deployment before the call, and nothing of the answer."""
    container_id = pending_restart(stage, lost=False)
    container = stage.container(container_id)
    assert container.operation is not None
    assert container.operation.service is not None
    older = container.operation.service.model_copy(update={"before": None, "started": None})
    operation = container.operation.model_copy(update={"service": older})
    stage.put(container.model_copy(update={"operation": operation}))
    stage.settle(container_id)
    assert stage.status(container_id) == "running"
    assert stage.services.deployed == 2


def test_the_deployment_is_stored_before_and_after_the_call(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    newest = stage.service().history[0].arn
    seen: list[str | None] = []

    def look(_: Call) -> None:
        operation = stage.container(container_id).operation
        assert operation is not None
        assert operation.service is not None
        seen.extend((operation.service.before, operation.service.started))

    stage.before("UpdateService", look)
    stage.services.set_delay(40)
    stage.ask(container_id, "restart")
    operation = stage.container(container_id).operation
    assert operation is not None
    assert operation.service is not None
    assert seen == [newest, None]
    assert (operation.service.before, operation.service.started) == (newest, stage.service().history[0].arn)


@pytest.mark.parametrize("lost", [False, True])
def test_a_start_begins_one_deployment_if_the_circuit_breaker_has_ended_that_of_the_service(
    stage: ServiceStage, lost: bool
) -> None:
    container_id = stage.add_service("stopped")
    stage.services.fail(stage.service(), REASON)
    if lost:
        stage.fail("UpdateService", NO_ANSWER, lost=True)
        stage.refused(container_id, "start")
    else:
        stage.services.set_delay(40)
        stage.ask(container_id, "start")
    stage.settle(container_id)
    assert stage.status(container_id) == "running"
    assert stage.counts() == (COUNT, COUNT)
    assert stage.services.deployed == 2
    assert stage.count("UpdateService") == 1
