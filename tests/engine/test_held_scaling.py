"""What is held of a scalable target: whatever happens between a stop and a start, its owner gets it back."""

from collections.abc import Iterator
from typing import Any

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.service import Scaling
from simulation.services import state_of

from engine.aws import DENIED, NO_ANSWER, Call, Crash
from engine.services import COUNT, MAXIMUM, MINIMUM, ServiceStage

OWNERS = (MINIMUM, MAXIMUM, (False, False, False))
"""The bounds and suspensions of the owner."""


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def target_of(stage: ServiceStage) -> tuple[int, int, tuple[bool, ...]]:
    return state_of(stage.target())


def register(stage: ServiceStage, **changes: Any) -> None:
    """Register the target as its owner does, and wait until this has an effect."""
    stage.services.register(stage.service(), **changes)
    stage.while_time_passes(1)


def sweep_drift(stage: ServiceStage, times: int) -> Iterator[dict[str, int]]:
    """Run the drift sweep every three minutes. Yields the effects of each."""
    for _ in range(times):
        stage.while_time_passes(180)
        yield stage.drift_sweep()


def crash(_: Call) -> None:
    raise Crash


@pytest.mark.parametrize("sweeps", [0, 1, 2, 3])
def test_a_target_that_is_registered_again_while_the_container_is_stopped(stage: ServiceStage, sweeps: int) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    register(stage, MinCapacity=2, MaxCapacity=9)
    for _ in sweep_drift(stage, sweeps):
        pass
    operations = ("start", "stop", "start", "stop", "start")
    for operation in operations[min(sweeps, 1) :]:  # the first sweep finds the service running
        stage.ask(container_id, operation)
        stage.settle(container_id)
    assert target_of(stage) == (2, 9, (False, False, False))
    assert stage.container(container_id).scaling is None


def test_a_service_that_somebody_else_has_started_scales_again(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    register(stage, MinCapacity=2, MaxCapacity=9)
    effects = list(sweep_drift(stage, 4))
    assert effects == [{"repaired": 1}, {"restoring the scaling": 1}, {"scaling restored": 1}, {"true": 1}]
    assert target_of(stage) == (2, 9, (False, False, False))
    assert [row["to_status"] for row in stage.rows(container_id)] == ["running", "stopped", "running"]


def test_the_values_of_a_stop_are_not_held_by_the_next_one(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    stage.services.set_desired(stage.service(), 4)
    assert next(sweep_drift(stage, 1)) == {"repaired": 1}
    stage.ask(container_id, "stop")
    assert stage.container(container_id).scaling == Scaling(minimum=MINIMUM)
    stage.ask(container_id, "start")
    assert (stage.counts(), target_of(stage)) == ((4, 4), OWNERS)


def test_a_refused_count_gives_the_scaling_back(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.fail("UpdateService", DENIED)
    with pytest.raises(ExternalServiceError):
        stage.ask(container_id, "stop")
    container = stage.container(container_id)
    assert (container.operation, container.scaling, container.count_stored_at) == (None, None, None)
    assert (stage.counts(), target_of(stage), len(stage.rows(container_id))) == ((COUNT, COUNT), OWNERS, 1)


@pytest.mark.parametrize("name", ["UpdateService", "RegisterScalableTarget"])
def test_a_stop_that_gives_up_after_it_has_suspended_the_scaling(stage: ServiceStage, name: str) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.after("RegisterScalableTarget", crash)
    with pytest.raises(Crash):
        stage.ask(container_id, "stop")
    assert target_of(stage)[0] == 0
    stage.fail("UpdateService", DENIED, times=-1)
    if name != "UpdateService":
        stage.fail(name, NO_ANSWER, times=-1)
    for _ in range(80):
        stage.while_time_passes(61)
        stage.sweep()
    assert stage.container(container_id).status == "failed"
    stage.heal()
    for _ in sweep_drift(stage, 4):
        pass
    container = stage.container(container_id)
    assert (container.status, container.scaling) == ("running", None)
    assert (stage.counts(), target_of(stage)) == ((COUNT, COUNT), OWNERS)


def test_a_held_minimum_above_a_maximum_that_was_lowered(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped", scales=True, count=5)
    register(stage, MaxCapacity=2)
    assert stage.ask(container_id, "start").status == "running"
    assert (stage.counts(), target_of(stage)) == ((2, 2), (2, 2, (False, False, False)))
    assert stage.container(container_id).desired_count == 2


def test_a_policy_that_scales_in_while_a_start_waits(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped", scales=True, count=8)
    stage.after("RegisterScalableTarget", lambda _: stage.services.scale(stage.service(), MINIMUM))
    stage.ask(container_id, "start")
    stage.settle(container_id)
    assert stage.container(container_id).status == "running"
    assert [effect for effect in stage.effects() if "desiredCount" in effect] == [{"desiredCount": 8}]
    assert stage.counts() == (MINIMUM, MINIMUM)


def test_a_service_that_its_policy_has_scaled_to_0_can_be_stopped(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    register(stage, MinCapacity=0)
    assert stage.services.scale(stage.service(), 0)
    assert list(sweep_drift(stage, 2)) == [{"counted": 1}, {"true": 1}]
    container = stage.container(container_id)
    assert (container.status, container.desired_count, container.running_count) == ("running", COUNT, 0)
    stage.ask(container_id, "stop")
    assert stage.container(container_id).status == "stopped"
    assert not stage.services.scale(stage.service(), 4)
    stage.ask(container_id, "start")
    assert (stage.counts(), target_of(stage)) == ((COUNT, COUNT), (0, *OWNERS[1:]))


def test_a_restoration_without_an_answer_is_repeated(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    stage.services.set_desired(stage.service(), 4)
    sweeps = sweep_drift(stage, 4)
    assert next(sweeps) == {"repaired": 1}
    stage.fail("RegisterScalableTarget", NO_ANSWER)
    assert next(sweeps) == {"failed": 1}
    assert [*sweeps] == [{"restoring the scaling": 1}, {"scaling restored": 1}]
    assert target_of(stage) == OWNERS


def test_a_sweep_that_stalls_before_its_restoration_does_not_make_it(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    stage.services.set_desired(stage.service(), 4)
    sweeps = sweep_drift(stage, 4)
    assert next(sweeps) == {"repaired": 1}
    stage.calls.clear()

    def stall(_: Call) -> None:
        stage.ask(container_id, "stop")
        stage.settle(container_id)

    stage.after("UpdateItem", stall)
    assert next(sweeps) == {"busy": 1}
    assert (stage.status(container_id), stage.counts()) == ("stopped", (0, 0))
    assert target_of(stage) == (0, MAXIMUM, (True, True, True))
    assert [*sweeps] == [{"true": 1}, {"true": 1}]
