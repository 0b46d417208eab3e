"""The simulated scalable targets of services on a virtual clock, without HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from integration.service_world import WEB, World, counts

from local.emulator import AwsError, ScalableTargets


def register(world: World, **parameters: Any) -> None:
    request = {"ServiceNamespace": "ecs", "ResourceId": WEB, "ScalableDimension": "ecs:service:DesiredCount"}
    world.scaling.handle("RegisterScalableTarget", request | parameters)


def target(world: World) -> dict[str, Any]:
    answer = world.scaling.handle("DescribeScalableTargets", {"ServiceNamespace": "ecs", "ResourceIds": [WEB]})
    found: dict[str, Any] = answer["ScalableTargets"][0]
    return found


def test_every_registration_moves_the_count_into_the_bounds() -> None:
    world = World()
    register(world, MinCapacity=1, MaxCapacity=2)
    assert counts(world.advance()) == (2, 2, 0)
    register(world, MinCapacity=2, MaxCapacity=6)
    world.update(desiredCount=0)
    assert counts(world.advance()) == (0, 0, 0)
    # A call that changes nothing but a suspension moves the count too.
    register(world, SuspendedState={"DynamicScalingOutSuspended": True})
    assert counts(world.advance()) == (2, 2, 0)
    assert (target(world)["MinCapacity"], target(world)["MaxCapacity"]) == (2, 6)
    assert target(world)["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": True,
        "ScheduledScalingSuspended": False,
    }


def test_a_registration_has_an_effect_after_a_delay() -> None:
    world = World()
    world.scaling = ScalableTargets(world.ecs, lambda: world.time, delay=5)
    register(world, MinCapacity=1, MaxCapacity=2)
    due = world.scaling.next_due()
    assert due == world.time + timedelta(seconds=5)
    # The bounds that count are those at the time of the move.
    register(world, MinCapacity=4, MaxCapacity=6)
    world.advance(4.9)
    world.scaling.advance(world.time)
    assert world.describe()["desiredCount"] == 3
    world.advance(0.2)
    world.scaling.advance(world.time)
    assert (world.describe()["desiredCount"], world.scaling.next_due()) == (4, None)


def test_policies_respect_bounds_and_suspensions() -> None:
    world = World()
    register(world, MinCapacity=1, MaxCapacity=5)
    assert [world.scaling.scale(WEB, count) for count in (9, 0, 3)] == [5, 1, 3]
    register(world, SuspendedState={"DynamicScalingOutSuspended": True})
    assert [world.scaling.scale(WEB, count) for count in (4, 2)] == [None, 2]
    register(world, SuspendedState={"DynamicScalingOutSuspended": False, "DynamicScalingInSuspended": True})
    assert [world.scaling.scale(WEB, count) for count in (1, 4)] == [None, 4]
    assert world.scaling.set_bounds(WEB, minimum=5)
    assert world.describe()["desiredCount"] == 5
    suspended = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    register(world, MinCapacity=0, SuspendedState=dict.fromkeys(suspended, True))
    world.update(desiredCount=0)
    assert world.scaling.scale(WEB, 5) is None
    assert not world.scaling.set_bounds(WEB, minimum=3)
    assert (world.describe()["desiredCount"], target(world)["MinCapacity"]) == (0, 0)


def test_registrations_that_are_refused() -> None:
    world = World()
    for parameters in ({"MinCapacity": 1}, {"MinCapacity": 3, "MaxCapacity": 2}, {"MinCapacity": -1, "MaxCapacity": 2}):
        with pytest.raises(AwsError, match="ValidationException"):
            register(world, **parameters)
    with pytest.raises(AwsError, match="ECS service doesn't exist"):
        register(world, ResourceId="service/main/none", MinCapacity=1, MaxCapacity=2)
    identity = {"ServiceNamespace": "ecs", "ResourceId": WEB, "ScalableDimension": "ecs:service:DesiredCount"}
    with pytest.raises(AwsError, match="ObjectNotFoundException"):
        world.scaling.handle("DeregisterScalableTarget", identity)
    assert world.describe()["desiredCount"] == 3
    register(world, MinCapacity=1, MaxCapacity=4)
    world.scaling.handle("DeregisterScalableTarget", identity)
    assert world.scaling.handle("DescribeScalableTargets", {"ServiceNamespace": "ecs"}) == {"ScalableTargets": []}
    with pytest.raises(AwsError, match="ObjectNotFoundException"):
        world.scaling.scale(WEB, 4)
