"""Operations on services under crashes, lost replies, throttling, deletions and slow events."""

from collections.abc import Callable
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import OutcomeKind

from engine.aws import DENIED, FAILED, NO_ANSWER, THROTTLED, Call, Crash
from engine.services import COUNT, EFFECTS, MINIMUM, ServiceStage
from local.emulator.errors import AwsError

GONE = "The service does not exist any more"

# Each operation with the status before it and after it.
OPERATIONS = {
    "stop": ("running", "stopped"),
    "force-stop": ("running", "stopped"),
    "start": ("stopped", "running"),
    "restart": ("running", "running"),
}


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def calls_of(operation: str) -> list[str]:
    """Return the names of the calls to AWS, in order, with which an operation succeeds."""
    stage = ServiceStage()
    container_id = stage.add_service(OPERATIONS[operation][0], scales=True)
    stage.ask(container_id, operation)
    return [call.operation for call in stage.calls]


def check_end(stage: ServiceStage, container_id: str, operation: str) -> None:
    """Check that the operation has ended as requested, with one row, and that a restart has rolled once."""
    container, target = stage.container(container_id), stage.target()
    result = OPERATIONS[operation][1]
    assert container.operation is None
    assert container.status == result
    (row,) = stage.rows(container_id)[1:]
    assert row["metadata"]["command"] == operation
    assert stage.counts() == ((COUNT, COUNT) if result == "running" else (0, 0))
    assert container.desired_count == COUNT
    suspended = result == "stopped"
    assert set(target.suspended.values()) == {suspended}
    assert target.minimum == (0 if suspended else MINIMUM)
    if suspended:
        assert container.scaling is not None
        assert (container.scaling.minimum, container.scaling.is_suspended) == (MINIMUM, False)
    else:
        assert container.scaling is None
    assert stage.services.deployed == 1 + (operation == "restart")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_crash_between_any_two_calls(operation: str) -> None:
    names = calls_of(operation)
    for position, name in enumerate(names):
        stage = ServiceStage()
        container_id = stage.add_service(OPERATIONS[operation][0], scales=True)

        def crash(_: Call) -> None:
            raise Crash

        stage.after(name, crash, skip=names[:position].count(name))
        with pytest.raises(Crash):
            stage.ask(container_id, operation)
        if stage.container(container_id).operation is None and len(stage.rows(container_id)) == 1:
            stage.ask(container_id, operation)  # It had not been claimed.
        stage.settle(container_id)
        check_end(stage, container_id, operation)


