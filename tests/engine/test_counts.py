"""Counts of services that users change: applied at once, by a sweep, or by the next start."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from longshore.aws.services import CALL_LASTS, CALLS_LAST, SHOWN_AFTER
from longshore.domain.errors import ExternalServiceError, InvalidInputError, StateConflictError
from longshore.domain.models import Container

from engine.aws import DENIED, NO_ANSWER, THROTTLED, Call
from engine.services import COUNT, ServiceStage


@pytest.fixture
def stage() -> ServiceStage:
    stage = ServiceStage()
    stage._put("access", {"user_id": "ann", "scope": "project#507f1f77bcf86cd799439033", "role": "owner"})
    return stage


def test_a_count_of_a_running_service_is_applied_at_once(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    after = stage.patch(container_id, desired_count=5)
    assert (after.desired_count, after.apply_count_at) == (5, None)
    assert after.calls_end_at is not None
    assert after.calls_end_at <= stage.clock.now() + SHOWN_AFTER
    assert stage.effects() == [{"desiredCount": 5}]
    stage.advance(200)
    stage.while_time_passes(10)
    assert stage.drift_sweep() == {"counted": 1}
    container = stage.container(container_id)
    assert (container.desired_count, container.running_count, container.log_count) == (5, 5, 1)


@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("failed", "restart")])
def test_a_count_of_another_service_is_restored_by_the_next_start(
    stage: ServiceStage, status: str, operation: str
) -> None:
    container_id = stage.add_service(status, scales=True)
    assert stage.patch(container_id, desired_count=5).desired_count == 5
    assert stage.effects() == []
    stage.ask(container_id, operation)
    assert stage.counts() == (5, 5)


def test_a_refused_count_changes_nothing(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", DENIED)
    with pytest.raises(ExternalServiceError) as raised:
        stage.patch(container_id, desired_count=5)
    assert raised.value.reason == "Longshore is not permitted to do this on the cluster"
    after = stage.container(container_id)
    assert (after.desired_count, after.apply_count_at, after.due_at) == (COUNT, None, None)
    assert stage.counts() == (COUNT, COUNT)


@pytest.mark.parametrize("error", [NO_ANSWER, THROTTLED])
@pytest.mark.parametrize("lost", [False, True])
def test_a_count_that_ecs_has_not_confirmed_is_applied_by_the_sweep(
    stage: ServiceStage, error: Exception, lost: bool
) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", error, lost=lost)
    assert stage.patch(container_id, desired_count=5).desired_count == 5
    assert stage.drift_sweep() == {"true": 1}
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    assert (stage.service().desired_count, stage.container(container_id).due_at) == (5, None)
    assert stage.container(container_id).log_count == 1


def test_a_count_that_the_sweep_cannot_apply_becomes_the_count_of_the_service(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", THROTTLED)
    stage.patch(container_id, desired_count=5)
    stage.heal()
    stage.fail("UpdateService", DENIED)
    stage.advance(31)
    assert stage.sweep() == {"failed": 1}
    after = stage.container(container_id)
    assert (after.desired_count, after.due_at) == (COUNT, None)


@pytest.mark.parametrize("operation", ["stop", "restart"])
def test_an_operation_takes_over_a_count_that_was_not_applied(stage: ServiceStage, operation: str) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", NO_ANSWER)
    stage.patch(container_id, desired_count=5)
    stage.ask(container_id, operation)
    stage.settle(container_id)
    after: Container = stage.container(container_id)
    assert (after.desired_count, after.apply_count_at) == (5, None)
    if operation == "stop":
        stage.ask(container_id, "start")
    assert stage.counts() == (5, 5)


def test_a_count_is_refused_while_an_operation_is_pending(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.claim(container_id, "stop")
    with pytest.raises(StateConflictError, match="Container is stopping"):
        stage.patch(container_id, desired_count=5)


def test_tasks_have_no_count(stage: ServiceStage) -> None:
    container_id = stage.add("running")
    with pytest.raises(InvalidInputError, match="desired_count is supported for services only"):
        stage.patch(container_id, desired_count=5)


def test_a_claim_that_was_decided_with_the_previous_count_is_refused(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.before("UpdateItem", lambda _: stage.patch(container_id, desired_count=5))
    stage.ask(container_id, "start")
    assert stage.counts() == (5, 5)


def left_to_the_sweep(stage: ServiceStage) -> str:
    """Return a container with a count that the sweep will apply."""
    container_id = stage.add_service("running")
    stage.fail("UpdateService", THROTTLED)
    stage.patch(container_id, desired_count=5)
    stage.advance(31)
    return container_id


@pytest.mark.parametrize("error", [NO_ANSWER, THROTTLED])
def test_a_sweep_repeats_a_count_that_ecs_has_not_confirmed(stage: ServiceStage, error: Exception) -> None:
    container_id = left_to_the_sweep(stage)
    stage.fail("UpdateService", error)
    began = stage.clock.now()
    assert stage.sweep() == {"failed": 1}
    after = stage.container(container_id)
    assert (after.desired_count, stage.counts()) == (5, (COUNT, COUNT))
    assert after.apply_count_at is not None
    assert after.calls_end_at is not None
    # The call may take effect until then.
    assert after.calls_end_at >= began + CALLS_LAST + SHOWN_AFTER
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    after = stage.container(container_id)
    assert (after.desired_count, after.apply_count_at, stage.service().desired_count) == (5, None, 5)
    assert after.calls_end_at is not None
    assert after.calls_end_at <= stage.clock.now() + SHOWN_AFTER


def emptied(stage: ServiceStage) -> None:
    stage.services.set_desired(stage.service(), 0)


def hidden(stage: ServiceStage) -> None:
    stage.change("DescribeServices", lambda *_: {"services": []})


@pytest.mark.parametrize("change", [emptied, hidden])
def test_a_count_that_the_sweep_cannot_apply_is_kept_if_the_service_has_none(
    stage: ServiceStage, change: Callable[[ServiceStage], None]
) -> None:
    container_id = left_to_the_sweep(stage)
    stage.fail("UpdateService", DENIED)
    change(stage)
    assert stage.sweep() == {"failed": 1}
    after = stage.container(container_id)
    assert (after.desired_count, after.apply_count_at) == (5, None)


def test_an_operation_that_begins_before_a_refused_count_is_written_back_keeps_the_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", DENIED)
    stage.before("UpdateService", lambda _: stage.claim(container_id, "stop"))
    assert stage.patch(container_id, desired_count=5).desired_count == 5
    assert stage.container(container_id).desired_count == 5
    assert stage.container(container_id).operation is not None


def test_a_sweep_does_not_apply_a_count_while_other_calls_may_take_effect(stage: ServiceStage) -> None:
    container_id = left_to_the_sweep(stage)
    stage.edit(container_id, calls_end_at=stage.clock.now() + timedelta(seconds=5))
    stage.calls.clear()
    assert stage.sweep() == {"busy": 1}
    assert stage.effects() == []
    stage.advance(5)
    assert stage.sweep() == {"count applied": 1}


def test_a_count_while_other_calls_may_take_effect_is_left_to_the_sweep(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    end = stage.clock.now() + timedelta(seconds=5)
    stage.edit(container_id, calls_end_at=end)
    after = stage.patch(container_id, desired_count=5)
    assert (after.calls_end_at, stage.effects()) == (end, [])
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    assert stage.service().desired_count == 5


def test_a_count_of_a_protected_service_whose_lifetime_has_ended_is_applied(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, stop_at=stage.clock.now() + timedelta(seconds=10), protection="migration")
    stage.fail("UpdateService", NO_ANSWER)
    stage.patch(container_id, desired_count=5)
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    assert (stage.service().desired_count, stage.container(container_id).apply_count_at) == (5, None)
    assert stage.sweep() == {"deferred": 1}
    assert stage.status(container_id) == "running"


def test_a_count_of_a_protected_service_that_was_deferred_is_applied(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.patch(container_id, stop_at=stage.clock.now() + timedelta(seconds=10), protection="migration")
    stage.advance(11)
    assert stage.sweep() == {"deferred": 1}
    stage.fail("UpdateService", NO_ANSWER)
    stage.patch(container_id, desired_count=5)
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    assert stage.service().desired_count == 5


LATEST = (CALLS_LAST - CALL_LASTS).total_seconds()
"""The seconds after its write at which a function may still begin its call."""


def test_a_function_that_stalls_before_its_call_leaves_the_count_to_the_sweep(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.after("UpdateItem", lambda _: stage.advance(LATEST + 0.1))
    assert stage.patch(container_id, desired_count=5).desired_count == 5
    assert stage.effects() == []
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}
    assert stage.effects() == [{"desiredCount": 5}]


def test_a_count_that_comes_late_does_not_start_a_service_that_was_stopped(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")

    def stall(_: Call) -> None:
        stage.ask(container_id, "stop")
        stage.settle(container_id)

    stage.after("UpdateItem", stall)
    stage.patch(container_id, desired_count=5)
    assert (stage.status(container_id), stage.counts()) == ("stopped", (0, 0))
    stage.ask(container_id, "start")
    assert stage.counts() == (5, 5)


def test_a_sweep_that_stalls_before_its_call_leaves_the_count_to_the_next_one(stage: ServiceStage) -> None:
    left_to_the_sweep(stage)
    stage.calls.clear()
    stage.after("UpdateItem", lambda _: stage.advance(LATEST + 0.1))
    assert stage.sweep() == {"busy": 1}
    assert stage.effects() == []
    stage.advance(31)
    assert stage.sweep() == {"count applied": 1}


def test_a_function_that_has_time_for_its_call_makes_it(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.after("UpdateItem", lambda _: stage.advance(LATEST - 0.1))
    stage.patch(container_id, desired_count=5)
    assert stage.effects() == [{"desiredCount": 5}]


def test_a_count_of_a_failed_service_that_runs_is_applied_by_the_sweep(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", "failed")
    stage.services.set_desired(stage.service(), COUNT)
    stage.while_time_passes(200)
    after = stage.patch(container_id, desired_count=5)
    assert (after.desired_count, stage.effects()) == (5, [])
    assert stage.drift_sweep() == {"true": 1}
    stage.while_time_passes(31)
    assert stage.sweep() == {"count applied": 1}
    assert stage.service().desired_count == 5
    stage.while_time_passes(200)
    stage.drift_sweep()
    container = stage.container(container_id)
    assert (container.status, container.desired_count, container.running_count) == ("running", 5, 5)


def test_a_count_of_a_failed_service_that_does_not_run_is_for_the_next_start(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", "failed")
    stage.patch(container_id, desired_count=5)
    stage.while_time_passes(31)
    assert stage.sweep() == {"count kept": 1}
    after = stage.container(container_id)
    assert (stage.effects(), after.desired_count, after.apply_count_at, after.due_at) == ([], 5, None, None)
    stage.ask(container_id, "restart")
    assert stage.counts() == (5, 5)


DETAILS = {"name": "shop", "labels": {"a": "b"}, "idle_timeout": 900, "protection": "in use"}


def test_a_count_is_changed_together_with_details(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    after = stage.patch(container_id, desired_count=5, **DETAILS)
    assert (after.name, after.labels, after.idle_timeout, after.desired_count) == ("shop", {"a": "b"}, 900, 5)
    assert after.protection is not None
    assert stage.effects() == [{"desiredCount": 5}]


def test_nothing_remains_of_a_change_whose_count_is_refused(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    before = stage.container(container_id)
    stage.fail("UpdateService", DENIED)
    with pytest.raises(ExternalServiceError):
        stage.patch(container_id, desired_count=5, **DETAILS)
    after = stage.container(container_id)
    changing = {"generation", "calls_end_at", "updated_at"}
    assert after.model_dump(exclude=changing) == before.model_dump(exclude=changing)


def test_what_another_request_has_changed_since_remains(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", DENIED)
    stage.before("UpdateService", lambda _: stage.patch(container_id, name="theirs"))
    with pytest.raises(ExternalServiceError):
        stage.patch(container_id, desired_count=5, **DETAILS)
    after = stage.container(container_id)
    assert (after.name, after.labels, after.desired_count) == ("theirs", {}, COUNT)


def test_a_change_between_the_refusal_and_its_withdrawal_remains(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.fail("UpdateService", DENIED)
    stage.before("UpdateItem", lambda _: stage.patch(container_id, name="theirs"), skip=1)
    with pytest.raises(ExternalServiceError):
        stage.patch(container_id, desired_count=5, **DETAILS)
    after = stage.container(container_id)
    assert (after.name, after.labels, after.desired_count) == ("theirs", {}, COUNT)
