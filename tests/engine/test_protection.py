"""Tests of protected containers, and of containers on hold."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.errors import ContainerProtectedError, ExternalServiceError, LongshoreError, StateConflictError
from longshore.domain.lifecycle import PROTECTED_FROM, Operation

from engine.aws import FAILED, NO_ANSWER
from engine.stage import PROJECT, USER, Stage

HOUR = timedelta(hours=1)
REASON = {"reason": "Nightly build"}
NOTHING = {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0, "unauthorized": 0}
PROTECTED = sorted(PROTECTED_FROM)


@pytest.fixture(autouse=True)
def _owner(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})


def protect(stage: Stage, container: str) -> None:
    stage.patch(container, protection=REASON["reason"])


@pytest.mark.parametrize("status", ["stopped", "running", "paused", "failed"])
@pytest.mark.parametrize("operation", PROTECTED)
def test_operations_that_are_refused(stage: Stage, status: str, operation: Operation) -> None:
    """A protected container refuses them in every status, before any other conflict."""
    container = stage.add("stopped", *([status] if status != "stopped" else []))
    protect(stage, container)
    before = stage.container(container)
    with pytest.raises(ContainerProtectedError) as raised:
        stage.ask(container, operation)
    assert raised.value.message == "Container is protected"
    assert raised.value.data == {
        "error": True,
        "operation": operation,
        "container_id": container,
        "project_id": PROJECT,
        "message": "Container is protected",
        "status": status,
        "allowed_operations": {"stopped": ["start"], "paused": ["resume"]}.get(status, []),
        "pending_operation": None,
        "protection": REASON,
    }
    assert stage.container(container) == before


def test_operations_that_are_permitted(stage: Stage) -> None:
    container = stage.add("stopped")
    protect(stage, container)
    assert stage.ask(container, "start").status == "running"
    paused = stage.add("running", "paused", number=2)
    protect(stage, paused)
    assert stage.ask(paused, "resume").status == "running"


def test_other_refusals_come_first(stage: Stage) -> None:
    expired, fargate = stage.add("stopped", "expired"), stage.add("running", number=2, fargate=True)
    for container in (expired, fargate):
        protect(stage, container)
    for container, code in ((expired, "OPERATION_NOT_PERMITTED_ON_EXPIRED"), (fargate, "VALIDATION_ERROR")):
        with pytest.raises(LongshoreError) as raised:
            stage.ask(container, "pause")
        assert raised.value.code == code


def test_the_refusal_is_kept_for_an_idempotency_key(stage: Stage) -> None:
    container = stage.add("running")
    protect(stage, container)
    answers = []
    for _ in range(2):
        with pytest.raises(ContainerProtectedError) as raised:
            stage.ask(container, "stop", key="k")
        answers.append((raised.value.message, raised.value.data))
        stage.patch(container, protection=None)
    assert answers[0] == answers[1]
    assert stage.ask(container, "stop").status == "stopped"


@pytest.mark.parametrize("operation", PROTECTED)
@pytest.mark.parametrize("key", [None, "k"])
def test_a_protection_between_read_and_claim_prevents_the_claim(stage: Stage, operation: str, key: str | None) -> None:
    container = stage.add("running")
    stage.before("TransactWriteItems" if key else "UpdateItem", lambda _: protect(stage, container))
    with pytest.raises(ContainerProtectedError):
        stage.ask(container, operation, key=key)
    assert stage.container(container).operation is None
    assert stage.count("StopTask") == stage.count("SendCommand") == 0


@pytest.mark.parametrize("operation", PROTECTED)
def test_a_protection_is_refused_while_an_operation_is_pending(stage: Stage, operation: str) -> None:
    container = stage.add("running")
    stage.claim(container, operation)
    before = stage.container(container)
    with pytest.raises(StateConflictError) as raised:
        protect(stage, container)
    assert (raised.value.data["operation"], raised.value.data["pending_operation"]) == ("protect", before.pending_view)
    assert raised.value.data["allowed_operations"] == before.allowed_operations
    assert stage.container(container) == before


@pytest.mark.parametrize("operation", PROTECTED)
def test_a_claim_between_read_and_protection_prevents_the_protection(stage: Stage, operation: str) -> None:
    container = stage.add("running")
    stage.before("UpdateItem", lambda _: stage.claim(container, operation))
    with pytest.raises(StateConflictError):
        protect(stage, container)
    assert stage.container(container).protection is None


@pytest.mark.parametrize(("status", "operation"), [("stopped", "start"), ("paused", "resume")])
def test_a_protection_while_the_container_begins_to_run(stage: Stage, status: str, operation: str) -> None:
    container = stage.add("running", status)
    stage.claim(container, operation)
    protect(stage, container)
    with pytest.raises(ContainerProtectedError):
        stage.ask(container, "force-stop")
    stage.with_events()
    assert stage.pass_deadline() == {"accepted": 1}
    assert (stage.status(container), stage.container(container).protection is not None) == ("running", True)


@pytest.mark.parametrize("fault", ["error", "no answer", "lost", "repeated"])
@pytest.mark.parametrize("reason", [REASON["reason"], None])
def test_a_protection_whose_reply_is_lost_may_be_repeated(stage: Stage, fault: str, reason: str | None) -> None:
    container = stage.add("running")
    if reason is None:
        protect(stage, container)
    if fault == "repeated":
        stage.repeat("UpdateItem")
    else:
        stage.fail("UpdateItem", NO_ANSWER if fault == "no answer" else FAILED, lost=fault == "lost")
        with pytest.raises(ExternalServiceError):
            stage.patch(container, protection=reason)
    protection = stage.patch(container, protection=reason).protection
    assert (protection is None) is (reason is None)


def test_the_exit_of_a_protected_task_is_recorded(stage: Stage) -> None:
    container = stage.add("running")
    protect(stage, container)
    stage.ecs.exit(stage.live(container)[0].arn, 0)
    stage.advance(1)
    stage.deliver_all()
    assert (stage.status(container), stage.container(container).protection is not None) == ("stopped", True)


# --- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_skips_a_protected_container(stage: Stage) -> None:
    container = stage.add("running")
    protect(stage, container)
    assert stage.schedule(stage.clock.now(), container) == NOTHING | {"skipped": 1}
    assert stage.container(container).operation is None


HELD = [(timedelta(), "stopped"), (timedelta(milliseconds=1), "skipped"), (HOUR, "skipped")]


@pytest.mark.parametrize(("until", "effect"), HELD)
def test_a_schedule_skips_a_container_that_is_held_at_its_scheduled_time(
    stage: Stage, until: timedelta, effect: str
) -> None:
    """A late run has the same effect as a run in time."""
    container = stage.add("running")
    scheduled = stage.clock.now()
    stage.edit(container, hold_until=scheduled + until)
    stage.advance(1800)
    assert stage.schedule(scheduled, container) == NOTHING | {effect: 1}


@pytest.mark.parametrize(
    "act",
    [protect, lambda stage, container: stage.patch(container, hold_until=stage.clock.now() + HOUR)],
    ids=["protection", "hold"],
)
def test_a_change_between_read_and_claim_of_a_schedule(stage: Stage, act: Callable[[Stage, str], Any]) -> None:
    container = stage.add("running")
    stage.before("UpdateItem", lambda _: act(stage, container))
    assert stage.schedule(stage.clock.now(), container) == NOTHING | {"skipped": 1}
    assert (stage.status(container), stage.container(container).operation) == ("running", None)


def test_users_stop_a_container_that_is_on_hold(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, hold_until=stage.clock.now() + HOUR)
    assert stage.ask(container, "stop").status == "stopped"
    assert stage.container(container).hold_until is not None


# --- the recovery sweep -----------------------------------------------------------------------------------------------


def overdue(stage: Stage) -> str:
    """Return a protected container whose `stop_at` has passed."""
    container = stage.add("running")
    stage.patch(container, stop_at=stage.clock.now() + HOUR, protection=REASON["reason"])
    stage.advance(3600)
    return container


def test_a_protected_container_is_deferred_by_an_hour(stage: Stage) -> None:
    container = overdue(stage)
    before = stage.container(container)
    assert stage.sweep() == {"deferred": 1}
    after = stage.container(container)
    assert after == before.model_copy(update={"pending_deadline": after.pending_deadline})
    assert after.pending_deadline is not None
    assert timedelta() <= stage.clock.now() - (after.pending_deadline - HOUR) < timedelta(seconds=1)
    assert stage.sweep() == {}
    assert stage.drift_sweep()["true"] == 1
    stage.advance(3600)
    assert stage.sweep() == {"deferred": 1}
    assert stage.count("StopTask") == 0


def test_removing_the_protection_restores_the_key(stage: Stage) -> None:
    container = overdue(stage)
    stage.sweep()
    found = stage.patch(container, protection=None)
    assert found.pending_deadline == found.stop_at
    assert stage.sweep() == {"lifetime ended": 1}


@pytest.mark.parametrize("values", [{"protection": None}, {"stop_at": None}])
def test_a_change_between_read_and_deferral(stage: Stage, values: dict[str, None]) -> None:
    container = overdue(stage)
    stage.before("UpdateItem", lambda _: stage.patch(container, **values))
    assert stage.sweep() == {"changed": 1}
    found = stage.container(container)
    assert found.pending_deadline == found.stop_at


def test_a_protection_between_read_and_claim_of_the_sweep(stage: Stage) -> None:
    container = stage.add("running")
    stage.patch(container, stop_at=stage.clock.now() + HOUR)
    stage.advance(3600)
    stage.before("UpdateItem", lambda _: protect(stage, container))
    assert stage.sweep() == {"changed": 1}
    assert stage.container(container).operation is None
    assert stage.sweep() == {"deferred": 1}


@pytest.mark.parametrize("fault", ["lost", "error", "repeated"])
def test_a_deferral_whose_reply_is_lost(stage: Stage, fault: str) -> None:
    container = overdue(stage)
    if fault == "repeated":
        stage.repeat("UpdateItem")
    else:
        stage.fail("UpdateItem", FAILED, lost=fault == "lost")
    assert stage.sweep() == {"deferred" if fault == "repeated" else "failed": 1}
    stage.heal()
    assert stage.sweep() == ({"deferred": 1} if fault == "error" else {})
    assert stage.container(container).is_live


def test_the_task_of_a_protected_container_is_looked_up(stage: Stage) -> None:
    container = overdue(stage)
    stage.ecs.forget(stage.live(container)[0].arn)
    assert stage.drift_sweep() == {"absent": 1}
    stage.advance(31)
    assert stage.sweep() == {"repaired": 1}
    assert stage.status(container) == "failed"