def fails_next(stage: ServiceStage, error: Exception, *, lost: bool) -> Callable[[Call], None]:
    """Return a hook that makes the next call of the same operation of AWS fail."""
    return lambda call: stage.fail(call.operation, error, lost=lost)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [NO_ANSWER, FAILED, THROTTLED], ids=["no answer", "failed", "throttled"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_call_that_fails(operation: str, error: Exception, lost: bool) -> None:
    names = calls_of(operation)
    looks = {"DescribeServices", "DescribeScalableTargets"}
    for position, name in enumerate(names):
        if name not in {*EFFECTS, *looks} or (lost and name in looks) or (lost and error is THROTTLED):
            continue
        stage = ServiceStage()
        container_id = stage.add_service(OPERATIONS[operation][0], scales=True)
        skipped = names[:position].count(name)
        if skipped:
            stage.after(name, fails_next(stage, error, lost=lost), skip=skipped - 1)
        else:
            stage.fail(name, error, lost=lost)
        try:
            stage.ask(container_id, operation)
        except ExternalServiceError:
            assert stage.container(container_id).operation is not None
        stage.settle(container_id)
        check_end(stage, container_id, operation)


def test_a_rolling_restart_whose_reply_is_lost_is_not_repeated_before_its_deployment_can_be_seen(
    stage: ServiceStage,
) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", NO_ANSWER, lost=True)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, "restart")
    # The call may still be in progress.
    assert stage.sweep() == {"accepted": 1}
    stage.settle(container_id)
    assert len(stage.parameters("UpdateService")) == 1
    assert stage.rows(container_id)[-1]["metadata"]["rolling"] is True


def late(stage: ServiceStage, seconds: float) -> Callable[[Call], None]:
    """Return a hook that lets a call that was not answered take effect later."""

    def hook(call: Call) -> None:
        due = stage.clock.now().timestamp() + seconds

        def arrive() -> None:
            if stage.clock.now().timestamp() >= due:
                stage.clock.waited = lambda: None
                stage.services.handle(call.operation, call.parameters)

        stage.clock.waited = arrive

    return hook


@pytest.mark.parametrize("name", EFFECTS)
def test_an_operation_waits_for_the_calls_of_the_previous_one(stage: ServiceStage, name: str) -> None:
    container_id = stage.add_service("running", scales=True)
    # The call takes effect after three seconds, when another driver has already completed the stop.
    stage.before(name, late(stage, 3))
    stage.fail(name, NO_ANSWER)
    stage.ask(container_id, "stop")
    assert stage.status(container_id) == "stopped"
    assert stage.container(container_id).calls_end_at is not None
    assert stage.ask(container_id, "start").kind is OutcomeKind.COMPLETED
    stage.while_time_passes(60)
    assert stage.counts() == (COUNT, COUNT)
    target = stage.target()
    assert (target.minimum, set(target.suspended.values())) == (MINIMUM, {False})


def test_no_call_is_made_that_ends_later_than_stored(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.after("RegisterScalableTarget", lambda _: stage.advance(9))
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    assert stage.count("UpdateService") == 0
    stage.settle(container_id)
    assert stage.counts() == (0, 0)


def test_what_a_stop_has_stored_survives_a_second_stop(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True, count=5)
    stage.fail("UpdateService", NO_ANSWER, times=-1)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, "stop")
    for _ in range(80):
        stage.while_time_passes(61)
        stage.sweep()
    assert stage.rows(container_id)[-1]["to_status"] == "failed"
    stage.heal()
    stage.services.set_desired(stage.service(), 1)
    stage.while_time_passes(5)
    stage.ask(container_id, "force-stop")
    stage.ask(container_id, "start")
    target = stage.target()
    assert (stage.counts(), target.minimum, set(target.suspended.values())) == ((5, 5), MINIMUM, {False})


def test_a_count_that_a_policy_changes_before_the_calls_of_a_stop_is_stored_again(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True, count=5)

    def crash(_: Call) -> None:
        raise Crash

    stage.after("UpdateItem", crash, skip=1)
    with pytest.raises(Crash):
        stage.ask(container_id, "stop")
    assert stage.container(container_id).count_stored_at is not None
    assert stage.services.scale(stage.service(), MINIMUM)
    stage.while_time_passes(15)
    stage.ask(container_id, "force-stop")
    assert stage.counts() == (0, 0)
    stage.ask(container_id, "start")
    target = stage.target()
    assert (stage.counts(), target.minimum) == ((MINIMUM, MINIMUM), MINIMUM)
    assert set(target.suspended.values()) == {False}


def test_a_scaling_that_changes_before_the_calls_of_a_stop_is_stored_again(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True, count=5)

    def crash(_: Call) -> None:
        raise Crash

    stage.after("UpdateItem", crash, skip=1)
    with pytest.raises(Crash):
        stage.ask(container_id, "stop")
    assert stage.container(container_id).scaling is not None
    target = stage.target()
    target.minimum = MINIMUM + 1
    stage.while_time_passes(15)
    stage.ask(container_id, "force-stop")
    assert (stage.counts(), target.minimum, set(target.suspended.values())) == ((0, 0), 0, {True})
    stage.ask(container_id, "start")
    assert (stage.counts(), target.minimum, set(target.suspended.values())) == ((5, 5), MINIMUM + 1, {False})


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shown", ["DRAINING", "INACTIVE", "not at all"])
def test_a_service_that_was_deleted(stage: ServiceStage, operation: str, shown: str) -> None:
    container_id = stage.add_service(OPERATIONS[operation][0], scales=True)
    service = stage.service()
    stage.services.delete(service)
    if shown != "DRAINING":
        stage.while_time_passes(5)
        assert service.status == "INACTIVE"
    if shown == "not at all":
        stage.ecs.forget_service(service)
    # ECS may not show a service that exists, so the first look proves nothing.
    assert stage.ask(container_id, operation).kind is OutcomeKind.ACCEPTED
    stage.advance(31)
    stage.sweep()
    row = stage.rows(container_id)[-1]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", GONE)
    assert stage.effects() == []


def test_a_service_that_ecs_does_not_show_for_a_moment(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    nothing: dict[str, list[Any]] = {"services": [], "failures": []}
    stage.change("DescribeServices", lambda *_: nothing, times=1)
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    stage.advance(31)
    stage.sweep()
    stage.settle(container_id)
    assert stage.status(container_id) == "stopped"


def test_a_service_that_is_not_active_any_more_when_it_is_updated(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", AwsError("ServiceNotActiveException", "Service was not ACTIVE."))
    assert stage.refused(container_id, "stop") == "The service is not active"
    assert (stage.status(container_id), stage.container(container_id).operation) == ("running", None)


@pytest.mark.parametrize("operation", ["stop", "start", "restart"])
def test_a_refused_look_after_the_calls_does_not_end_the_operation_without_a_row(
    stage: ServiceStage, operation: str
) -> None:
    container_id = stage.add_service(OPERATIONS[operation][0], scales=True)
    stage.after("DescribeServices", fails_next(stage, DENIED, lost=False))
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, operation)
    stage.heal()
    assert stage.container(container_id).operation is not None
    stage.settle(container_id)
    check_end(stage, container_id, operation)


@pytest.mark.parametrize("lost", [False, True])
def test_a_driver_that_was_overtaken_before_its_calls_does_not_make_them(stage: ServiceStage, lost: bool) -> None:
    container_id = stage.add_service("running")

    def overtake(_: Call) -> None:
        stage.advance(61)
        if lost:
            stage.before("UpdateService", late(stage, 1))
            stage.fail("UpdateService", NO_ANSWER)
        stage.sweep()

    stage.after("DescribeServices", overtake)
    stage.ask(container_id, "restart")
    stage.settle(container_id)
    assert stage.count("UpdateService") == 1
    assert stage.services.deployed == 2


def test_the_circuit_breaker_ends_a_rolling_restart(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.set_delay(100)

    def fail(_: Call) -> None:
        stage.services.fail(stage.service(), "ECS deployment circuit breaker: tasks failed to start.")

    stage.after("UpdateService", fail)
    assert stage.refused(container_id, "restart") == "ECS deployment circuit breaker: tasks failed to start."
    assert stage.status(container_id) == "failed"


def test_the_handler_of_an_event_only_looks(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.claim(container_id, "start")
    event = {"source": "aws.ecs", "detail": {"eventName": "SERVICE_STEADY_STATE"}, "resources": [stage.service().arn]}
    assert stage.deliver(event) == "settled"
    assert stage.effects() == []
    # Somebody else has raised the count, but the scaling has not been restored.
    stage.services.set_desired(stage.service(), COUNT)
    stage.while_time_passes(10)
    stage.deliver(event)
    assert stage.container(container_id).operation is not None
    stage.settle(container_id)
    assert stage.status(container_id) == "running"
