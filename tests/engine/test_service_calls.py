"""The calls of operations on services: how they are repeated, and what is stored of them."""

from datetime import timedelta

import pytest
from longshore.aws.services import CALLS_LAST, SHOWN_AFTER
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import OutcomeKind

from engine.aws import DENIED, FAILED, NO_ANSWER
from engine.services import COUNT, ServiceStage


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def test_calls_that_were_answered_are_over_when_they_are_shown(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.ask(container_id, "stop")
    end = stage.container(container_id).calls_end_at
    assert end is not None
    assert end <= stage.clock.now() + SHOWN_AFTER


@pytest.mark.parametrize("error", [NO_ANSWER, FAILED])
def test_a_call_that_was_repeated_may_still_take_effect(stage: ServiceStage, error: Exception) -> None:
    container_id = stage.add_service("running")
    began = stage.clock.now()
    stage.fail("UpdateService", error)
    assert stage.ask(container_id, "stop").kind is OutcomeKind.COMPLETED
    end = stage.container(container_id).calls_end_at
    assert end is not None
    assert end >= began + CALLS_LAST + SHOWN_AFTER


@pytest.mark.parametrize("operation", ["stop", "start"])
def test_a_refusal_after_a_call_that_was_not_answered_is_no_proof_that_nothing_happened(
    stage: ServiceStage, operation: str
) -> None:
    container_id = stage.add_service("running" if operation == "stop" else "stopped")
    stage.fail("UpdateService", NO_ANSWER, lost=True)
    stage.fail("UpdateService", DENIED)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, operation)
    assert stage.container(container_id).operation is not None
    stage.settle(container_id)
    count = 0 if operation == "stop" else COUNT
    assert stage.counts() == (count, count)
    assert stage.rows(container_id)[-1]["to_status"] == ("stopped" if operation == "stop" else "running")


def test_a_refusal_of_the_first_call_ends_the_operation(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", DENIED)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, "stop")
    assert stage.container(container_id).operation is None
    assert len(stage.rows(container_id)) == 1


def test_nothing_is_called_or_awaited_if_the_service_has_the_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.services.set_desired(stage.service(), COUNT)
    stage.while_time_passes(10)
    began = stage.clock.now()
    assert stage.ask(container_id, "start").kind is OutcomeKind.COMPLETED
    assert stage.clock.now() - began < timedelta(seconds=0.5)
    assert (stage.effects(), stage.count("DescribeServices")) == ([], 1)


def test_the_next_driver_of_a_slow_stop_only_looks(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.change("UpdateService", lambda _, answer: {"service": answer["service"] | {"runningCount": 1}})
    stage.after(
        "UpdateService",
        lambda _: stage.change(
            "DescribeServices", lambda _, answer: {"services": [answer["services"][0] | {"runningCount": 1}]}
        ),
    )
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    stage.calls.clear()
    stage.while_time_passes(61)
    assert stage.sweep() == {"accepted": 1}
    stage.heal()
    stage.settle(container_id)
    assert (stage.effects(), stage.count("DescribeScalableTargets")) == ([], 0)
    assert stage.status(container_id) == "stopped"


def test_a_driver_without_time_for_its_calls_leaves_them_to_the_next_one(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    # What the calls need is stored by the second write, after the claim.
    stage.after("UpdateItem", lambda _: stage.advance(9), skip=1)
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    assert stage.effects() == []
    stage.settle(container_id)
    assert stage.counts() == (0, 0)


def test_a_driver_looks_although_its_time_is_nearly_over(stage: ServiceStage) -> None:
    def look(of: ServiceStage, *, late_by: float) -> float:
        """Stop a service. Returns after how many seconds the driver has looked for the second time."""
        container_id = of.add_service("running")
        began, looked = of.clock.now(), list[float]()
        of.after("UpdateItem", lambda _: of.advance(late_by), skip=2)
        of.before("DescribeServices", lambda _: looked.append((of.clock.now() - began).total_seconds()), skip=1)
        of.ask(container_id, "stop")
        return looked[0]

    usual = look(ServiceStage(), late_by=0)
    assert look(stage, late_by=usual - 0.2) == pytest.approx(usual, abs=0.1)


def test_a_start_is_not_over_while_ecs_shows_the_state_before_it(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    before = {"desiredCount": 0, "runningCount": 0, "pendingCount": 0}
    stage.after(
        "UpdateService",
        lambda _: stage.change(
            "DescribeServices", lambda _, answer: {"services": [answer["services"][0] | before]}, times=2
        ),
    )
    assert stage.ask(container_id, "start").kind is OutcomeKind.ACCEPTED
    assert stage.status(container_id) == "stopped"
    stage.settle(container_id)
    assert stage.counts() == (COUNT, COUNT)


def with_failed_deployment(stage: ServiceStage, status: str) -> str:
    """Add a service whose deployment the circuit breaker has ended. Returns the container's id."""
    container_id = stage.add_service(status)
    stage.services.fail(stage.service(), "ECS deployment circuit breaker: tasks failed to start.")
    stage.while_time_passes(5)
    stage.services.set_delay(100)
    return container_id


def test_an_earlier_failure_of_the_deployment_does_not_end_a_stop(stage: ServiceStage) -> None:
    container_id = with_failed_deployment(stage, "running")
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    stage.settle(container_id)
    assert stage.rows(container_id)[-1]["to_status"] == "stopped"


def test_a_start_of_a_service_whose_deployment_has_failed(stage: ServiceStage) -> None:
    """The circuit breaker: "a service deployment will transition to a failed state and stop launching new tasks"."""
    container_id = with_failed_deployment(stage, "stopped")
    assert stage.ask(container_id, "start").kind is OutcomeKind.ACCEPTED
    stage.settle(container_id)
    assert stage.rows(container_id)[-1]["to_status"] == "running"
    assert stage.effects() == [{"desiredCount": COUNT, "forceNewDeployment": True}]


@pytest.mark.parametrize("scales", [False, True])
def test_nothing_is_called_to_stop_a_failed_service_without_tasks(stage: ServiceStage, scales: bool) -> None:
    container_id = stage.add_service("running", "failed", scales=scales)
    assert stage.ask(container_id, "force-stop").kind is OutcomeKind.COMPLETED
    assert stage.effects() == []
    assert (stage.status(container_id), stage.container(container_id).desired_count) == ("stopped", COUNT)


def test_a_stop_of_a_service_without_tasks_stores_the_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.set_desired(stage.service(), 0)
    stage.while_time_passes(10)
    stage.ask(container_id, "stop")
    after = stage.container(container_id)
    assert (after.status, after.desired_count) == ("stopped", COUNT)
    assert after.count_stored_at is not None
    stage.ask(container_id, "start")
    assert stage.counts() == (COUNT, COUNT)


def test_a_service_that_ecs_does_not_show_when_the_time_is_over(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.after(
        "UpdateService",
        lambda _: stage.change("DescribeServices", lambda *_: {"services": [], "failures": []}, times=1),
    )
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    stage.settle(container_id)
    assert stage.status(container_id) == "stopped"


def test_the_next_driver_waits_for_the_calls_of_the_previous_one(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", NO_ANSWER, times=-1)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, "stop")
    stage.heal()
    stage.while_time_passes(61)
    stage.edit(container_id, calls_end_at=stage.clock.now() + timedelta(seconds=5))
    stage.calls.clear()
    assert stage.sweep() == {"accepted": 1}
    assert (stage.effects(), stage.count("DescribeServices")) == ([], 0)
    stage.settle(container_id)
    assert stage.counts() == (0, 0)


def test_a_count_that_somebody_raises_during_a_stop_is_set_to_0_again(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.set_delay(30)  # seconds until ECS looks at a changed service
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    stage.services.set_desired(stage.service(), 2)
    stage.settle(container_id)
    assert stage.effects() == [{"desiredCount": 0}, {"desiredCount": 0}]
    assert (stage.counts(), stage.status(container_id)) == ((0, 0), "stopped")
    # The next start restores the latest count.
    assert stage.container(container_id).desired_count == 2
